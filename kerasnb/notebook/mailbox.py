"""How a button reaches Python while a cell is running.

A blocking cell keeps the kernel's main thread, where a widget's messages are handled.
Three doors lead around it, by version of ipykernel; a message may come through two:

- its own `on_msg` callbacks: in a subshell's thread (ipykernel 7, where the front end
  opens one), or in the main thread once the cell has ended;
- ipykernel 7.4 sends a widget's replies to the shell that last wrote to it, which is
  the busy one. It asks the comm for the way, in a thread that is never busy: there we
  listen, and answer with the front end's own choice;
- ipykernel 6 has neither, but its main thread may be lent to one waiting message
  between two training steps: `pump`.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]


class Mailbox:
    """Calls `deliver` once for each message that `widget` is sent, from any thread.

    A message is a dict with an `op` and an `id`; others are ignored. `deliver` must be
    quick and safe to call from any thread.
    """

    def __init__(self, widget: Any, deliver: Callable[[Message], None]):
        self._deliver = deliver
        self._lock = threading.Lock()
        self._seen: deque[str] = deque(maxlen=256)
        widget.on_msg(lambda _widget, content, _buffers: self.put(content))
        listen(widget.comm, self.put)

    def put(self, content: Any) -> None:
        """Take a message in, unless it is not ours or was heard before."""
        if not isinstance(content, dict) or "op" not in content or "id" not in content:
            return
        with self._lock:
            if content["id"] in self._seen:
                return
            self._seen.append(content["id"])
        self._deliver(content)


def listen(comm: Any, heard: Callable[[Any], None]) -> bool:
    """Have `heard` called for custom messages before they are queued (ipykernel 7.4).

    Returns whether this kernel offers that. The name is private to ipykernel, hence the
    question and the tests against several versions.
    """
    if not hasattr(comm, "_reply_subshell_for"):
        return False

    def route(data: Any, default: str | None) -> str | None:
        if isinstance(data, dict) and data.get("method") == "custom":
            heard(data.get("content"))
        return default

    comm._reply_subshell_for = route
    return True


def pump() -> None:
    """Let ipykernel 6 handle one waiting message; elsewhere, do nothing.

    Only the main thread may do this, between two steps of its own work.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    kernel = _kernel()
    turn = getattr(kernel, "do_one_iteration", None)
    if turn is None:
        return
    # The message becomes the kernel's current request; what the cell prints afterwards
    # must still appear under the cell.
    ident, parent = kernel._parent_ident["shell"], kernel.get_parent()
    waiting = turn()
    try:
        # A coroutine that never waits: one push runs it to its end.
        waiting.send(None)
    except StopIteration:
        return
    finally:
        waiting.close()
        kernel.set_parent(ident, parent)


def _kernel() -> Any:
    """The running kernel, if this process is one and is of version 6."""
    ipykernel = sys.modules.get("ipykernel")
    if ipykernel is None or ipykernel.version_info[0] > 6:
        return None
    shell = sys.modules["IPython"].get_ipython()
    return getattr(shell, "kernel", None)
