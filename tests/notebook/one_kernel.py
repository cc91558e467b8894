"""A real kernel and one front end of it, by the protocol and without a browser."""

import queue
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[2]
COLOURS = re.compile(r"\x1b\[[\d;]*m")


@dataclass
class Shown:
    """What a cell showed: its text, errors included, and whether it went well."""

    text: str
    ok: bool


class Kernel:
    """The kernel of this Python, in a process of its own."""

    def __init__(self) -> None:
        self.manager = KernelManager()
        launch = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        self.manager._kernel_spec = KernelSpec(argv=launch, language="python")
        self.manager.start_kernel(cwd=str(ROOT))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, cell: str, timeout: float = 60) -> Shown:
        """Run a cell; streams and errors come back as one text without colours."""
        asked = self.client.execute(cell)
        parts, ok, idle = [], True, False
        end = time.monotonic() + timeout
        while not idle:
            if time.monotonic() > end:
                raise TimeoutError(f"no end of:\n{cell}\n{''.join(parts)}")
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                parts.append(content["text"])
            elif kind == "error":
                ok = False
                parts.append("\n".join(content["traceback"]) + "\n")
            elif kind in ("display_data", "execute_result"):
                parts.append(content["data"].get("text/plain", "") + "\n")
            idle = kind == "status" and content["execution_state"] == "idle"
        reply = self._reply(asked, end)
        ok &= reply["status"] == "ok"
        return Shown(COLOURS.sub("", "".join(parts)).strip(), ok)

    def complete(self, text: str) -> tuple[str, list[str]]:
        """What Tab offers at the `|` in a cell, and the part it would replace."""
        before, _, after = text.partition("|")
        asked = self.client.complete(before + after, len(before))
        found = self._reply(asked, time.monotonic() + 60)
        part = (before + after)[found["cursor_start"] : found["cursor_end"]]
        return part, found["matches"]

    def inspect(self, text: str) -> str:
        """What Shift + Tab shows behind a text."""
        asked = self.client.inspect(text, len(text))
        found = self._reply(asked, time.monotonic() + 60)
        return COLOURS.sub("", found["data"].get("text/plain", ""))

    def _reply(self, asked: str, end: float) -> dict[str, Any]:
        while time.monotonic() < end:
            try:
                message = self.client.get_shell_msg(timeout=1)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") == asked:
                return message["content"]
        raise TimeoutError("the kernel does not answer")

    def close(self) -> None:
        """End the process."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
