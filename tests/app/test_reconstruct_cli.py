"""The command that reconstructs, end to end with a small untrained generator."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from neuropyro.cli import app
from neuropyro.data.image_files import read_image
from neuropyro.data.image_slices import ImageSlices
from neuropyro.generators import Card, Generator, GeneratorConfig, load_generator, save_generator
from neuropyro.generators.residuals import ResidualSpread
from neuropyro.inference import load_fit
from neuropyro.models import reconstruction
from neuropyro.models.corruption import Undersample
from neuropyro.models.reconstruction_storage import load_reconstruction
from neuropyro.reconstruct_framing import Framing, brightness

SIDE = 16
EVERYTHING = {
    "clean.npy",
    "draws.npy",
    "sd.npy",
    "corrupted.npy",
    "measured.npy",
    "fit.json",
    "guides.safetensors",
    "reconstruction.json",
    "reconstruction.safetensors",
    "posterior.nc",
    "checks.json",
    "figure.png",
}


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    """A card with a residual, and images that differ."""
    torch.manual_seed(0)
    made = Generator(GeneratorConfig(img_resolution=SIDE, z_dim=4, w_dim=4, channel_base=128, channel_max=8))
    spread = ResidualSpread(torch.full((1, SIDE, SIDE), 0.1), torch.ones(16))
    path = tmp_path_factory.mktemp("generator") / "small.safetensors"
    save_generator(made, path, Card("small", "nothing", 0, {}, "MIT", arrays=spread.to_arrays()))
    return path


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch):
    monkeypatch.setattr(reconstruction.LatentReconstruction.__init__, "__kwdefaults__", QUICK)


DEFAULTS = reconstruction.LatentReconstruction.__init__.__kwdefaults__
QUICK = DEFAULTS | {"candidates": 8, "starts": 1, "search_steps": 2}


def picture(path, size=SIDE, seed=0):
    rows, columns = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size), indexing="ij")
    levels = 220 * np.exp(-3 * (rows**2 + columns**2)) + 20 * np.random.default_rng(seed).random((size, size))
    Image.fromarray(levels.round().astype(np.uint8)).save(path)
    return path


def run(*arguments, **options):
    given = {"guide": "map", "steps": 4, "draws": 10} | options
    flat = [str(part) for name, value in given.items() for part in (f"--{name}", value)]
    app(["reconstruct", *map(str, arguments), *flat], result_action="return_value")


def read(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize("guide", ["map", "normal"])
def test_truth_alone_is_corrupted_and_compared(generator, guide, tmp_path):
    truth = picture(tmp_path / "brain.png")
    run("--truth", truth, corruption="superres:4", generator=generator, guide=guide, out=tmp_path / "out")
    folder = tmp_path / "out" / "brain"
    of_draws = set() if guide == "map" else {"sd.png", "sd_image.png"}  # a point has no sd to show
    assert {p.name for p in folder.iterdir()} == EVERYTHING | {"clean.png", "metrics.json"} | of_draws
    draws = np.load(folder / "draws.npy")
    assert draws.shape == (10, 1, 1, SIDE, SIDE)
    np.testing.assert_allclose(np.load(folder / "sd.npy"), draws.std(0), rtol=1e-5)
    assert np.load(folder / "measured.npy").shape == (1, 1, 4, 4)
    written = read_image(folder / "clean.png").pixels / 127.5 - 1
    assert np.abs(written - np.load(folder / "clean.npy").clip(-1, 1)).max() <= 0.51 / 127.5
    found = read(folder / "metrics.json")
    keys = {"psnr", "ssim", "rmse", "mae", "own_resolution", "bicubic", "total_variation"}
    assert set(found) == keys | (set() if guide == "map" else {"crps", "coverage90", "width90"})
    error = np.load(folder / "clean.npy").clip(-1, 1) - (read_image(truth).pixels / 127.5 - 1)
    assert found["rmse"] == pytest.approx(127.5 * np.sqrt((error**2).mean()), rel=1e-4)
    checks = {"latent_distance", "residual_scale", "surprise", "misfit", "noise", "warnings", "square"}
    assert set(read(folder / "checks.json")) == checks
    assert read(folder / "checks.json")["square"] == {"top": 0, "left": 0, "height": SIDE, "width": SIDE}


def test_a_folder_holds_one_reconstruction_alone(generator, tmp_path, capsys):
    truth, out = picture(tmp_path / "brain.png"), tmp_path / "out"
    given = {"corruption": "superres:4", "generator": generator, "out": out}
    run("--truth", truth, guide="normal", **given)
    small = picture(tmp_path / "small.png", SIDE // 4).rename(tmp_path / "brain.png")
    with pytest.raises(ValueError, match=r"brain: it holds a fit already; give another --out, or --overwrite"):
        run(small, **given)
    assert (out / "brain" / "metrics.json").exists()
    run(small, "--overwrite", **given)
    assert "brain: the results of an earlier fit are replaced" in capsys.readouterr().err
    assert {p.name for p in (out / "brain").iterdir()} == EVERYTHING | {"clean.png"}  # no sd, no metrics


def test_what_cannot_be_used_leaves_the_earlier_results(generator, tmp_path, capsys):
    out = tmp_path / "out"
    files = [picture(tmp_path / "a.png", SIDE // 4), picture(tmp_path / "b.png", SIDE // 4)]
    given = {"corruption": "superres:4", "generator": generator, "out": out}
    run(*files, **given)
    kept = {path.name: path.read_bytes() for path in (out / "b").iterdir()}
    files[1].write_text("no picture any more")
    for words in ([], ["--device", "gpu"]):
        with pytest.raises(SystemExit):
            run(*files, "--overwrite", *words, **given)
        assert {path.name: path.read_bytes() for path in (out / "b").iterdir()} == kept
        assert (out / "a" / "fit.json").is_file()
    said = [line for line in capsys.readouterr().err.splitlines() if "the results of an earlier fit" in line]
    assert said == [f"{out / 'a'}: the results of an earlier fit are replaced"]


def test_saved_results_give_the_same_images(generator, tmp_path):
    run("--truth", picture(tmp_path / "a.png"), corruption="superres:4", generator=generator, out=tmp_path)
    folder = tmp_path / "a"
    model = load_reconstruction(folder)
    result = load_fit(folder, torch.as_tensor(np.load(folder / "measured.npy")), model=model)
    assert np.array_equal(result.predictive(10)["clean"], np.load(folder / "draws.npy"))


def test_one_bad_file_does_not_stop_the_others(generator, tmp_path, capsys):
    (tmp_path / "bad.png").write_text("no picture")
    files = [picture(tmp_path / "a.png", 4), tmp_path / "bad.png", picture(tmp_path / "b.png", 4)]
    with pytest.raises(SystemExit) as ended:
        run(*files, corruption="superres:4+noise:.1", generator=generator, out=tmp_path / "out")
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "bad.png: damaged" in said
    assert "1 of 3 files were left out" in said
    assert "images/s" in said
    assert "step/s" not in said  # in a log they would be lines for each file
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a", "b"]
    assert not (tmp_path / "out" / "a" / "metrics.json").exists()


def test_a_picture_smaller_than_the_generators_leaves_its_sd_in_grey_levels(generator, tmp_path, capsys):
    options = {"corruption": "superres:4+noise:.1", "generator": generator, "out": tmp_path / "out"}
    run(picture(tmp_path / "a.png", 4), guide="normal", **options)
    folder = tmp_path / "out" / "a"
    assert {p.name for p in folder.iterdir()} == EVERYTHING | {"clean.png", "sd.png", "sd_image.png"}
    levels = read_image(folder / "sd_image.png").pixels
    assert np.abs(levels - 127.5 * np.load(folder / "sd.npy").clip(0, 2)).max() <= 0.51
    printed = capsys.readouterr()
    assert printed.out == f"results: {tmp_path / 'out' / 'a'}\n"
    assert "step/s" in printed.err  # of one file the steps are shown, not that none of one is done
    assert "0/1" not in printed.err


def test_no_results_are_promised_where_no_file_could_be_used(generator, tmp_path, capsys):
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path / "bad.png", corruption="superres:4", generator=generator, out=tmp_path / "out")
    printed = capsys.readouterr()
    assert printed.out == ""
    said = [line for line in printed.err.split("\n") if "neuropyro: " in line]
    assert len(said) == 2  # which file, and how many
    assert all(line.startswith("neuropyro: ") for line in said)  # the bar has a line of its own


def test_holes_of_a_users_mask_in_an_image_of_another_size(generator, tmp_path):
    image = picture(tmp_path / "a.png", 48)
    hole = np.full((48, 48), 255, np.uint8)
    hole[12:30, 12:30] = 0
    Image.fromarray(hole).save(tmp_path / "mask.png")
    corruption = f"inpaint:{tmp_path / 'mask.png'}+noise:.02"
    run(image, "--truth", image, corruption=corruption, generator=generator, out=tmp_path / "out")
    folder = tmp_path / "out" / "a"
    assert read_image(folder / "clean.png").pixels.shape == (1, 1, 48, 48)
    found = read(folder / "metrics.json")
    assert {"mae_hole", "biharmonic"} <= set(found)
    sd = np.load(folder / "sd.npy")[0, 0]
    assert sd[5:9, 5:9].mean() > 3 * sd[:3].mean()


def test_a_mask_of_another_size_than_an_oblong_picture_is_refused(generator, tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 37), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    hole = np.full((SIDE, SIDE), 255, np.uint8)
    hole[4:8, 4:8] = 0
    Image.fromarray(hole).save(tmp_path / "mask.png")
    with pytest.raises(SystemExit, match="2"):
        run(
            tmp_path / "a.png", corruption=f"inpaint:{tmp_path / 'mask.png'}", generator=generator, out=tmp_path / "out"
        )
    said = f"the mask has {SIDE} x {SIDE} pixels and the picture 50 x 37; give a mask of the picture's size"
    assert said in capsys.readouterr().err


def test_slices_of_a_volume_go_back_with_their_affine(generator, tmp_path):
    volume = np.zeros((24, 9, 20), np.float32)
    volume[4:20, :, 3:17] = np.random.default_rng(0).random((16, 9, 14)) * 50 + 100
    affine = np.diag([-2.0, 3.0, 2.5, 1.0])
    affine[:3, 3] = 7.0
    nibabel.save(nibabel.Nifti1Image(volume, affine), tmp_path / "head.nii.gz")
    options = {"corruption": "blur:1+noise:.05", "generator": generator, "out": tmp_path / "out"}
    run(tmp_path / "head.nii.gz", "--slices", 3, 5, **options)
    folder = tmp_path / "out" / "head"
    assert np.load(folder / "clean.npy").shape == (2, 1, SIDE, SIDE)
    written = nibabel.load(folder / "clean.nii.gz")
    np.testing.assert_allclose(written.affine, affine)
    data = written.get_fdata()
    untouched = [i for i in range(9) if i not in (3, 5)]
    np.testing.assert_allclose(data[:, untouched], volume[:, untouched])
    assert np.abs(data[:, 3] - volume[:, 3]).max() > 1


def test_measured_kspace(generator, tmp_path):
    x = torch.as_tensor(read_image(picture(tmp_path / "a.png")).pixels) / 127.5 - 1
    y = Undersample(2.0, 0.2, coils=2).A(x)
    np.save(tmp_path / "scan.npy", 1e-4 * y[0].numpy())
    options = {"corruption": "kspace:2+noise:.02", "generator": generator, "out": tmp_path / "out"}
    run(tmp_path / "scan.npy", "--truth", tmp_path / "a.png", **options)
    folder = tmp_path / "out" / "scan"
    assert np.load(folder / "measured.npy").dtype == np.complex64
    assert {"zero_filled", "wavelet", "total_variation"} <= set(read(folder / "metrics.json"))


def test_a_picture_that_is_not_there_is_left_out(generator, tmp_path, capsys):
    there = picture(tmp_path / "a.png", SIDE // 4)
    with pytest.raises(SystemExit, match="1"):
        run(tmp_path / "none.png", there, corruption="superres:4", generator=generator, out=tmp_path / "out")
    assert "none.png: there is no such file" in capsys.readouterr().err
    assert (tmp_path / "out" / "a" / "clean.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no image"),
        (["a.png", "--truth", "a.png", "b.png"], "2 truths for 1 images"),
        (["a.png", "--draws", "1"], "2 or more"),
        (["none.png"], "no such file"),
        (["a.png", "--slices", "3"], r"a\.png: --slices says nothing of a picture, which is one image; leave it out"),
        (["--truth", "b.png", "--slices", "0"], r"b\.png: --slices says nothing of a picture"),
    ],
)
def test_what_cannot_be(generator, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture("a.png")
    picture("b.png")
    fixed = ["--corruption", "identity", "--generator", str(generator), "--out", "out"]
    with pytest.raises(ValueError, match=message):
        app(["reconstruct", *arguments, *fixed], result_action="return_value")


def test_brightness_of_files(tmp_path):
    def of(array):
        np.save(tmp_path / "a.npy", array)
        return brightness(read_image(tmp_path / "a.npy"), 0.5)

    ramp = np.linspace(0, 1, 400).reshape(20, 20)
    assert brightness(read_image(picture(tmp_path / "a.png")), 0.5) == (0.0, 255.0)
    assert of(2 * ramp - 1) == (-1.0, 1.0)
    assert of(ramp) == (0.0, 1.0)
    low, high = of(4000 * ramp)
    assert pytest.approx(low, rel=0.01) == 0.005 * 4000
    assert (0.995 * 4000 - low) / (high - low) * 2 - 1 == pytest.approx(0.5, abs=0.01)  # as bright as the generator's


def test_the_bundled_generator_says_its_field_of_view():
    network = load_generator("brains64")
    assert Framing.of(network, torch.zeros(1, 1, 64, 64), plane="coronal").field_of_view == 176 * 64 / 63
    assert Framing.of(network, torch.zeros(1, 1, 64, 64), field_of_view=200.0).field_of_view == 200.0


def test_the_pose_is_found_unless_told_otherwise(generator, tmp_path):
    truth = picture(tmp_path / "brain.png")
    common = {"corruption": "superres:4", "generator": generator}
    run("--truth", truth, out=tmp_path / "moved", **common)
    run("--truth", truth, "--no-pose", out=tmp_path / "still", **common)
    models = {name: load_reconstruction(tmp_path / name / "brain") for name in ("moved", "still")}
    assert models["moved"].pose is not None
    assert models["still"].pose is None
    fits = {
        name: load_fit(tmp_path / name / "brain", data=np.load(tmp_path / name / "brain" / "measured.npy"), model=m)
        for name, m in models.items()
    }
    assert fits["moved"].posterior(2)["pose"].shape == (2, 1, 4)
    assert "pose" not in fits["still"].posterior(2)


def head(size, side):
    """A bright ellipse of about ``side`` px in the middle of a square picture."""
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    inside = (rows / 0.9) ** 2 + (columns / 1.1) ** 2 < (side / 2) ** 2
    pixels = np.where(inside, 200.0, 0.0)[None, None].astype(np.float32)
    return ImageSlices(pixels, Path("head.png"), np.dtype(np.uint8), "png")


def test_a_head_of_another_size_is_brought_to_the_generator_s():
    framing = Framing(64, 1, field_of_view=180.0, head=0.8)
    small, alike, low = (framing.frame(head(*sizes)) for sizes in ((256, 100), (256, 190), (16, 12)))
    assert small.box[2] == pytest.approx(100 / 0.8, rel=0.05)
    assert small.box[0] == pytest.approx(128 - small.box[2] / 2, abs=2)
    assert alike.box == (0, 0, 256, 256)
    assert low.box == (0, 0, 16, 16)
    unknown = Framing(64, 1).frame(head(256, 100))
    assert unknown.box == (0, 0, 256, 256)
