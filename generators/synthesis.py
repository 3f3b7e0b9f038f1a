"""The synthesis network: from w, one per layer, to an image, by blocks of one resolution each.

Source: Karras et al., CVPR 2020, figure 7; the layers are in :mod:`neuropyro.generators.modulated`.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from neuropyro.generators.config import GeneratorConfig
from neuropyro.generators.layers import Conv, map_dtype, standard_normal
from neuropyro.generators.modulated import SynthesisLayer, ToImage
from neuropyro.generators.resampling import doubling, upsample, upsample_by

__all__ = ["SynthesisNetwork"]

CACHED = 2**21  # numbers of a batch of maps that a processor's last cache holds beside all else
NOISE_MODES = ("const", "random", "none")


class _SynthesisBlock(nn.Module):
    """The layers of one resolution.

    Parameters
    ----------
    config
        The generator's settings.
    resolution
        Side length of the feature maps that the block returns; the block of 4 px starts from a learned constant.
    """

    kept_doubling: Tensor | None

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
        self.register_buffer("kept_doubling", None, persistent=False)

    @torch.no_grad()
    def freeze(self) -> None:
        """Freeze the layers, and keep how the image from below is doubled."""
        for layer in self.layers:
            layer.freeze()
        if hasattr(self, "torgb") and self.const is None:
            self.kept_doubling = doubling(self.resolution // 2, self.torgb.bias)

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
        image = None if below is None else self._doubled(below)
        if not hasattr(self, "torgb"):
            return image
        share = cast(Tensor, self.torgb(x, w).to(self.torgb.bias.dtype))
        return share if image is None else image + share

    def _doubled(self, image: Tensor) -> Tensor:
        return upsample(image) if self.kept_doubling is None else upsample_by(self.kept_doubling, image)


class SynthesisNetwork(nn.Module):
    """Feature maps from 4 px up to the image's resolution, and the image that they make.

    Parameters
    ----------
    config
        The generator's settings.

    Examples
    --------
    >>> network = SynthesisNetwork(GeneratorConfig(8, w_dim=4, channels=(4, 4)))
    >>> network.num_ws, network.noise_shapes
    (4, [(4, 4), (8, 8), (8, 8)])
    >>> w = torch.randn(2, 4)
    >>> torch.allclose(network(w), network(w[:, None].expand(2, 4, 4)))  # one w for all layers, or one for each
    True
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.w_dim, self.num_ws = config.w_dim, config.num_ws
        self.img_resolution, self.img_channels = config.img_resolution, config.img_channels
        for resolution in config.resolutions:
            self.add_module(f"b{resolution}", _SynthesisBlock(config, resolution))

    @property
    def blocks(self) -> list[_SynthesisBlock]:
        """The blocks, 4 px first."""
        return [cast(_SynthesisBlock, block) for block in self.children()]

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
                yield _checked_noise(given[i].to(w), layer.resolution, w.shape[0], i)
            elif mode == "const":
                yield layer.noise_const
            else:
                shape = (w.shape[0], layer.resolution, layer.resolution)
                yield torch.randn(shape, generator=rng, dtype=w.dtype, device=w.device)


def _rise(
    blocks: Sequence[_SynthesisBlock],
    x: Tensor | None,
    image: Tensor | None,
    w: Tensor,
    noises: Sequence[Tensor | None],
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


def _checked_noise(noise: Tensor, resolution: int, batch: int, index: int) -> Tensor:
    """Given ``noise`` as (1 or B, r, r), if it fits the layer of that ``index``; else a ``ValueError``."""
    square = (resolution, resolution)
    if tuple(noise.shape) not in (square, (1, 1, *square), (batch, 1, *square)):
        raise ValueError(f"noise[{index}] must have shape {square} or (1 or {batch}, 1, {resolution}, {resolution})")
    return noise.reshape(-1, *square)
