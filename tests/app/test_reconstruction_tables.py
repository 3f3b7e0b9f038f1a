"""A benchmark's folder: parts are made once, other settings are refused, tables are the same when taken up."""

import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def tables(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = __import__("reconstruction_tables")
    yield lambda images=3: (module, module.Tables(tmp_path / "out", {"images": images}, torch.zeros(3, 1, 8, 8)))
    sys.modules.pop("reconstruction_tables")


def test_a_part_is_made_once_and_tables_are_the_same_when_taken_up(tables, tmp_path):
    pages = []
    for attempt in range(2):
        module, found = tables()
        calls = []

        def make(value, module=module, calls=calls):
            calls.append(value)
            return module.Part(torch.full((3, 1, 8, 8), value), {"rmse": torch.tensor([1.0, 2.0, 3.0]) * value})

        found.add("superres:4", "map", lambda: make(1.0))
        found.add("superres:4", "plain, one", lambda: make(2.0))
        found.write()
        assert calls == ([1.0, 2.0] if attempt == 0 else [])
        pages.append([(tmp_path / "out" / name).read_bytes() for name in ("table.md", "table.json", "key.csv")])
    assert pages[0] == pages[1]
    assert "| map | 2 ± 0.58 |" in found.page("superres:4")  # sd 1, over the root of 3
    assert len(list((tmp_path / "out" / "pairs").iterdir())) == 3
    assert (tmp_path / "out" / "superres_4.png").exists()


def test_results_of_other_settings_are_refused(tables):
    tables()
    with pytest.raises(SystemExit, match="other settings"):
        tables(images=4)
