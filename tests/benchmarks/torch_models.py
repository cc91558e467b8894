"""The workloads in PyTorch."""

import itertools
from typing import Any

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        stride = 1 if i == o else 2
        self.one, self.two = normalised(i, o, 3, stride), normalised(o, o, 3, 1)
        self.short = nn.Identity() if i == o else normalised(i, o, 1, 2)

    def forward(self, x):
        y = self.two(torch.relu(self.one(x)))
        return torch.relu(y + self.short(x))


def normalised(i, o, size, stride):
    conv = nn.Conv2d(i, o, size, stride, size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(o))


class Mean(nn.Module):
    def __init__(self, *axes):
        super().__init__()
        self.axes = axes

    def forward(self, x):
        return x.mean(self.axes)


class Pictures(nn.Module):
    """Channels first: a view, with the memory as the data has it."""

    def forward(self, x):
        return x.permute(0, 3, 1, 2)


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.top = nn.LSTM(32, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, x):
        return self.top(self.rnn(x)[0][:, -1])


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(1000, 64), nn.Embedding(64, 64)
        block = lambda: nn.TransformerEncoderLayer(  # noqa: E731
            64, 4, 128, 0.1, layer_norm_eps=1e-6, batch_first=True
        )
        self.blocks = nn.Sequential(block(), block())
        self.top = nn.Linear(64, 10)

    def forward(self, x):
        x = self.words(x) + self.places(torch.arange(64))
        return self.top(self.blocks(x).mean(1))


def build(work: Any) -> Any:
    """The model of a workload."""
    if work.kind == "dense":
        parts = []
        for i, o in itertools.pairwise(work.sizes):
            parts += [nn.Linear(i, o), nn.ReLU()]
        return nn.Sequential(*parts[:-1])
    if work.kind == "cnn":
        return nn.Sequential(
            Pictures(),
            *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(0.5), nn.Linear(1600, 10)),
        )
    if work.kind == "lstm":
        return Lstm()
    if work.kind == "transformer":
        return Attentive()
    wide = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    blocks = [Block(i, o) for i, o in itertools.pairwise(wide)]
    first = (Pictures(), normalised(3, 16, 3, 1), nn.ReLU())
    return nn.Sequential(*first, *blocks, Mean(2, 3), nn.Linear(64, 10))
