"""Eight devices, which the host pretends to have, against one."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.distribution.eight_devices import CHECKS

ROOT = Path(__file__).parents[2]


FIRST = [
    "data_parallel_trains_an_mlp_as_one_device_does",
    "model_parallel_trains_attention_as_one_device_does",
]


@functools.cache
def run(*names):
    """What went wrong in these checks, nothing where all was well."""
    flags = os.environ.get("XLA_FLAGS", "")
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count=8",
    }
    run = subprocess.run(
        [sys.executable, "-m", "tests.distribution.eight_devices", *names],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", FIRST)
def test_on_eight_devices(name):
    said = run(*FIRST)
    assert not said[name], said[name]


@pytest.mark.parity
@pytest.mark.parametrize("name", [name for name in CHECKS if name not in FIRST])
def test_more_on_eight_devices(name):
    said = run(*(name for name in CHECKS if name not in FIRST))
    assert not said[name], said[name]
