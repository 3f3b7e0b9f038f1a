"""Files whose networks are broken: weights that are not finite, a discriminator that cannot be read."""

import pytest
import torch

from neuropyro.cli import app
from neuropyro.generators import Card, CheckpointError, load_checkpoint, load_generator, save_generator
from neuropyro.generators.architecture import build_generator

FORMATS = ("nvidia", "tensorflow", "rosinality")


@pytest.fixture
def write(nvidia_bytes, tensorflow_bytes, rosinality_bytes, tmp_path):
    """Write a generator and its discriminator in a format of others."""
    writers = dict(zip(FORMATS, (nvidia_bytes, tensorflow_bytes, rosinality_bytes), strict=True))

    def written(name, generator, discriminator):
        path = tmp_path / "network.bin"
        path.write_bytes(writers[name](generator, discriminator))
        return path

    return written


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", [*FORMATS, "safetensors"])
def test_weights_that_are_not_finite_are_refused_by_name(name, value, make_networks, write, tmp_path):
    generator, discriminator = make_networks()
    with torch.no_grad():
        generator.mapping.fc1.weight[0, 1] = value
        generator.synthesis.b16.conv1.weight[:] = value
    if name == "safetensors":
        path = tmp_path / "network.safetensors"
        save_generator(generator, path, Card("network", "noise", 0, {}, "MIT"))
    else:
        path = write(name, generator, discriminator)
    with pytest.raises(CheckpointError, match=r"network\..*: its tensor mapping\.fc1\.weight has NaN or infinity"):
        load_generator(path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_discriminator_that_cannot_be_read_is_left_out_and_told(name, make_networks, write):
    generator, discriminator = make_networks()
    whole = load_checkpoint(write(name, generator, discriminator))
    assert whole.discriminator is not None
    assert whole.left_out == ""
    with torch.no_grad():
        discriminator.b4.fc.weight[0, 0] = float("nan")
    found = load_checkpoint(write(name, generator, discriminator))
    assert found.discriminator is None
    assert found.left_out.startswith("the discriminator, which cannot be read (its tensor b4.fc.weight has NaN")
    assert torch.equal(found.generator.synthesis.b4.const, whole.generator.synthesis.b4.const)


def test_a_network_of_another_kind_in_the_discriminators_place_is_told(make_networks, nvidia_bytes, tmp_path, capsys):
    generator, _ = make_networks()
    path = tmp_path / "odd.pkl"
    path.write_bytes(nvidia_bytes(generator, generator))  # of which no tensor is a discriminator's
    said = (
        r"the discriminator, which cannot be read (it holds no StyleGAN2 network: there is no tensor b8.conv0.weight)"
    )
    assert load_checkpoint(path).left_out == said
    app(["generator", "info", str(path)], result_action="return_value")
    assert capsys.readouterr().out.splitlines()[-2].split(maxsplit=2) == ["left", "out", said]
    app(["generator", "convert", str(path), str(tmp_path / "odd.safetensors")], result_action="return_value")
    assert f"{path}: left out is {said}" in capsys.readouterr().err
    assert load_checkpoint(tmp_path / "odd.safetensors").discriminator is None


@pytest.mark.parametrize(
    "lost", ["input.input", "conv1.conv.weight", "convs.1.conv.weight", "convs.3.noise.weight", "to_rgbs.0.bias"]
)
def test_the_tensor_that_a_file_of_rosinalitys_lacks_is_named_as_there(lost, make_networks, write):
    path = write("rosinality", *make_networks())
    saved = torch.load(path, weights_only=False)
    del saved["g_ema"][lost]
    torch.save(saved, path)
    with pytest.raises(CheckpointError, match=rf"there is no tensor {lost}, which rosinality's StyleGAN2 of 16 px has"):
        load_checkpoint(path)


@pytest.mark.parametrize("resolution", [4, 8])
def test_a_gap_among_resolutions_is_named(resolution, make_networks):
    state = make_networks()[0].state_dict()
    del state[f"synthesis.b{resolution}.conv1.weight"]
    with pytest.raises(CheckpointError, match=rf"there is no tensor synthesis\.b{resolution}\.conv1\.weight"):
        build_generator(state)
