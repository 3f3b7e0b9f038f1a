r"""What a scanner does to brightness: a smooth bias field and a change of contrast.

.. math::  \frac{y + 1}{2} = b \left(\frac{x + 1}{2}\right)^{\gamma}

The bias field alone is linear (affine in x); gamma other than 1 is not.

References
----------
Tustison et al., *N4ITK: improved N3 bias correction*, IEEE TMI 2010, eq. 1 (the multiplicative field).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.corruption_operator import Corruption, CorruptionError, require_image
from neuropyro.models.corruption_options import number_text

__all__ = ["BiasField", "Intensity", "slow_waves"]

DARKEST = 1e-3  # of 0..1; the slope of m^gamma has no bound at 0


@dataclass(frozen=True)
class BiasField:
    """A smooth random field around 1, which is exp of ``strength`` times a unit-variance sum of slow cosines.

    Called with a height and width, px, it returns (H, W) float64.

    Raises
    ------
    CorruptionError
        Where ``strength`` is negative or not finite.

    Examples
    --------
    >>> field = BiasField(0.2, seed=1)(32, 32).log()
    >>> round(float(field.mean().exp()), 3), round(float(field.std(correction=0)), 3)
    (1.0, 0.2)
    """

    strength: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise CorruptionError(f"bias: strength must be 0 or more, got {self.strength}")

    def __call__(self, height: int, width: int) -> Tensor:
        """(H, W), positive, of geometric mean 1."""
        return torch.exp(self.strength * slow_waves(height, width, self.seed))


def slow_waves(height: int, width: int, seed: int) -> Tensor:
    """Sum of the cosines of up to one period along each axis with random weights: (H, W) float64, mean 0, sd 1.

    ``height`` and ``width`` are in px; of a single pixel it is 0.

    Examples
    --------
    >>> from scipy.fft import dctn
    >>> waves = slow_waves(24, 32, seed=0)
    >>> round(abs(waves.mean().item()), 6), round(waves.std(correction=0).item(), 6)
    (0.0, 1.0)
    >>> int((np.abs(dctn(waves.numpy())) > 1e-6).sum())  # cosines: three along each axis, less the constant
    8
    """
    waves = []
    for n in (height, width):
        position = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        waves.append(torch.cos(math.pi * torch.arange(3, dtype=torch.float64)[:, None] * position))
    weights = np.random.default_rng(seed).standard_normal((3, 3))
    weights[0, 0] = 0.0
    weights /= 1 + np.add.outer(np.arange(3) ** 2, np.arange(3) ** 2)
    field = waves[0].T @ torch.from_numpy(weights) @ waves[1]
    field = field - field.mean()
    return field / field.std(correction=0).clamp(min=1e-12)


class Intensity(Corruption):
    """Images seen through a bias field and a gamma curve.

    Parameters
    ----------
    bias
        Factor of brightness on 0..1: an array or tensor (H, W) or (B, 1, H, W), positive; a :class:`BiasField` (or
        any function of height and width); none if None.
    gamma
        Power of brightness, above 0; above 1 darkens the middle greys.
    noise
        See :class:`~neuropyro.models.corruption_operator.Corruption`.

    Raises
    ------
    CorruptionError
        Where the field or gamma is not positive.

    Examples
    --------
    >>> Intensity(gamma=2.0).A(torch.zeros(1, 1, 1, 1)).item()
    -0.5
    """

    bias: Tensor | None

    def __init__(
        self,
        bias: Tensor | NDArray[Any] | Callable[[int, int], Tensor] | None = None,
        gamma: float = 1.0,
        noise: float | None = None,
    ) -> None:
        super().__init__(noise)
        if not (math.isfinite(gamma) and gamma > 0):
            raise CorruptionError(f"Intensity: gamma must be above 0, got {gamma}")
        self.gamma = float(gamma)
        self.field = bias if callable(bias) and not isinstance(bias, Tensor) else None
        given = None if bias is None or self.field is not None else _checked_bias(torch.as_tensor(bias))
        self.register_buffer("bias", given)

    def arguments(self) -> dict[str, Any]:
        """Arguments from which its constructor makes the same corruption."""
        return {"bias": self.bias if self.field is None else self.field, "gamma": self.gamma} | super().arguments()

    @property
    def is_linear(self) -> bool:
        """Whether gamma is 1."""
        return self.gamma == 1

    def A(self, x: Tensor) -> Tensor:  # noqa: N802
        """(B, C, H, W) to the same."""
        require_image("Intensity", x)
        brightness = (x + 1) / 2
        if self.gamma != 1:
            brightness = brightness.clamp(min=DARKEST) ** self.gamma
        return 2 * self.at(x) * brightness - 1

    def linear(self, x: Tensor) -> Tensor:
        """Return the field times ``x``, where gamma is 1."""
        require_image("Intensity", x)
        if not self.is_linear:
            raise CorruptionError("Intensity: with a gamma it has no linear part; use autograd on A")
        return self.at(x) * x

    def A_adjoint(self, y: Tensor) -> Tensor:  # noqa: N802
        """Return the field times ``y``, where gamma is 1."""
        return self.linear(y) if self.is_linear else super().A_adjoint(y)

    def at(self, x: Tensor) -> Tensor:
        """Return the field (1 or B, 1, H, W) for images like ``x``; 1 without one."""
        height, width = x.shape[-2:]
        return self.once((height, width), x, lambda: self.made_for(height, width))

    def made_for(self, height: int, width: int) -> Tensor:
        """Return the given field, if it has this size, or the given function's."""
        if self.field is not None:
            return _checked_bias(self.field(height, width))
        if self.bias is None:
            return torch.ones(1, 1, 1, 1)
        if tuple(self.bias.shape[2:]) != (height, width):
            found = "{} x {}".format(*self.bias.shape[2:])
            raise CorruptionError(
                f"Intensity: the bias field has {found} px, the image {height} x {width}; resample it"
            )
        return self.bias.clone()

    def _text(self) -> str:
        if self.bias is not None or not (self.field is None or isinstance(self.field, BiasField)):
            return super()._text()
        options = [] if self.gamma == 1 else [f"gamma={number_text(self.gamma)}"]
        if self.field is not None:
            options += [f"bias={number_text(self.field.strength)}", f"seed={self.field.seed}"]
        return f"intensity:{','.join(options)}" if options else "intensity"


def _checked_bias(bias: Tensor) -> Tensor:
    """``bias`` as (1 or B, 1, H, W) floats, if it is positive."""
    if bias.ndim not in (2, 4) or (bias.ndim == 4 and bias.shape[1] != 1):
        raise CorruptionError(f"Intensity: the bias field must be (H, W) or (B, 1, H, W), got {tuple(bias.shape)}")
    if not (torch.isfinite(bias) & (bias > 0)).all():
        raise CorruptionError("Intensity: the bias field must be positive; it multiplies brightness")
    return bias.double().reshape((1,) * (4 - bias.ndim) + tuple(bias.shape))
