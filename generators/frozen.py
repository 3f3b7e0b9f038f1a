"""A synthesis layer whose weights are frozen, with a backward pass to its input and styles alone.

For a CPU, a step of reconstruction is a matter of memory as much as of arithmetic: every elementwise operation is a
pass over maps of megabytes.  Here the backward pass works in place on what it alone holds, takes the gradients of
scales without writing the products that they sum, and filters symmetrically with the fast forward filter.  Where a
derivative of the derivative is asked for, plain operations take its place.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu

from neuropyro.generators.layers import LRELU_SLOPE
from neuropyro.generators.resampling import blur

__all__ = ["FrozenLayer", "mirrored", "plain_layer"]

CACHED = 2**17  # numbers of which a product stays in a processor's cache


def convolve(x: Tensor, weight: Tensor, up: bool) -> Tensor:
    """3 x 3 convolution of ``x`` (B, in, H, W), with ``up`` one that doubles its resolution and filters."""
    if not up:
        return conv2d(x, weight, padding=1)
    return blur(conv_transpose2d(x, weight.transpose(0, 1), stride=2), padding=1, gain=4.0)


def mirrored(weight: Tensor, up: bool) -> Tensor:
    """Kernel (in, out, 3, 3) of the convolution by which a gradient passes back, laid out for speed."""
    kernel = weight.transpose(0, 1) if up else weight.transpose(0, 1).flip(2, 3)
    return kernel.contiguous(memory_format=torch.channels_last)


def convolve_frozen(x: Tensor, weight: Tensor, mirror: Tensor, up: bool) -> Tensor:
    """Do as :func:`convolve`, with the kernel that is already laid out for it."""
    return blur(conv_transpose2d(x, mirror, stride=2), padding=1, gain=4.0) if up else conv2d(x, weight, padding=1)


def convolve_back(g: Tensor, mirror: Tensor, up: bool) -> Tensor:
    """Gradient at the input of :func:`convolve` of the gradient ``g`` at its output; the filter is symmetric."""
    return conv2d(blur(g, padding=2, gain=4.0), mirror, stride=2) if up else conv2d(g, mirror, padding=1)


def plain_layer(
    x: Tensor, styles: Tensor, scale: Tensor, offset: Tensor, weight: Tensor, up: bool, clamp: float | None
) -> Tensor:
    """Modulate, convolve, demodulate, add bias and noise, activate.

    Parameters
    ----------
    x
        Feature maps, (B, in, H, W).
    styles, scale
        Factors of the input's and of the convolution's channels, (B, in) and (B, out).
    offset
        Bias and noise, (out, 1, 1) or (1 or B, out, r, r).
    weight
        Kernel, (out, in, 3, 3).
    up
        Whether the resolution doubles.
    clamp
        Largest absolute value of the result; None for no limit.

    Returns
    -------
    Tensor
        (B, out, r, r)
    """
    maps = convolve(x * styles[:, :, None, None], weight, up)
    y = leaky_relu(torch.addcmul(offset, maps, scale[:, :, None, None]), LRELU_SLOPE, inplace=True)
    return y if clamp is None else y.clamp(-clamp, clamp)


def channel_dot(a: Tensor, b: Tensor) -> Tensor:
    """Sum of ``a * b`` over pixels: (B, C, H, W) twice to (B, C), in slices whose products stay in the cache."""
    rows = max(1, CACHED * a.shape[2] // a.numel()) if a.device.type == "cpu" else a.shape[2]
    if rows >= a.shape[2]:
        return (a * b).sum(dim=(2, 3))
    total = a.new_zeros(a.shape[:2])
    for i in range(a.shape[0]):
        for first in range(0, a.shape[2], rows * a.shape[0]):
            part = slice(first, first + rows * a.shape[0])
            total[i] += (a[i, :, part] * b[i, :, part]).sum(dim=(1, 2))
    return total


class FrozenLayer(torch.autograd.Function):
    """:func:`plain_layer`, with gradients of maps, styles, scale and offset."""

    @staticmethod
    def forward(
        x: Tensor,
        styles: Tensor,
        scale: Tensor,
        offset: Tensor,
        weight: Tensor,
        mirror: Tensor,
        up: bool,
        clamp: float | None,
    ) -> tuple[Tensor, Tensor]:
        """Return the layer's result and, for the backward pass, the convolution's (B, out, r, r) each."""
        maps = convolve_frozen(x * styles[:, :, None, None], weight, mirror, up)
        y = leaky_relu(torch.addcmul(offset, maps, scale[:, :, None, None]), LRELU_SLOPE, inplace=True)
        return (y if clamp is None else y.clamp_(-clamp, clamp)), maps

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep what the backward pass needs."""
        x, styles, scale, offset, weight, mirror, ctx.up, ctx.clamp = inputs
        y, maps = output
        ctx.mark_non_differentiable(maps)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, styles, scale, offset, weight, mirror, y, maps)

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of the inputs; by plain operations where they are to be differentiated again."""
        if g is None:
            return (None,) * 8
        x, styles, scale, offset, weight, mirror, y, maps = ctx.saved_tensors
        if torch.is_grad_enabled():
            wanted = [t for t, needed in zip((x, styles, scale, offset), ctx.needs_input_grad, strict=False) if needed]
            result = plain_layer(x, styles, scale, offset, weight, ctx.up, ctx.clamp)
            found = iter(torch.autograd.grad(result, wanted, g, create_graph=True))
            return (*(next(found) if needed else None for needed in ctx.needs_input_grad[:4]), None, None, None, None)
        if ctx.clamp is not None:
            g = g * (y.abs() < ctx.clamp)
        g = torch.ops.aten.leaky_relu_backward(g, y, LRELU_SLOPE, True)  # new memory, ours to overwrite
        offsets = g.sum_to_size(offset.shape).clone() if ctx.needs_input_grad[3] else None
        scales = channel_dot(g, maps)
        g = convolve_back(g.mul_(scale[:, :, None, None]), mirror, ctx.up)
        modulation = channel_dot(g, x)
        return g.mul_(styles[:, :, None, None]), modulation, scales, offsets, None, None, None, None
