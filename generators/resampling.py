"""Doubling, halving and blurring of images with the [1, 3, 3, 1] filter of StyleGAN2.

Source: Karras et al., CVPR 2020, appendix B ("bilinear filtering" of up- and downsampling, after Zhang, ICML 2019).
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d

__all__ = ["blur", "doubling", "downsample", "kernel", "upsample", "upsample_by"]

TAPS = (1.0, 3.0, 3.0, 1.0)


def kernel(x: Tensor, gain: float = 1.0) -> Tensor:
    """One normalised 4 x 4 filter per channel of ``x`` (B, C, ...): (C, 1, 4, 4), each summing to ``gain``.

    Of ``x`` only C, the dtype and the device count.

    Examples
    --------
    >>> filters = kernel(torch.zeros(1, 3, 8, 8), gain=4.0)
    >>> filters.shape, filters.sum(dim=(1, 2, 3)), filters[0, 0, 1] / filters[0, 0, 1, 0]
    (torch.Size([3, 1, 4, 4]), tensor([4., 4., 4.]), tensor([1., 3., 3., 1.]))
    """
    i = torch.arange(4, dtype=x.dtype, device=x.device)
    taps = (i * (3 - i) + 1) / 8  # 1, 3, 3, 1, made where they are used: a copy to a GPU would wait for it
    return (taps[:, None] * (taps * gain)).expand(x.shape[1], 1, 4, 4)


def blur(x: Tensor, padding: int, gain: float = 1.0) -> Tensor:
    """Filter every channel of ``x`` (B, C, H, W) with zeros outside: (B, C, H + 2 padding - 3, W + 2 padding - 3).

    Examples
    --------
    >>> blur(torch.full((1, 1, 1, 1), 64.0), padding=3)[0, 0]
    tensor([[1., 3., 3., 1.],
            [3., 9., 9., 3.],
            [3., 9., 9., 3.],
            [1., 3., 3., 1.]])
    """
    return conv2d(x, kernel(x, gain), padding=padding, groups=x.shape[1])


def upsample(x: Tensor) -> Tensor:
    """Double ``x`` (B, C, H, W) to (B, C, 2H, 2W): zeros between pixels, filter of gain 4.

    Examples
    --------
    >>> upsample(torch.tensor([0.0, 4.0, 8.0]).expand(1, 1, 3, 3))[0, 0, 2]  # linear between pixels
    tensor([0., 1., 3., 5., 7., 6.])
    """
    return conv_transpose2d(x, kernel(x, 4.0), stride=2, padding=1, groups=x.shape[1])


def doubling(side: int, like: Tensor) -> Tensor:
    """Matrix (2 side, side) that doubles a column of pixels as :func:`upsample` does, of ``like``'s dtype.

    Examples
    --------
    >>> doubling(2, like=torch.zeros(1)) @ torch.tensor([4.0, 8.0])
    tensor([3., 5., 7., 6.])
    """
    i = torch.arange(2 * side, dtype=like.dtype, device=like.device)[:, None] + 1
    i = i - 2 * torch.arange(side, dtype=like.dtype, device=like.device)
    return (i * (3 - i) + 1) / 4 * ((i >= 0) & (i <= 3))  # 1, 3, 3, 1, of sum 2


def upsample_by(matrix: Tensor, x: Tensor) -> Tensor:
    """Double square images of few channels, (B, C, side, side), by the matrix of :func:`doubling`.

    Two small products, which cost a CPU a third of what the filter costs it.

    Examples
    --------
    >>> image = torch.rand(1, 3, 4, 4)
    >>> torch.allclose(upsample_by(doubling(4, image), image), upsample(image), atol=1e-6)
    True
    """
    return matrix @ x @ matrix.t()


def _full_precision(device_type: str) -> AbstractContextManager[object]:
    """Switch autocast off, on devices that have it (the meta device has not)."""
    available = torch.amp.is_autocast_available(device_type)
    return torch.autocast(device_type, enabled=False) if available else nullcontext()


def downsample(x: Tensor) -> Tensor:
    """Halve ``x`` (B, C, H, W) to (B, C, H/2, W/2): filter, then every second pixel.

    Examples
    --------
    >>> downsample(torch.arange(8.0).expand(1, 1, 8, 8))[0, 0, 1, 1:3]  # between 2 and 3, and between 4 and 5
    tensor([2.5000, 4.5000])
    """
    # Not in bfloat16: the backward of a strided depthwise convolution is some 20 times slower there on a CPU.
    with _full_precision(x.device.type):
        wide = x.float() if x.dtype == torch.bfloat16 else x
        return conv2d(wide, kernel(wide), stride=2, padding=1, groups=x.shape[1])
