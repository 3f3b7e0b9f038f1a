"""Corruptions one after another, and the one that does nothing."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from neuropyro.models.corruption_deepinv import as_corruption
from neuropyro.models.corruption_operator import Corruption, CorruptionError, Shape, require_image

__all__ = ["Compose", "Identity"]


class Identity(Corruption):
    """The image itself, noise aside: A(x) = x.

    Examples
    --------
    >>> noisy = Identity(noise=0.1).corrupt(torch.zeros(1, 1, 64, 64), seed=0)
    >>> round(noisy.std().item(), 1)
    0.1
    """

    def A(self, x: Tensor) -> Tensor:  # noqa: N802
        """``x``."""
        require_image("Identity", x)
        return x

    def A_adjoint(self, y: Tensor) -> Tensor:  # noqa: N802
        """``y``."""
        require_image("Identity", y)
        return y

    def _text(self) -> str:
        return "identity"


class Compose(Corruption):
    """Several corruptions, the first argument first: ``Compose(F, G).A(x) = G.A(F.A(x))``.

    Parameters
    ----------
    parts
        Corruptions, or deepinv's ``Physics``.  Only the last may have noise, which is the whole's.
    noise
        In place of the last part's.

    Raises
    ------
    CorruptionError
        Where there is no part, or one before the last has noise (which the later ones would make coloured).

    Examples
    --------
    >>> import torch
    >>> from neuropyro.models.corruption import Blur, Downsample
    >>> Compose(Blur(2.0), Downsample(4)).A(torch.ones(1, 1, 64, 64)).shape
    torch.Size([1, 1, 16, 16])
    """

    def __init__(self, *parts: Any, noise: float | None = None) -> None:
        found = [as_corruption(part) for part in parts]
        if not found:
            raise CorruptionError("Compose: give at least one corruption")
        for i, part in enumerate(found[:-1]):
            if part.noise is not None:
                where = f"{type(part).__name__}, number {i + 1} of {len(found)}"
                raise CorruptionError(f"Compose: noise must come last, but {where}, has some; give Compose(noise=...)")
        super().__init__(found[-1].noise if noise is None else noise)
        self.parts = nn.ModuleList(found)

    def __iter__(self) -> Any:
        return iter(self.parts)

    @property
    def is_linear(self) -> bool:
        """Whether every part is."""
        return all(part.is_linear for part in self)

    def arguments(self) -> dict[str, Any]:
        """Parts, and the whole's noise."""
        return {"parts": list(self), "noise": self.noise}

    def A(self, x: Tensor) -> Tensor:  # noqa: N802
        """Each part in turn."""
        for part in self:
            x = part.A(x)
        return x

    def linear(self, x: Tensor) -> Tensor:
        """Each part's linear part in turn."""
        for part in self:
            x = part.linear(x)
        return x

    def A_adjoint(self, y: Tensor) -> Tensor:  # noqa: N802
        """Each part's adjoint, the last part first."""
        for part in reversed(self.parts):
            y = cast(Corruption, part).A_adjoint(y)
        return y

    def measurement_shape(self, image: Shape) -> Shape:
        """Through every part."""
        for part in self:
            image = part.measurement_shape(image)
        return image

    def image_shape(self, measurement: Shape) -> Shape:
        """Through every part, the last first."""
        for part in reversed(self.parts):
            measurement = cast(Corruption, part).image_shape(measurement)
        return measurement

    def seen_through(self, pixels: Tensor) -> Tensor:
        """Through every part: what an earlier mask hides, later parts do not see."""
        for part in self:
            pixels = part.seen_through(pixels)
        return pixels

    def _text(self) -> str:
        return "+".join(part._text() for part in self)
