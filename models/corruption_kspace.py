r"""Undersampled k-space of one or several coils.

.. math::  y_c = P F \left(S_c \, e^{i\phi} \, \frac{x + 1}{2}\right)

for coil c: x is mapped to a magnitude on 0..1, phi is the image's phase (a real image would make twofold undersampling
nearly free, by symmetry), S_c the coil's sensitivity, F the centred orthonormal Fourier transform, P the sampling
pattern.  So A is affine in x; its linear part is P F S e^{i phi} x / 2.

References
----------
Pruessmann et al., *SENSE*, MRM 1999; Zbontar et al., *fastMRI*, arXiv 1811.08839 (the centred orthonormal transform).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.corruption_coils import (
    SmoothPhase,
    birdcage_maps,
    estimate_maps,
    estimate_phase,
    fft,
    inverse_fft,
)
from neuropyro.models.corruption_kspace_patterns import Lines, Pattern, Points
from neuropyro.models.corruption_operator import Corruption, CorruptionError, Shape, require_image
from neuropyro.models.corruption_options import number_text, options_text

__all__ = ["Undersample"]

SIMULATED = SmoothPhase()
Array = Tensor | NDArray[Any]


class Undersample(Corruption):
    """K-space of grey images (B, 1, H, W): complex (B, coils, H, W), 0 where it was not sampled.

    Parameters
    ----------
    pattern
        The acceleration, of random Cartesian lines; a pattern of
        :mod:`~neuropyro.models.corruption_kspace_patterns` (or any function of height and width); or an array or
        tensor (H, W), of which any value but 0 is sampled.
    centre
        Fraction of lines that are sampled in the middle, where ``pattern`` is a number.
    phase
        Radians, (H, W) or (B, H, W); a :class:`~neuropyro.models.corruption_coils.SmoothPhase`; or None, no phase.
    coils
        Complex sensitivities (coils, H, W) or (B, coils, H, W); a number of simulated coils; None is one that sees
        everything alike.
    noise
        Sd of the real and of the imaginary part, see :class:`~neuropyro.models.corruption_operator.Corruption`.

    Raises
    ------
    CorruptionError
        Where an argument has another shape or no meaning.

    Examples
    --------
    >>> Undersample(4).A(torch.zeros(2, 1, 64, 64)).shape
    torch.Size([2, 1, 64, 64])
    """

    mask: Tensor | None
    angle: Tensor | None
    maps: Tensor | None

    def __init__(
        self,
        pattern: float | Pattern | Array = 4.0,
        centre: float = 0.08,
        phase: Array | Callable[[int, int], Tensor] | None = SIMULATED,
        coils: int | Array | None = None,
        noise: float | None = None,
    ) -> None:
        super().__init__(noise)
        pattern = Lines(float(pattern), centre) if isinstance(pattern, int | float) else pattern
        self.pattern = None if isinstance(pattern, Tensor) or not callable(pattern) else pattern
        self.phase = None if isinstance(phase, Tensor) or not callable(phase) else phase
        self.n_coils = coils if isinstance(coils, int) else None
        if self.n_coils is not None and self.n_coils < 1:
            raise CorruptionError(f"Undersample: 1 coil or more is needed, got {coils}")
        mask = None if self.pattern is not None else _checked_pattern(torch.as_tensor(pattern))
        angle = None if phase is None or self.phase is not None else _checked_phase(torch.as_tensor(phase))
        maps = None if coils is None or self.n_coils is not None else _checked_maps(torch.as_tensor(coils))
        self.register_buffer("mask", mask)
        self.register_buffer("angle", angle)
        self.register_buffer("maps", maps)  # real pairs: .to() keeps them whole

    @classmethod
    def from_measurement(cls, y: Tensor, coils: Array | None = None, noise: float | None = None) -> Self:
        """Find the corruption of real data: pattern from where ``y`` is not 0, phase and coils from its centre.

        Parameters
        ----------
        y
            Complex k-space (B, coils, H, W), or (coils, H, W) of one image, of one pattern.
        coils
            Sensitivities (coils, H, W) where they are known; those of several coils are estimated if None.

        Raises
        ------
        CorruptionError
            Where ``y`` is not complex, or its centre was not sampled.
        """
        y = y[None] if y.ndim == 3 else y
        if y.ndim != 4 or not y.is_complex():
            raise CorruptionError(
                f"Undersample: k-space must be complex (B, coils, H, W), got {tuple(y.shape)} of {y.dtype}"
            )
        sampled = (y != 0).any(dim=0).any(dim=0)
        if coils is None and y.shape[1] > 1:
            return cls(sampled, phase=None, coils=estimate_maps(y, sampled), noise=noise)
        maps = None if coils is None else torch.as_tensor(coils)
        return cls(sampled, phase=estimate_phase(y, sampled, maps), coils=maps, noise=noise)

    def arguments(self) -> dict[str, Any]:
        """Arguments from which its constructor makes the same corruption."""
        coils = self.n_coils if self.maps is None else torch.view_as_complex(self.maps)
        own = {
            "pattern": self.mask if self.pattern is None else self.pattern,
            "phase": self.angle if self.phase is None else self.phase,
            "coils": coils,
        }
        return own | super().arguments()

    def measurement_shape(self, image: Shape) -> Shape:
        """(B, 1, H, W) to (B, coils, H, W)."""
        coils = self.n_coils or (1 if self.maps is None else self.maps.shape[-4])
        return (*image[:-3], coils, *image[-2:])

    def image_shape(self, measurement: Shape) -> Shape:
        """(B, coils, H, W) to (B, 1, H, W)."""
        return (*measurement[:-3], 1, *measurement[-2:])

    def A(self, x: Tensor) -> Tensor:  # noqa: N802
        """(B, 1, H, W) to complex (B, coils, H, W)."""
        return self.linear(x + 1)

    def linear(self, x: Tensor) -> Tensor:
        """Linear part of :meth:`A`."""
        require_image("Undersample", x)
        if x.shape[-3] != 1:
            raise CorruptionError(f"Undersample: images must be grey (B, 1, H, W), got {tuple(x.shape)}")
        return torch.where(self.sampled(x), fft(self.modulation(x) * x), 0.0)

    def A_adjoint(self, y: Tensor) -> Tensor:  # noqa: N802
        """Complex (B, coils, H, W) to (B, 1, H, W)."""
        if y.ndim < 4 or not y.is_complex():
            raise CorruptionError(
                f"Undersample: k-space must be complex (B, coils, H, W), got {tuple(y.shape)} of {y.dtype}"
            )
        wanted = self.measurement_shape(self.image_shape(tuple(y.shape)))
        if tuple(y.shape) != wanted:
            raise CorruptionError(f"Undersample: {wanted[-3]} coils are known, k-space has {y.shape[-3]}")
        images = inverse_fft(torch.where(self.sampled(y.real), y, 0.0))
        return (self.modulation(y.real).conj() * images).real.sum(dim=-3, keepdim=True)

    def seen_through(self, pixels: Tensor) -> Tensor:
        """Return the sampled points (1, 1, H, W); each sees every pixel."""
        return self.sampled(pixels).to(pixels.dtype)

    def sampled(self, like: Tensor) -> Tensor:
        """Booleans (1, 1, H, W) for images like ``like``."""
        height, width = like.shape[-2:]
        return self.once(("mask", height, width), like, lambda: self.mask_for(height, width))

    def modulation(self, like: Tensor) -> Tensor:
        """S e^{i phi} / 2, complex (1 or B, coils, H, W), for images like ``like``."""
        height, width = like.shape[-2:]
        return self.once(("modulation", height, width), like, lambda: self.modulation_for(height, width))

    def mask_for(self, height: int, width: int) -> Tensor:
        """Return the given pattern, if it has this size, or the given function's."""
        mask = self.mask if self.pattern is None else _checked_pattern(self.pattern(height, width))
        assert mask is not None
        return _fitting("sampling pattern", mask[None, None], height, width)

    def modulation_for(self, height: int, width: int) -> Tensor:
        """S e^{i phi} / 2, complex128 (1 or B, coils, H, W)."""
        angle = self.angle if self.phase is None else _checked_phase(self.phase(height, width))
        factor = torch.full((1, 1, height, width), 0.5, dtype=torch.complex128)
        if angle is not None:
            angle = _fitting("phase", angle[:, None], height, width).double()
            factor = torch.polar(torch.full_like(angle, 0.5), angle)
        if self.n_coils is not None:
            return factor * birdcage_maps(self.n_coils, height, width).to(factor.device)
        if self.maps is None:
            return factor
        maps = torch.view_as_complex(self.maps.double())
        maps = _fitting("coils' sensitivities", maps if maps.ndim == 4 else maps[None], height, width)
        return factor.to(maps.device) * maps

    def _text(self) -> str:
        simulated = self.phase is None or isinstance(self.phase, SmoothPhase)
        kind = {Lines: "", Points: ",pattern=points"}.get(type(self.pattern))
        if kind is None or self.angle is not None or self.maps is not None or not simulated:
            return super()._text()
        assert isinstance(self.pattern, Lines | Points)
        options = options_text(self.pattern, leave_out="acceleration")
        coils = "" if self.n_coils is None else f",coils={self.n_coils}"
        return f"kspace:{number_text(self.pattern.acceleration)}{kind}{options}{coils}{_phase_text(self.phase)}"


def _phase_text(phase: Any) -> str:
    """Options that tell a simulated phase, or none."""
    if phase is None:
        return ",phase=0"
    strength = "" if phase.strength == SIMULATED.strength else f",phase={number_text(phase.strength)}"
    return strength + ("" if phase.seed == SIMULATED.seed else f",phase_seed={phase.seed}")


def _fitting(what: str, array: Tensor, height: int, width: int) -> Tensor:
    """``array`` (..., H, W), if it has this size."""
    if tuple(array.shape[-2:]) != (height, width):
        found = "{} x {}".format(*array.shape[-2:])
        raise CorruptionError(f"Undersample: the {what} has {found} px, the image {height} x {width}; they must agree")
    return array


def _checked_pattern(mask: Tensor) -> Tensor:
    """``mask`` as booleans (H, W)."""
    if mask.ndim != 2:
        raise CorruptionError(f"Undersample: the sampling pattern must be (H, W), got {tuple(mask.shape)}")
    if not mask.any():
        raise CorruptionError("Undersample: the pattern samples nothing; it must be 1 where k-space was read")
    return mask != 0


def _checked_phase(phase: Tensor) -> Tensor:
    """``phase`` as (1 or B, H, W)."""
    if phase.ndim not in (2, 3) or phase.is_complex() or not torch.isfinite(phase).all():
        raise CorruptionError(
            f"Undersample: the phase must be finite radians (H, W) or (B, H, W), got {tuple(phase.shape)}"
        )
    return phase.double() if phase.ndim == 3 else phase.double()[None]


def _checked_maps(maps: Tensor) -> Tensor:
    """Complex ``maps`` (coils, H, W) or (B, coils, H, W) as real pairs (..., 2)."""
    if maps.ndim not in (3, 4) or not maps.is_complex() or not torch.isfinite(maps).all():
        found = f"{tuple(maps.shape)} of {maps.dtype}"
        raise CorruptionError(
            f"Undersample: sensitivities must be finite complex (coils, H, W) or (B, coils, H, W), got {found}"
        )
    return torch.view_as_real(maps.to(torch.complex128)).clone()
