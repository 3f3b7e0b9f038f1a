"""Tables of text: what cells mean, and errors that name the line."""

import numpy as np
import pandas as pd
import pytest

from neuropyro.data import CohortError
from neuropyro.data.text_table import TextTable, read_table, table_of


def written(folder, text, name="t.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", 'id,x,note\na,1.5,"p, q"\n\nb,n/a,r\n'),
        ("t.csv", "\ufeffid;x;note\na;1.5;p, q\nb;NaN;r\n"),
        ("t.tsv", "id\tx\tnote\na\t1.5\tp, q\nb\t\tr\n"),
    ],
)
def test_delimiters_blank_lines_and_missing_cells(tmp_path, name, text):
    table = read_table(written(tmp_path, text, name))
    assert list(table.columns) == ["id", "x", "note"]
    assert table.text("note").tolist() == ["p, q", "r"]
    np.testing.assert_array_equal(table.numbers("x"), [1.5, np.nan])
    assert table.is_numeric("x")
    assert not table.is_numeric("id")


def test_freesurfers_tables_have_blanks(tmp_path):
    table = read_table(written(tmp_path, "fsid  fsid-base years\ntp1 bert  0\ntp2 bert  1.5\n", "long.qdec.table.dat"))
    assert table.text("fsid").tolist() == ["tp1", "tp2"]
    assert table.numbers("years").tolist() == [0, 1.5]


def test_only_the_wanted_columns_are_kept(tmp_path):
    table = read_table(written(tmp_path, "a,b,c\n1,2,3\n"), ("c", "a", "absent"))
    assert list(table.columns) == ["a", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows below the header"),
        ("id,x\n", "no rows below the header"),
        ("id,x,id\n1,2,3\n", "the column `id` is there twice"),
        ("id,x\na,1\nb\n", r"t\.csv line 3: 1 cells below a header of 2"),
    ],
)
def test_broken_tables_are_named(tmp_path, text, message):
    with pytest.raises(CohortError, match=rf"t\.csv.*{message}|{message}"):
        read_table(written(tmp_path, text))


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(CohortError, match=r"absent\.csv: no such file"):
        read_table(tmp_path / "absent.csv")
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(CohortError, match=r"t\.csv: not a table of text"):
        read_table(tmp_path / "t.csv")


def test_errors_name_line_column_and_cell(tmp_path):
    table = read_table(written(tmp_path, "id,age,when\na,70,2010-01-01\n\nb,old,summer\n"))
    with pytest.raises(CohortError, match=r"t\.csv line 4: `age` is 'old', not a number"):
        table.numbers("age")
    with pytest.raises(CohortError, match=r"t\.csv line 4: `when` is 'summer', not a date like"):
        table.years("when")
    with pytest.raises(CohortError, match=r"t\.csv: no column `weight`; there are id, age, when"):
        table.column("weight")


def test_years_count_days(tmp_path):
    table = read_table(written(tmp_path, "when\n1970-01-01\n2010-07-02T12:30:00\nn/a\n"))
    days = (np.datetime64("2010-07-02") - np.datetime64("1970-01-01")).astype(int)
    np.testing.assert_allclose(table.years("when"), [0, days / 365.25, np.nan])


def test_a_name_with_an_underscore_is_no_number():
    assert not TextTable("t", {"id": np.array(["1_2"])}).is_numeric("id")


def test_a_dataframe_with_gaps_and_an_index():
    frame = pd.DataFrame(
        {"n": pd.array([1, None, 3], dtype="Int64"), "x": [1.5, np.nan, 2], "t": ["a", None, "b"]},
        index=pd.MultiIndex.from_tuples([("p", 1.0), ("p", 2.0), ("q", 1.0)], names=["ID", "TIME"]),
    )
    table = table_of(frame)
    assert list(table.columns) == ["ID", "TIME", "n", "x", "t"]
    np.testing.assert_array_equal(table.numbers("n"), [1, np.nan, 3])
    np.testing.assert_array_equal(table.covariate("x"), [1.5, np.nan, 2])
    assert table.text("t").tolist() == ["a", "", "b"]
    assert table.place(1) == "DataFrame row 1"


def test_whole_numbers_of_a_frame_are_named_without_a_point():
    assert table_of(pd.DataFrame({"RID": [2.0, 31.0]})).text("RID").tolist() == ["2", "31"]


def test_other_things_are_no_tables():
    with pytest.raises(CohortError, match="table: must be the path of a CSV or TSV file, or a DataFrame, not dict"):
        table_of({"ID": [1]})
    with pytest.raises(CohortError, match="DataFrame: it has no rows"):
        table_of(pd.DataFrame({"ID": []}))
    with pytest.raises(CohortError, match="DataFrame: the column `MMSE` is there twice"):
        table_of(pd.DataFrame([["a", 28, 27]], columns=["ID", "MMSE", "MMSE"]))
