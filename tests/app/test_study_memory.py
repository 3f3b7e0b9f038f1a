"""What a fit's folder remembers of how its study was read."""

import json

import pytest

from neuropyro.data.errors import CohortError
from neuropyro.data.open_study import StudyOptions
from neuropyro.study_memory import KEPT, STUDY, keep_reading, read_alike


def test_what_was_said_is_said_again_but_where_new_words_differ(tmp_path):
    told = StudyOptions(subject="who", time="years", missing=("-4",), fwhm=10.0, control="HC", biomarkers=("MMSE",))
    keep_reading(told, tmp_path / "visits.csv", tmp_path)
    assert set(json.loads((tmp_path / STUDY).read_text())["options"]) <= set(KEPT)  # the fit knows its biomarkers
    new = tmp_path / "new.csv"
    new.write_text("who,years,MMSE\n")
    alike = read_alike(StudyOptions(missing=("-9",)), new, tmp_path)
    assert alike == StudyOptions(subject="who", time="years", missing=("-9",), fwhm=10.0, control="HC")
    new.write_text("who,age,MMSE\n")  # no column `years`: it is looked for by its usual names
    assert read_alike(StudyOptions(), new, tmp_path).time is None
    assert read_alike(StudyOptions(), tmp_path, tmp_path) == StudyOptions()  # a folder, where a table was fitted


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"kind": "table"}',
        '{"kind": "table", "options": 3}',
        '{"kind": "table", "options": {"subject": 3}}',
        '{"kind": "table", "options": {"missing": "-4"}}',
        '{"kind": "table", "options": {"missing": [-4]}}',
        '{"kind": "table", "options": {"fwhm": "ten"}}',
    ],
)
def test_a_damaged_memory_is_one_error_that_names_the_file(tmp_path, text):
    (tmp_path / STUDY).write_text(text)
    (tmp_path / "new.csv").write_text("ID,age\n")
    with pytest.raises(CohortError, match=r"study\.json: damaged; fit again, or delete it"):
        read_alike(StudyOptions(), tmp_path / "new.csv", tmp_path)
