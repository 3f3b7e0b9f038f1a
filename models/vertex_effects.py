r"""Vertex effects: what lasts of a subject's departure at each single vertex, integrated out.

People differ in the shape of their cortex, far beyond an offset that all vertices of a cluster share, and keep what
they differ by.  With it, the values of one vertex of cluster k are

.. math::  V_{n} = F_n + J_n h + r_{i(n)} + \epsilon_n, \qquad r_i \sim \mathrm{Normal}(0, \omega_k), \quad
           \epsilon_n \sim \mathrm{Normal}(0, \sigma_k),

so that the white part's covariance over the m visits of one subject is sigma^2 I + omega^2 1 1'.  Its inverse is
(I - g 1 1') / sigma^2 with g = omega^2 / (sigma^2 + m omega^2), and its determinant sigma^2m (1 + m omega^2 / sigma^2).
A product over visits in the white likelihood is therefore less by the products of subjects' sums,

.. math::  x' y \;\to\; x' y - \sum_i g_i \Big(\sum_{n \in i} x_n\Big) \Big(\sum_{n \in i} y_n\Big),

and all that is needed of the data besides are each vertex's sums over subjects' visits.  Where values are missing, a
subject's visits that were seen differ from vertex to vertex: each such pattern counts as a subject of its own, of which
a vertex has those that it has (a sparse matrix).

Without this, thousands of vertices are so many witnesses that two people are at different stages, who only differ.

References
----------
Laird & Ware, "Random-effects models for longitudinal data", Biometrics 1982; Petersen & Pedersen, *The Matrix
Cookbook*, 2012, eqs. 24 and 160 (determinant and inverse of a change of rank one).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neuropyro.models.row_products import row_products, weighted_grams

__all__ = ["Lasting", "SubjectSums", "lasting_weight"]


@dataclass(frozen=True, eq=False)
class SubjectSums:
    """Sums of each vertex's values over each subject's visits, or over those of them that were seen.

    Parameters
    ----------
    subject
        ``(visits,)`` int.
    member
        ``(P, visits)`` 1 for visits of a subject, or of a pattern of seen visits of one.
    sums
        ``(vertices, P)``; sparse where values are missing.
    seen
        ``(vertices, P)`` 1 for a vertex's patterns, sparse; None where nothing is missing.

    Examples
    --------
    >>> values, subject = torch.tensor([[1.0, 2.0, 5.0], [3.0, 0.0, 7.0]]), torch.tensor([0, 0, 1])
    >>> SubjectSums.of(values, None, subject).sums.tolist()  # of two vertices
    [[3.0, 5.0], [3.0, 7.0]]
    >>> seen = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]])  # the second vertex has seen one visit less
    >>> SubjectSums.of(values, seen, subject).count.tolist()  # patterns of seen visits
    [1.0, 2.0, 1.0]
    """

    subject: Tensor
    member: Tensor
    sums: Tensor
    seen: Tensor | None

    @classmethod
    def of(cls, values: Tensor, observed: Tensor | None, subject: Tensor) -> SubjectSums:
        """Sum ``values (vertices, visits)``, 0 where missing.

        Parameters
        ----------
        observed
            ``(vertices, visits)`` as in :class:`~neuropyro.models.visits.Visits`.
        subject
            ``(visits,)`` int.
        """
        of_subject = torch.nn.functional.one_hot(subject).mT.to(values)
        whole = values @ of_subject.mT
        if observed is None:
            return cls(subject, of_subject, whole, None)
        member, rows, places = _patterns(observed, subject)
        # What is missing is 0: a vertex's sum over a pattern is that over all visits of the subject.
        sums = whole[rows, subject[member.argmax(-1)][places]]
        at, shape = torch.stack([rows, places]), (len(values), len(member))
        sparse = [
            torch.sparse_coo_tensor(at, x, shape, check_invariants=True).coalesce()
            for x in (sums, torch.ones_like(sums))
        ]
        return cls(subject, member, *sparse)

    @property
    def count(self) -> Tensor:
        """``(P,)`` how many visits each has."""
        return self.member.sum(-1)

    def of_vertices(self, members: Tensor) -> SubjectSums:
        """Return those of some vertices."""
        seen = None if self.seen is None else self.seen.index_select(0, members)
        return SubjectSums(self.subject, self.member, self.sums.index_select(0, members), seen)

    def to(self, device: torch.device | str | None, dtype: torch.dtype | None) -> SubjectSums:
        """Return them on a device, in a dtype; None leaves as it is."""
        member, sums = (x.to(device=device, dtype=dtype) for x in (self.member, self.sums))
        seen = None if self.seen is None else self.seen.to(device=device, dtype=dtype)
        return SubjectSums(self.subject.to(device), member, sums, seen)


class Lasting(NamedTuple):
    """Vertex effects of sd ``omega (*batch,)``, beside white residuals of sd ``sigma (*batch,)``.

    Its methods return what they take off the white likelihood's products, ``batch`` being ``(*, K, 1)`` with columns
    that vertices share, ``(*, K, 1, visits, c)``.

    Examples
    --------
    >>> values, one = torch.tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 1)  # a vertex at three visits of one subject
    >>> effects = Lasting(one, one, SubjectSums.of(values, None, torch.zeros(3).long()))
    >>> covariance = torch.eye(3) + 1  # of sigma = omega = 1
    >>> bool(torch.allclose(values.square().sum() - effects.squares(), values @ covariance.inverse() @ values.mT))
    True
    >>> bool(torch.allclose(effects.volume(), covariance.logdet()))
    True
    """

    omega: Tensor
    sigma: Tensor
    data: SubjectSums

    @property
    def _weight(self) -> Tensor:
        """``(*batch, P)`` g."""
        lasting, passing = (sd.square().unsqueeze(-1) for sd in (self.omega, self.sigma))
        return lasting_weight(lasting, passing, self.data.count)

    def products(self, columns: Tensor) -> Tensor:
        """Of the data with columns ``(*batch, visits, c)``: ``(*batch with vertices, c)``."""
        return row_products(self.data.sums, self._weight.unsqueeze(-1) * self._sums(columns))

    def grams(self, columns: Tensor) -> Tensor:
        """Of columns with each other, ``(*batch, c (c + 1) / 2)``, with vertices where values are missing."""
        return weighted_grams(self.data.seen, self._sums(columns), self._weight)

    def squares(self) -> Tensor:
        """Of the data with themselves, ``(*batch with vertices,)``."""
        return row_products(self.data.sums * self.data.sums, self._weight.unsqueeze(-1)).squeeze(-1)

    def volume(self) -> Tensor:
        """Return what they add to the log determinant, ``(*batch,)``, with vertices where values are missing."""
        each = torch.log1p(self.data.count * (self.omega / self.sigma).square().unsqueeze(-1))
        seen = self.data.seen
        return each.sum(-1) if seen is None else row_products(seen, each.unsqueeze(-1)).squeeze(-1)

    def drawn(self, shape: torch.Size) -> Tensor:
        """Draw the effects at each visit, ``(*shape, visits)``."""
        own = torch.randn(*shape, int(self.data.subject.max()) + 1).to(self.omega)
        return (self.omega.unsqueeze(-1) * own)[..., self.data.subject]

    def _sums(self, columns: Tensor) -> Tensor:
        return self.data.member @ columns


def lasting_weight(lasting: Tensor, passing: Tensor, count: Tensor) -> Tensor:
    """Return g, the share of a sum over visits that is taken for what lasts, from variances and visits (broadcast).

    Examples
    --------
    >>> lasting_weight(torch.tensor([0.0, 1.0, 1e6]), torch.tensor(1.0), torch.tensor(4.0))  # up to the mean's 1 / 4
    tensor([0.0000, 0.2000, 0.2500])
    """
    return lasting / (passing + count * lasting)


def _patterns(observed: Tensor, subject: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the patterns of seen visits of subjects ``(P, visits)``, and which vertex has which, ``(pairs,)`` each."""
    seen, of_visit = observed.cpu().numpy() > 0, subject.cpu().numpy()
    patterns, rows, places, count = [], [], [], 0
    for i in range(int(of_visit.max()) + 1):
        at = np.flatnonzero(of_visit == i)
        own, which = np.unique(seen[:, at], axis=0, return_inverse=True)
        whole = np.zeros((len(own), len(of_visit)))
        whole[:, at] = own
        has = np.flatnonzero(seen[:, at].any(1))
        patterns.append(whole)
        rows.append(has)
        places.append(count + which.ravel()[has])
        count += len(own)
    pairs = [torch.as_tensor(np.concatenate(x), device=observed.device) for x in (rows, places)]
    return torch.as_tensor(np.concatenate(patterns)).to(observed), pairs[0], pairs[1]
