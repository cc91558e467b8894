"""Find a Chromium, or install one: `python -m tests.browser.chromium`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)

_HELP = """\
The browser tests need Chromium, and none was found. One of these brings it:
  sudo apt-get install chromium              (Debian; on Ubuntu install Google Chrome)
  {python} -m playwright install chromium
  KERASNB_CHROMIUM=/path/to/chrome make test
"""


def find_chromium() -> str | None:
    """The path in `$KERASNB_CHROMIUM`, else the system's browser, else Playwright's."""
    if named := os.environ.get("KERASNB_CHROMIUM"):
        return named
    found = (shutil.which(name) for name in _NAMES)
    return next(filter(None, found), None) or _find_playwrights()


def _find_playwrights() -> str | None:
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def main() -> int:
    """Make sure that there is a Chromium; on Debian as root, install it."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if find_chromium() is None and is_root and shutil.which("apt-get"):
        print("Installing Chromium with apt-get ...", flush=True)
        _apt("update")
        packages = ("chromium", "fonts-liberation", "fonts-dejavu-core")
        _apt("install", "--yes", "--no-install-recommends", *packages)
    path = find_chromium()
    if path is None or shutil.which(path) is None:
        print(_HELP.format(python=sys.executable), file=sys.stderr)
        return 1
    print(f"Chromium: {path}")
    return 0


def _apt(*arguments: str) -> None:
    subprocess.run(
        ["apt-get", "-qq", "-o", "Acquire::Retries=3", *arguments],
        check=False,  # whether it worked is seen by looking for the browser
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    sys.exit(main())
