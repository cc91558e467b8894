"""kerasnb.notebook.mailbox"""

import sys
import threading
import types

import pytest

from kerasnb.notebook import mailbox


class FakeWidget:
    def __init__(self, comm):
        self.comm, self.callbacks = comm, []

    def on_msg(self, callback):
        self.callbacks.append(callback)

    def receive(self, content):
        for callback in self.callbacks:
            callback(self, content, [])


class RoutedComm:
    """A comm of ipykernel 7.4, which asks for the way of each message."""

    def _reply_subshell_for(self, data, default):
        return "the busy shell"


def heard_by(comm):
    heard = []
    fake = FakeWidget(comm)
    box = mailbox.Mailbox(fake, heard.append)
    return fake, box, heard


def test_a_message_that_comes_through_two_doors_is_delivered_once():
    fake, _, heard = heard_by(RoutedComm())
    message = {"op": "stop", "id": "a"}
    way = fake.comm._reply_subshell_for({"method": "custom", "content": message}, "sub")
    fake.receive(message)
    assert heard == [message]
    assert way == "sub", "the front end's own subshell is kept"


def test_two_presses_of_a_button_are_two_messages():
    fake, _, heard = heard_by(object())
    fake.receive({"op": "pause", "id": "a"})
    fake.receive({"op": "pause", "id": "b"})
    assert len(heard) == 2


@pytest.mark.parametrize(
    "content", [None, 3, "stop", [], {}, {"op": "stop"}, {"id": "a"}]
)
def test_what_is_not_a_message_is_ignored(content):
    fake, _, heard = heard_by(RoutedComm())
    fake.receive(content)
    fake.comm._reply_subshell_for({"method": "custom", "content": content}, None)
    fake.comm._reply_subshell_for({"method": "update", "state": {}}, None)
    fake.comm._reply_subshell_for(None, None)
    assert heard == []


def test_a_kernel_without_the_question_is_left_alone():
    comm = object()
    assert mailbox.listen(comm, print) is False


def test_many_threads_deliver_each_message_once():
    _, box, heard = heard_by(object())
    messages = [{"op": "stop", "id": str(i)} for i in range(100)]
    threads = [
        threading.Thread(target=lambda: [box.put(m) for m in messages])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(m["id"]) for m in heard) == list(range(100))


class Kernel6:
    """As much of ipykernel 6 as the pump touches."""

    def __init__(self):
        self._parent_ident = {"shell": [b"cell"], "control": [b""]}
        self.parent = {"header": "the cell"}
        self.turns = 0

    def get_parent(self):
        return self.parent

    def set_parent(self, ident, parent):
        self._parent_ident["shell"], self.parent = ident, parent

    async def do_one_iteration(self):
        self.turns += 1
        self.set_parent([b"button"], {"header": "the button"})


@pytest.fixture
def kernel(monkeypatch):
    made = Kernel6()
    shell = types.SimpleNamespace(kernel=made)
    fake = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(
        sys.modules, "ipykernel", types.SimpleNamespace(version_info=(6, 30, 1))
    )
    return made


def test_the_pump_gives_ipykernel_6_a_turn_and_keeps_the_cell_the_parent(kernel):
    mailbox.pump()
    assert kernel.turns == 1
    assert kernel.parent == {"header": "the cell"}
    assert kernel._parent_ident["shell"] == [b"cell"]


def test_the_pump_leaves_other_threads_alone(kernel):
    thread = threading.Thread(target=mailbox.pump)
    thread.start()
    thread.join()
    assert kernel.turns == 0


def test_the_pump_does_nothing_on_ipykernel_7(kernel, monkeypatch):
    monkeypatch.setitem(
        sys.modules, "ipykernel", types.SimpleNamespace(version_info=(7, 4, 0))
    )
    mailbox.pump()
    assert kernel.turns == 0


def test_the_pump_does_nothing_outside_of_a_kernel(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    mailbox.pump()
