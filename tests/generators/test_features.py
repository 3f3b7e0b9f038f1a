import io
import itertools
import os
import pickle
import warnings
import zipfile

import pytest
import torch
from torch import nn

from neuropyro.generators import (
    Card,
    CheckpointError,
    DiscriminatorFeatures,
    VGGFeatures,
    load_discriminator_features,
    load_vgg16,
    save_generator,
)

STAGES = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512))


@pytest.fixture(scope="module")
def torchvision_layers() -> nn.Sequential:
    """Torchvision's ``features`` of VGG16, with random weights."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for stage in STAGES:
        for into, out in itertools.pairwise(stage):
            layers += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU(inplace=True)]
            nn.init.kaiming_normal_(layers[-2].weight)
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def torchvision_file(torchvision_layers, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    state = {f"features.{name}": value for name, value in torchvision_layers.state_dict().items()}
    torch.save(state | {"classifier.0.weight": torch.zeros(2, 2)}, path)
    return path


def heads_file(path):
    torch.manual_seed(1)
    heads = {f"lin{i}.model.1.weight": torch.rand(1, stage[-1], 1, 1) for i, stage in enumerate(STAGES)}
    torch.save(heads, path)
    return heads


@torch.no_grad()
def slow_lpips(layers, a, b, heads=None):
    """Equation 1 of the paper: normalise over channels, weigh squared differences, average over pixels, sum."""
    mean, sd = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x, y = ((t.expand(-1, 3, -1, -1) / 2 + 0.5 - mean[:, None, None]) / sd[:, None, None] for t in (a, b))
    ends, total = (3, 8, 15, 22, 29), torch.zeros(a.shape[0])
    for i, layer in enumerate(layers):
        x, y = layer(x), layer(y)
        if i in ends:
            weight = torch.full((x.shape[1],), 1 / x.shape[1])
            if heads is not None:
                weight = heads[f"lin{ends.index(i)}.model.1.weight"].reshape(-1)
            difference = (x / x.norm(dim=1, keepdim=True) - y / y.norm(dim=1, keepdim=True)).square()
            total += (difference * weight[:, None, None]).sum(dim=1).mean(dim=(1, 2))
    return total


@pytest.mark.parametrize("channels", [1, 3])
def test_distance_is_lpips(torchvision_layers, torchvision_file, tmp_path, channels):
    a, b = torch.rand(2, 2, channels, 32, 32) * 2 - 1
    plain = load_vgg16(torchvision_file)
    torch.testing.assert_close(plain.distance(a, b), slow_lpips(torchvision_layers, a, b), rtol=1e-3, atol=1e-6)
    heads = heads_file(tmp_path / "heads.pth")
    weighted = load_vgg16(torchvision_file, tmp_path / "heads.pth").distance(a, b)
    torch.testing.assert_close(weighted, slow_lpips(torchvision_layers, a, b, heads), rtol=1e-3, atol=1e-6)


def test_reference_size_is_256_px(torchvision_file):
    plain, reference = load_vgg16(torchvision_file), load_vgg16(torchvision_file, reference_size=True)
    image = torch.rand(1, 1, 16, 16) * 2 - 1
    assert [m.shape[-1] for m in plain.maps(image)] == [16, 8, 4, 2, 1]
    assert [m.shape[-1] for m in reference.maps(image)] == [256, 128, 64, 32, 16]
    large = nn.functional.interpolate(image, size=(256, 256), mode="bilinear")
    torch.testing.assert_close(reference(image), plain(large), rtol=1e-4, atol=1e-5)
    assert [m.shape[-1] for m in plain.maps(image[:, :, :4, :4])] == [4, 2, 1]


class Layers(nn.Module):
    """NVIDIA's layout: a scripted module whose convolutions are ``layers.conv1`` to ``layers.conv13``."""

    def __init__(self, convolutions):
        super().__init__()
        self.layers = nn.ModuleDict({f"conv{i + 1}": c for i, c in enumerate(convolutions)})
        self.sizes = [1, 2, 3]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers.values():
            x = layer(x)
        return x


def test_torchscript_archive_is_read_as_data(torchvision_layers, torchvision_file, tmp_path):
    convolutions = [layer for layer in torchvision_layers if isinstance(layer, nn.Conv2d)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Layers(convolutions)), str(tmp_path / "vgg16.pt"))
    with zipfile.ZipFile(tmp_path / "vgg16.pt") as archive:
        kept = [(m, archive.read(m)) for m in archive.infolist() if "/code/" not in m.filename]
    with zipfile.ZipFile(tmp_path / "no_code.pt", "w") as archive:
        for member, content in kept:
            archive.writestr(member, content)
    expected = load_vgg16(torchvision_file).state_dict()
    for name in ("vgg16.pt", "no_code.pt"):
        found = load_vgg16(tmp_path / name).state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[k], expected[k]) for k in expected)


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


def test_files_that_are_no_vgg16_are_one_clear_error(torchvision_file, tmp_path):
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="it is not VGG16"):
        load_vgg16(tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="no linear heads"):
        load_vgg16(torchvision_file, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"missing\.pth: no such file"):
        load_vgg16(tmp_path / "missing.pth")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"features.0.weight": Evil()}, 2))
    (tmp_path / "evil.pth").write_bytes(stream.getvalue())
    with pytest.raises(CheckpointError, match=r"refused: it names the global '(posix|nt)\.system'"):
        load_vgg16(tmp_path / "evil.pth")


def test_vgg_refuses_images_of_two_channels(torchvision_file):
    with pytest.raises(ValueError, match="grey or colour"):
        load_vgg16(torchvision_file)(torch.zeros(1, 2, 16, 16))


def test_gradients_reach_the_image():
    weights = [torch.randn(o, i, 3, 3) for s in STAGES for i, o in itertools.pairwise(s)]
    features = VGGFeatures(weights, [torch.zeros(len(w)) for w in weights])
    image = torch.zeros(1, 1, 16, 16, requires_grad=True)  # a constant image has no features of some channels
    (gradient,) = torch.autograd.grad(features.distance(image, torch.rand(1, 1, 16, 16)).sum(), image)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


def test_discriminator_features(make_networks, tmp_path):
    generator, discriminator = make_networks()
    card = Card("small", "none", 0, {"fid": 0.0}, "MIT")
    save_generator(generator, tmp_path / "both.safetensors", card, discriminator)
    save_generator(generator, tmp_path / "alone.safetensors", card)
    features = load_discriminator_features(tmp_path / "both.safetensors")
    a, b = torch.randn(2, 2, 1, 16, 16)
    expected = torch.zeros(2)
    for x, y in zip(discriminator.features(a), discriminator.features(b), strict=True):
        difference = x / x.norm(dim=1, keepdim=True) - y / y.norm(dim=1, keepdim=True)
        expected += difference.square().mean(dim=(1, 2, 3)).detach()
    torch.testing.assert_close(features.distance(a, b), expected)
    assert features(torch.randn(1, 1, 4, 4)).shape == features(a[:1]).shape
    assert not any(p.requires_grad for p in features.parameters())
    assert torch.equal(DiscriminatorFeatures(discriminator)(a), features(a))
    with pytest.raises(CheckpointError, match="holds no discriminator"):
        load_discriminator_features(tmp_path / "alone.safetensors")
