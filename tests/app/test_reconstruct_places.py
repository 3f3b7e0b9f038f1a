"""That slices from elsewhere in the head than the generator's are told, by the file's own affine."""

from dataclasses import replace
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import torch

from neuropyro.data.nifti_slices import read_nifti
from neuropyro.generators import load_generator
from neuropyro.models.corruption import Blur
from neuropyro.reconstruct_inputs import Job
from neuropyro.reconstruct_outputs import Reconstruction
from neuropyro.reconstruct_places import place_warnings


@pytest.fixture(scope="module")
def brains():
    return load_generator("brains64")


def volume(path, code=4, flipped=False, qform_alone=False):
    """Coronal slices from y = -100 to 90 mm, 10 mm apart."""
    affine = np.array([[2.0, 0, 0, -8], [0, 10, 0, -100], [0, 0, 2, -8], [0, 0, 0, 1]])
    if flipped:
        affine[1, 1], affine[1, 3] = -10, 90
    image = nibabel.Nifti1Image(np.random.default_rng(0).random((8, 20, 9), np.float32), affine)
    image.set_sform(affine, 0 if qform_alone else code)
    image.set_qform(affine, code if qform_alone else 0)
    nibabel.save(image, path / "t1.nii.gz")
    return path / "t1.nii.gz"


@pytest.mark.parametrize("qform_alone", [False, True])
@pytest.mark.parametrize("flipped", [False, True])
def test_slices_outside_of_the_generators_range_are_named(brains, flipped, qform_alone, tmp_path):
    path = volume(tmp_path, flipped=flipped, qform_alone=qform_alone)
    (line,) = place_warnings(read_nifti(path, slices=(1, 8)), brains)  # numbers run from the back in either
    assert line.startswith("slice 1 lies at y = -90 mm by the file's own affine")
    assert "brains64 was trained on coronal slices from -39 to 6 mm alone" in line
    assert "--slices" in line.partition(";")[2]
    (line,) = place_warnings(read_nifti(path, slices="all"), brains)
    assert line.startswith("15 slices lie elsewhere, as slice 0 at y = -100 mm")  # but for -40, nearly, to 0
    assert place_warnings(read_nifti(path, slices=(6, 7, 8, 9)), brains) == []


def test_a_tilted_slice_lies_where_its_middle_does(tmp_path):
    tilt = np.deg2rad(20)
    turned = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = nibabel.affines.from_matvec(turned, (0, -50, 0))
    nibabel.save(nibabel.Nifti1Image(np.zeros((7, 20, 21)), affine), tmp_path / "t1.nii")
    for plane, axis, voxel in [("coronal", 1, (3, 5, 10)), ("axial", 2, (3, 9.5, 5)), ("sagittal", 0, (5, 9.5, 10))]:
        found = read_nifti(tmp_path / "t1.nii", slices=5, plane=plane)
        assert found.positions == pytest.approx([nibabel.affines.apply_affine(affine, voxel)[axis]])


@pytest.mark.parametrize("code", [0, 4])  # whether or not the file says where its slices lie
@pytest.mark.parametrize("plane", ["axial", "sagittal"])
def test_slices_of_another_plane_than_the_generators_are_told(brains, plane, code, tmp_path):
    (line,) = place_warnings(read_nifti(volume(tmp_path, code), slices=(3, 4), plane=plane), brains)
    assert line.startswith(
        f"slices are {plane}, and brains64 was trained on coronal ones alone: what is shown there is"
    )
    assert "give --plane coronal" in line.partition(";")[2]


def test_the_plane_is_what_a_card_says_of_its_training_data(tmp_path):
    image = read_nifti(volume(tmp_path), slices=3)
    for words, told in {"120 axial slices of 3 volumes": 1, "axial and coronal slices": 0, "brains": 0}.items():
        card = SimpleNamespace(name="own", training_data=words, details={})
        assert len(place_warnings(image, SimpleNamespace(card=card))) == told


def test_nothing_is_said_where_nothing_is_known(brains, tmp_path):
    elsewhere = read_nifti(volume(tmp_path), slices=1)
    assert place_warnings(None, brains) == []
    assert place_warnings(elsewhere, SimpleNamespace()) == []
    assert place_warnings(elsewhere, SimpleNamespace(card=None)) == []
    assert place_warnings(replace(elsewhere, plane=None, positions=None), brains) == []
    for code in (0, 1):  # of no space, and of a scanner's, whose origin is not the brain's
        assert place_warnings(read_nifti(volume(tmp_path, code), slices=1), brains) == []


def test_a_result_says_it_among_its_warnings(brains, tmp_path, monkeypatch):
    elsewhere = read_nifti(volume(tmp_path), slices=1)
    fine = {name: np.ones(1) for name in ("surprise", "latent_distance", "misfit", "noise")}
    monkeypatch.setattr(Reconstruction, "checks", fine)
    monkeypatch.setattr(Reconstruction, "clean", torch.zeros(1, 1, 64, 64))
    model = SimpleNamespace(generator=brains, sigma=0.02, preset=None, corruption=Blur(1.0))
    job = Job("t1", model.corruption, torch.zeros(1, 1, 64, 64), image=elsewhere)
    (line,) = Reconstruction(job, model, None).warnings
    assert line.startswith("slice 1 lies at y = -90 mm")
