"""Recorded draws in the place of a guide, so that what was sampled is kept, read and shown as what was fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from numpy.typing import NDArray
from torch import Size, Tensor, nn

__all__ = ["Recorded", "evenly_spaced"]


def evenly_spaced(wanted: int, recorded: int) -> NDArray[np.int64]:
    """Return which of the recorded draws stand for all of them, ``(wanted,)`` places.

    Examples
    --------
    >>> evenly_spaced(wanted=3, recorded=101).tolist()
    [0, 50, 100]
    """
    return np.linspace(0, recorded - 1, wanted).round().astype(np.int64)


class Recorded(nn.Module):
    """Draws of a chain.

    Parameters
    ----------
    draws
        ``(S, D)`` flat vectors.

    Examples
    --------
    >>> Recorded(torch.tensor([[0.5], [0.75], [1.0], [1.25], [1.5]]))().rsample(Size([3])).flatten().tolist()
    [0.5, 1.0, 1.5]
    """

    draws: Tensor

    def __init__(self, draws: Tensor) -> None:
        super().__init__()
        self.register_buffer("draws", draws)

    def forward(self) -> Any:
        """Return the distribution of a draw picked among those recorded."""
        return _Picked(self.draws)


class _Picked(dist.TorchDistribution):  # type: ignore[misc]
    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as torch declares it)
    has_rsample = True

    def __init__(self, draws: Tensor) -> None:
        self.draws = draws
        super().__init__(Size(), draws.shape[-1:], validate_args=False)

    def rsample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 (as torch declares it)
        """Return evenly spaced draws where that many are recorded, else draws picked with replacement."""
        wanted, recorded = sample_shape.numel(), len(self.draws)
        if sample_shape and wanted <= recorded:
            places = torch.from_numpy(evenly_spaced(wanted, recorded))
        else:
            places = torch.randint(recorded, (wanted,))
        return self.draws[places.to(self.draws.device)].reshape(*sample_shape, -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Refuse, for good: recorded draws have no density."""
        raise TypeError(
            "recorded draws have no density, and none is made up for them: ELBO, importance weights and k-hat are of "
            "variational fits"
        )
