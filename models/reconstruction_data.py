"""Corrupted images made ready for a fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.generators.residuals import ResidualCovariance
from neuropyro.models.corruption_operator import Corruption, CorruptionError
from neuropyro.models.reconstruction_features import feature_vectors
from neuropyro.models.reconstruction_kernel import spread_of
from neuropyro.models.reconstruction_source import ImageSource
from neuropyro.models.reconstruction_spread import MeasurementSpread

__all__ = ["Measurements", "in_reals", "in_reals_mask", "placed_measurements"]

TOO_LARGE = 10  # times what a white image gives: no noise that leaves anything to see


@dataclass(frozen=True, eq=False)
class Measurements:
    """Measurements of B images, and all that their model needs beside them, on one device and in one dtype.

    Attributes
    ----------
    values
        (B, ...) real, complex ones as pairs in a last dimension; 0 where they do not count.
    observed
        Booleans (B, ...), True where they count.
    complex
        Whether they are complex.
    source
        Generator and prior.
    spread
        How measurements scatter.
    residual
        Covariance of the residual image, on this device; None where there is none.
    features
        Of the measurements, (B, F); None where the model has no perceptual term.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> from neuropyro.models import LatentReconstruction
    >>> from neuropyro.models.corruption import Undersample
    >>> model = LatentReconstruction(load_generator("brains64"), Undersample(4.0, noise=0.02), residual=None)
    >>> measured = model.prepare(torch.zeros(1, 1, 64, 64, dtype=torch.complex64))
    >>> measured.values.shape, int(measured.observed.sum())  # a quarter of 4,096 complex numbers
    (torch.Size([1, 1, 64, 64, 2]), 2048)
    """

    values: Tensor
    observed: Tensor
    complex: bool
    source: ImageSource
    spread: MeasurementSpread
    residual: ResidualCovariance | None
    features: Tensor | None = None

    @classmethod
    def of(
        cls,
        y: Tensor,
        corruption: Corruption,
        source: ImageSource,
        residual: ResidualCovariance | None,
        kept: dict[Any, MeasurementSpread],
    ) -> Measurements:
        """Check measurements ``y`` (B, ...), and find how they scatter.

        Parameters
        ----------
        kept
            Spreads that were found before; measurements of one shape share theirs.
        """
        observed = corruption.observed(y)
        _check_measurements(y, observed, corruption, source)
        seen = in_reals_mask(observed, y)
        placed = None if residual is None else residual.to(y.device, y.real.dtype)
        keys = [(y.device, y.dtype, shape) for shape in (y.shape[1:], y.shape)]  # shared by images, or each its own
        spread = next((kept[key] for key in keys if key in kept), None)
        if spread is None:
            spread = spread_of(corruption, placed, seen.flatten(1), y)
            kept[keys[0] if len(spread.places) == 1 else keys[1]] = spread
        return cls(torch.where(seen, in_reals(y), 0.0), seen, y.is_complex(), source, spread, placed)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def event(self) -> int:
        """Dimensions of one image's measurements in ``values``."""
        return self.values.ndim - 1

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(B, C, H, W)."""
        return (len(self), *self.source.image_shape)

    def as_given(self, values: Tensor) -> Tensor:
        """Bring real ``values`` (*, B, ...) to the measurements' own type."""
        return torch.view_as_complex(values.contiguous()) if self.complex else values

    def is_on(self, device: torch.device | str | None, dtype: torch.dtype | None) -> bool:
        """Whether it is on this device and in this real dtype; None is any."""
        values = self.values
        return values.device == torch.device(device or values.device) and values.dtype == (dtype or values.dtype)

    def with_values(self, values: Tensor) -> Measurements:
        """Return it with other measurements of the same design."""
        placed = values.to(self.values).reshape(self.values.shape)
        return replace(self, values=torch.where(self.observed, placed, 0.0))

    def with_features(self, features: Any) -> Measurements:
        """Return it with perceptual ``features`` of its measurements; itself where they are None."""
        if features is None:
            return self
        return replace(self, features=feature_vectors(features, self.as_given(self.values)))


def in_reals(y: Tensor) -> Tensor:
    """Complex measurements as pairs of real ones in a last dimension; real ones as they are.

    Examples
    --------
    >>> in_reals(torch.tensor([1 + 2j, 3 + 4j]))
    tensor([[1., 2.],
            [3., 4.]])
    """
    return torch.view_as_real(y) if y.is_complex() else y


def placed_measurements(
    y: Tensor | NDArray[Any], device: torch.device | str | None, dtype: torch.dtype | None
) -> Tensor:
    """Measurements as a tensor on a device, of the precision of the real ``dtype``; as they are where it is None.

    Examples
    --------
    >>> placed_measurements(np.array([1, 2j]), device="cpu", dtype=torch.float64)
    tensor([1.+0.j, 0.+2.j], dtype=torch.complex128)
    """
    y = torch.as_tensor(np.asarray(y)) if not isinstance(y, Tensor) else y
    if not (y.is_floating_point() or y.is_complex()):
        y = y.to(torch.get_default_dtype())
    kind = y.real.dtype if dtype is None else dtype
    return y.to(device=device, dtype=kind.to_complex() if y.is_complex() else kind)


def _check_measurements(y: Tensor, observed: Tensor, corruption: Corruption, source: ImageSource) -> None:
    """Raise unless ``y`` (B, ...) may be measurements of the generator's images.

    Raises
    ------
    CorruptionError
        Where shapes do not fit, a value that counts is not finite, or some are far beyond what images of -1 to 1 give.
    """
    wanted = source.image_shape
    if y.ndim < 2 or len(y) == 0:
        raise CorruptionError(f"reconstruction: measurements must be (B, ...), got {tuple(y.shape)}")
    found = corruption.image_shape(tuple(y.shape))[1:]
    if found != wanted:
        raise CorruptionError(
            f"reconstruction: measurements {tuple(y.shape)} are of images {found}, the generator makes {wanted}; give "
            f"another factor, one that divides {wanted[-1]}, or Downsample its image_size, or bring the image to the "
            "generator's frame"
        )
    shape = corruption.measurement_shape((len(y), *wanted))
    if tuple(y.shape) != tuple(shape):
        raise CorruptionError(f"reconstruction: measurements must be {tuple(shape)}, got {tuple(y.shape)}")
    if not bool((torch.isfinite(in_reals(y)) | ~in_reals_mask(observed, y)).all()):
        raise CorruptionError("reconstruction: a measurement that counts is not finite; mask it")
    if not y.is_complex():
        _check_unit(y, observed, corruption.A(torch.ones(len(y), *wanted, dtype=y.dtype, device=y.device)))


def _check_unit(y: Tensor, observed: Tensor, white: Tensor) -> None:
    """Refuse real measurements that no noise explains, given those of a white image: most likely grey levels."""
    reach, largest = float(white.abs().max()), float(torch.where(observed.bool(), y, 0).abs().max())
    if largest > TOO_LARGE * max(reach, 1.0):
        raise CorruptionError(
            f"reconstruction: measurements reach {largest:.3g}, where a white image gives {reach:.3g}; images are on "
            "-1 to 1: a grey level g of 255 is g / 127.5 - 1"
        )


def in_reals_mask(observed: Tensor, y: Tensor) -> Tensor:
    """Booleans, for both parts of complex numbers, of what a corruption says is ``observed``.

    They have the shape of ``in_reals(y)``: that of the measurements ``y`` (B, ...), to which ``observed`` broadcasts
    (1 and 0), and a last dimension of 2 where these are complex.

    Examples
    --------
    >>> in_reals_mask(torch.tensor([1.0, 0.0]), torch.tensor([[1 + 2j, 3 + 4j]]))
    tensor([[[ True,  True],
             [False, False]]])
    """
    mask = (observed != 0).expand(y.shape)
    return mask.unsqueeze(-1).expand(*mask.shape, 2) if y.is_complex() else mask
