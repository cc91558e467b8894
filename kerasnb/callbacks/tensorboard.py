"""`TensorBoard`: curves, weights and profiles for `tensorboard --logdir`."""

import io
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kerasnb.callbacks.callback import Callback, Logs, plain
from kerasnb.callbacks.rates import learning_rates
from kerasnb.core.errors import check, optional


class TensorBoard(Callback):
    """Write what happens into event files that TensorBoard reads while they grow.

    Curves by epoch are called `epoch_<name>`, those of batches `batch_<name>`; training
    is in `log_dir/train` and validation in `log_dir/validation`, so that TensorBoard
    draws both in one picture. `histogram_freq=n` adds histograms of the weights every
    `n` epochs, `write_images` the weights as pictures, `write_graph` the model's
    layers, `update_freq="batch"` or a number curves by batch, `embeddings_freq=n` the
    rows of Embedding layers for the projector, `profile_batch=(10, 20)` a profile of
    those steps.

    Needs the package `tensorboard`: `pip install 'kerasnb[tensorboard]'`.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: int | str | tuple[int, int] = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: str | Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        optional("tensorboard", "to write event files", "tensorboard")
        freq = 1 if update_freq == "batch" else update_freq
        good = freq == "epoch" or (isinstance(freq, int) and freq >= 1)
        who, expected = "TensorBoard", '"epoch", "batch" or a number of batches'
        check(good, who, "update_freq", update_freq, expected)
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = histogram_freq
        self.write_graph = write_graph
        self.write_images = write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = freq
        self.embeddings_freq = embeddings_freq
        self.embeddings_metadata = embeddings_metadata
        self._first, self._last = _range(profile_batch)
        # Only a profile must be there while the very steps run.
        self.passive = not self._first
        self._writers: dict[str, _Writer] = {}
        self._batches = {"train": 0, "validation": 0}
        self._profiling = False
        self._epoch_began = (0.0, 0)

    def watches(self, phase: str) -> bool:
        """Batches matter only when they are written or profiled."""
        return phase == "train" and (self.update_freq != "epoch" or not self.passive)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begin, with the layers of the model."""
        self._batches["train"] = 0
        if self.write_graph and getattr(self.model, "_is_graph_network", True):
            self._writer("train").model(self.model)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Begin to profile when it is time."""
        self._batches["train"] += 1
        if self._batches["train"] == self._first:
            jax.profiler.start_trace(str(self._folder("train")))
            self._profiling = True

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Write the logs of a batch, and end the profile."""
        step = self._batches["train"]
        if self.update_freq != "epoch" and step % int(self.update_freq) == 0:
            self._scalars("train", "batch_", logs or {}, step)
        if self._profiling and step >= self._last:
            self._end_profile()

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Write the results over the number of training steps."""
        iterations = getattr(getattr(self.model, "optimizer", None), "iterations", None)
        if iterations is None:
            return
        named = {f"{name}_vs_iterations": value for name, value in (logs or {}).items()}
        self._scalars("validation", "evaluation_", named, int(iterations))

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Look at the clock."""
        self._epoch_began = (time.perf_counter(), self._iterations())

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the logs, and what else is due."""
        logs = logs or {}
        train = {k: v for k, v in logs.items() if not k.startswith("val_")}
        train |= learning_rates(self.model, needed=False)
        if self.write_steps_per_second:
            began, steps = self._epoch_began
            seconds = time.perf_counter() - began
            train["steps_per_second"] = (self._iterations() - steps) / seconds
        validation = {k[4:]: v for k, v in logs.items() if k.startswith("val_")}
        self._scalars("train", "epoch_", train, epoch)
        if validation:
            self._scalars("validation", "epoch_", validation, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            self._write_embeddings()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the files."""
        self._end_profile()
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    # --- What is written --------------------------------------------------------------

    def _folder(self, name: str) -> Path:
        return Path(self.log_dir, name)

    def _writer(self, name: str) -> "_Writer":
        if name not in self._writers:
            self._writers[name] = _Writer(self._folder(name))
        return self._writers[name]

    def _iterations(self) -> int:
        return int(self.model.optimizer.iterations)

    def _scalars(self, where: str, prefix: str, logs: Mapping, step: int) -> None:
        for name, value in logs.items():
            value = plain(value)
            if isinstance(value, float):
                self._writer(where).scalar(f"{prefix}{name}", value, step)
        self._writer(where).flush()

    def _write_weights(self, epoch: int) -> None:
        writer = self._writer("train")
        for weight in self.model.weights:
            name = weight.path.replace(":", "_")
            array = np.asarray(weight.value, "float32")
            writer.histogram(f"{name}/histogram", array, epoch)
            if self.write_images:
                writer.image(f"{name}/image", array, epoch)
        writer.flush()

    def _write_embeddings(self) -> None:
        """The rows of each Embedding as a table of text, which the projector reads."""
        tables = {
            layer.name: layer.embeddings
            for layer in self.model._flatten_layers()
            if hasattr(layer, "embeddings")
        }
        metadata = self.embeddings_metadata
        named = {} if metadata is None or isinstance(metadata, str) else dict(metadata)
        unknown = [name for name in named if name not in tables]
        expected = f"names of Embedding layers, which are {[*tables]}"
        check(not unknown, "TensorBoard", "embeddings_metadata", unknown, expected)
        lines = []
        for name, table in tables.items():
            path = self._folder("train") / f"{name}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savetxt(path, np.asarray(table, "float32"), delimiter="\t")
            lines += [
                "embeddings {",
                f'  tensor_name: "{name}"',
                f'  tensor_path: "train/{path.name}"',
            ]
            beside = metadata if isinstance(metadata, str) else named.get(name)
            lines += [f'  metadata_path: "{beside}"'] * bool(beside) + ["}"]
        text = "\n".join(lines) + "\n"
        Path(self.log_dir, "projector_config.pbtxt").write_text(text)

    def _end_profile(self) -> None:
        if self._profiling:
            self._profiling = False
            jax.profiler.stop_trace()


def _range(profile_batch: Any) -> tuple[int, int]:
    """The first and the last step to profile, 0 for none."""
    value = profile_batch
    if isinstance(value, str):
        value = tuple(int(part) for part in value.split(","))
        value = value[0] if len(value) == 1 else value
    first, last = (value, value) if isinstance(value, int) else (*value, None, None)[:2]
    good = isinstance(first, int) and isinstance(last, int) and 0 <= first <= last
    expected = "0, the number of a batch or two of them"
    check(good, "TensorBoard", "profile_batch", profile_batch, expected)
    return first, last


class _Writer:
    """One event file, by the `tensorboard` package (no TensorFlow needed)."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
        from tensorboard.util.tensor_util import make_tensor_proto

        self._event, self._proto = event_pb2.Event, summary_pb2
        self._scalar_pb, self._histogram_pb = scalar_pb, histogram_pb
        self._tensor = make_tensor_proto
        self._file = EventFileWriter(str(folder))
        self.flush, self.close = self._file.flush, self._file.close

    def _add(self, summary: Any, step: int) -> None:
        event = self._event(wall_time=time.time(), step=step, summary=summary)
        self._file.add_event(event)

    def scalar(self, tag: str, value: float, step: int) -> None:
        self._add(self._scalar_pb(tag, value), step)

    def histogram(self, tag: str, values: np.ndarray, step: int) -> None:
        self._add(self._histogram_pb(tag, values), step)

    def image(self, tag: str, weight: np.ndarray, step: int) -> None:
        """A weight as a grey picture; kernels of three axes as several."""
        array = weight.squeeze()
        if not 1 <= array.ndim <= 3:
            return
        grey = array.T if array.ndim == 1 or array.shape[0] > array.shape[1] else array
        rows = [grey] if array.ndim < 3 else np.moveaxis(array, -1, 0)
        pictures = [_png(np.atleast_2d(row)) for row in rows]
        height, width = np.atleast_2d(rows[0]).shape
        content = [str(width).encode(), str(height).encode(), *pictures]
        self._write("images", tag, np.array(content, object), step)

    def model(self, model: Any) -> None:
        """The layers of a model, drawn by the graph's page as the Keras graph."""
        try:
            text = model.to_json()
        except (TypeError, ValueError):
            return  # its parts have no description; the curves matter more
        self._write("graph_keras_model", "keras", text.encode(), 0, b"1")

    def _write(
        self, plugin: str, tag: str, content: Any, step: int, about: bytes = b""
    ) -> None:
        metadata = self._proto.SummaryMetadata()
        metadata.plugin_data.plugin_name = plugin
        metadata.plugin_data.content = about
        summary = self._proto.Summary()
        tensor = self._tensor(content)
        summary.value.add(tag=tag, tensor=tensor, metadata=metadata)
        self._add(summary, step)


def _png(values: np.ndarray) -> bytes:
    """Numbers as a grey picture, from the smallest (black) to the largest (white)."""
    image = optional("PIL.Image", "to write weights as pictures", "tensorboard")
    low, high = float(values.min()), float(values.max())
    grey = (values - low) / (high - low or 1.0) * 255
    file = io.BytesIO()
    image.fromarray(grey.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
