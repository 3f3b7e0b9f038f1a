"""A synthesis layer whose weights are frozen, with a backward pass to its input and styles alone.

For a CPU, a step of reconstruction is a matter of memory as much as of arithmetic: every elementwise operation is a
pass over maps of megabytes.  Here the backward pass works in place on what it alone holds, and filters symmetrically
with the fast forward filter.  Where a derivative of the derivative is asked for, plain operations take its place.
"""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu

from neuropyro.generators.layers import LRELU_SLOPE
from neuropyro.generators.resampling import blur, kernel

__all__ = ["Kept", "Manner", "channel_dot", "frozen_layer", "keep", "plain_layer"]

EPS = 1e-8


class Manner(NamedTuple):
    """How a layer computes: whether the resolution doubles, the gain of its activation, and its limit after that.

    Examples
    --------
    >>> x, weight = torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3)
    >>> manner = Manner(up=True, gain=1.0, limit=0.5)
    >>> y = plain_layer(x, torch.ones(1, 1), torch.zeros(1, 1, 1), weight, weight.square().sum((2, 3)), manner)
    >>> y.shape, y.max().item()
    (torch.Size([1, 1, 8, 8]), 0.5)
    """

    up: bool
    gain: float
    limit: float | None


class Kept(NamedTuple):
    """What depends on a layer's weights alone: the kernel and its mirror image, squared sums and filter.

    Examples
    --------
    >>> weight = torch.ones(2, 3, 3, 3)
    >>> kept = Kept(weight, *keep(weight, up=False))
    >>> kept.sums.tolist(), kept.filter.sum(dim=(1, 2, 3)).tolist()  # 9 ones each; the gain of each filter
    ([[9.0, 9.0, 9.0], [9.0, 9.0, 9.0]], [4.0, 4.0])
    """

    weight: Tensor  # (out, in, 3, 3)
    mirror: Tensor  # (in, out, 3, 3), by which gradients pass back
    sums: Tensor  # (out, in)
    filter: Tensor  # (out, 1, 4, 4), of gain 4


def keep(weight: Tensor, up: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror image, sums and filter of a kernel (out, in, 3, 3), for :class:`Kept`.

    Examples
    --------
    >>> mirror, sums, _ = keep(torch.arange(9.0).view(1, 1, 3, 3), up=False)
    >>> mirror.flatten().tolist(), sums.item()  # 0 + 1 + 4 + ... + 64
    ([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0], 204.0)
    """
    mirror = weight.transpose(0, 1) if up else weight.transpose(0, 1).flip(2, 3)
    sums = weight.square().sum(dim=(2, 3))
    return mirror.contiguous(memory_format=torch.channels_last), sums, kernel(sums.t(), 4.0).contiguous()


def _convolve_kept(x: Tensor, kept: Kept, up: bool) -> Tensor:
    """Convolve ``x`` (B, in, H, W) as :func:`plain_layer` does, with what is kept."""
    if not up:
        return conv2d(x, kept.weight, padding=1)
    return _filtered(conv_transpose2d(x, kept.mirror, stride=2), kept, padding=1)


def _convolve_back(g: Tensor, kept: Kept, up: bool) -> Tensor:
    """Gradient at the input of :func:`_convolve_kept` of the gradient ``g`` at its output."""
    return conv2d(_filtered(g, kept, padding=2), kept.mirror, stride=2) if up else conv2d(g, kept.mirror, padding=1)


def _filtered(x: Tensor, kept: Kept, padding: int) -> Tensor:
    """Filter every channel of ``x`` (B, C, H, W); the filter is symmetric, so that it is its own transpose."""
    return conv2d(x, kept.filter, padding=padding, groups=x.shape[1])


def _demodulation(styles: Tensor, sums: Tensor, gain: float) -> Tensor:
    """Factors (B, out) that give each channel of a convolution modulated by ``styles`` (B, in) the sd ``gain``."""
    return torch.rsqrt(styles.square() @ sums.t() + EPS) * gain


def _finish(maps: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Scale by ``scale`` (B, out), add ``offset``, activate."""
    return leaky_relu(torch.addcmul(offset, maps, scale[:, :, None, None]), LRELU_SLOPE, inplace=True)


def plain_layer(x: Tensor, styles: Tensor, offset: Tensor, weight: Tensor, sums: Tensor, manner: Manner) -> Tensor:
    """Modulate, convolve, demodulate, add bias and noise, activate.

    Parameters
    ----------
    x
        Feature maps, (B, in, H, W), in whose dtype it is computed.
    styles
        Factors of the input's channels, (B, in).
    offset
        Bias and noise times the gain, (out, 1, 1) or (1 or B, out, r, r).
    weight, sums
        Kernel, (out, in, 3, 3), and the sums of its squares, (out, in).
    manner
        How the layer computes.

    Returns
    -------
    Tensor
        (B, out, r, r)

    Examples
    --------
    >>> weight = torch.zeros(1, 1, 3, 3)
    >>> weight[..., 1, 1] = 1.0  # the same image; demodulation undoes the style, as there is but one channel
    >>> x, styles, still = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1), 7.0), torch.zeros(1, 1, 1)
    >>> round(plain_layer(x, styles, still, weight, torch.ones(1, 1), Manner(False, 1.5, None)).item(), 4)
    3.0
    """
    scale = _demodulation(styles, sums, manner.gain)
    x, weight = x * styles.to(x.dtype)[:, :, None, None], weight.to(x.dtype)
    if manner.up:
        maps = blur(conv_transpose2d(x, weight.transpose(0, 1), stride=2), padding=1, gain=4.0)
    else:
        maps = conv2d(x, weight, padding=1)
    y = _finish(maps, scale.to(x.dtype), offset.to(x.dtype))
    return y if manner.limit is None else y.clamp(-manner.limit, manner.limit)


def channel_dot(a: Tensor, b: Tensor) -> Tensor:
    """Sum of ``a * b`` over pixels: (B, C, H, W) twice to (B, C).

    Examples
    --------
    >>> a = torch.arange(8.0).view(1, 2, 2, 2)
    >>> channel_dot(a, a)  # 0 + 1 + 4 + 9, and 16 + 25 + 36 + 49
    tensor([[ 14., 126.]])
    """
    return (a * b).sum(dim=(2, 3))


def frozen_layer(x: Tensor, styles: Tensor, offset: Tensor, manner: Manner, kept: Kept) -> Tensor:
    """:func:`plain_layer` with what is kept, and gradients of maps, styles and offset.

    Examples
    --------
    >>> x, styles, still = torch.randn(1, 2, 4, 4), torch.rand(1, 2), torch.zeros(3, 1, 1)
    >>> weight = torch.randn(3, 2, 3, 3)
    >>> kept, manner = Kept(weight, *keep(weight, up=True)), Manner(True, 1.0, None)
    >>> plain = plain_layer(x, styles, still, weight, kept.sums, manner)
    >>> torch.allclose(frozen_layer(x, styles, still, manner, kept), plain, atol=1e-5)
    True
    """
    if torch._C._are_functorch_transforms_active():  # which take another kind of function, at a higher price
        return plain_layer(x, styles, offset, kept.weight, kept.sums, manner)
    return cast(Tensor, _FrozenLayer.apply(x, styles, offset, manner, *kept))  # type: ignore[no-untyped-call]


class _FrozenLayer(torch.autograd.Function):
    """The same as a function of ``(x, styles, offset, manner, *kept)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, styles: Tensor, offset: Tensor, manner: Manner, *kept: Tensor) -> Tensor:
        """Return the layer's result; keep, for the backward pass, the convolution's and the demodulation too."""
        scale = _demodulation(styles, Kept(*kept).sums, manner.gain)
        maps = _convolve_kept(x * styles[:, :, None, None], Kept(*kept), manner.up)
        y = _finish(maps, scale, offset)
        y = y if manner.limit is None else y.clamp_(-manner.limit, manner.limit)
        ctx.manner = manner
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, styles, offset, y, maps, scale, *kept)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of the inputs; by plain operations where they are to be differentiated again."""
        if g is None:
            return (None,) * 8
        if torch.is_grad_enabled():
            return (*_differentiable_gradients(ctx, g), *(None,) * 5)
        x, styles, offset, y, maps, scale, *rest = ctx.saved_tensors
        manner, kept = ctx.manner, Kept(*rest)
        if manner.limit is not None:
            g = g * (y.abs() < manner.limit)
        g = torch.ops.aten.leaky_relu_backward(g, y, LRELU_SLOPE, True)  # new memory, ours to overwrite
        offsets = g.sum_to_size(offset.shape).clone() if ctx.needs_input_grad[2] else None
        scales = channel_dot(g, maps) * scale.pow(3) / manner.gain**2
        g = _convolve_back(g.mul_(scale[:, :, None, None]), kept, manner.up)
        modulation = torch.addcmul(channel_dot(g, x), scales @ kept.sums, styles, value=-1)
        return g.mul_(styles[:, :, None, None]), modulation, offsets, *(None,) * 5


def _differentiable_gradients(ctx: Any, g: Tensor) -> list[Tensor | None]:
    """Gradients of maps, styles and offset as functions of them."""
    x, styles, offset, _, _, _, weight, _, sums, _ = ctx.saved_tensors
    wanted = [t for t, needed in zip((x, styles, offset), ctx.needs_input_grad, strict=False) if needed]
    result = plain_layer(x, styles, offset, weight, sums, ctx.manner)
    found = iter(torch.autograd.grad(result, wanted, g, create_graph=True))
    return [next(found) if needed else None for needed in ctx.needs_input_grad[:3]]
