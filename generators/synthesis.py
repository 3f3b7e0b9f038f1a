"""The synthesis network: from w, one per layer, to an image.

Every convolution is modulated by a style, an affine function of w.  Instead of scaling the weights of every image of
a batch, ``demodulated(W s) * x`` is computed as ``d * (W * (s x))`` with ``d_o = (sum_i s_i^2 sum_k W_oik^2)^-1/2``,
so that a batch shares one convolution and the sums over the kernel can be kept where the weights are frozen.
Weights lie in memory with channels last, and so do the maps that come of them: on a CPU, convolutions and filters of
that layout are several times as fast.

Source: Karras et al., CVPR 2020, section 2.2, equations 1 to 3; architectures: figure 7.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from neuropyro.generators.config import GeneratorConfig
from neuropyro.generators.frozen import FrozenLayer, Manner, keep, plain_layer
from neuropyro.generators.layers import LRELU_GAIN, Conv, Linear, limit, map_dtype, standard_normal
from neuropyro.generators.resampling import upsample

__all__ = ["SynthesisNetwork"]

CACHED = 2**21  # numbers of a batch of maps that a processor's last cache holds beside all else
NOISE_MODES = ("const", "random", "none")


class SynthesisLayer(nn.Module):
    """Modulated 3 x 3 convolution, optionally doubling the resolution; noise, bias and activation follow.

    Parameters
    ----------
    in_channels, out_channels, w_dim
        Dimensions.
    resolution
        Side length of the output.
    up
        Whether the input has half the resolution.
    noisy
        Whether there is a noise input.
    clamp, gain
        See :func:`neuropyro.generators.layers.activate`.
    """

    noise_const: Tensor
    kept_mirror: Tensor | None
    kept_sums: Tensor | None
    kept_filter: Tensor | None
    kept_offset: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        up: bool = False,
        noisy: bool = True,
        clamp: float | None = None,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.resolution, self.up, self.noisy, self.clamp = resolution, up, noisy, clamp
        # The rectifier commutes with its gain, which thus costs no pass over the maps.
        self.manner = Manner(up, gain * LRELU_GAIN, None if clamp is None else clamp * gain)
        self.affine = Linear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(standard_normal(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        if noisy:
            self.register_buffer("noise_const", standard_normal(resolution, resolution))
            self.noise_strength = nn.Parameter(torch.zeros(()))
        for name in ("kept_mirror", "kept_sums", "kept_filter", "kept_offset"):
            self.register_buffer(name, None, persistent=False)

    @torch.no_grad()
    def freeze(self) -> None:
        """Keep what depends on the weights alone: valid as long as they stay."""
        self.requires_grad_(False)
        self.kept_mirror, self.kept_sums, self.kept_filter = keep(self.weight, self.up)
        self.kept_offset = self._offset(self.noise_const) if self.noisy else None

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Feature maps (B, out, r, r) of ``x`` (B, in, ...), ``w`` (B, w_dim) and ``noise``, (r, r) or (B, r, r)."""
        styles = self.affine(w)
        if x.dtype == torch.float16:
            weight, styles = self._balanced(styles)
            return plain_layer(x, styles, self._offset(noise), weight, weight.square().sum(dim=(2, 3)), self.manner)
        if self.kept_sums is None or self.weight.requires_grad:
            sums = self.weight.square().sum(dim=(2, 3))
            return plain_layer(x, styles, self._offset(noise), self.weight, sums, self.manner)
        offset = self.kept_offset if self.noisy and noise is self.noise_const else self._offset(noise)
        kept = (self.weight, self.kept_mirror, self.kept_sums, self.kept_filter)
        y, *_ = FrozenLayer.apply(x, styles, offset, self.manner, *kept)  # type: ignore[no-untyped-call]
        return cast(Tensor, y)

    def _offset(self, noise: Tensor | None) -> Tensor:
        """Bias and noise, (out, 1, 1) or (1 or B, out, r, r) with channels last in memory, as the maps have them."""
        bias = self.bias * self.manner.gain
        if noise is None:
            return bias[:, None, None]
        noise = noise.reshape(-1, self.resolution, self.resolution, 1)
        return torch.addcmul(bias, noise, self.noise_strength * self.manner.gain).movedim(-1, 1)

    def _balanced(self, styles: Tensor) -> tuple[Tensor, Tensor]:
        # float16 overflows on the products; demodulation cancels both scalings.
        fan_in = self.weight[0].numel()
        weight = self.weight / (self.weight.abs().amax(dim=(1, 2, 3), keepdim=True) * math.sqrt(fan_in))
        return weight, styles / styles.abs().amax(dim=1, keepdim=True)


class ToImage(nn.Module):
    """Modulated 1 x 1 convolution to image channels, without demodulation or activation."""

    def __init__(self, in_channels: int, img_channels: int, w_dim: int, clamp: float | None = None) -> None:
        super().__init__()
        self.affine = Linear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(standard_normal(img_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(img_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Image (B, img_channels, r, r) of the feature maps ``x`` (B, in, r, r) and ``w`` (B, w_dim)."""
        styles = self.affine(w) * self.weight_gain
        weights = self.weight[:, :, 0, 0] * styles[:, None, :]
        batch, width, height, breadth = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(batch, height * breadth, width)  # a view where channels lie last
        image = torch.bmm(pixels, weights.to(x.dtype).transpose(1, 2)) + self.bias.to(x.dtype)
        return limit(image.view(batch, height, breadth, -1).permute(0, 3, 1, 2), clamp=self.clamp)


class SynthesisBlock(nn.Module):
    """The layers of one resolution.

    Parameters
    ----------
    config
        The generator's settings.
    resolution
        Side length of the feature maps that the block returns; the block of 4 px starts from a learned constant.
    """

    def __init__(self, config: GeneratorConfig, resolution: int) -> None:
        super().__init__()
        self.resolution, self.architecture = resolution, config.architecture
        self.is_half = config.is_half(resolution)
        width, first, last = config.width(resolution), resolution == 4, resolution == config.img_resolution
        before = width if first else config.width(resolution // 2)
        layer = partial(SynthesisLayer, noisy=config.use_noise, clamp=config.conv_clamp)
        self.const = nn.Parameter(standard_normal(width, 4, 4)) if first else None
        if not first:
            self.conv0 = layer(before, width, config.w_dim, resolution, up=True)
        gain = math.sqrt(0.5) if config.architecture == "resnet" and not first else 1.0
        self.conv1 = layer(width, width, config.w_dim, resolution, gain=gain)
        if last or config.architecture == "skip":
            self.torgb = ToImage(width, config.img_channels, config.w_dim, config.conv_clamp)
        if not first and config.architecture == "resnet":
            self.skip = Conv(before, width, kernel_size=1, resample="up", activated=False)

    def overflows(self, batch: int) -> bool:
        """Whether one image after another is faster than the batch at once: maps that no cache holds.

        Then nothing is shared but weights that are small beside the maps, and only frozen ones have no gradients that
        would be written once for each image.
        """
        weight = self.conv1.weight
        frozen = self.conv1.kept_sums is not None and not weight.requires_grad
        return frozen and weight.device.type == "cpu" and batch * len(weight) * self.resolution**2 > CACHED

    @property
    def layers(self) -> list[SynthesisLayer]:
        """The convolutions that take noise, in their order."""
        return [m for m in self.children() if isinstance(m, SynthesisLayer)]

    def features(self, x: Tensor | None, ws: Sequence[Tensor], noise: Sequence[Tensor | None]) -> Tensor:
        """Feature maps (B, width, r, r) of the block below's ``x``, with one w (B, w_dim) and one noise per layer."""
        if x is None:
            assert self.const is not None
            const = self.const.expand(ws[0].shape[0], -1, -1, -1)
            return cast(Tensor, self.conv1(const, ws[0], noise[0]))
        x = x.to(map_dtype(self.conv1.weight, self.is_half))
        if self.architecture != "resnet":
            return cast(Tensor, self.conv1(self.conv0(x, ws[0], noise[0]), ws[1], noise[1]))
        shortcut = self.skip(x, gain=math.sqrt(0.5))
        return cast(Tensor, shortcut + self.conv1(self.conv0(x, ws[0], noise[0]), ws[1], noise[1]))

    def image(self, below: Tensor | None, x: Tensor, w: Tensor) -> Tensor | None:
        """Image so far: the one from ``below`` doubled, plus this block's share where it has one."""
        image = None if below is None else upsample(below)
        if not hasattr(self, "torgb"):
            return image
        share = cast(Tensor, self.torgb(x, w).to(self.torgb.bias.dtype))
        return share if image is None else image + share


class SynthesisNetwork(nn.Module):
    """Feature maps from 4 px up to the image's resolution, and the image that they make.

    Parameters
    ----------
    config
        The generator's settings.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.w_dim, self.num_ws = config.w_dim, config.num_ws
        self.img_resolution, self.img_channels = config.img_resolution, config.img_channels
        for resolution in config.resolutions:
            self.add_module(f"b{resolution}", SynthesisBlock(config, resolution))

    @property
    def blocks(self) -> list[SynthesisBlock]:
        """The blocks, 4 px first."""
        return [cast(SynthesisBlock, block) for block in self.children()]

    @property
    def layers(self) -> list[SynthesisLayer]:
        """The ``num_ws - 1`` convolutions that take noise, in their order."""
        return [layer for block in self.blocks for layer in block.layers]

    @property
    def noise_shapes(self) -> list[tuple[int, int]]:
        """Shape of each layer's noise input."""
        return [(layer.resolution, layer.resolution) for layer in self.layers]

    def forward(
        self,
        w: Tensor,
        noise_mode: str = "const",
        noise: Sequence[Tensor] | None = None,
        rng: torch.Generator | None = None,
        resolution: int | None = None,
    ) -> Tensor:
        """Image of each w.

        Parameters
        ----------
        w
            One latent per layer (W+), (B, num_ws, w_dim), or one for all (W), (B, w_dim).
        noise_mode
            ``"const"``: the network's own buffers; ``"random"``: drawn anew for each image; ``"none"``: off.
        noise
            Buffers that take the place of the network's own, one per layer of :attr:`noise_shapes`; each
            (r, r), (1, 1, r, r) or (B, 1, r, r).
        rng
            Source of random noise; the global one if None.
        resolution
            Side at which to stop, where an image comes of every block (``"skip"``); that of the network if None.

        Returns
        -------
        Tensor
            (B, img_channels, resolution, resolution), about -1..1

        Raises
        ------
        ValueError
            Where w, the noise mode, a buffer or the resolution does not fit the network.
        """
        w = self._one_per_layer(w)
        self._check_resolution(resolution)
        noises = list(self._noises(w, noise_mode, noise, rng))
        blocks = [block for block in self.blocks if resolution is None or block.resolution <= resolution]
        return _rise(blocks, None, None, w, noises)

    def _one_per_layer(self, w: Tensor) -> Tensor:
        if w.ndim == 2:
            w = w.unsqueeze(1).expand(-1, self.num_ws, -1)
        if w.ndim != 3 or tuple(w.shape[1:]) != (self.num_ws, self.w_dim):
            raise ValueError(
                f"w must have shape (batch, {self.num_ws}, {self.w_dim}) or (batch, {self.w_dim}), got {tuple(w.shape)}"
            )
        return w

    def _check_resolution(self, resolution: int | None) -> None:
        known = [block.resolution for block in self.blocks if hasattr(block, "torgb")]
        if resolution is not None and resolution not in known:
            raise ValueError(f"resolution must be one at which there is an image, {known}, not {resolution}")

    def _noises(
        self, w: Tensor, mode: str, given: Sequence[Tensor] | None, rng: torch.Generator | None
    ) -> Iterator[Tensor | None]:
        if mode not in NOISE_MODES:
            raise ValueError(f"noise_mode must be one of {', '.join(NOISE_MODES)}, not {mode!r}")
        layers = self.layers
        if given is not None and len(given) != len(layers):
            raise ValueError(f"noise must hold {len(layers)} buffers, one per layer, got {len(given)}")
        for i, layer in enumerate(layers):
            if not layer.noisy or mode == "none":
                yield None
            elif given is not None:
                yield checked_noise(given[i].to(w), layer.resolution, w.shape[0], i)
            elif mode == "const":
                yield layer.noise_const
            else:
                shape = (w.shape[0], layer.resolution, layer.resolution)
                yield torch.randn(shape, generator=rng, dtype=w.dtype, device=w.device)


def _rise(
    blocks: Sequence[SynthesisBlock], x: Tensor | None, image: Tensor | None, w: Tensor, noises: Sequence[Tensor | None]
) -> Tensor:
    """Image after ``blocks``, of the maps and the image below them, with one w and one noise per layer above."""
    for k, block in enumerate(blocks):
        if x is not None and len(w) > 1 and block.overflows(len(w)):
            images = _each(image, len(w))
            each = [[_each(noise, len(w))[i] for noise in noises] for i in range(len(w))]
            parts = zip(torch.split(x, 1), images, torch.split(w, 1), each, strict=True)
            return torch.cat([_rise(blocks[k:], *part) for part in parts])
        count = len(block.layers)
        x = block.features(x, w[:, :count].unbind(1), noises[:count])
        image = block.image(image, x, w[:, count])
        w, noises = w[:, count:], noises[count:]
    assert image is not None
    return image


def _each(value: Tensor | None, count: int) -> Sequence[Tensor | None]:
    """Part of each image of a batch, of what there is one of for each, or one for all."""
    if value is None or value.ndim == 2 or len(value) != count:
        return [value] * count
    return torch.split(value, 1)


def checked_noise(noise: Tensor, resolution: int, batch: int, index: int) -> Tensor:
    """Given ``noise`` as (1 or B, r, r), if it fits the layer of that ``index``; else a ``ValueError``."""
    square = (resolution, resolution)
    if tuple(noise.shape) not in (square, (1, 1, *square), (batch, 1, *square)):
        raise ValueError(f"noise[{index}] must have shape {square} or (1 or {batch}, 1, {resolution}, {resolution})")
    return noise.reshape(-1, *square)
