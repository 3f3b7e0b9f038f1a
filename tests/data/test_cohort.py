"""A cohort: what it takes, what it says, what it refuses."""

import dataclasses

import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError, Mesh, Truth

N, L = 6, 4


def arrays(**changes):
    rng = np.random.default_rng(0)
    own = {
        "values": rng.standard_normal((N, L)),
        "time": np.array([71.0, 70.0, 65.0, 66.0, 67.5, 80.0]),
        "subject": np.array(["b", "b", "a", "a", "a", "c"]),
    }
    return own | changes


def cohort(**changes) -> Cohort:
    return Cohort(**arrays(**changes))


def line_mesh(n: int = L) -> Mesh:
    return Mesh(n, edges=np.stack([np.arange(n - 1), np.arange(1, n)], 1))


def full() -> Cohort:
    rng = np.random.default_rng(1)
    return cohort(
        diagnosis=np.array(["AD", "AD", "CN", "CN", "CN", ""]),
        mesh=line_mesh(),
        feature_names=["w", "x", "y", "z"],
        covariates={"sex": np.array([0, 0, 1, 1, 1, 0]), "site": np.array(["L", "L", "R", "R", "R", "L"])},
        images=rng.random((N, 1, 2, 2), dtype=np.float32),
        truth=Truth(
            visit={"dps": np.arange(N)},
            subject={"alpha": np.array([1.0, 2.0, 3.0])},
            vertex={"Z": np.arange(L)},
            other={"a": np.ones(2)},
        ),
    )


def with_value(row: int, column: int, value: float) -> np.ndarray:
    values = arrays()["values"]
    values[row, column] = value
    return values


def with_pixel(row: int, value: float) -> np.ndarray:
    images = np.ones((N, 1, 2, 2))
    images[row, 0, 0, 1] = value
    return images


REFUSED = {
    "values of one dimension": ({"values": np.ones(N)}, r"values: must be numbers of shape \(visits, vertices\)"),
    "values of text": ({"values": np.full((N, L), "1")}, "values: must be numbers"),
    "no visits": ({"values": np.ones((0, L)), "time": [], "subject": []}, "values: must be numbers of shape"),
    "no vertices": ({"values": np.ones((N, 0))}, "values: must be numbers of shape"),
    "an infinite value": (
        {"values": with_value(3, 1, np.inf)},
        "values: infinite for subject a at 66 years; mark missing values by NaN",
    ),
    "a minus infinite value": ({"values": with_value(2, 0, -np.inf)}, "values: infinite for subject a at"),
    "short time": ({"time": [1.0, 2.0]}, "time: 2 entries for 6 visits"),
    "one time": ({"time": 3.0}, "time: a single value for 6 visits"),
    "NaN time": ({"time": [1, 2, np.nan, 4, 5, 6]}, "time: missing or infinite in row 2"),
    "infinite time": ({"time": [1, 2, 3, 4, 5, np.inf]}, "time: missing or infinite in row 5"),
    "time as text": ({"time": ["70"] * N}, "time: must be one number a visit, in years"),
    "time of two columns": ({"time": np.ones((N, 2))}, "time: must be one number a visit, in years"),
    "short subject": ({"subject": ["a"]}, "subject: 1 entries for 6 visits"),
    "subject without a name": ({"subject": ["a", "a", "", "b", "b", "b"]}, "subject: empty in row 2"),
    "subject None": (
        {"subject": np.array(["a", None, "b", "b", "b", "b"], dtype=object)},
        "subject: empty in row 1",
    ),
    "subject as fractions": ({"subject": [1.5, 1, 1, 2, 2, 2]}, "subject: must be one whole number or text a visit"),
    "subject NaN": ({"subject": [np.nan, 1, 1, 2, 2, 2]}, "subject: must be one whole number or text a visit"),
    "subject as a table": ({"subject": np.ones((N, 2), int)}, "subject: must be one whole number or text a visit"),
    "short diagnosis": ({"diagnosis": [1, 2]}, "diagnosis: 2 entries for 6 visits"),
    "diagnosis of objects": (
        {"diagnosis": np.array([{}] * N, dtype=object)},
        "diagnosis: must be one whole number or text a visit",
    ),
    "diagnosis as fractions": ({"diagnosis": [1.5, 1, 1, 2, 2, 2]}, "diagnosis: must be one whole number or text"),
    "infinite diagnosis": ({"diagnosis": [np.inf, 1, 1, 2, 2, 2]}, "diagnosis: must be one whole number or text"),
    "short feature names": ({"feature_names": ["a"]}, "feature_names: 1 names for 4 columns"),
    "short covariate": ({"covariates": {"sex": [1]}}, "covariate_sex: 1 entries for 6 visits"),
    "short images": ({"images": np.ones((2, 1, 3, 3))}, "images: 2 entries for 6 visits"),
    "images without channels": ({"images": np.ones((N, 3, 3))}, r"images: must be numbers of shape \(visits, channels"),
    "images as text": ({"images": np.full((N, 1, 2, 2), "1")}, "images: must be numbers of shape"),
    "images without pixels": ({"images": np.ones((N, 1, 0, 2))}, "images: must be numbers of shape"),
    "an infinite pixel": ({"images": with_pixel(4, np.inf)}, "images: row 4 is infinite or missing in part"),
    "a missing pixel": ({"images": with_pixel(1, np.nan)}, "images: row 1 is infinite or missing in part"),
    "a mesh of another size": ({"mesh": line_mesh(7)}, "mesh: it has 7 vertices, but `values` has 4 columns"),
    "short truth": ({"truth": Truth(visit={"dps": np.ones(3)})}, r"truth: `dps` has 3 rows, but there are 6 \(visit\)"),
    "truth of another cohort": ({"truth": Truth(subject={"alpha": np.ones(5)})}, "truth: `alpha` has 5 rows"),
    "truth of other vertices": ({"truth": Truth(vertex={"Z": np.ones(5)})}, "truth: `Z` has 5 rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    changes, message = REFUSED[case]
    with pytest.raises(CohortError, match=message):
        cohort(**changes)


def test_refuses_one_visit_twice():
    values = arrays()["values"]
    values[4] = values[2]
    same_day = [71, 70, 65, 66, 65, 80]
    message = "values: there are two rows with the same values for subject a at 65 years; drop one of them"
    with pytest.raises(CohortError, match=message):
        cohort(values=values, time=same_day)
    assert cohort(values=values).n_visits == N  # the same values a year later are no copy
    assert cohort(time=same_day).n_visits == N  # nor are two scans of one day


def test_one_visit_twice_is_seen_through_missing_values():
    values = arrays()["values"]
    values[2, 1] = np.nan
    values[4] = values[2]
    with pytest.raises(CohortError, match="two rows with the same values for subject a at 65 years"):
        cohort(values=values, time=[71, 70, 65, 66, 65, 80])
    values[[2, 4]] = np.nan  # two visits at which nothing was measured are no copies either
    assert cohort(values=values, time=[71, 70, 65, 66, 65, 80]).observed_rows.tolist() == [1, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("f8", "f8"), ("f4", "f4"), ("f2", "f4"), ("i8", "f4"), ("u1", "f4"), ("?", "f4")],
)
def test_dtype_of_values(given, kept):
    assert cohort(values=(np.arange(N * L).reshape(N, L) % 7).astype(given)).values.dtype == kept


def test_ragged_values_are_refused():
    with pytest.raises(CohortError, match="values: rows of different lengths"):
        Cohort(**arrays() | {"values": [[1.0, 2.0], [3.0]]})


def test_masked_whole_numbers_become_float32():
    own = Cohort(**arrays() | {"values": np.ma.masked_less(np.arange(N * L).reshape(N, L), 1)})
    assert own.values.dtype == np.float32
    assert np.argwhere(np.isnan(own.values)).tolist() == [[0, 0]]


def test_masked_values_are_missing():
    values = np.ma.masked_array(arrays()["values"], mask=np.eye(N, L, dtype=bool))
    own = cohort(values=values)
    assert not isinstance(own.values, np.ma.MaskedArray)
    np.testing.assert_array_equal(np.isnan(own.values), np.eye(N, L, dtype=bool))


def test_it_cannot_be_changed():
    own = full()
    for array in own.arrays().values():
        if array.ndim:
            with pytest.raises(ValueError, match="read-only"):
                array[0] = array[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        own.time = own.time  # type: ignore[misc]


def test_subjects_and_rows_in_any_order():
    own = cohort()
    assert own.subjects.tolist() == ["a", "b", "c"]
    assert own.subject_index.tolist() == [1, 1, 0, 0, 0, 2]
    assert own.is_first_visit.tolist() == [False, True, True, False, False, True]  # by time, not by row
    assert (own.n_visits, own.n_vertices, own.n_subjects) == (N, L, 3)


def test_of_equal_times_the_upper_row_is_first():
    own = cohort(time=[70, 70, 65, 66, 67.5, 80])
    assert own.is_first_visit.tolist() == [True, False, True, False, False, True]


def test_a_subject_without_values_and_a_single_visit_stay():
    values = arrays()["values"]
    values[5] = np.nan  # subject c was seen once, and nothing was measured
    own = cohort(values=values)
    assert own.n_subjects == 3
    assert own.observed_rows.tolist() == [True] * 5 + [False]
    assert own.subset(visits=own.observed_rows).subjects.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("diagnosis", "controls"),
    [
        (None, [0, 0, 0, 0, 0, 0]),
        ([1, 2, 1, -1, 3, 1], [1, 0, 1, 0, 0, 1]),
        ([1.0, np.nan, 1, 2, 2, 2], [1, 0, 1, 0, 0, 0]),
        (["CN", "cn ", "CTL", "HC", "Control", "AD"], [1, 1, 1, 1, 1, 0]),
        (np.array(["MCI", None, "CN", np.nan, "AD", ""], dtype=object), [0, 0, 1, 0, 0, 0]),
        (np.array([b"CN", b"AD", b"AD", b"AD", b"AD", b"CN"]), [1, 0, 0, 0, 0, 1]),
        (["Normal", "NL", " cognitively normal", "Healthy controls", "abnormal", "CNS"], [1, 1, 1, 1, 0, 0]),
    ],
)
def test_controls(diagnosis, controls):
    assert cohort(diagnosis=diagnosis).is_control.tolist() == [bool(c) for c in controls]


def test_the_first_line_says_which_words_were_taken_for_controls():
    said = repr(cohort(diagnosis=["CN", "cn ", "Normal", "normaal", "AD", ""]))
    assert "at first visit (by CN, Normal, cn; not AD, normaal)" in said
    assert repr(cohort(diagnosis=["CN"] * 5 + [""])).endswith("at first visit (by CN))")
    assert "0 controls at first visit" in repr(cohort(diagnosis=["AD"] * 6))
    assert " (by" not in repr(cohort(diagnosis=["AD"] * 6)) + repr(cohort(diagnosis=[2, 3, 2, -1, 3, 2]))
    assert "at first visit (by 1; not 0, 3)" in repr(cohort(diagnosis=[1, 0, 1, -1, 3, 1]))


def test_reference_visits():
    first = [False, True, True, False, False, True]
    assert cohort().is_reference.tolist() == first
    assert cohort(diagnosis=["AD", "AD", "CN", "CN", "CN", "AD"]).is_reference.tolist() == first  # one control only
    two = cohort(diagnosis=["AD", "AD", "CN", "CN", "CN", "CN"])
    assert two.is_reference.tolist() == [False, False, True, False, False, True]
    late = cohort(diagnosis=["CN", "AD", "CN", "CN", "CN", "CN"])  # a control at a later visit is no reference
    assert late.is_reference.tolist() == [False, False, True, False, False, True]


@pytest.mark.parametrize("subject", [[7, 7, 3, 3, 3, 9], [7.0, 7, 3, 3, 3, 9]])
def test_subjects_as_numbers(subject):
    own = cohort(subject=subject)
    assert own.subjects.tolist() == [3, 7, 9]
    assert own.subject.dtype.kind == "i"


def test_subset_by_subject_and_vertex():
    part = full().subset(subjects=["a", "c"], vertices=[1, 2, 3])
    assert part.subject.tolist() == ["a", "a", "a", "c"]
    np.testing.assert_array_equal(part.values, full().values[2:, 1:])
    assert part.feature_names.tolist() == ["x", "y", "z"]
    assert part.mesh.edges.tolist() == [[0, 1], [1, 2]]
    assert part.covariates["site"].tolist() == ["R", "R", "R", "L"]
    assert part.images.shape == (4, 1, 2, 2)
    assert part.diagnosis.tolist() == ["CN", "CN", "CN", ""]
    assert part.truth["dps"].tolist() == [2, 3, 4, 5]
    assert part.truth["alpha"].tolist() == [1, 3]
    assert part.truth["Z"].tolist() == [1, 2, 3]
    assert part.truth["a"].tolist() == [1, 1]


def test_subset_by_visits():
    own = full()
    by_mask = own.subset(visits=own.time < 70)
    by_number = own.subset(visits=[2, 3, 4])
    assert by_mask.time.tolist() == by_number.time.tolist() == [65, 66, 67.5]
    assert own.subset(visits=[5, 0]).truth["alpha"].tolist() == [2, 3]  # in the order of subjects, not of rows
    assert own.subset(vertices=np.array([True, False, False, True])).truth["Z"].tolist() == [0, 3]
    assert own.subset().hash == own.hash


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subjects": ["nobody"]}, "subject: 'nobody' is not in this cohort"),
        ({"visits": np.zeros(N, bool)}, "subset: it keeps no visit or no vertex"),
        ({"vertices": np.zeros(L, bool)}, "subset: it keeps no visit or no vertex"),
        ({"visits": [0], "subjects": ["c"]}, "subset: it keeps no visit or no vertex"),
        ({"visits": [N]}, "subset: `visits` .*6"),
        ({"visits": np.ones(3, bool)}, "subset: `visits` .*6"),
        ({"vertices": [L]}, "subset: `vertices` .*4"),
    ],
)
def test_subset_refuses(arguments, message):
    with pytest.raises(CohortError, match=message):
        cohort().subset(**arguments)


@pytest.mark.parametrize("folds", [2, 3])
def test_folds_share_no_subject(folds):
    own = full()
    tested = []
    for train, test in own.split_subjects(folds, seed=4):
        assert not set(train.subjects) & set(test.subjects)
        assert train.n_visits + test.n_visits == N
        tested += test.subjects.tolist()
    assert sorted(tested) == ["a", "b", "c"]
    again = [test.subjects.tolist() for _, test in own.split_subjects(folds, seed=4)]
    assert [name for names in again for name in names] == tested


@pytest.mark.parametrize("folds", [1, 4])
def test_folds_refused(folds):
    with pytest.raises(CohortError, match=f"split_subjects: {folds} folds of 3 subjects; give 2 to 3"):
        list(cohort().split_subjects(folds))


def test_hash_sees_everything_but_the_truth():
    own = full()
    assert own.hash == full().hash
    assert dataclasses.replace(own, truth=Truth()).hash == own.hash
    changes = {
        "values": with_value(0, 0, 9.0),
        "time": own.time + 1,
        "subject": np.array(["b", "b", "a", "a", "a", "d"]),
        "diagnosis": None,
        "mesh": None,
        "feature_names": None,
        "covariates": {},
        "images": None,
    }
    hashes = {dataclasses.replace(own, **{name: value}).hash for name, value in changes.items()}
    assert len(hashes | {own.hash}) == len(changes) + 1


def test_hash_does_not_depend_on_memory_layout():
    values = arrays()["values"]
    assert cohort(values=np.asfortranarray(values)).hash == cohort(values=values).hash
    assert cohort(values=values.astype("f4")).hash != cohort(values=values).hash


def test_repr_says_what_is_there():
    text = repr(dataclasses.replace(full(), values=with_value(0, 0, np.nan)))
    for part in (
        "6 visits of 3 subjects x 4 columns (w, x, y, z)",
        "1 to 3 visits a subject",
        "65 to 80 years",
        "4.2% missing",
        "1 control at first visit",
        "Mesh(4 vertices, 3 edges)",
        "covariates sex, site",
    ):
        assert part in text
    assert "x 4 vertices; " in repr(cohort())
    assert "nothing missing" in repr(cohort())
    many = {f"c{i}": np.arange(N) for i in range(33)}
    assert repr(cohort(covariates=many)).endswith("c28, c29 and 3 more)")


def test_from_arrays_names_its_source():
    given = arrays()
    with pytest.raises(CohortError, match=r"study\.npz: no array `time`"):
        Cohort.from_arrays({k: v for k, v in given.items() if k != "time"}, source="study.npz")
    with pytest.raises(CohortError, match=r"study\.npz: time: 1 entries for 6 visits"):
        Cohort.from_arrays(given | {"time": [1.0]}, source="study.npz")
    with pytest.raises(CohortError, match=r"study\.npz: values: must be numbers"):
        Cohort.from_arrays(given | {"values": np.float64(1), "edges": np.array([[0, 1]])}, source="study.npz")


def test_images_are_read_only_float32_and_may_be_missing_at_a_visit():
    given = np.arange(N * 4).reshape(N, 1, 2, 2)
    images = given.astype(float)
    images[2] = np.nan
    kept = cohort(images=images).images
    assert kept.dtype == np.float32
    np.testing.assert_array_equal(kept[[0, 1, 3, 4, 5]], given[[0, 1, 3, 4, 5]])
    assert np.isnan(kept[2]).all()
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 0
    images[0] = 7
    assert kept[0, 0, 0, 0] == 0


def test_images_come_back_from_a_file_and_count_in_the_hash(tmp_path):
    whole = full()
    whole.save(tmp_path / "cohort.npz")
    again = Cohort.load(tmp_path / "cohort.npz")
    np.testing.assert_array_equal(again.images, whole.images)
    changed = dataclasses.replace(whole, images=whole.images + 1)
    assert again.hash == whole.hash != changed.hash


def test_the_unit_comes_back_from_a_file_and_stays_with_a_part_but_changes_no_fit(tmp_path):
    cohort = Cohort(np.array([[2.5, 2.4], [2.4, 2.2]]), [70, 71], ["a", "b"], unit="mm")
    cohort.save(tmp_path / "c.npz")
    assert Cohort.load(tmp_path / "c.npz").unit == cohort.subset(vertices=[1]).unit == "mm"
    assert dataclasses.replace(cohort, unit=None).hash == cohort.hash


def test_of_several_rows_of_one_visit_only_equal_ones_are_refused():
    subject, time = ["a"] * 4 + ["b"] * 2, [1.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    values = arrays()["values"]
    assert Cohort(values, time, subject).n_visits == N
    values[3] = values[2]
    with pytest.raises(CohortError, match="two rows with the same values for subject a at 1 years"):
        Cohort(values, time, subject)


def test_times_of_the_calendar_are_not_called_ages():
    dates = Cohort(np.zeros((3, 1)), time=[2014.25, 2015.5, 2016.0], subject=["a", "a", "b"])
    assert "dates 2014.25 to 2016.00 (years of the calendar)" in repr(dates)
