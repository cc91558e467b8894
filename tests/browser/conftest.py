"""Fixtures of the browser tests: one browser and one server, a fresh page for each."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.chromium import find_chromium
from tests.browser.labrig import (
    ROOT,
    WIDE,
    LabPage,
    LabServer,
    Theme,
    launch,
)

_REPORT = pytest.StashKey[pytest.TestReport]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test in this folder, so that none of them is run by accident."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Remember how a test ended, for the picture that a failed one leaves."""
    report = yield
    if report.when == "call":
        item.stash[_REPORT] = report
    return report


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium for the whole run."""
    if find_chromium() is None:
        pytest.fail("no Chromium found: run `make chromium`", pytrace=False)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A JupyterLab that serves copies of the notebooks of this repository."""
    folder = tmp_path_factory.mktemp("lab")
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        shutil.copy(notebook, folder)
    with LabServer(folder) as server:
        yield server


@pytest.fixture
def open_page(
    lab_server: LabServer, browser: Browser, request: pytest.FixtureRequest
) -> Iterator[Callable[..., LabPage]]:
    """Make pages with `open_page(viewport=WIDE, theme="light", server=None)`."""
    pages: list[LabPage] = []
    used: list[LabServer] = [lab_server]

    def make(
        viewport: tuple[int, int] = WIDE,
        theme: Theme = "light",
        server: LabServer | None = None,
    ) -> LabPage:
        used.append(server or lab_server)
        pages.append(LabPage(used[-1], browser, viewport, theme))
        return pages[-1]

    yield make
    report = request.node.stash.get(_REPORT, None)
    for number, page in enumerate(pages):
        open_still = not page.page.is_closed()
        if report is not None and report.failed and open_still:
            path = page.screenshot(f"failed-{request.node.name}-{number}")
            print(path, *page.errors(), sep="\n")
        page.close()
    for server in used:
        server.shut_down_kernels()


@pytest.fixture
def lab(open_page: Callable[..., LabPage]) -> LabPage:
    """A wide, light page; nothing is open in it yet."""
    return open_page()
