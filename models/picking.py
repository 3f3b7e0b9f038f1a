"""What belongs to each vertex's cluster, out of what belongs to all of them."""

from __future__ import annotations

from pyro.ops.indexing import Vindex
from torch import Tensor

__all__ = ["picked"]


def picked(each: Tensor, z: Tensor, event_dim: int = 0) -> Tensor:
    """Return ``each[..., z, *event]``, dimensions of a batch beside those of ``z``.

    Parameters
    ----------
    each
        ``(*batch, K, *event)`` of the clusters.
    z
        ``(*shape,)`` labels; its dimensions and those of the batch broadcast.
    event_dim
        Number of dimensions of an event.

    Returns
    -------
    ``(*broadcast, *event)``

    Notes
    -----
    Labels along a single dimension, as those that Pyro enumerates are, pick whole slices, whose gradients are added up
    at a fraction of what it costs number by number.

    Examples
    --------
    >>> import torch
    >>> each = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])  # two particles, three clusters
    >>> picked(each, torch.tensor([[0], [2]])).tolist()  # two labels, the same in both
    [[1.0, 4.0], [3.0, 6.0]]
    """
    each = each.reshape(*[1] * (event_dim + 1 + z.dim() - each.dim()), *each.shape)
    clusters = each.dim() - event_dim - 1
    along = [clusters - z.dim() + i for i, size in enumerate(z.shape) if size != 1]
    if len(along) != 1 or each.shape[along[0]] != 1:
        numbers: Tensor = Vindex(each)[(..., z, *[slice(None)] * event_dim)]
        return numbers
    slices = each.index_select(clusters, z.flatten()).squeeze(along[0])
    return slices.movedim(clusters - 1, along[0])
