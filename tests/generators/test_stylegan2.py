import itertools
import math

import pytest
import torch
from torch import Tensor

from neuropyro.generators import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig, synthesis
from neuropyro.generators.discriminator import minibatch_stddev
from neuropyro.generators.frozen import channel_dot

ARCHITECTURES = ("skip", "resnet", "orig")


def small(**settings) -> Generator:
    """A narrow generator whose noise and biases are not zero, so that each term counts."""
    torch.manual_seed(0)
    options = {"img_resolution": 16, "z_dim": 6, "w_dim": 8, "mapping_layers": 2, "channels": (8, 6, 4)}
    generator = Generator(GeneratorConfig(**(options | settings)))
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith(("bias", "noise_strength")):
                parameter.add_(0.3 * torch.randn_like(parameter))
        generator.mapping.w_avg.normal_()
    return generator.double()


def slow_layer(layer, x: Tensor, w: Tensor, noise: Tensor | float, gain: float = 1.0) -> Tensor:
    """Equations 1 to 3 of the paper, one image at a time, with the resampling written as sums over pixels."""
    outs = []
    for image, latent in zip(x, w, strict=True):
        styles = layer.affine.weight @ latent / math.sqrt(w.shape[1]) + layer.affine.bias
        weight = layer.weight * styles[None, :, None, None]
        weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        out = up_convolve(image, weight) if layer.up else torch.nn.functional.conv2d(image[None], weight, padding=1)[0]
        out = out + noise * layer.noise_strength + layer.bias[:, None, None]
        out = torch.where(out < 0, 0.2 * out, out) * math.sqrt(2) * gain
        outs.append(out if layer.clamp is None else out.clamp(-layer.clamp * gain, layer.clamp * gain))
    return torch.stack(outs)


def zoom(image: Tensor) -> Tensor:
    """Zeros between the pixels of (C, H, W): (C, 2H, 2W)."""
    out = image.new_zeros(image.shape[0], 2 * image.shape[1], 2 * image.shape[2])
    out[:, ::2, ::2] = image
    return out


def filtered(image: Tensor, before: int, after: int) -> Tensor:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=image.dtype) / 4
    padded = torch.nn.functional.pad(image, (before, after, before, after))
    height, width = padded.shape[1] - 3, padded.shape[2] - 3
    return sum(
        taps[i] * taps[j] * padded[:, i : i + height, j : j + width] for i, j in itertools.product(range(4), range(4))
    )


def up_convolve(image: Tensor, weight: Tensor) -> Tensor:
    """True convolution of the zero-stuffed image with the kernel, then the filter."""
    stuffed = torch.nn.functional.pad(zoom(image), (2, 1, 2, 1))
    return filtered(torch.nn.functional.conv2d(stuffed[None], weight.flip(2, 3))[0], 1, 1)


def slow_image(generator: Generator, w: Tensor, noisy: bool = True) -> Tensor:
    architecture, x, image, i = generator.config.architecture, None, None, 0
    for block in generator.synthesis.blocks:
        y = x
        for layer in block.layers:
            gain = math.sqrt(0.5) if architecture == "resnet" and y is not None and layer is block.conv1 else 1.0
            x = block.const.expand(len(w), -1, -1, -1) if x is None else x
            x = slow_layer(layer, x, w[:, i], layer.noise_const if noisy else 0.0, gain)
            i += 1
        if architecture == "resnet" and y is not None:
            weight = block.skip.weight[:, :, 0, 0] / math.sqrt(y.shape[1])
            shortcut = torch.einsum("oi,bihw->bohw", weight, y)
            x = x + math.sqrt(0.5) * torch.stack([filtered(zoom(s), 2, 1) for s in shortcut])
        image = image if image is None else torch.stack([filtered(zoom(s), 2, 1) for s in image])
        if hasattr(block, "torgb"):
            rgb = block.torgb
            styles = w[:, i] @ rgb.affine.weight.T / math.sqrt(w.shape[2]) + rgb.affine.bias
            share = torch.einsum("oi,bi,bihw->bohw", rgb.weight[:, :, 0, 0], styles / math.sqrt(x.shape[1]), x)
            share = share + rgb.bias[:, None, None]
            share = share if rgb.clamp is None else share.clamp(-rgb.clamp, rgb.clamp)
            image = share if image is None else image + share
    return image


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("clamp", [None, 0.4])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_synthesis_is_the_papers_equations(architecture, clamp, frozen):
    reference = small(architecture=architecture, conv_clamp=clamp, img_channels=2)
    generator = reference.freeze() if frozen else reference
    for batch in (1, 3):
        w = torch.randn(batch, generator.num_ws, generator.w_dim, dtype=torch.float64)
        torch.testing.assert_close(generator.synthesis(w), slow_image(reference, w), rtol=1e-10, atol=1e-10)
        expected = slow_image(reference, w, noisy=False)
        torch.testing.assert_close(generator.synthesis(w, "none"), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_first_and_second_derivatives_in_w(architecture, frozen):
    generator = small(img_resolution=8, channels=(4, 3), w_dim=3, architecture=architecture, conv_clamp=2.0)
    generator = generator.freeze() if frozen else generator
    w = torch.randn(2, generator.num_ws, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(generator.synthesis, w)
    assert torch.autograd.gradgradcheck(lambda w: generator.synthesis(w).square().mean(dim=(1, 2, 3)), w)


def test_gradients_of_weights_and_of_path_lengths():
    generator = small(img_resolution=8, channels=(4, 3), w_dim=3)
    w = torch.randn(2, generator.num_ws, 3, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    weight = generator.synthesis.b8.conv0.weight

    def path_length(weight: Tensor) -> Tensor:
        values = {"b8.conv0.weight": weight}
        image = torch.func.functional_call(generator.synthesis, values, (w,))
        (slope,) = torch.autograd.grad((image * direction).sum(), w, create_graph=True)
        return slope.square().sum(dim=2).mean(dim=1).sqrt()

    assert torch.autograd.gradcheck(path_length, weight.detach().clone().requires_grad_())


def test_mapping_truncates_towards_the_average():
    generator = small()
    z = torch.randn(3, generator.z_dim, dtype=torch.float64)
    w, average = generator.mapping(z), generator.mapping.w_avg
    assert w.shape == (3, generator.num_ws, generator.w_dim)
    torch.testing.assert_close(generator.mapping(z, truncation_psi=0.5), average + 0.5 * (w - average))
    cut = generator.mapping(z, truncation_psi=0.0, truncation_cutoff=2)
    torch.testing.assert_close(cut[:, :2], average.expand(3, 2, -1))
    torch.testing.assert_close(cut[:, 2:], w[:, 2:])
    torch.testing.assert_close(generator.mapping(5.0 * z), w, atol=1e-6, rtol=1e-6)


def test_average_of_w_moves_by_its_decay():
    generator = small()
    before = generator.mapping.w_avg.clone()
    w = torch.randn(5, generator.w_dim, dtype=torch.float64)
    generator.mapping.update_average(w, decay=0.75)
    torch.testing.assert_close(generator.mapping.w_avg, 0.75 * before + 0.25 * w.mean(dim=0))


def test_labels_change_w_and_are_asked_for():
    generator = small(label_dim=3)
    z, labels = torch.randn(3, generator.z_dim, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    w = generator.mapping(z, labels)
    assert (w - generator.mapping(z, labels.flip(0)))[0].abs().max() > 1e-3
    torch.testing.assert_close(w[1:2], generator.mapping(z[1:2], labels[1:2]))
    with pytest.raises(ValueError, match=r"conditional.*\(3, 3\), got none"):
        generator.mapping(z)


def test_noise_modes():
    generator = small()
    w = torch.randn(2, generator.w_dim, dtype=torch.float64)
    const, none = generator.synthesis(w), generator.synthesis(w, noise_mode="none")
    buffers = [layer.noise_const for layer in generator.synthesis.layers]
    torch.testing.assert_close(generator.synthesis(w, noise=buffers), const)
    torch.testing.assert_close(generator.synthesis(w, noise=[torch.zeros_like(b) for b in buffers]), none)
    each = [b.expand(2, 1, *b.shape) for b in buffers]
    torch.testing.assert_close(generator.synthesis(w, noise=each), const)

    def draw(seed: int) -> Tensor:
        return generator.synthesis(w, noise_mode="random", rng=torch.Generator().manual_seed(seed))

    assert torch.equal(draw(1), draw(1))
    assert (draw(1) - draw(2)).abs().max() > 1e-3
    assert generator.synthesis.noise_shapes == [(4, 4), (8, 8), (8, 8), (16, 16), (16, 16)]
    quiet = small(use_noise=False)
    assert torch.equal(quiet.synthesis(w), quiet.synthesis(w, noise_mode="random"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: g.synthesis(torch.zeros(1, 5, 8)), "w must have shape"),
        (lambda g: g.synthesis(torch.zeros(1, 8), noise_mode="on"), "noise_mode must be one of const"),
        (lambda g: g.synthesis(torch.zeros(1, 8).double(), noise=[]), "noise must hold 5 buffers"),
        (lambda g: g.synthesis(torch.zeros(1, 8).double(), noise=[torch.zeros(3, 3)] * 5), r"noise\[0\] must have"),
        (lambda g: g.synthesis(torch.zeros(1, 8).double(), resolution=5), "resolution must be one at which"),
        (lambda g: g.mapping(torch.zeros(1, 5)), r"z must have shape \(batch, 6\)"),
    ],
)
def test_misuse_is_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call(small())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"img_resolution": 48}, "power of two"),
        ({"img_resolution": 16, "img_channels": 5}, "from 1 to 4"),
        ({"img_resolution": 16, "architecture": "unet"}, "skip, resnet, orig"),
        ({"img_resolution": 16, "channels": (4,)}, "3 widths"),
        ({"img_resolution": 512, "channel_base": 256}, "at least one channel"),
        ({"img_resolution": 16, "colour": 1}, "unknown generator settings: colour"),
        ({"img_channels": 1}, "lack img_resolution"),
    ],
)
def test_settings_that_make_no_network_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GeneratorConfig.from_dict(settings)


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128, 256, 512, 1024])
@pytest.mark.parametrize("img_channels", [1, 4])
def test_every_size_has_its_shapes(resolution, img_channels):
    config = GeneratorConfig(resolution, img_channels, z_dim=4, w_dim=4, channel_base=2048, channel_max=8)
    assert GeneratorConfig.from_json(config.to_json()) == config
    with torch.device("meta"):
        generator = Generator(config)
        image = generator(torch.zeros(2, 4))
        critic = Discriminator(DiscriminatorConfig(resolution, img_channels, channel_base=2048, channel_max=8))
        assert image.shape == (2, img_channels, resolution, resolution)
        assert critic(image).shape == (2, 1)


def test_a_narrow_network_of_64_px_has_a_few_million_weights():
    config = GeneratorConfig(64, z_dim=128, w_dim=128, mapping_layers=4, channel_base=4096, channel_max=128)
    with torch.device("meta"):
        count = sum(p.numel() for p in Generator(config).parameters())
    assert 1e6 < count < 3e6


def test_half_resolutions_are_the_highest():
    config = GeneratorConfig(64, half_resolutions=2)
    assert [r for r in config.resolutions if config.is_half(r)] == [32, 64]
    assert [r for r in config.resolutions if GeneratorConfig(64, half_resolutions=9).is_half(r)] == [8, 16, 32, 64]
    plain, flagged = small(), small(half_resolutions=2)
    w = torch.randn(2, 8, dtype=torch.float64)
    assert torch.equal(plain.synthesis(w), flagged.synthesis(w))


def test_half_precision_balances_without_changing_the_layer():
    layer = small().synthesis.b16.conv0
    styles = layer.affine(torch.randn(2, 8, dtype=torch.float64))
    weight, balanced = layer._balanced(styles)

    def demodulated(weight: Tensor, styles: Tensor) -> Tensor:
        product = weight[None] * styles[:, None, :, None, None]
        return product / product.square().sum(dim=(2, 3, 4), keepdim=True).sqrt()

    torch.testing.assert_close(demodulated(weight, balanced), demodulated(layer.weight, styles))
    assert balanced.abs().max() <= 1
    assert weight.abs().max() <= 1


def slow_logit(critic: Discriminator, image: Tensor) -> Tensor:
    """The resnet discriminator with every filter as a sum over pixels."""

    def lrelu(x: Tensor, gain: float = 1.0) -> Tensor:
        return torch.where(x < 0, 0.2 * x, x) * math.sqrt(2) * gain

    def conv(layer, x: Tensor, **options) -> Tensor:
        weight = layer.weight / math.sqrt(layer.weight[0].numel())
        return torch.nn.functional.conv2d(x, weight, layer.bias, **options)

    def smooth(x: Tensor, pad: int) -> Tensor:
        return torch.stack([filtered(s, pad, pad) for s in x]) / 4

    x = lrelu(conv(critic.blocks[0].fromrgb, image))
    for block in critic.blocks:
        y = conv(block.conv1, smooth(lrelu(conv(block.conv0, x, padding=1)), 2), stride=2)
        x = lrelu(y, math.sqrt(0.5)) + math.sqrt(0.5) * conv(block.skip, smooth(x, 1)[:, :, ::2, ::2])
    groups = x.reshape(2, -1, *x.shape[1:])
    sd = (groups.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    x = torch.cat([x, sd.repeat(2)[:, None, None, None].expand(-1, 1, 4, 4)], dim=1)
    x = lrelu(conv(critic.b4.conv, x, padding=1)).flatten(1)
    x = lrelu(x @ critic.b4.fc.weight.T / math.sqrt(x.shape[1]) + critic.b4.fc.bias)
    return x @ critic.b4.out.weight.T / math.sqrt(x.shape[1]) + critic.b4.out.bias


def test_discriminator_is_the_papers_figure():
    torch.manual_seed(1)
    critic = Discriminator(DiscriminatorConfig(16, 2, channels=(8, 6, 4), stddev_group=2)).double()
    image = torch.randn(4, 2, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(critic(image), slow_logit(critic, image), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_discriminator_gradient_penalty(architecture):
    torch.manual_seed(2)
    config = DiscriminatorConfig(8, channels=(4, 3), architecture=architecture, label_dim=2, label_layers=1)
    critic = Discriminator(config).double()
    labels, image = torch.eye(2).double(), torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    weight = critic.b8.conv1.weight.detach().clone().requires_grad_()

    def penalty(weight: Tensor) -> Tensor:
        logits = torch.func.functional_call(critic, {"b8.conv1.weight": weight}, (image, labels))
        (slope,) = torch.autograd.grad(logits.sum(), image, create_graph=True)
        return slope.square().sum(dim=(1, 2, 3))

    assert torch.autograd.gradcheck(penalty, weight)


def test_discriminator_reads_labels():
    torch.manual_seed(3)
    critic = Discriminator(DiscriminatorConfig(8, channels=(4, 3), label_dim=2, stddev_group=1))
    image = torch.randn(2, 1, 8, 8)
    one, other = critic(image, torch.eye(2)), critic(image, torch.eye(2).flip(0))
    assert (one - other).abs().min() > 1e-4
    with pytest.raises(ValueError, match="labels must have shape"):
        critic(image)
    with pytest.raises(ValueError, match="image must have shape"):
        critic(torch.zeros(2, 3, 8, 8))


def test_discriminator_features_halve():
    critic = Discriminator(DiscriminatorConfig(32, channels=(8, 6, 4, 2)))
    assert [tuple(f.shape) for f in critic.features(torch.zeros(2, 1, 32, 32))] == [
        (2, 4, 16, 16),
        (2, 6, 8, 8),
        (2, 8, 4, 4),
    ]


def test_minibatch_stddev_by_hand():
    x = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 2, 1, 1)
    y = minibatch_stddev(x, group=2)
    assert y.shape == (4, 3, 1, 1)
    torch.testing.assert_close(y[:, 2, 0, 0], torch.ones(4))  # images 0 and 2, 1 and 3: sd 1
    torch.testing.assert_close(minibatch_stddev(x, group=0)[0, 2, 0, 0], torch.arange(4.0).std(unbiased=False))
    torch.testing.assert_close(minibatch_stddev(x[:3], group=2)[:, 2], torch.full((3, 1, 1), 1e-4))


def test_frozen_generator_has_no_trainable_weights_and_leaves_the_original_alone():
    generator = small()
    frozen = generator.freeze()
    assert not any(p.requires_grad for p in frozen.parameters())
    assert all(p.requires_grad for p in generator.parameters())
    assert not frozen.training
    assert frozen.state_dict().keys() == generator.state_dict().keys()
    assert frozen.float().synthesis(torch.zeros(1, 8)).dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="float16 blocks compute on a GPU alone")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_half_precision_blocks_are_near_single_precision(architecture):
    single = small(architecture=architecture, conv_clamp=256.0).float().cuda()
    half = small(architecture=architecture, conv_clamp=256.0, half_resolutions=2).float().cuda()
    w = torch.randn(2, 8, device="cuda")
    for a, b in ((single, half), (single.freeze(), half.freeze())):
        torch.testing.assert_close(a.synthesis(w), b.synthesis(w), rtol=0.02, atol=0.02)
        assert b.synthesis(w).dtype == torch.float32


def test_frozen_layers_work_under_function_transforms():
    frozen = small().freeze()
    w = torch.randn(2, frozen.num_ws, 8, dtype=torch.float64)

    def loss(w: Tensor) -> Tensor:
        return frozen.synthesis(w).square().sum()

    (expected,) = torch.autograd.grad(loss(leaf := w.clone().requires_grad_()), leaf)
    torch.testing.assert_close(torch.func.grad(loss)(w), expected)


def test_noise_buffers_can_be_fitted_on_a_frozen_generator():
    frozen, w = small().freeze(), torch.randn(2, 8, dtype=torch.float64)
    buffers = [torch.randn(shape, dtype=torch.float64) for shape in frozen.synthesis.noise_shapes]
    with torch.no_grad():
        for layer in frozen.synthesis.layers:
            layer.noise_strength.fill_(0.5)

    def image(buffer: Tensor) -> Tensor:
        return frozen.synthesis(w, noise=[*buffers[:2], buffer, *buffers[3:]])

    assert torch.autograd.gradcheck(image, buffers[2].clone().requires_grad_())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("buffers", ["const", "shared", "each"])
def test_images_one_after_another_are_those_of_the_batch(architecture, buffers, monkeypatch):
    """As they are made where maps outgrow the cache."""
    generator = small(architecture=architecture).freeze()
    w = torch.randn(3, generator.num_ws, 8, dtype=torch.float64, requires_grad=True)
    count = {"const": 0, "shared": 1, "each": 3}[buffers]
    noise = [torch.randn(count, 1, *s, dtype=torch.float64) for s in generator.synthesis.noise_shapes]
    results = []
    for cached in (synthesis.CACHED, 3 * 6 * 8 * 8):  # the second is outgrown at 16 px
        monkeypatch.setattr(synthesis, "CACHED", cached)
        image = generator.synthesis(w, noise=noise if count else None)
        results.append((image, *torch.autograd.grad(image.square().sum(), w)))
    assert [b.overflows(3) for b in generator.synthesis.blocks] == [False, False, True]
    for whole, parts in zip(*results, strict=True):
        torch.testing.assert_close(whole, parts)


def test_an_image_comes_of_every_block():
    """The one at half the resolution is what the block above doubles."""
    generator = small()
    w = torch.randn(2, generator.num_ws, 8, dtype=torch.float64)
    with torch.no_grad():
        generator.synthesis.b16.torgb.weight.zero_()
        generator.synthesis.b16.torgb.bias.zero_()
    whole, half = generator.synthesis(w), generator.synthesis(w, resolution=8)
    assert half.shape == (2, 1, 8, 8)
    torch.testing.assert_close(whole, torch.stack([filtered(zoom(image), 2, 1) for image in half]))


def test_large_maps_give_the_same_gradient_as_small_ones():
    """Sums over pixels are taken in slices where maps are large."""
    a, b = torch.randn(2, 3, 5, 190, 190, dtype=torch.float64)
    torch.testing.assert_close(channel_dot(a, b), torch.einsum("bchw,bchw->bc", a, b))
