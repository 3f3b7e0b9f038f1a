"""Files whose networks are broken: weights that are not finite, a discriminator that cannot be read."""

import pytest
import torch

from neuropyro.generators import Card, CheckpointError, load_generator, save_generator

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
