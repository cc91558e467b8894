"""Let nbval compare what a reader finally sees: `pytest -p tests.nbval_plugin --nbval`.

nbval compares the first form of a display and passes over its updates, but a saved
notebook holds the last form. Here an update replaces the display that it updates.
"""

import os
from typing import Any

from nbformat import NotebookNode
from nbval.plugin import IPyNbFile

# The kernels inherit these; as in the other tests, a GPU must not change a digit.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

SKIPPED = ("image/svg+xml",)
"""Kinds of output that are not compared, beside nbval's own: fonts differ."""

_get_kernel_message = IPyNbFile.get_kernel_message


def get_kernel_message(
    self: IPyNbFile, timeout: float | None = None, stream: str = "iopub"
) -> dict[str, Any]:
    """The kernel's next message, with updates of a display already applied to it."""
    message = _get_kernel_message(self, timeout, stream)
    kind, content = message["msg_type"], message["content"]
    display_id = content.get("transient", {}).get("display_id")
    if display_id is None or kind not in ("display_data", "update_display_data"):
        return message
    displays = self.__dict__.setdefault("displays", {}).setdefault(display_id, [])
    # nbval keeps a NotebookNode as it is, where it would copy a dict: what is in
    # `displays` is what it compares when the cell is done.
    if kind == "display_data":
        content["data"] = NotebookNode(content["data"])
        displays.append(content["data"])
    else:
        for shown in displays:
            shown.clear()
            shown.update(content["data"])
        message["msg_type"] = "comm_msg"  # a kind that nbval leaves alone
    return message


def pytest_collectstart(collector: Any) -> None:
    """Add to the kinds of output that nbval does not compare."""
    if isinstance(collector, IPyNbFile):
        collector.skip_compare += SKIPPED


IPyNbFile.get_kernel_message = get_kernel_message
