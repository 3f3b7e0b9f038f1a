"""Files of visits: patterns, and a table whose visits have none or share one."""

import re
from pathlib import Path

import numpy as np
import pytest

from neuropyro.data import CohortError, study_table
from neuropyro.data.map_files import fill_pattern, readable, stack_maps, visit_files


def test_only_known_names_are_put_into_patterns():
    known = {"subject": "s1", "hemisphere": "lh"}
    assert fill_pattern("{subject}/{hemisphere}.{subject}.gii", known, "t") == "s1/lh.s1.gii"
    assert fill_pattern("{subject.__class__}", known, "t") == "{subject.__class__}"  # no format string
    with pytest.raises(CohortError, match=r"t: \{visit\} in .* is not known; known are subject, hemisphere"):
        fill_pattern("{visit}", known, "t")
    with pytest.raises(CohortError, match=r"t: \{session\} in .* is not known; add a column .* session, session_id,"):
        fill_pattern("{session}", known, "t")


@pytest.fixture
def table(study, tmp_path):
    return study_table(study.table(tmp_path, file=[f"{row}.npy" for row in range(5)]))


def save(folder: Path, values: np.ndarray) -> None:
    for row, value in enumerate(values):
        np.save(folder / f"{row}.npy", value[None])


def test_a_file_a_visit(table, tmp_path):
    values = np.random.default_rng(0).random((5, 6), dtype=np.float32)
    save(tmp_path, values)
    files = visit_files(tmp_path, table, None)
    assert [f.name for f in files] == [f"{row}.npy" for row in range(5)]
    kept = np.array([5, 0, 3])  # in any order
    np.testing.assert_array_equal(stack_maps([files], np.load, table, kept), values[:, kept])
    np.testing.assert_array_equal(stack_maps([files, files], np.load, table, np.array([1, 7])), values[:, [1, 1]])
    mapped = stack_maps([files], np.load, table, kept, tmp_path / "values.npy")
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, values[:, kept])


def test_absolute_paths_and_wildcards(study, table, tmp_path):
    save(tmp_path, np.ones((5, 2)))
    absolute = study_table(study.table(tmp_path, file=[str(tmp_path / f"{row}.n*y") for row in range(5)]))
    assert visit_files(Path("elsewhere"), absolute, None) == visit_files(tmp_path, table, None)


def test_a_visit_without_a_file(study, tmp_path):
    save(tmp_path, np.ones((5, 2)))
    cells = [f"{row}.npy" for row in range(5)]
    for name, message in [
        ("", r"visits\.csv line 4: the file is missing; name it or drop the visit"),
        ("9.npy", r"9\.npy: no such file, but .*visits\.csv line 4 asks for it"),
        ("9*.npy", r"9\*\.npy: no files match, but .*visits\.csv line 4 asks for one"),
        ("[0-2].npy", r"3 files match, but .*visits\.csv line 4 asks for one; make the pattern narrower"),
        ("1.npy", r"1\.npy: .*visits\.csv line 3 and .*visits\.csv line 4 share it; drop one of them"),
    ]:
        changed = study_table(study.table(tmp_path, file=[*cells[:2], name, *cells[3:]]))
        with pytest.raises(CohortError, match=message):
            visit_files(tmp_path, changed, None)


def test_how_many_visits_lack_the_same_is_told(study, table, tmp_path):
    for pattern, said in [
        ("{subject}.npy", "asks for it (and so with 4 more visits: lines 3, 4, 5, 6); drop"),
        ("{subject}*.npy", "asks for one (and so with 4 more visits: lines 3, 4, 5, 6); drop"),
    ]:
        with pytest.raises(CohortError, match=re.escape(said)):
            visit_files(tmp_path, table, pattern)


def test_whatever_a_reader_raises_is_one_line_that_names_the_file(tmp_path):
    (tmp_path / "x").write_text("x")
    for error in (KeyError("a"), MemoryError(), RuntimeError("two\n lines")):
        with (
            pytest.raises(CohortError, match=r"x: damaged, or not a map \(.*\); write it again") as caught,
            readable(tmp_path / "x", "a map"),
        ):
            raise error
        assert "\n" not in str(caught.value)
    with pytest.raises(KeyboardInterrupt), readable(tmp_path / "x", "a map"):
        raise KeyboardInterrupt


def test_an_empty_file_is_told_to_be_empty(tmp_path):
    (tmp_path / "lh.thickness.mgh").touch()
    with (
        pytest.raises(CohortError, match=r"lh\.thickness\.mgh: an empty file, of 0 bytes; write or copy it again"),
        readable(tmp_path / "lh.thickness.mgh", "an MGH map"),
    ):
        pass
