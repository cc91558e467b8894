"""Eight devices, which the host pretends to have, against one."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.distribution.eight_devices import CHECKS

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]


@functools.cache
def went_wrong():
    """What went wrong in each of the checks, nothing where all was well."""
    flags = os.environ.get("XLA_FLAGS", "")
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count=8",
    }
    run = subprocess.run(
        [sys.executable, "-m", "tests.distribution.eight_devices", *CHECKS],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", CHECKS)
def test_on_eight_devices(name):
    said = went_wrong()[name]
    assert not said, said
