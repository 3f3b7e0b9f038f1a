"""Run notebooks from their percent-format ``.py`` and keep them, with outputs, as ``.ipynb`` beside it.

    python notebooks/execute.py                      # all of them
    python notebooks/execute.py notebooks/01_*.py    # one

An error in a cell ends it with exit status 1, the notebook being kept up to that cell.
"""

import sys
import time
from pathlib import Path

import jupytext
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent
LIMIT = 1800  # seconds a cell, on any machine


def execute(source: Path) -> None:
    """Run one notebook in its own process, and write it."""
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # else each run would change them
    client = NotebookClient(notebook, timeout=LIMIT, resources={"metadata": {"path": str(HERE)}}, record_timing=False)
    began = time.perf_counter()
    try:
        client.execute()
    finally:
        notebook.metadata.pop("language_info", None)
        jupytext.write(notebook, source.with_suffix(".ipynb"))
        print(f"{source.name}: {time.perf_counter() - began:.0f} s", flush=True)


def main() -> None:
    """Run those that are named, or all."""
    sources = [Path(name) for name in sys.argv[1:]] or sorted(HERE.glob("[0-9]*.py"))
    failed = []
    for source in sources:
        try:
            execute(source)
        except CellExecutionError as error:
            failed.append(source.name)
            print(error, file=sys.stderr)
    if failed:
        sys.exit(f"{len(failed)} of {len(sources)} notebooks failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
