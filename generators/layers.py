"""Layers with run-time weight scaling, as both networks of StyleGAN2 use them.

Weights are stored with unit variance and scaled when used, by 1/sqrt(fan-in).  Source: Karras et al., *Progressive
growing of GANs*, ICLR 2018, section 4.1.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu

from neuropyro.generators.resampling import blur, downsample, upsample

__all__ = ["Conv", "Linear", "activate", "limit", "map_dtype", "normalise_second_moment", "standard_normal"]

LRELU_SLOPE = 0.2
LRELU_GAIN = math.sqrt(2.0)


def normalise_second_moment(x: Tensor) -> Tensor:
    """Scale each row of ``x`` (B, D) to a mean square of one.

    Examples
    --------
    >>> normalise_second_moment(torch.tensor([[1.0, 7.0]]))  # 1 and 7 over 5
    tensor([[0.2000, 1.4000]])
    """
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


def activate(x: Tensor, gain: float = 1.0, clamp: float | None = None) -> Tensor:
    """Leaky rectifier of slope .2 scaled by sqrt(2) and ``gain``; then values are limited to +-``clamp * gain``.

    Examples
    --------
    >>> activate(torch.tensor([-1.0, 1.0])), activate(torch.tensor([-1.0, 1.0]), clamp=1.0)
    (tensor([-0.2828,  1.4142]), tensor([-0.2828,  1.0000]))
    """
    x = leaky_relu(x, LRELU_SLOPE) * (LRELU_GAIN * gain)
    return limit(x, gain, clamp)


def limit(x: Tensor, gain: float = 1.0, clamp: float | None = None) -> Tensor:
    """``x`` limited to +-``clamp * gain``; ``x`` itself where ``clamp`` is None.

    Examples
    --------
    >>> limit(torch.tensor([-3.0, 1.0]), gain=2.0, clamp=1.0)
    tensor([-2.,  1.])
    """
    return x if clamp is None else x.clamp(-clamp * gain, clamp * gain)


def map_dtype(parameter: Tensor, half: bool) -> torch.dtype:
    """In which a layer's maps are held: float16 on a GPU where ``half``, autocast's where that is on, the weights'.

    Examples
    --------
    >>> weight = torch.zeros(1)
    >>> with torch.autocast("cpu", dtype=torch.bfloat16):
    ...     print(map_dtype(weight, half=True))
    torch.bfloat16
    >>> map_dtype(weight, half=True)  # on a CPU
    torch.float32
    """
    device = parameter.device.type
    if half and device == "cuda":
        return torch.float16
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return parameter.dtype


def standard_normal(*shape: int, scale: float = 1.0) -> Tensor:
    """Draw start values of ``shape``, with sd ``scale``.

    On the meta device, where a network is a shape to be filled from a file, nothing is drawn: it would load a
    second's worth of PyTorch for nothing.

    Examples
    --------
    >>> round(standard_normal(100, 200, scale=3.0).std().item(), 1)
    3.0
    >>> with torch.device("meta"):
    ...     print(standard_normal(2, 3).is_meta)
    True
    """
    values = torch.empty(shape)
    return values if values.is_meta else values.normal_(0.0, scale)


class Linear(nn.Module):
    """Affine map with run-time scaling of weight and bias.

    Parameters
    ----------
    in_features, out_features
        Dimensions.
    bias_init
        Start value of the bias, as used (that is, after its scaling).
    lr_multiplier
        Scales weight and bias; stored weights are divided by it, so that a common step size acts less on them.
    activated
        Whether :func:`activate` follows.

    Examples
    --------
    >>> layer = Linear(4, 1, bias_init=1.0, lr_multiplier=0.5)
    >>> _ = torch.nn.init.constant_(layer.weight, 2.0)
    >>> layer(torch.ones(1, 4)).item()  # 4 times 2, by .5 / sqrt(4), and 1
    3.0
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias_init: float = 0.0,
        lr_multiplier: float = 1.0,
        activated: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(standard_normal(out_features, in_features, scale=1 / lr_multiplier))
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier
        self.activated = activated

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (B, in_features) to (B, out_features)."""
        y = torch.addmm(self.bias, x, self.weight.t(), beta=self.bias_gain, alpha=self.weight_gain)
        return activate(y) if self.activated else y


class Conv(nn.Module):
    """Convolution with run-time scaling, optional resampling by two and optional activation.

    Parameters
    ----------
    in_channels, out_channels
        Channels.
    kernel_size
        1 or 3.
    resample
        ``"up"``, ``"down"`` or None; doubling is for kernels of size 1 alone.
    activated
        Whether a bias is added and :func:`activate` follows; without it the layer is linear and has no bias.
    clamp
        See :func:`activate`.

    Examples
    --------
    >>> layer = Conv(1, 1, kernel_size=3, activated=False)
    >>> _ = torch.nn.init.ones_(layer.weight)
    >>> round(layer(torch.ones(1, 1, 3, 3))[0, 0, 1, 1].item(), 4)  # 9 ones, by 1 / sqrt(9)
    3.0
    >>> Conv(1, 2, kernel_size=1, resample="up")(torch.ones(1, 1, 3, 3)).shape
    torch.Size([1, 2, 6, 6])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        resample: str | None = None,
        activated: bool = True,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(standard_normal(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if activated else None
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.resample = resample
        self.clamp = clamp

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """Convolve ``x`` (B, in, H, W), in its dtype: (B, out, H', W'), scaled by ``gain``."""
        if self.bias is None:
            return self._convolve(x, (self.weight * (self.weight_gain * gain)).to(x.dtype), None)
        # The rectifier commutes with its gain, which thus costs no pass over the maps.
        gain = gain * LRELU_GAIN
        weight, bias = self.weight * (self.weight_gain * gain), self.bias * gain
        y = leaky_relu(self._convolve(x, weight.to(x.dtype), bias.to(x.dtype)), LRELU_SLOPE, inplace=True)
        return limit(y, gain / LRELU_GAIN, self.clamp)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        size = weight.shape[-1]
        if self.resample == "up":
            return upsample(conv2d(x, weight, bias))
        if self.resample == "down" and size == 1:
            return conv2d(downsample(x), weight, bias)
        if self.resample == "down":
            return conv2d(blur(x, padding=2), weight, bias, stride=2)
        return conv2d(x, weight, bias, padding=size // 2)
