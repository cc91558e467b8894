"""Run a notebook without a browser: `execute.py NOTEBOOK PAGE.html`.

Writes the page and prints each cell as it starts, then the last line about accuracy.
"""

import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

ACCURACY = re.compile(r"\b(accuracy|correct\w*)\b.*\d")

os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # this environment's kernel


def main(notebook: Path, page: Path) -> int:
    """Run `notebook` in its own folder and write it to `page`."""
    document = nbformat.read(notebook, as_version=4)
    started = time.monotonic()

    def announce(cell: nbformat.NotebookNode, cell_index: int) -> None:
        if cell.cell_type == "code":
            first = cell.source.partition("\n")[0]
            seconds = time.monotonic() - started
            print(f"{seconds:6.1f} s  {first[:70]}", flush=True)

    client = NotebookClient(
        document,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(notebook.parent)}},
        store_widget_state=False,  # the page shows the pictures that need no kernel
        on_cell_start=announce,
    )
    failure = None
    try:
        client.execute()
    except CellExecutionError as error:
        failure = error  # the page shows how far it came
    html, _ = HTMLExporter(embed_images=True).from_notebook_node(document)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(html, encoding="utf-8")
    print(f"\n{page} written in {time.monotonic() - started:.0f} s")
    if failure is not None:
        print(failure, file=sys.stderr)
        return 1
    found = [line for line in printed(document) if ACCURACY.search(line)]
    if not found:
        print(f"{notebook} says nothing of accuracy", file=sys.stderr)
        return 1
    print(found[-1].strip())
    return 0


def printed(document: nbformat.NotebookNode) -> list[str]:
    """The lines of plain text that the cells put out, in order."""
    lines: list[str] = []
    for cell in document.cells:
        for output in cell.get("outputs", []):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            lines += text.splitlines()
    return lines


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
