"""The command line of generators, on files of their own making."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from matplotlib import image as raster

from neuropyro.cli import app, main
from neuropyro.generators import (
    CheckpointError,
    Generator,
    GeneratorConfig,
    bundled_generators,
    latent_statistics,
    load_checkpoint,
    load_generator,
)
from neuropyro.generators.residuals import ResidualSpread

REAL = Path(__file__).parents[1] / "generators" / "fixtures" / "rgb32.pkl"
TINY = ["--resolution", "16", "--channel-base", "64", "--channel-max", "8", "--latent", "8", "--mapping-layers", "2"]
SHORT = [
    "--device",
    "cpu",
    "--batch",
    "4",
    "--log-images",
    "8",
    "--sample-images",
    "16",
    "--state-images",
    "8",
    "--held-out",
    "2",
]


def run(*arguments: object) -> None:
    app(["generator", *map(str, arguments)], result_action="return_value")


def lines(text: str) -> dict[str, str]:
    """Names and values that ``info`` prints: two spaces or more part them."""
    return {name.strip(): value.strip() for name, _, value in (line.partition("  ") for line in text.splitlines())}


def test_info_of_the_bundled_generator_says_what_its_card_says(capsys):
    run("info", "brains64")
    said, card = lines(capsys.readouterr().out), load_generator("brains64").card
    assert (said["name"], said["format"], said["sha256"]) == ("brains64", "safetensors", card.sha256)
    assert (said["licence"], said["seed"]) == (card.licence, str(card.seed))
    assert said["images"] == "64 x 64 px, 1 channel"
    assert "10,000 draws of seed 0" in said["w"]
    assert float(said["metric inversion_psnr"]) == pytest.approx(card.metrics["inversion_psnr"])
    assert "discriminator" in said
    assert f"effect {card.details['directions']['dilation']['effect']:g}" in said["direction dilation"]
    assert f"images {card.details['residual']['images']}" in said["residual"]


def test_info_of_a_foreign_file_reads_its_architecture_and_claims_no_more(capsys):
    run("info", REAL)
    said = lines(capsys.readouterr().out)
    assert (said["format"], said["images"]) == ("nvidia", "32 x 32 px, 3 channels")
    assert said["latents"] == "z 32, w 48 for each of 8 layers"
    assert said["sha256"] == hashlib.sha256(REAL.read_bytes()).hexdigest()
    assert said["licence"] == said["training data"] == said["seed"] == "not stated in the file"
    assert "w" not in said


def test_convert_keeps_the_network_and_adds_what_can_be_measured(tmp_path, capsys):
    target = tmp_path / "colour.safetensors"
    run("convert", REAL, target, "--licence", "CC0")
    before, after = load_checkpoint(REAL), load_checkpoint(target)
    for name, value in before.generator.state_dict().items():
        assert torch.equal(after.generator.state_dict()[name], value), name
    card = after.card
    assert (card.name, card.licence, card.seed) == ("colour", "CC0", None)
    assert card.details["converted_from"] == {
        "file": "rgb32.pkl",
        "format": "nvidia",
        "sha256": hashlib.sha256(REAL.read_bytes()).hexdigest(),
    }
    torch.testing.assert_close(card.arrays["latents.mean"], latent_statistics(before.generator).mean)
    capsys.readouterr()
    run("info", target)
    assert lines(capsys.readouterr().out)["seed"] == "not stated in the file"


def test_convert_of_our_own_keeps_its_card(tmp_path):
    run("convert", "brains64", tmp_path / "copy.safetensors")
    ours, copy = load_generator("brains64").card, load_generator(tmp_path / "copy.safetensors").card
    assert (copy.training_data, copy.seed, copy.metrics) == (ours.training_data, ours.seed, ours.metrics)
    assert copy.arrays.keys() == ours.arrays.keys()
    assert copy.details["command"] == ours.details["command"]


def test_convert_overwrites_only_when_told(tmp_path):
    target = tmp_path / "colour.safetensors"
    target.with_suffix(".json").write_text("precious")
    with pytest.raises(CheckpointError, match=r"colour\.json: already there; --force overwrites"):
        run("convert", REAL, target)
    assert target.with_suffix(".json").read_text() == "precious"
    assert not target.exists()
    run("convert", REAL, target, "--force")
    assert load_generator(target).img_channels == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "hearts64"], "hearts64: no such generator; bundled generators: " + ", ".join(bundled_generators())),
        (["convert", REAL, "out.pt"], "out.pt: give a path that ends in .safetensors, in a folder that exists"),
        (["convert", REAL, "nowhere/out.safetensors"], "in a folder that exists"),
        (["train", "phantoms", "--out", "run", "--device", "gpu9"], "device gpu9: not on this machine"),
        (["train", "phantoms", "--out", "run", "--colours", "3"], "phantoms are grey"),
        (["train", "phantoms", "--out", "run", "--plane", "sagittal"], "plane must be 'coronal' or 'axial'"),
        (["train", "phantoms", "--out", "run", "--resolution", "48"], "--resolution must be a power of two"),
        (["train", "brain.mgz", "--out", "run"], "brain.mgz: neither 'phantoms', nor a folder, nor a volume"),
        (["train", "empty", "--out", "run"], "empty: no picture in this folder"),
        (["train", "phantoms", "--out", "occupied"], "occupied"),
        (["train", "few", "--out", "run", "--held-out", "1"], "--held-out 1: there are 1 images"),
    ],
)
def test_a_users_error_is_one_line_and_nothing_is_written(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "occupied").write_text("a file")
    (tmp_path / "few").mkdir()
    raster.imsave(tmp_path / "few" / "one.png", np.zeros((4, 4)))
    monkeypatch.setattr(sys, "argv", ["neuropyro", "generator", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "few", "occupied"]


@pytest.mark.slow
def test_train_on_phantoms_resumes_to_the_same_weights_and_leaves_a_generator(tmp_path, capsys):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run("train", "phantoms", "--out", whole, *TINY, *SHORT, "--images", "16")
    assert "generator_loss" in capsys.readouterr().err
    unmeasured = [*SHORT[:-1], "0"]
    run("train", "phantoms", "--out", parts, *TINY, *unmeasured, "--images", "8")
    run("train", "phantoms", "--out", parts, *TINY, *unmeasured, "--images", "16")
    found = [load_checkpoint(folder / "generator.safetensors") for folder in (whole, parts)]
    for name, value in found[0].generator.state_dict().items():
        assert torch.equal(found[1].generator.state_dict()[name], value), name
    card = found[0].card
    assert (card.name, card.seed, card.details["images_seen"]) == ("generator", 0, 16)
    assert card.training_data.startswith("Phantoms: coronal")
    assert found[0].discriminator is not None
    assert card.details["residual"]["images"] == 2
    assert ResidualSpread.from_card(card).sd.shape == (1, 16, 16)
    assert (whole / "samples-00000016.png").is_file()
    assert [json.loads(line)["images"] for line in (whole / "log.jsonl").read_text().splitlines()] == [8, 16]


def pictures(folder: Path) -> Path:
    """A folder of three pictures in colour."""
    folder.mkdir()
    for i in range(3):
        raster.imsave(folder / f"{i}.png", np.random.default_rng(i).random((20, 20, 3)))
    return folder


def test_train_on_a_folder_of_pictures(tmp_path):
    run(
        "train",
        pictures(tmp_path / "pictures"),
        "--out",
        tmp_path / "run",
        *TINY,
        *SHORT,
        "--colours",
        "3",
        "--images",
        "8",
    )
    made = load_generator(tmp_path / "run" / "generator.safetensors")
    assert (made.img_channels, made.img_resolution) == (3, 16)
    assert made.card.training_data == "3 pictures of the folder pictures"


@pytest.mark.slow
def test_train_begins_with_given_weights(tmp_path):
    folder = pictures(tmp_path / "pictures")
    run("train", folder, "--out", tmp_path / "first", *TINY, *SHORT, "--images", "4")
    first = tmp_path / "first" / "generator.safetensors"
    still = ["--weights", first, "--learning-rate", "0", "--spread-weight", "2", "--images", "4"]
    run("train", folder, "--out", tmp_path / "second", *TINY, *SHORT, *still)
    before, after = load_generator(first), load_generator(tmp_path / "second" / "generator.safetensors")
    for name, value in before.named_parameters():
        assert torch.equal(dict(after.named_parameters())[name], value), name


@pytest.mark.parametrize("as_folder", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_train_on_slices_of_volumes(tmp_path, as_folder):
    volume = nibabel.Nifti1Image(np.random.default_rng(0).random((12, 14, 12), dtype=np.float32), np.eye(4))
    (tmp_path / "scans").mkdir()
    paths = [tmp_path / "scans" / f"{name}.nii.gz" for name in "ab"]
    for path in paths:
        volume.to_filename(path)
    data = [tmp_path / "scans"] if as_folder else paths
    said = ["--training-data", "two scans", "--licence", "CC0", "--plane", "axial", "--every", "3"]
    run("train", *data, "--out", tmp_path / "run", *TINY, *SHORT, *said, "--images", "8")
    card = load_generator(tmp_path / "run" / "generator.safetensors").card
    assert (card.training_data, card.licence) == ("two scans", "CC0")


@pytest.mark.slow
def test_train_under_torchrun(tmp_path):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "neuropyro"]
    arguments = ["generator", "train", "phantoms", "--out", str(tmp_path / "run"), *TINY, *SHORT, "--images", "16"]
    done = subprocess.run(
        launch + arguments,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.count("16 images seen") == 1
    made = load_generator(tmp_path / "run" / "generator.safetensors")
    assert isinstance(made, Generator)
    assert made.config == GeneratorConfig(16, z_dim=8, w_dim=8, channel_base=64, channel_max=8, mapping_layers=2)
