"""A deepinv ``Physics`` in place of a corruption; deepinv itself is not needed here.

Anything with ``A`` will do; with ``A_adjoint`` it counts as linear.  deepinv's MRI takes complex images as two
channels: it is given the magnitude (x + 1) / 2 on 0..1 and no phase.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from neuropyro.models.corruption_operator import Corruption, CorruptionError, Shape, require_image

__all__ = ["DeepinvPhysics", "as_corruption"]


class DeepinvPhysics(Corruption):
    """Adapter of a deepinv ``Physics``.

    Parameters
    ----------
    physics
        Object with ``A(x)`` and, where it is linear, ``A_adjoint(y)``.  Where its ``noise_model`` has a ``sigma``, that
        is the noise; else it is learned.
    complex_images
        Whether it takes complex images as two channels; if None, whether it is one of deepinv's MRI.
    unit_range
        Whether it is given images on 0..1, as deepinv's own data are, instead of -1..1; if None, like
        ``complex_images``.

    Raises
    ------
    CorruptionError
        Where ``physics`` has no ``A``.

    Examples
    --------
    >>> class Half:  # a deepinv Physics has these, and more
    ...     def A(self, x):
    ...         return x / 2
    ...     def A_adjoint(self, y):
    ...         return y / 2
    >>> DeepinvPhysics(Half()).A(torch.ones(1, 1, 8, 8)).mean().item()
    0.5
    """

    def __init__(
        self,
        physics: Any,
        complex_images: bool | None = None,
        unit_range: bool | None = None,
        noise: float | None = None,
    ) -> None:
        if not callable(getattr(physics, "A", None)):
            raise CorruptionError(
                f"corruption: a {type(physics).__name__} has no operator A; give a Corruption or Physics"
            )
        super().__init__(_noise_of(physics) if noise is None else noise)
        self.physics = physics
        mri = any("MRI" in cls.__name__ for cls in type(physics).__mro__)
        self.complex_images = mri if complex_images is None else complex_images
        self.unit_range = self.complex_images if unit_range is None else unit_range

    @property
    def is_linear(self) -> bool:
        """Whether the physics has an adjoint."""
        return callable(getattr(self.physics, "A_adjoint", None))

    def A(self, x: Tensor) -> Tensor:  # noqa: N802
        """Return the physics's measurements, in the physics's own layout."""
        require_image("DeepinvPhysics", x)
        return self.measured((x + 1) / 2 if self.unit_range else x)

    def linear(self, x: Tensor) -> Tensor:
        """Linear part of :meth:`A`."""
        require_image("DeepinvPhysics", x)
        return self.measured(x / 2 if self.unit_range else x)

    def measured(self, x: Tensor) -> Tensor:
        """Measure (*, B, C, H, W) on the physics's range, in one batch."""
        flat = self.in_channels(x.reshape(-1, *x.shape[-3:]))
        y = cast(Tensor, self.physics.A(flat))
        return y.reshape(*x.shape[:-3], *y.shape[1:])

    def A_adjoint(self, y: Tensor) -> Tensor:  # noqa: N802
        """Apply the physics's adjoint to one batch; of complex images the real part is taken."""
        if not self.is_linear:
            return super().A_adjoint(y)
        x: Tensor = self.physics.A_adjoint(y)
        x = x[:, :1] if self.complex_images else x
        return x / 2 if self.unit_range else x

    def in_channels(self, x: Tensor) -> Tensor:
        """``x`` (B, 1, H, W), where complex images are wanted as (B, 2, H, W) without an imaginary part."""
        if not self.complex_images:
            return x
        if x.shape[1] != 1:
            raise CorruptionError(
                f"DeepinvPhysics: complex images are made of grey ones (B, 1, H, W), got {tuple(x.shape)}"
            )
        return torch.cat([x, torch.zeros_like(x)], dim=1)

    def measurement_shape(self, image: Shape) -> Shape:
        """Found by measuring a black image."""
        return tuple(self.A(torch.zeros(image, device=self.device())).shape)

    def image_shape(self, measurement: Shape) -> Shape:
        """Found by the adjoint of zero measurements."""
        return tuple(self.A_adjoint(torch.zeros(measurement, device=self.device())).shape)

    def seen_through(self, pixels: Tensor) -> Tensor:
        """Say which measurements the physics's ``mask`` keeps; all count where it has none."""
        like = torch.zeros(self.measurement_shape((1, 1, *pixels.shape[2:])), dtype=pixels.dtype, device=pixels.device)
        return self.observed(like)

    def observed(self, y: Tensor) -> Tensor:
        """Say which measurements the physics's ``mask`` keeps; all count where it has none."""
        mask = getattr(self.physics, "mask", None)
        if isinstance(mask, Tensor) and self.complex_images and mask.ndim == y.ndim - 1:
            mask = mask.unsqueeze(2)  # coils
        if isinstance(mask, Tensor) and _selects(mask, y):
            return mask.to(y.real)
        return torch.ones_like(y.real[:1])

    def device(self) -> torch.device:
        """Where the physics holds its tensors."""
        buffers = self.physics.buffers() if isinstance(self.physics, torch.nn.Module) else iter(())
        return next((b.device for b in buffers), torch.device("cpu"))


def _selects(mask: Tensor, y: Tensor) -> bool:
    """Whether ``mask`` says of each of ``y`` whether it is there; some physics call factors of a spectrum a mask."""
    fits = mask.ndim == y.ndim and all(m in (1, n) for m, n in zip(mask.shape, y.shape, strict=True))
    return fits and bool(((mask == 0) | (mask == 1)).all())


def _noise_of(physics: Any) -> float | None:
    """Sd of a physics's Gaussian noise, None where it has none."""
    sigma = getattr(getattr(physics, "noise_model", None), "sigma", None)
    return None if sigma is None else float(sigma)


def as_corruption(value: Any) -> Corruption:
    """``value`` itself if it is a corruption, else a deepinv ``Physics`` (anything with ``A``) adapted.

    Raises
    ------
    CorruptionError
        Where it is neither.

    Examples
    --------
    >>> from neuropyro.models.corruption import Downsample
    >>> halved = Downsample(2)
    >>> as_corruption(halved) is halved
    True
    """
    return value if isinstance(value, Corruption) else DeepinvPhysics(value)
