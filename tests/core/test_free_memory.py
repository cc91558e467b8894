"""kerasnb.core.free_memory"""

import re
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import kerasnb as keras
from kerasnb.core import free_memory
from kerasnb.notebook import build_model
from kerasnb.notebook.errors import KModelError

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"),
    reason="it is Linux that tells",
)


def test_a_layer_too_large_for_the_machine_is_refused_in_a_sentence():
    layer = keras.layers.Dense(10**10, name="huge")
    words = (
        r"Dense `huge`: variable `huge/kernel` of shape \(4, 10000000000\) would take "
        r"149.01 GB, and this machine has [\d.]+ .B free. Make the layer, or what it "
        r"gets, smaller, or delete models you do not need\."
    )
    with pytest.raises(ValueError, match=f"^{words}$"):
        layer(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"dense/kernel` .* would take [\d.]+ PB"):
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(10**17)])
    with pytest.raises(KModelError, match="line 2:  Embedding.*\nEmbedding: variable"):
        build_model("Flatten()\nEmbedding(10**10, 64)", input=(4,))


def test_the_machine_is_asked_now_and_then(monkeypatch):
    asked = []
    monkeypatch.setattr(free_memory, "free_memory", asked.append)
    monkeypatch.setattr(free_memory, "_unseen", 0)
    keras.layers.Dense(1000)(np.ones((2, 1000)))
    assert not asked
    free_memory.check_fits("a weight", 1 << 28)
    assert len(asked) == 1
    for _ in range(6):  # a network of small layers is large as well
        free_memory.check_fits("a weight", 1 << 26, scratch=1 << 26)
    assert len(asked) == 4


def in_little_memory(script):
    """What a script prints that may have 2 GB more than the package itself."""
    begin = """
        import os, resource, jax, numpy as np, kerasnb as keras
        from kerasnb.core import free_memory
        jax.numpy.ones(3).sum().block_until_ready()
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("adam", "mse")
        model.fit(np.ones((8, 3)), np.ones((8, 1)), verbose=0)
        status = free_memory._numbers(free_memory.Path("/proc/self/status"))
        limit = 1024 * status["VmSize"] + (2 << 30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(begin) + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@linux
def test_many_large_layers_end_in_a_sentence_and_not_the_process():
    said = in_little_memory("""
        try:
            keras.Sequential([keras.Input((4500,)), *[
                keras.layers.Dense(4500) for n in range(50)]])
        except ValueError as error:
            print(error)
        print(keras.layers.Dense(9)(np.ones((1, 9))).shape)
        """)
    words = (
        r"Dense `dense_\d+`: variable `\S+/kernel` of shape \(4500, 4500\) would "
        r"take 77\.\d+ MB and, while it is made, 642\.\d+ MB, and this machine has "
        r"[\d.]+ MB free\. .* or delete models you do not need\.\n\(1, 9\)\n"
    )
    assert re.fullmatch(words, said), said


@linux
def test_what_an_optimizer_keeps_is_asked_for_before_any_of_it_is_made():
    said = in_little_memory("""
        zeros = {"kernel_initializer": "zeros"}
        x = np.ones((4, 9000), "float32")
        wide = keras.layers.Dense(9000, **zeros)
        model = keras.Sequential([keras.Input((9000,)), wide])
        model.compile("adam", "mse")
        adam = model.optimizer
        for use in (adam.build, lambda weights: model.fit(x, x, verbose=0)):
            try:
                use(model.trainable_variables)
            except ValueError as error:
                print(error)
            print(adam.built, len(adam.variables))
        small = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        adam.build(small.trainable_variables)
        print(len(adam.variables))
        """)
    sentence = (
        r"What Adam keeps beside the weights would take 618\.\d+ MB and, while it is "
        r"made, 1\.\d+ GB, and this machine has [\d.]+ GB free\. Make the model "
        r"smaller, or take an optimizer that keeps less: SGD\.\nFalse 2\n"
    )
    assert re.fullmatch(f"({sentence}){{2}}6\n", said), said


def test_a_device_with_memory_of_its_own_is_asked_for_it(monkeypatch):
    stats = {"bytes_limit": 16 << 30, "bytes_in_use": 10 << 30}
    gpu = SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    assert free_memory.free_memory(gpu) == 6 << 30
    silent = SimpleNamespace(platform="gpu", memory_stats=lambda: None)
    assert free_memory.free_memory(silent) is None
    monkeypatch.setattr(jax, "local_devices", lambda backend=None: [gpu])
    free_memory.check_fits("a weight", (6 << 30) - (1 << 28))
    with pytest.raises(ValueError, match=r"would take 6\.\d+ GB, and .* has 6\.00 GB"):
        free_memory.check_fits("a weight", (6 << 30) + 1)


def test_a_system_that_says_nothing_refuses_nothing(monkeypatch):
    monkeypatch.setattr(free_memory, "_text", lambda path: "")
    monkeypatch.setattr(free_memory.os, "sysconf_names", {})
    assert free_memory.free_memory(jax.devices("cpu")[0]) is None
    free_memory.check_fits("a weight", 4 * 10**15)


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
