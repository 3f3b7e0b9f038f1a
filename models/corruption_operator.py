r"""What every corruption has: a forward operator A, its adjoint where it is linear, and the noise that comes after.

.. math::  y = A(x) + \varepsilon, \qquad \varepsilon \sim \mathrm{Normal}(0, \mathrm{noise}^2)

on the measurements that count.  Images x are (B, C, H, W) in the generator's units, about -1..1, where -1 is black; so
an operator that is linear in brightness is affine in x, A(x) = L x + A(0).  Both are called linear here: then
:math:`A\_adjoint` is the transpose of L under the real inner product, :math:`\langle a, b\rangle = \mathrm{Re} \sum
\bar a b`.

Images may have further dimensions to the left, (*, B, C, H, W), of draws or restarts, and so have measurements then.
An operator follows its input's device and dtype; what it makes for them (matrices, patterns) it makes once.

References
----------
The vocabulary (``A``, ``A_adjoint``, ``adjointness_test``) is that of deepinv: Tachella et al., *DeepInverse: a Python
package for solving imaging inverse problems with deep learning*, 2025.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor, nn

from neuropyro.models.corruption_options import number_text

__all__ = ["Corruption", "CorruptionError", "as_measurements", "flat_reals", "require_image", "require_shape"]

Shape = tuple[int, ...]


class CorruptionError(ValueError):
    """A corruption that cannot be made, or that does not fit an image; the message says what is wrong and the cure.

    Examples
    --------
    >>> from neuropyro.models.corruption import CorruptionError, Downsample
    >>> try:
    ...     Downsample(0)
    ... except CorruptionError as error:
    ...     print("factor" in str(error))
    True
    """


def _inner_product(a: Tensor, b: Tensor) -> float:
    """Real inner product of two tensors of one shape, in float64."""
    a, b = (torch.view_as_real(t) if t.is_complex() else t for t in (a, b))
    return float((a.cpu().double() * b.cpu().double()).sum())


class Corruption(nn.Module, ABC):
    """Base of all corruptions.

    Parameters
    ----------
    noise
        Sd of the measurement noise (of the real and of the imaginary part where measurements are complex), in the
        measurements' units; None means that a model learns it.

    Raises
    ------
    CorruptionError
        Where ``noise`` is negative or not finite.

    Examples
    --------
    >>> from neuropyro.models.corruption import Downsample
    >>> halved = Downsample(2, noise=0.1)
    >>> y = halved.corrupt(torch.zeros(1, 1, 8, 8), seed=0)
    >>> y.shape, halved.A_adjoint(y).shape, halved.text
    (torch.Size([1, 1, 4, 4]), torch.Size([1, 1, 8, 8]), 'superres:2+noise:0.1')
    """

    def __init__(self, noise: float | None = None) -> None:
        super().__init__()
        if noise is not None and not (math.isfinite(noise) and noise >= 0):
            raise CorruptionError(f"noise: a standard deviation of 0 or more is needed, got {noise}")
        self.noise = None if noise is None else float(noise)
        self._made: dict[Hashable, Tensor] = {}
        self.register_load_state_dict_post_hook(_forget_made)  # type: ignore[no-untyped-call]

    @property
    def is_linear(self) -> bool:
        """Whether A(x) = L x + A(0), so that there is an adjoint."""
        return True

    @property
    def text(self) -> str:
        """The short text from which ``parse_corruption`` makes the same corruption.

        Raises
        ------
        CorruptionError
            Where it holds an array, which no text tells.
        """
        body = self._text()
        return body if self.noise is None else f"{body}+noise:{number_text(self.noise)}"

    def _text(self) -> str:
        raise CorruptionError(f"{type(self).__name__}: made from arrays, so that no short text describes it")

    def arguments(self) -> dict[str, Any]:
        """Arguments from which its constructor makes the same corruption."""
        return {"noise": self.noise}

    @abstractmethod
    def A(self, x: Tensor) -> Tensor:  # noqa: N802
        """Measurements of images ``x`` (B, C, H, W), without noise."""

    def linear(self, x: Tensor) -> Tensor:
        """L x, what is linear in ``x`` (B, C, H, W): A(x) - A(0)."""
        return self.A(x)

    def A_adjoint(self, y: Tensor) -> Tensor:  # noqa: N802
        """L' y (B, C, H, W) of measurements ``y``: the transpose of :meth:`linear` under the real inner product.

        Raises
        ------
        CorruptionError
            Where the corruption is not linear.
        """
        raise CorruptionError(f"{type(self).__name__}: it is not linear, so it has no adjoint; use autograd on A")

    def forward(self, x: Tensor) -> Tensor:
        """Do the same as :meth:`A`."""
        return self.A(x)

    def measurement_shape(self, image: Shape) -> Shape:
        """Shape of the measurements of images of shape (B, C, H, W)."""
        return image

    def image_shape(self, measurement: Shape) -> Shape:
        """Shape (B, C, H, W) of the images that have measurements of this shape."""
        return measurement

    def seen_through(self, pixels: Tensor) -> Tensor:
        """Which measurements see any pixel that counts.

        Parameters
        ----------
        pixels
            (1 or B, 1, H, W), 1 where the pixel holds information, else 0.

        Returns
        -------
        1 and 0, of a shape that broadcasts to the measurements'.
        """
        return pixels

    def observed(self, y: Tensor) -> Tensor:
        """Which of the measurements ``y`` count: 1 and 0, real, of a shape that broadcasts to ``y``'s."""
        height, width = self.image_shape(tuple(y.shape))[-2:]
        return self.seen_through(torch.ones(1, 1, height, width, dtype=y.real.dtype, device=y.device))

    def corrupt(self, x: Tensor, seed: int = 0, noise: float | None = None) -> Tensor:
        """Simulate measurements of ``x`` (B, C, H, W): A(x) plus noise where measurements count.

        Parameters
        ----------
        seed
            Of the noise, which is the same on every device.
        noise
            Sd in place of the corruption's own; without either there is no noise.
        """
        y = self.A(x)
        sd = self.noise if noise is None else noise
        if not sd:
            return y
        real = torch.view_as_real(y) if y.is_complex() else y
        random = torch.randn(real.shape, generator=torch.Generator().manual_seed(seed), dtype=real.dtype).to(y.device)
        random = torch.view_as_complex(random) if y.is_complex() else random
        return y + sd * random * self.observed(y)

    def adjointness_test(self, x: Tensor, seed: int = 0) -> float:
        """Relative difference of <L x, y> and <x, L' y> for random x shaped, placed and typed like ``x``, and random y.

        Relative to the norms of L x and y: rounding alone gives about the dtype's precision.
        """
        source = torch.Generator().manual_seed(seed)
        x = torch.randn(x.shape, generator=source, dtype=x.dtype).to(x.device)
        image = self.linear(x)
        y = torch.randn(image.shape, generator=source, dtype=image.dtype).to(x.device)
        scale = math.sqrt(_inner_product(image, image) * _inner_product(y, y))
        difference = abs(_inner_product(image, y) - _inner_product(x, self.A_adjoint(y)))
        return difference / scale if scale else difference

    def once(self, key: Hashable, like: Tensor, make: Callable[[], Tensor]) -> Tensor:
        """Return what ``make`` gives, on ``like``'s device and in its dtype unless boolean or complex; made once."""
        place = (key, like.device, like.dtype)
        if place not in self._made:
            with torch.inference_mode(False), torch.no_grad():  # it may be met by gradients later
                made = make()
                dtype = made.dtype if made.dtype == torch.bool else like.dtype
                self._made[place] = made.to(like.device, like.dtype.to_complex() if made.is_complex() else dtype)
        return self._made[place]


def flat_reals(y: Tensor, event: int) -> Tensor:
    """Measurements (*, B, ...) with ``event`` dimensions each as real vectors (*, B, n); complex ones as pairs.

    Examples
    --------
    >>> flat_reals(torch.tensor([[1 + 2j, 3 + 4j]]), event=1)
    tensor([[1., 2., 3., 4.]])
    """
    y = torch.view_as_real(y).flatten(-2) if y.is_complex() else y
    return y.flatten(-event)


def as_measurements(v: Tensor, like: Tensor) -> Tensor:
    """Inverse of :func:`flat_reals`: real vectors (*, n) as measurements shaped as those of ``like`` (B, ...).

    Examples
    --------
    >>> y = torch.tensor([[[1 + 2j], [3 + 4j]]])
    >>> bool((as_measurements(flat_reals(y, event=2), like=y) == y).all())
    True
    """
    if not like.is_complex():
        return v.reshape(*v.shape[:-1], *like.shape[1:])
    return torch.view_as_complex(v.reshape(*v.shape[:-1], *like.shape[1:], 2).contiguous())


def _forget_made(module: nn.Module, _: object) -> None:
    """Drop what was made from tensors that have just been replaced."""
    if isinstance(module, Corruption):
        module._made.clear()


def require_image(name: str, x: Tensor) -> None:
    """Raise unless ``x`` is a batch of real images (B, C, H, W), or of more of them to the left.

    Raises
    ------
    CorruptionError
        Beginning with ``name``, the corruption's.

    Examples
    --------
    >>> require_image("Mask", torch.zeros(1, 1, 8, 8))
    >>> try:
    ...     require_image("Mask", torch.zeros(8, 8))
    ... except CorruptionError as error:
    ...     print(error)
    Mask: images must be real (B, C, H, W), got (8, 8) of torch.float32
    """
    if x.ndim < 4 or not x.is_floating_point():
        raise CorruptionError(f"{name}: images must be real (B, C, H, W), got {tuple(x.shape)} of {x.dtype}")


def require_shape(name: str, what: str, found: Shape, wanted: Shape) -> None:
    """Raise unless ``found`` is ``wanted``, naming both.

    Raises
    ------
    CorruptionError
        Beginning with ``name``, the corruption's, and ``what`` has the shape.

    Examples
    --------
    >>> require_shape("Undersample", "the phase", (1, 64, 64), torch.Size([1, 64, 64]))
    >>> require_shape("Undersample", "the phase", (32, 32), (64, 64))
    Traceback (most recent call last):
        ...
    neuropyro.models.corruption_operator.CorruptionError: Undersample: the phase must be (64, 64), got (32, 32)
    """
    if tuple(found) != tuple(wanted):
        raise CorruptionError(f"{name}: {what} must be {tuple(wanted)}, got {tuple(found)}")
