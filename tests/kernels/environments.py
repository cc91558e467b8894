"""Environments of their own, which borrow all other packages from this interpreter."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment(name: str, *packages: str) -> Path:
    """The Python of an environment with these packages; made once, then reused."""
    folder = ROOT / "build" / "kernels" / f"{name}-py{sys.version_info.minor}"
    python = folder / "bin" / "python"
    done = folder / "ready"
    if done.exists():
        return python
    venv.EnvBuilder(with_pip=True, clear=True, symlinks=True).create(folder)
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    borrowed = folder / "lib" / minor / "site-packages" / "borrowed.pth"
    borrowed.write_text(sysconfig.get_path("purelib") + "\n")
    install = ["-m", "pip", "install", "-q", *packages]
    made = subprocess.run([python, *install], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    done.touch()
    return python
