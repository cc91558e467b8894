"""Drive JupyterLab in Chromium: a private server, a page, and an honest "it is done".

What JupyterLab shows is not always what is: its indicator says idle before a kernel
exists, and while a cell still runs if a widget's message came in between. Waiting here
asks the application for the kernel's status and the prompts for a star.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

import nbformat
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Playwright,
    expect,
)

from tests.browser.chromium import find_chromium

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
TOKEN = "browser-tests"
WIDE, NARROW = (1280, 1000), (420, 900)

Theme = Literal["light", "dark"]

_FLAGS = (
    "--no-sandbox",  # containers and root have none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    # No calls to the browser's makers: a closed network would stall on them.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

_SETTINGS: dict[str, dict[str, Any]] = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
    # Otherwise cells outside the window are not in the page and cannot be found.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    # A save in the middle of a test would race with the test's own.
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}

_PANEL = "window.jupyterapp?.shell.currentWidget"
_KERNEL_IDLE = f"""() => {{
    const context = {_PANEL}?.sessionContext;
    return context?.session?.kernel?.status === "idle";
}}"""
_ALL_DONE = f"""() => {{
    const starred = [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")]
        .some((prompt) => prompt.textContent.includes("*"));
    const context = {_PANEL}?.sessionContext;
    return !starred && !window.runsAll && context?.session?.kernel?.status === "idle";
}}"""


def launch(playwright: Playwright) -> Browser:
    """A headless Chromium."""
    return playwright.chromium.launch(
        executable_path=find_chromium(), headless=True, args=list(_FLAGS)
    )


def write_notebook(path: Path, cells: Iterable[str]) -> Path:
    """Write a notebook of code cells; a cell that starts with `#md` is Markdown."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
    }
    for number, source in enumerate(cells):
        if source.startswith("#md"):
            cell = nbformat.v4.new_markdown_cell(source.removeprefix("#md").strip())
        else:
            cell = nbformat.v4.new_code_cell(source)
        cell["id"] = f"cell-{number}"
        notebook.cells.append(cell)
    nbformat.write(notebook, path)
    return path


def make_untrusted(path: Path) -> Path:
    """Change a notebook so that no signature fits it, as if it came by mail."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["received"] = str(time.time_ns())
    nbformat.write(notebook, path)
    return path


class LabServer:
    """A JupyterLab on a free port, with a home of its own, that serves one folder.

    `settings` are JupyterLab's, as `{"plugin:file": {...}}`; `env` is added to the
    environment of the server and of its kernels; plugins in `without` are not loaded.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, dict[str, Any]] | None = None,
        env: dict[str, str] | None = None,
        without: Iterable[str] = (),
    ):
        self.folder = Path(folder)
        self.home = Path(tempfile.mkdtemp(prefix="kerasnb-lab-"))
        self.url = ""
        self._settings = {**_SETTINGS, **(settings or {})}
        self._env = env or {}
        self._without = ["@jupyterlab/apputils-extension:announcements", *without]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._write_settings()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1"),
            f"--port={port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={TOKEN}",
            f"--ServerApp.root_dir={self.folder}",
            "--LabApp.expose_app_in_browser=True",  # gives tests window.jupyterapp
            "--JupyterNotebookApp.expose_app_in_browser=True",
            "--LabApp.news_url=None",
            "--LabApp.extension_manager=readonly",
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--allow-root")
        with (self.home / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment(),
                cwd=self.folder,
                start_new_session=True,
            )
        self._wait_until_up()
        return self

    def __exit__(self, *exception: object) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # the kernels with it
                process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def request(self, method: str, path: str) -> Any:
        """Call the server's REST API and return the decoded answer."""
        request = urllib.request.Request(
            f"{self.url}/api/{path}",
            method=method,
            headers={"Authorization": f"token {TOKEN}"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            text = response.read()
        return json.loads(text) if text else None

    def shut_down_kernels(self) -> None:
        """End every session, so that the next test starts without a kernel."""
        for session in self.request("GET", "sessions"):
            self.request("DELETE", f"sessions/{session['id']}")

    def log(self) -> str:
        """What the server has written so far."""
        return (self.home / "server.log").read_text(errors="replace")

    def _write_settings(self) -> None:
        for plugin, values in self._settings.items():
            package, _, name = plugin.partition(":")
            folder = self.home / "settings" / package
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.jupyterlab-settings").write_text(json.dumps(values))
        labconfig = self.home / "config" / "labconfig"
        labconfig.mkdir(parents=True)
        disabled = dict.fromkeys(self._without, True)
        (labconfig / "page_config.json").write_text(
            json.dumps({"disabledExtensions": disabled})
        )

    def _environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")}
        return {
            **inherited,
            "HOME": str(self.home),
            "IPYTHONDIR": str(self.home / "ipython"),
            "JUPYTER_CONFIG_DIR": str(self.home / "config"),
            "JUPYTER_DATA_DIR": str(self.home / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.home / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(self.home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(self.home / "workspaces"),
            "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's kernel, no other
            "PATH": os.pathsep.join(
                [str(Path(sys.executable).parent), os.environ["PATH"]]
            ),
            **self._env,
        }

    def _wait_until_up(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.request("GET", "status")
            except OSError:  # not listening yet
                time.sleep(0.1)
            else:
                return
        log = self.log()
        self.__exit__()
        raise RuntimeError(f"JupyterLab did not start:\n{log}")


class LabPage:
    """A browser window with JupyterLab in it, in a profile of its own."""

    def __init__(
        self,
        server: LabServer,
        browser: Browser,
        viewport: tuple[int, int] = WIDE,
        theme: Theme = "light",
    ):
        self.server = server
        self.console: list[tuple[str, str]] = []
        self._theme = theme
        self._context = browser.new_context(
            viewport={"width": viewport[0], "height": viewport[1]}, color_scheme=theme
        )
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("console", self._remember)
        self.page.on("pageerror", lambda e: self.console.append(("pageerror", str(e))))

    def close(self) -> None:
        """Close the window and forget its profile."""
        self._context.close()

    # --- Opening -----------------------------------------------------------------

    def open(self, notebook: str) -> Self:
        """Open a notebook of the server's folder and wait for its kernel."""
        self._go(f"lab/tree/{notebook}")
        self._wait_for_notebook(notebook)
        self.page.wait_for_function(_KERNEL_IDLE, timeout=90_000)
        return self

    def open_in_notebook_7(self, notebook: str) -> Self:
        """Open a notebook in Notebook 7, which the same server offers."""
        self._go(f"notebooks/{notebook}")
        # The kernel's name is there before the kernel: a cell run in between is lost.
        self.page.wait_for_function(_KERNEL_IDLE, timeout=90_000)
        return self

    def open_without_kernel(self, notebook: str) -> Self:
        """Open a notebook as a reader who runs nothing sees it."""
        self._go("lab")
        self.page.wait_for_function("() => window.jupyterapp")
        self.page.evaluate("window.jupyterapp.restored.then(() => true)")
        self.command(
            "docmanager:open",
            path=notebook,
            factory="Notebook",
            kernelPreference={"shouldStart": False, "canStart": False},
        )
        self._wait_for_notebook(notebook)
        if any(s["path"] == notebook for s in self.server.request("GET", "sessions")):
            raise RuntimeError(f"{notebook} has a kernel; shut_down_kernels() first")
        return self

    def reload(self) -> Self:
        """Load the page anew, as F5 does; a running kernel goes on."""
        self.page.reload()
        self._wait_for_notebook()
        return self

    # --- Running -----------------------------------------------------------------

    def run_all(self, timeout: float = 180) -> Self:
        """Run every cell and wait until all are done."""
        self.start_all()
        return self.wait_until_done(timeout)

    def start_all(self) -> Self:
        """Run every cell and return at once, to click while they run."""
        ran = self.prompts()
        self.page.evaluate(
            # After a cell that fails, as it may, JupyterLab forgets those that still
            # wait; the kernel answers this question when it has run them.
            "() => { window.runsAll = true; window.jupyterapp.commands"
            ".execute('notebook:run-all-cells').catch(() => {})"
            f".then(() => {_PANEL}.sessionContext.session.kernel.requestKernelInfo())"
            ".finally(() => { window.runsAll = false; }); }"
        )
        # Until the first prompt changes, "nothing runs" would look like "all done".
        self.page.wait_for_function(
            """(before) => {
                const now = [...document.querySelectorAll(
                    ".jp-CodeCell .jp-InputPrompt")].map((p) => p.textContent.trim());
                return now.some((text, i) => text !== before[i]);
            }""",
            arg=ran,
        )
        return self

    def run_cell(self, number: int) -> Self:
        """Run one cell and return at once."""
        self.cell(number).locator(".jp-InputArea-editor").click()
        self.page.evaluate(
            "() => { window.jupyterapp.commands.execute('notebook:run-cell') }"
        )
        return self

    def wait_until_done(self, timeout: float = 180) -> Self:
        """Wait until no cell runs or waits and the kernel is idle."""
        self.page.wait_for_function(_ALL_DONE, timeout=timeout * 1000)
        return self

    def interrupt(self) -> Self:
        """Press the stop button of the notebook's toolbar."""
        self.command("notebook:interrupt-kernel")
        return self

    def prompts(self) -> list[str]:
        """The prompts of the code cells: `[1]:`, `[*]:`, `[ ]:`."""
        return [
            text.strip()
            for text in self.page.locator(
                ".jp-CodeCell .jp-InputPrompt"
            ).all_text_contents()
        ]

    # --- Looking -----------------------------------------------------------------

    def cell(self, number: int) -> Locator:
        """The cell with this number, Markdown cells counted, from 0."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def output(self, number: int) -> Locator:
        """All that a cell has put out; JupyterLab's own prompts and buttons too."""
        return self.cell(number).locator(".jp-Cell-outputArea")

    def outputs(self, number: int) -> Locator:
        """Each output of a cell by itself, as `display` made it."""
        return self.output(number).locator(".jp-OutputArea-output")

    def texts(self, number: int) -> list[str]:
        """The text of each output of a cell."""
        return [text.strip() for text in self.outputs(number).all_inner_texts()]

    def is_trusted(self) -> bool:
        """Whether JupyterLab lets all of this notebook's outputs run scripts."""
        return self.page.evaluate(
            f"() => [...{_PANEL}.content.model.cells].every("
            "(cell) => cell.type !== 'code' || cell.trusted)"
        )

    def errors(self) -> list[str]:
        """What the page has reported as errors, but for missing files of JupyterLab."""
        return [
            text
            for kind, text in self.console
            if kind in ("error", "pageerror") and "Failed to load resource" not in text
        ]

    # --- Acting ------------------------------------------------------------------

    def command(self, name: str, **arguments: Any) -> Self:
        """Execute a command of JupyterLab and wait for its end."""
        self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args)"
            ".then(() => true)",
            [name, arguments],
        )
        return self

    def menu(self, *labels: str) -> Self:
        """Choose from the menu bar: `menu("Run", "Run All Cells")`."""
        first, *rest = labels
        self.page.get_by_role("menuitem", name=first, exact=True).first.click()
        for label in rest:
            self.page.locator(f'.lm-Menu-itemLabel:text-is("{label}")').click()
        return self

    def save(self) -> Self:
        """Save the notebook, which also signs what has been run here."""
        return self.command("docmanager:save")

    def set_theme(self, theme: Theme) -> Self:
        """Switch JupyterLab and the browser's preference to light or dark."""
        self._theme = theme
        self.page.emulate_media(color_scheme=theme)
        name = "JupyterLab Dark" if theme == "dark" else "JupyterLab Light"
        self.command("apputils:change-theme", theme=name)
        expect(self.page.locator("body")).to_have_attribute(
            "data-jp-theme-light", "false" if theme == "dark" else "true"
        )
        return self

    def resize(self, viewport: tuple[int, int]) -> Self:
        """Make the window `WIDE`, `NARROW` or any (width, height)."""
        self.page.set_viewport_size({"width": viewport[0], "height": viewport[1]})
        return self

    def screenshot(self, name: str, of: Locator | None = None) -> Path:
        """Save `build/screenshots/<name>.png`, of the window or of one element."""
        path = SCREENSHOTS / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if of is None:
            self.page.screenshot(path=path)
        else:
            of.scroll_into_view_if_needed()
            of.screenshot(path=path)
        return path

    def _go(self, path: str) -> None:
        # `reset` starts from an empty workspace: no tab of an earlier test.
        self.page.goto(f"{self.server.url}/{path}?token={TOKEN}&reset")

    def _wait_for_notebook(self, name: str | None = None) -> None:
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=90_000)
        self.page.wait_for_function(
            "(name) => { const panel = " + _PANEL + "; return "
            "panel?.content?.model?.cells?.length "
            "&& (name === null || panel.context.path === name); }",
            arg=name,
        )
        self.page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
        self.set_theme(self._theme)

    def _remember(self, message: ConsoleMessage) -> None:
        self.console.append((message.type, message.text))
