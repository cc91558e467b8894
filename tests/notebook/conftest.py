"""Fixtures of the notebook's tests: an IPython shell in this process."""

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
def shell(ipython):
    """The shell with the extension loaded and no names of an earlier test."""
    ipython.reset(new_session=False)
    ipython.extension_manager.load_extension("kerasnb")
    yield ipython
    ipython.extension_manager.unload_extension("kerasnb")
    ipython.reset(new_session=False)
