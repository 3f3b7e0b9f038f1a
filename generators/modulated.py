"""Layers of the synthesis network: convolutions modulated by w.

Every convolution is modulated by a style, an affine function of w.  Instead of scaling the weights of every image of
a batch, ``demodulated(W s) * x`` is computed as ``d * (W * (s x))`` with ``d_o = (sum_i s_i^2 sum_k W_oik^2)^-1/2``,
so that a batch shares one convolution and the sums over the kernel can be kept where the weights are frozen.
Weights lie in memory with channels last, and so do the maps that come of them: on a CPU, convolutions and filters of
that layout are several times as fast.

Source: Karras et al., CVPR 2020, section 2.2, equations 1 to 3.
"""

import math

import torch
from torch import Tensor, nn

from neuropyro.generators.frozen import Kept, Manner, frozen_layer, keep, plain_layer
from neuropyro.generators.layers import LRELU_GAIN, Linear, limit, standard_normal

__all__ = ["SynthesisLayer", "ToImage"]


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

    Examples
    --------
    >>> layer = SynthesisLayer(2, 3, w_dim=4, resolution=8, up=True)
    >>> x, w = torch.randn(1, 2, 4, 4), torch.randn(1, 4)
    >>> maps = layer(x, w, noise=None)
    >>> layer.freeze()  # another way to the same
    >>> maps.shape, torch.allclose(layer(x, w, noise=None), maps, atol=1e-5)
    (torch.Size([1, 3, 8, 8]), True)
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
        return frozen_layer(x, styles, offset, self.manner, Kept(*kept))  # type: ignore[arg-type]

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
    """Modulated 1 x 1 convolution to image channels, without demodulation or activation.

    Examples
    --------
    >>> layer = ToImage(in_channels=4, img_channels=1, w_dim=2)
    >>> _ = torch.nn.init.ones_(layer.weight)
    >>> layer(torch.ones(1, 4, 1, 1), torch.zeros(1, 2)).item()  # styles are 1 at w = 0: the sum of 4, by 1 / sqrt(4)
    2.0
    """

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
