"""What a model may ask of a fit, whichever guide or runner made it."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

__all__ = ["Posterior"]


class Posterior(Protocol):
    """A fitted posterior, as models see it.

    Examples
    --------
    >>> from neuropyro.inference import Schedule, fit
    >>> result: Posterior = fit(model, torch.ones(9), "map", schedule=Schedule(max_steps=1), progress=False)
    >>> result.is_point, result.seed, result.posterior(3)["mean"].shape, result.data.shape
    (True, 0, (3,), torch.Size([9]))
    """

    @property
    def data(self) -> Any:
        """What the model's `prepare` made of the data."""

    def posterior(self, draws: int) -> dict[str, NDArray[Any]]:
        """Return posterior draws by site, ``(draws, ...)``, as the model's `identify` left them."""

    @property
    def is_point(self) -> bool:
        """Whether all draws are one and the same point."""

    @property
    def seed(self) -> int:
        """Seed of the fit, for draws beyond it."""
