"""Fixtures of the notebook's tests: an IPython shell in this process."""

import gc
import os

import pytest


@pytest.fixture(scope="session")
def ipython(tmp_path_factory):
    """The shell of this process: no history file, nothing from the user's profile."""
    os.environ["IPYTHONDIR"] = str(tmp_path_factory.mktemp("ipython"))
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    yield shell
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(ipython, monkeypatch):
    """The shell with the extension loaded and no names of an earlier test."""

    def forget():
        # A reset looks through all objects of the process: half a second of each test.
        with monkeypatch.context() as patch:
            patch.setattr(gc, "collect", lambda *generation: 0)
            ipython.reset(new_session=False)

    forget()
    ipython.extension_manager.load_extension("kerasnb")
    yield ipython
    ipython.extension_manager.unload_extension("kerasnb")
    forget()
