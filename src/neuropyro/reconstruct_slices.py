"""Which slices of a file its images are, so that results name them by the numbers that the file has for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from neuropyro.reconstruct_inputs import Job

__all__ = ["by_slice", "slices_of"]


def slices_of(job: Job) -> tuple[int, ...] | None:
    """Numbers, from 0, of a job's images in their file, ``(images,)``; None where that is a picture, or there is none.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from neuropyro.models.corruption import Downsample
    >>> from neuropyro.reconstruct_framing import Framing
    >>> from neuropyro.reconstruct_inputs import job_of
    >>> path = Path(tempfile.mkdtemp()) / "stack.npy"
    >>> np.save(path, np.random.default_rng(0).random((9, 8, 8), np.float32))
    >>> framing = Framing(size=16, channels=1, slices=(3, -1))
    >>> slices_of(job_of(path, None, Downsample(2), framing, simulate=False, seed=0))
    (3, 8)
    """
    indices = job.indices if job.image is None else job.image.indices
    is_volume = job.image is not None and job.image.plane is not None
    return indices if is_volume or indices not in ((), (0,)) else None


def by_slice(metrics: Mapping[str, Tensor], slices: Sequence[int]) -> list[dict[str, Any]]:
    """Metrics, ``(images,)`` each, as a dictionary for each slice, with its number.

    Examples
    --------
    >>> import torch
    >>> by_slice({"rmse": torch.tensor([2.0, 4.5])}, slices=(80, 90))
    [{'slice': 80, 'rmse': 2.0}, {'slice': 90, 'rmse': 4.5}]
    """
    return [
        {"slice": number, **{name: float(values[i]) for name, values in metrics.items()}}
        for i, number in enumerate(slices)
    ]
