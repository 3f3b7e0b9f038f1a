"""What a reconstruction's folder says of it, end to end with a small untrained generator."""

import json
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from neuropyro.cli import app
from neuropyro.data.image_files import read_image
from neuropyro.data.image_slices import ImageFileError
from neuropyro.models.corruption import Blur, Undersample, parse_corruption
from neuropyro.reconstruct_framing import Framing
from neuropyro.reconstruct_inputs import job_of
from neuropyro.reconstruct_plots import plot_reconstruction, plot_sd
from neuropyro.reconstruct_slices import slices_of

SIDE = 16


pytestmark = pytest.mark.usefixtures("few_candidates")


def picture(path, size):
    at = np.linspace(-1, 1, size)
    levels = 220 * np.exp(-3 * (at[:, None] ** 2 + at**2)) + 20 * np.random.default_rng(0).random((size, size))
    Image.fromarray(levels.round().astype(np.uint8)).save(path)
    return path


def run(*arguments, **options):
    given = {"guide": "map", "steps": 4, "draws": 10} | options
    flat = [str(part) for name, value in given.items() for part in (f"--{name}", value)]
    app(["reconstruct", *map(str, arguments), *flat], result_action="return_value")


def read(path):
    return json.loads(path.read_text())


def test_much_noise_that_was_stated_is_warned(generator, tmp_path, capsys):
    small = picture(tmp_path / "a.png", SIDE // 4)
    run(small, corruption="superres:4+noise:.5", generator=generator, out=tmp_path / "out")
    said = "the noise that was stated, 0.5, is an sd of 64 grey levels of 255"
    assert any(said in line for line in read(tmp_path / "out" / "a" / "checks.json")["warnings"])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("given", [True, False])
def test_a_small_picture_as_its_own_truth_is_warned(given, generator, tmp_path):
    small = picture(tmp_path / "a.png", SIDE // 4)
    images = [small] if given else []
    run(*images, "--truth", small, corruption="superres:4", generator=generator, out=tmp_path / "out")
    said = [line for line in read(tmp_path / "out" / "a" / "checks.json")["warnings"] if "the truth of 4 px" in line]
    assert len(said) == 1


@pytest.mark.parametrize("corruption", ["kspace:2+noise:.02", "superres:4"])
def test_kspace_that_was_cut_off_is_told_to_be_damaged(corruption, tmp_path):
    path = tmp_path / "scan.npy"
    np.save(path, np.ones((2, SIDE, SIDE), np.complex64))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageFileError, match=r"scan\.npy: damaged"):
        job_of(path, None, parse_corruption(corruption), Framing(SIDE, 1), simulate=False, seed=0)


def test_intervals_within_a_hole_are_judged(generator, tmp_path):
    options = {"corruption": "inpaint:rectangle,height=.4,width=.4+noise:.02", "guide": "normal"}
    run("--truth", picture(tmp_path / "a.png", SIDE), generator=generator, out=tmp_path / "out", **options)
    found = read(tmp_path / "out" / "a" / "metrics.json")
    assert {"mae", "mae_hole", "coverage90_hole", "width90_hole"} <= set(found)
    assert found["width90_hole"] > found["width90"]
    assert 0 <= found["coverage90_hole"] <= 1


def volume(path, slices=9):
    """A head whose coronal slices grow brighter to the front."""
    pixels = np.zeros((24, slices, 20), np.float32)
    shades = np.linspace(0.5, 1, slices)[:, None]
    pixels[4:20, :, 3:17] = (np.random.default_rng(0).random((16, slices, 14)) * 50 + 100) * shades
    nibabel.save(nibabel.Nifti1Image(pixels, np.diag([2.0, 3, 2.5, 1])), path)
    return path


def test_slices_of_a_volume_have_metrics_of_their_own_and_are_named(generator, tmp_path):
    options = {"corruption": "blur:1+noise:.05", "generator": generator, "guide": "normal", "out": tmp_path / "out"}
    run("--truth", volume(tmp_path / "head.nii.gz"), "--slices", 3, 7, **options)
    folder = tmp_path / "out" / "head"
    found, checks = read(folder / "metrics.json"), read(folder / "checks.json")
    assert checks["slices"] == [3, 7]
    assert [each["slice"] for each in found["slices"]] == [3, 7]
    assert found["slices"][0]["rmse"] != found["slices"][1]["rmse"]
    for name in ("rmse", "psnr", "crps", "coverage90"):
        assert np.mean([each[name] for each in found["slices"]]) == pytest.approx(found[name])
    whole = nibabel.load(folder / "clean.nii.gz").get_fdata() - nibabel.load(tmp_path / "head.nii.gz").get_fdata()
    sd = nibabel.load(folder / "sd_image.nii.gz").get_fdata()
    assert np.flatnonzero(sd.any((0, 2))).tolist() == checks["slices"]
    assert np.flatnonzero(np.abs(whole).max((0, 2)) > 1).tolist() == checks["slices"]


def test_a_picture_has_no_slices(generator, tmp_path):
    run(
        "--truth", picture(tmp_path / "a.png", SIDE), corruption="superres:4", generator=generator, out=tmp_path / "out"
    )
    for name in ("metrics.json", "checks.json"):
        assert "slices" not in read(tmp_path / "out" / "a" / name)


def test_slices_are_those_of_the_file(tmp_path):
    path = volume(tmp_path / "head.nii.gz")
    framing = Framing(SIDE, 1, slices=(4,))
    job = job_of(path, None, Blur(1.0), framing, simulate=True, seed=0)
    assert slices_of(job) == (4,)
    pixels = read_image(path, slices=(4,)).pixels
    np.save(tmp_path / "scan.npy", Undersample(2.0).A(torch.as_tensor(pixels[..., :SIDE, :SIDE])).numpy().repeat(6, 0))
    job = job_of(tmp_path / "scan.npy", None, Undersample(2.0), Framing(SIDE, 1, slices=(2, 5)), simulate=False, seed=0)
    assert slices_of(job) == (2, 5)


def test_rows_of_the_figure_are_named_by_slice(tmp_path):
    job = job_of(volume(tmp_path / "head.nii.gz"), None, Blur(1.0), Framing(SIDE, 1, slices=(3, 7)), True, 0)
    model, fitted = SimpleNamespace(corruption=job.corruption), SimpleNamespace(is_point=True)
    axes = plot_reconstruction(SimpleNamespace(job=job, clean=job.truth, sd=np.zeros(2), fit=fitted, model=model)).axes
    assert [text.get_text() for axis in axes for text in axis.texts] == ["slice 3", "slice 7"]


def test_sds_of_a_volume_of_many_slices_are_shown_of_some_and_labels_fit(tmp_path):
    slices = tuple(range(1, 9))
    path = volume(tmp_path / "head.nii.gz")
    job = job_of(path, None, Blur(1.0), Framing(SIDE, 1, slices=slices), simulate=True, seed=0)
    found = SimpleNamespace(job=job, clean=job.truth, sd=np.ones(job.truth.shape), fit=SimpleNamespace(is_point=False))
    figure = plot_sd(found)
    *panels, errors, _bar = figure.axes
    assert [axis.get_title() for axis in panels] == [f"slice {slices[i]}" for i in (0, 1, 3, 4, 6, 7)]
    assert [text.get_text() for text in errors.get_legend().get_texts()] == ["as large as the sd says"]
    figure.draw_without_rendering()
    label = errors.yaxis.label.get_window_extent()
    assert 0 <= label.y0 < label.y1 <= figure.bbox.y1
