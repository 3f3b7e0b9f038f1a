"""Files: what is saved comes back; what is broken is named; nothing is executed."""

import pickle
import zipfile

import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError, Mesh, simulate_reference
from neuropyro.data.cohort_files import read_npz, write_npz

PLAIN = {"values": np.arange(6.0).reshape(3, 2), "time": np.arange(3.0), "subject": np.array(["a", "a", "b"])}


def test_a_cohort_comes_back(tmp_path):
    mesh = Mesh(2, edges=[[0, 1]], coordinates=np.ones((2, 3)), template="fsaverage5", template_index=np.array([5, 9]))
    cohort = Cohort(
        **PLAIN,
        diagnosis=["CN", "", "AD"],
        mesh=mesh,
        feature_names=["x", "y"],
        covariates={"apoe_e4": [0, 0, 2]},
        images=np.ones((3, 1, 2, 2), np.float32),
    )
    cohort.save(tmp_path / "study.npz")
    loaded = Cohort.load(tmp_path / "study.npz")
    assert loaded.hash == cohort.hash
    assert repr(loaded) == repr(cohort)
    assert loaded.mesh.template == "fsaverage5"
    for name, array in cohort.arrays().items():
        np.testing.assert_array_equal(loaded.arrays()[name], array, err_msg=name)
        assert loaded.arrays()[name].dtype == array.dtype


def test_the_truth_comes_back_in_its_groups(tmp_path):
    cohort = simulate_reference(5, 7, 2, seed=0)
    cohort.save(tmp_path / "s.npz")
    loaded = Cohort.load(tmp_path / "s.npz")
    assert {g: set(a) for g, a in loaded.truth.groups().items()} == {
        g: set(a) for g, a in cohort.truth.groups().items()
    }
    for name in cohort.truth:
        np.testing.assert_array_equal(loaded.truth[name], cohort.truth[name])


def test_missing_values_come_back(tmp_path):
    values = PLAIN["values"].copy()
    values[1, 0] = np.nan
    Cohort(**PLAIN | {"values": values}).save(tmp_path / "s.npz")
    np.testing.assert_array_equal(Cohort.load(str(tmp_path / "s.npz")).values, values)


def test_faces_alone_make_a_mesh(tmp_path):
    arrays = PLAIN | {"values": np.eye(3), "faces": np.array([[0, 1, 2]])}
    np.savez_compressed(tmp_path / "s.npz", **arrays)
    assert Cohort.load(tmp_path / "s.npz").mesh.edges.tolist() == [[0, 1], [0, 2], [1, 2]]


def test_saving_leaves_no_other_file_and_keeps_the_name(tmp_path):
    Cohort(**PLAIN).save(tmp_path / "study.cohort")
    assert [p.name for p in tmp_path.iterdir()] == ["study.cohort"]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "s.npz"
    write_npz(path, PLAIN)
    before = path.read_bytes()

    class Unwritable:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        write_npz(path, {"values": Unwritable()})
    assert path.read_bytes() == before


def test_no_such_file(tmp_path):
    with pytest.raises(CohortError, match=r"absent\.npz: no such file"):
        Cohort.load(tmp_path / "absent.npz")
    with pytest.raises(CohortError, match="no such file"):
        Cohort.load(tmp_path)  # a folder


@pytest.mark.parametrize("content", [b"", b"subject,time\na,1\n", pickle.dumps({"values": 1})])
def test_a_file_of_another_kind(tmp_path, content):
    path = tmp_path / "s.npz"
    path.write_bytes(content)
    with pytest.raises(CohortError, match=r"s\.npz: not an \.npz file, or cut short"):
        Cohort.load(path)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_a_file_cut_short(tmp_path, share):
    path = tmp_path / "s.npz"
    write_npz(path, PLAIN)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CohortError, match=r"s\.npz: not an \.npz file, or cut short"):
        Cohort.load(path)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("array", ["values", "subject"])
def test_a_damaged_file(tmp_path, write, array):
    path = tmp_path / "s.npz"
    write(path, **PLAIN)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{array}.npy")
    start = info.header_offset + 30 + len(info.filename) + 20
    content = bytearray(path.read_bytes())
    content[start + 5 : start + info.compress_size - 25] = b"\xff" * (info.compress_size - 30)
    path.write_bytes(bytes(content))
    with pytest.raises(CohortError, match=r"s\.npz: .*damaged"):
        Cohort.load(path)


class LoadedError(Exception):
    """Raised where a pickle is executed."""


def explode() -> None:
    raise LoadedError


class Bomb:
    def __reduce__(self):
        return explode, ()


def test_python_objects_are_refused_and_never_executed(tmp_path):
    path = tmp_path / "s.npz"
    objects = np.empty(3, object)
    objects[:] = [Bomb(), "a", "b"]
    np.savez(path, **PLAIN | {"subject": objects})
    with pytest.raises(CohortError, match=r"s\.npz: `subject` holds Python objects .*array\.astype\(str\)"):
        Cohort.load(path)


def test_an_incomplete_or_wrong_file_is_named_with_its_field(tmp_path):
    path = tmp_path / "s.npz"
    np.savez(path, values=PLAIN["values"])
    with pytest.raises(CohortError, match=r"s\.npz: no array `time`; a cohort needs"):
        Cohort.load(path)
    np.savez(path, **PLAIN | {"edges": np.array([[0, 5]])})
    with pytest.raises(CohortError, match=r"s\.npz: mesh: `edges` points at vertex 5, but `values` has 2 columns"):
        Cohort.load(path)
    np.savez(path, **PLAIN | {"time": np.array([0, np.nan, 1])})
    with pytest.raises(CohortError, match=r"s\.npz: time: missing or infinite in row 1"):
        Cohort.load(path)


def test_read_npz_gives_every_array(tmp_path):
    write_npz(tmp_path / "s.npz", PLAIN)
    back = read_npz(tmp_path / "s.npz")
    assert set(back) == set(PLAIN)
