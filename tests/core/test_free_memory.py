"""kerasnb.core.free_memory"""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

import kerasnb as keras
from kerasnb.core import free_memory
from kerasnb.notebook import build_model
from kerasnb.notebook.errors import KModelError


def test_a_layer_too_large_for_the_machine_is_refused_in_a_sentence():
    layer = keras.layers.Dense(10**10, name="huge")
    words = (
        r"Dense `huge`: variable `huge/kernel` of shape \(4, 10000000000\) would take "
        r"149.01 GB, and this machine has [\d.]+ .B free. Make the layer, or what it "
        r"gets, smaller\."
    )
    with pytest.raises(ValueError, match=f"^{words}$"):
        layer(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"dense/kernel` .* would take [\d.]+ PB"):
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(10**17)])
    with pytest.raises(KModelError, match="line 2:  Embedding.*\nEmbedding: variable"):
        build_model("Flatten()\nEmbedding(10**10, 64)", input=(4,))


def test_the_machine_is_not_asked_about_layers_of_a_usual_size(monkeypatch):
    def asked(device):
        raise AssertionError

    monkeypatch.setattr(free_memory, "free_memory", asked)
    keras.layers.Dense(4000)(np.ones((2, 4000)))
    free_memory.check_fits("a weight", ((1 << 26) - 1,), 4)
    with pytest.raises(AssertionError):
        free_memory.check_fits("a weight", (1 << 26,), 4)


def test_a_device_with_memory_of_its_own_is_asked_for_it(monkeypatch):
    stats = {"bytes_limit": 16 << 30, "bytes_in_use": 10 << 30}
    gpu = SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    assert free_memory.free_memory(gpu) == 6 << 30
    silent = SimpleNamespace(platform="gpu", memory_stats=lambda: None)
    assert free_memory.free_memory(silent) is None
    monkeypatch.setattr(jax, "local_devices", lambda backend=None: [gpu])
    free_memory.check_fits("a weight", (6 << 28,), 4)
    with pytest.raises(ValueError, match=r"would take 6\.\d+ GB, and .* has 6\.00 GB"):
        free_memory.check_fits("a weight", ((6 << 28) + 1,), 4)


def test_a_system_that_says_nothing_refuses_nothing(monkeypatch):
    monkeypatch.setattr(free_memory, "_text", lambda path: "")
    monkeypatch.setattr(free_memory.os, "sysconf_names", {})
    assert free_memory.free_memory(jax.devices("cpu")[0]) is None
    free_memory.check_fits("a weight", (10**15,), 4)


@pytest.mark.parametrize(
    ("group", "files", "left"),
    [
        ("0::/", {"memory.max": "900", "memory.current": "300"}, [600]),
        ("0::/", {"memory.max": "max", "memory.current": "300"}, []),
        (
            "0::/a/b",
            {
                "a/memory.max": "900",
                "a/memory.current": "500",
                "a/memory.stat": "anon 300\ninactive_file 150",
                "a/b/memory.max": "800",
                "a/b/memory.current": "200",
            },
            [600, 550],
        ),
        (  # A container sees the limit at the root, whatever its group is called.
            "9:cpu:/x\n4:memory:/docker/77",
            {
                "memory/memory.limit_in_bytes": "900",
                "memory/memory.usage_in_bytes": "100",
            },
            [800],
        ),
    ],
)
def test_the_limit_of_a_container_counts(tmp_path, group, files, left):
    written = {"proc/self/cgroup": group}
    written |= {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in written.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert list(free_memory._left_to_groups(tmp_path)) == left
