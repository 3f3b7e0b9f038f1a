"""Which columns of a table are biomarkers."""

from pathlib import Path

import pytest

from neuropyro.data.biomarkers_table import biomarkers_table
from neuropyro.data.open_study import NO_OPTIONS, StudyOptions


def written(folder: Path, people: int) -> Path:
    """Two visits each: a gene, which some have, and a test, of which one person's second value is missing."""
    lines = [
        f"p{i},{70 + year},{i % 3},{28 - i - year if i + year != 1 else ''}" for i in range(people) for year in (0, 1)
    ]
    path = folder / "visits.csv"
    path.write_text("\n".join(["ID,age,APOE4,MMSE", *lines]) + "\n")
    return path


def test_numbers_that_never_change_within_a_subject_are_covariates(tmp_path):
    table = biomarkers_table(written(tmp_path, 8), NO_OPTIONS)
    assert (list(table.values), list(table.others)) == (["MMSE"], ["APOE4"])
    (said,) = table.remarks()
    assert said.startswith("APOE4: never changes within a subject, as a gene does, and is taken for a covariate")


@pytest.mark.parametrize(("people", "chosen"), [(8, ("APOE4,MMSE",)), (3, ())], ids=["chosen", "too few to tell"])
def test_they_are_biomarkers_where_they_are_chosen_or_few_people_show_it(tmp_path, people, chosen):
    table = biomarkers_table(written(tmp_path, people), StudyOptions(biomarkers=chosen))
    assert list(table.values) == ["APOE4", "MMSE"]
    assert table.remarks() == []
