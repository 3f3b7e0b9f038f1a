"""Surface maps in files: read back as written, by nibabel too; what is no map is named."""

import nibabel
import numpy as np
import pytest

from neuropyro.data import CohortError
from neuropyro.data.surface_maps import is_left, map_suffix, read_surface_map, write_surface_map

MAPS = np.random.default_rng(0).normal(size=(3, 40)).astype(np.float32)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nibabel leaves MGH files open
@pytest.mark.parametrize("name", ["lh.a.mgh", "lh.a.mgz", "lh.a.func.gii", "lh.a.shape.gii"])
@pytest.mark.parametrize("frames", [1, 3])
def test_maps_come_back(tmp_path, name, frames):
    path = tmp_path / name
    write_surface_map(path, MAPS[:frames], ["x", "y", "z"][:frames], "lh")
    np.testing.assert_array_equal(read_surface_map(path), MAPS[:frames])
    image = nibabel.load(path)
    if name.endswith("gii"):
        assert [a.meta["Name"] for a in image.darrays] == ["x", "y", "z"][:frames]
        assert image.meta["AnatomicalStructurePrimary"] == "CortexLeft"
        assert all(a.data.dtype == np.float32 for a in image.darrays)
    else:
        assert image.shape[:3] == (40, 1, 1)
        np.testing.assert_array_equal(np.asarray(image.dataobj).reshape(40, -1).T, MAPS[:frames])


def test_an_uncompressed_file_stays_on_the_disk(tmp_path):
    write_surface_map(tmp_path / "lh.a.mgh", MAPS, ["x", "y", "z"], "lh")
    frames = read_surface_map(tmp_path / "lh.a.mgh")
    while frames is not None and not isinstance(frames, np.memmap):
        frames = frames.base
    assert isinstance(frames, np.memmap)


@pytest.mark.parametrize("name", ["lh.a.mgh", "lh.a.mgz", "lh.a.func.gii"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6])
def test_a_file_cut_short_is_named(tmp_path, name, share):
    path = tmp_path / name
    write_surface_map(path, MAPS, ["x", "y", "z"], "lh")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CohortError, match=rf"{name}: {'damaged, or not a' if share else 'an empty file'}"):
        read_surface_map(path)


def test_what_is_no_map_of_a_surface(tmp_path):
    nibabel.save(nibabel.freesurfer.MGHImage(np.zeros((4, 5, 6), np.float32), np.eye(4)), tmp_path / "brain.mgz")
    with pytest.raises(CohortError, match=r"brain\.mgz: a volume of \(4, 5, 6, 1\), not a map of a surface"):
        read_surface_map(tmp_path / "brain.mgz")
    points = nibabel.gifti.GiftiDataArray(np.zeros((4, 3), np.float32), intent="NIFTI_INTENT_POINTSET")
    nibabel.save(nibabel.gifti.GiftiImage(darrays=[points]), tmp_path / "lh.white.surf.gii")
    with pytest.raises(CohortError, match=r"lh\.white\.surf\.gii: its arrays are \(4, 3\), not maps"):
        read_surface_map(tmp_path / "lh.white.surf.gii")
    with pytest.raises(CohortError, match=r"a\.txt: not a surface map; known are \.mgh"):
        map_suffix(tmp_path / "a.txt")
    with pytest.raises(CohortError, match=r"absent\.mgh: no such file"):
        read_surface_map(tmp_path / "absent.mgh")


def test_hemispheres_by_any_name():
    assert [is_left(h) for h in ("lh", "L", "left", "hemi-L", "rh", "R", "right", "hemi-R")] == 4 * [True] + 4 * [False]
