"""Which columns of a table are biomarkers."""

from pathlib import Path

import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError, study_table
from neuropyro.data.biomarkers_table import biomarkers_table
from neuropyro.data.naming_columns import number_in_words
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


@pytest.mark.parametrize("people", [8, 3])
def test_a_copy_of_the_time_is_no_biomarker(tmp_path, people):
    path = written(tmp_path, people)
    head, *rows = path.read_text().splitlines()
    copied = [f"{row},{row.split(',')[1]}" for row in rows]
    path.write_text("\n".join([f"{head},Age at baseline", *copied]) + "\n")
    table = biomarkers_table(path, NO_OPTIONS)
    assert "Age at baseline" not in table.values
    assert "MMSE" in table.values
    assert table.remarks()[-1] == (
        "Age at baseline: goes with the time (`age`), and is taken for a covariate, not for a biomarker; --biomarkers "
        "says otherwise"
    )
    assert biomarkers_table(path, StudyOptions(biomarkers=("MMSE,Age at baseline",))).remarks() == []


def test_the_time_in_other_units_and_from_elsewhere_is_no_biomarker_and_what_is_steeper_is(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["ID,age,gene,APOE4,months,days,since,atrophy,volume"]
    for i in range(12):
        entry, pace = rng.uniform(60, 80), rng.uniform(0.5, 1.5)
        for nominal in range(3):
            year = nominal + rng.uniform(-0.04, 0.04) * (nominal > 0)
            clocks = f"{12 * nominal},{365.25 * year:.0f},{year + 3:.3f}"
            lines.append(f"p{i},{entry + year:.2f},{i % 2},{i % 3},{clocks},{pace * year:.3f},{7 - year:.3f}")
    (tmp_path / "visits.csv").write_text("\n".join(lines) + "\n")
    table = biomarkers_table(tmp_path / "visits.csv", NO_OPTIONS)
    assert (table.values, table.clocks) == (["atrophy", "volume"], ["months", "days", "since"])
    lasting, clocks = table.remarks()
    assert lasting.startswith(
        "gene, APOE4: never change within a subject, as a gene does, and are taken for covariates"
    )
    assert clocks.startswith("months, days, since: go with the time (`age`), and are taken for covariates, not for")


def single_visits(folder: Path, people: int) -> Path:
    """One visit each: of traits some have telling names, one has two values; a rating has four, a ratio has halves."""
    head = "ID,age,APOE4,PTGENDER,Years_of_Education,carrier,Fazekas,CDR,MMSE"
    rows = [f"p{i},{60 + 2.5 * i},{i % 3},{i % 2},{8 + i},{i % 2},{i % 4},{i % 3 / 2},{30 - i}" for i in range(people)]
    path = folder / "visits.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_of_single_visits_names_and_few_whole_values_tell_what_is_no_biomarker(tmp_path):
    table = biomarkers_table(single_visits(tmp_path, 12), NO_OPTIONS)
    assert list(table.values) == ["Fazekas", "CDR", "MMSE"]
    assert list(table.others) == ["APOE4", "PTGENDER", "Years_of_Education", "carrier"]
    (said,) = table.remarks()
    assert said == (
        "APOE4, PTGENDER, Years_of_Education, carrier: by their names or few values what never changes within a "
        "subject (no subject has them twice), and are taken for covariates, not for biomarkers; --biomarkers says "
        "otherwise"
    )
    chosen = biomarkers_table(tmp_path / "visits.csv", StudyOptions(biomarkers=("APOE4", "MMSE")))
    assert (list(chosen.values), chosen.remarks()) == (["APOE4", "MMSE"], [])


def test_few_values_of_few_people_tell_nothing_but_names_do(tmp_path):
    table = biomarkers_table(single_visits(tmp_path, 3), NO_OPTIONS)
    assert list(table.values) == ["carrier", "Fazekas", "CDR", "MMSE"]


def test_a_column_is_judged_by_who_has_it_twice(tmp_path):
    """A gene told at the first visit alone, beside a test that was repeated."""
    rows = [f"p{i},{70 + year},{'' if year else i % 3},{28 - i - year}" for i in range(4) for year in (0, 1)]
    path = tmp_path / "visits.csv"
    path.write_text("\n".join(["ID,age,apoe4,MMSE", *rows]) + "\n")
    assert list(biomarkers_table(path, NO_OPTIONS).values) == ["MMSE"]


def test_what_would_leave_no_biomarker_is_one(tmp_path):
    path = tmp_path / "visits.csv"
    path.write_text("ID,age,sex,education\na,70,1,12\nb,71,0,8\n")
    table = biomarkers_table(path, NO_OPTIONS)
    assert (list(table.values), table.remarks()) == (["sex", "education"], [])


def test_columns_of_no_value_are_left_out_unless_they_are_chosen(tmp_path):
    path = written(tmp_path, 3)
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([f"{head},plasma,note", *(f"{row},,NA" for row in rows)]) + "\n")
    table = biomarkers_table(path, NO_OPTIONS)
    assert (list(table.values), list(table.others)) == (["APOE4", "MMSE"], [])
    assert table.remarks() == ["plasma, note: have no value at any visit, and are left out"]
    chosen = biomarkers_table(path, StudyOptions(biomarkers=("MMSE,plasma",)))
    assert (list(chosen.values), list(chosen.empty)) == (["MMSE", "plasma"], ["note"])


def test_numbers_that_only_name_and_numbers_in_words_are_covariates_and_told(tmp_path):
    rows = [
        f"p{i},{70 + year},{28 - i - year},{5550000 + 37 * i * year},{90 - i - year}mg"
        for i in range(6)
        for year in (0, 1)
    ]
    path = tmp_path / "visits.csv"
    path.write_text("\n".join(["ID,age,MMSE,Phone,dose", *rows]) + "\n")
    table = biomarkers_table(path, NO_OPTIONS)
    assert (list(table.values), list(table.others)) == (["MMSE"], ["Phone", "dose"])
    names, words = table.remarks()
    assert names.startswith(
        "Phone: by its name only tells people, records or machines apart, and is taken for a covariate"
    )
    assert words.startswith("dose: its cells are numbers with something beside them ('90mg'), and it is taken for a")
    chosen = biomarkers_table(path, StudyOptions(biomarkers=("MMSE,Phone",)))
    assert (list(chosen.values), len(chosen.remarks())) == (["MMSE", "Phone"], 1)


def semicolons(folder: Path, cells: list[str], name: str = "visits.csv", head: str = "volume") -> Path:
    """Two visits each, with a test in whole numbers, and a column of such cells."""
    rows = [f"p{i // 2};{70 + i % 2},5;{28 - i};{cell}" for i, cell in enumerate(cells)]
    path = folder / name
    text = "\n".join([f"ID;age;MMSE;{head}", *rows]) + "\n"
    path.write_text(text.replace(";", "\t") if path.suffix == ".tsv" else text)
    return path


def test_a_column_of_percentages_is_a_biomarker(tmp_path):
    path = semicolons(tmp_path, ["92%", "90 %", "", "88%", "87.5%", "n/a"], head="FDG")
    table = biomarkers_table(path, NO_OPTIONS)
    assert list(table.values) == ["MMSE", "FDG"]
    np.testing.assert_array_equal(table.fields()["values"][:, 1], [92, 90, np.nan, 88, 87.5, np.nan])
    assert table.remarks()[0] == "FDG: read as numbers in per cent ('92%' is 92)"
    chosen = biomarkers_table(path, StudyOptions(biomarkers=("FDG",)))
    np.testing.assert_array_equal(chosen.fields()["values"][:, 0], table.fields()["values"][:, 1])


def test_percentages_with_other_things_beside_them_stay_a_covariate(tmp_path):
    path = semicolons(tmp_path, ["92%", "90%", "91", "88%", "87%", "86%"], head="FDG")
    table = biomarkers_table(path, NO_OPTIONS)
    assert (list(table.values), list(table.others)) == (["MMSE"], ["FDG"])
    assert any("its cells are numbers with something beside them ('92%')" in said for said in table.remarks())
    coded = biomarkers_table(path, StudyOptions(missing=("91",)))  # a code for a missing value is no such thing
    np.testing.assert_array_equal(coded.fields()["values"][:, 1], [92, 90, np.nan, 88, 87, 86])


@pytest.mark.parametrize("name", ["visits.csv", "visits.tsv"])
def test_decimal_commas_are_read_where_semicolons_or_tabs_part_cells(tmp_path, name):
    path = semicolons(tmp_path, ["31", "29,8", "", "-0,25", "30,125", "28"], name)
    table = biomarkers_table(path, NO_OPTIONS)
    fields = table.fields()
    np.testing.assert_array_equal(fields["values"][:, 1], [31, 29.8, np.nan, -0.25, 30.125, 28])
    np.testing.assert_array_equal(fields["time"], [70.5, 71.5] * 3)
    assert table.remarks()[0] == "age, volume: read as numbers with a decimal comma ('70,5' is 70.5)"
    np.testing.assert_array_equal(Cohort.from_dataframe(path, subject="ID", time="age").values, fields["values"])
    assert study_table(path).time.tolist() == [70.5, 71.5] * 3
    np.testing.assert_array_equal(study_table(path).covariates["volume"], fields["values"][:, 1])


def test_a_comma_that_may_part_thousands_is_refused_with_both_readings(tmp_path):
    path = semicolons(tmp_path, ["1,234", "1,250", "1,301", "1,244", "1,277", "980"])
    with pytest.raises(CohortError, match=r"line 2: `volume` is '1,234', which may be 1\.234 or 1234 \(and 4 more"):
        biomarkers_table(path, NO_OPTIONS)
    sure = semicolons(tmp_path, ["0,234", "1,250", "1,301", "1,244", "1,277", "1,980"])  # no thousands begin with 0
    np.testing.assert_array_equal(biomarkers_table(sure, NO_OPTIONS).fields()["values"][0, 1], 0.234)


@pytest.mark.parametrize("cells", [["29,8", "30.5", "31"] * 2, ["29,8", "30,1,2", "31"] * 2])
def test_commas_beside_points_or_other_commas_are_not_guessed(tmp_path, cells):
    with pytest.raises(CohortError, match="`volume` is '29,8'"):
        biomarkers_table(semicolons(tmp_path, cells), StudyOptions(biomarkers=("MMSE,volume",))).fields()


def test_quoted_decimal_commas_between_commas_stay_refused(tmp_path):
    path = semicolons(tmp_path, ["29,8", "30,1", "31,2", "32,2"])
    path.write_text("\n".join(",".join(f'"{c}"' for c in line.split(";")) for line in path.read_text().splitlines()))
    with pytest.raises(CohortError, match="`volume` is '29,8', with a decimal comma"):
        biomarkers_table(path, NO_OPTIONS)


def test_names_of_people_with_commas_stay_names(tmp_path):
    path = tmp_path / "visits.csv"
    path.write_text("ID;age;MMSE\n1,10;70;28\n1,1;71;27\n")
    assert biomarkers_table(path, NO_OPTIONS).fields()["subject"].tolist() == ["1,10", "1,1"]


def test_codes_for_missing_values_that_no_cell_is_are_told(tmp_path):
    path = semicolons(tmp_path, ["31", "-4.0", "30", "29"])
    table = biomarkers_table(path, StudyOptions(missing=("-4", "abc,999")))
    assert "--missing abc,999: no cell of the table is that" in table.remarks()
    assert not any("missing" in said for said in biomarkers_table(path, StudyOptions(missing=("-4",))).remarks())


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["37%", "", "4.5 %", "-2%", ">90%"], "37%"),
        (["12mg", "13 mg", "9mg", "1mg"], "12mg"),
        (["3T", "1.5T", "3T", "3T"], None),  # two kinds
        (["m12", "m24", "m36", "m48"], None),  # names with numbers
        (["30.6.2017", "1.7.2017", "2.7.2018", "1.1.2019"], None),  # dates
        (["37%", "4%", "2%", "1%", "much"], None),
        (["", ""], None),
    ],
)
def test_what_a_number_with_something_beside_it_is(cells, found):
    assert number_in_words(cells) == found
