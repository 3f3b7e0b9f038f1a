r"""Starts improved by all that the vertices say: expectation-maximisation over their clusters.

Mean courses alone tell little of scores: three curves, each with offsets of its own, are followed about as well by
scores that are wrong.  How the vertices of a cluster depart from its mean says more.  With labels' probabilities
r_lk given, what the whole model makes of the values (:mod:`neuropyro.models.vertex_scatter`) depends on each cluster's
mean course m_k and on the departures' products alone,

.. math::  S_k = \sum_l r_{lk} (V_l - m_k)(V_l - m_k)^\top, \qquad
           -2 \log p = (L_k - 1) \log |\Sigma_k| + \mathrm{tr}(\Sigma_k^{-1} S_k) + \dots, \qquad
           \Sigma_k = \sigma_k^2 I + J_k J_k^\top,

so that a step costs the same for any number of vertices.  S_k is kept on the maps' first principal components; beyond
them it is white.  Where subjects differ lastingly at each vertex (:mod:`neuropyro.models.vertex_effects`), products are
less by those of subjects' sums.

References
----------
Dempster, Laird & Rubin, "Maximum likelihood from incomplete data via the EM algorithm", JRSS B 1977.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from neuropyro.models.starting_courses import Courses, Curves
from neuropyro.models.starting_curves import BinnedCurves
from neuropyro.models.starting_descent import Start, Values, descend, one_of, stacked
from neuropyro.models.trajectory import Trajectories
from neuropyro.models.vertex_effects import lasting_weight
from neuropyro.models.vertex_priors import SCATTER, VertexPriors
from neuropyro.models.vertex_scatter import COLUMNS, scattered
from neuropyro.models.visits import Visits

__all__ = ["refine"]

ROUNDS, GAIN = 8, 5.0  # of EM, at most: until one gains fewer nats
FIRST, LATER = (40, 0.06), (25, 0.03)  # steps of Adam in a round, and their rate
LAST_RATE = 0.1  # what the rate falls to, as a share
COMPONENTS, PASSES = 32, 2  # of the maps; of the randomised decomposition
PRIORS = {"log_sigma": (0.0, 0.5), "log_scatter": (-1.5, 0.5), "log_omega": (-0.7, 0.7)}


def refine(
    visits: Visits, curves: BinnedCurves, starts: Sequence[Start], labels_known: bool = False
) -> tuple[float, Start]:
    """Return the best of some starts, all improved, with the sites of sigma, pi and scatter, after its bound in nats.

    Parameters
    ----------
    curves
        The clusters' mean courses, and labels to begin with.
    labels_known
        Whether the labels stay as they are.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.starting_values import group_and_start
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(simulate_reference(n_subjects=8, n_vertices=12, n_clusters=2, seed=0), "all")
    >>> _, best = refine(visits, *group_and_start(visits, 2, np.random.default_rng(0), spread=0.2))
    >>> (best["pi"] * 14).round(1).tolist()  # five vertices and seven, and one more each
    [6.0, 8.0]
    """
    vertices = _Vertices(visits, curves)
    courses = _Clusters(visits, curves, vertices)
    values = stacked([courses.of(one) for one in starts])
    first = shares = one_hot(vertices.label, len(curves.course)).double().expand(len(starts), -1, -1)
    courses.see(shares)
    best = math.inf
    for steps, rate in (FIRST, *[LATER] * (ROUNDS - 1)):
        values = descend(courses.loss, values, steps, rate, rate * LAST_RATE)
        shares = shares if labels_known else courses.shares(values)
        courses.see(shares)
        bound = _bound(courses, values, shares)
        before, best = best, float(bound.min())
        if not before - best > GAIN:
            break
    which = int(bound.argmin())
    if not math.isfinite(best):  # nothing to go by: as it was
        values, shares, which = stacked([courses.of(one) for one in starts]), first, 0
    courses.see(shares[which, None])
    with torch.no_grad():
        return best, starts[which] | courses.start(one_of(values, which))


@torch.no_grad()
def _bound(courses: _Clusters, values: Values, shares: Tensor) -> Tensor:
    """Return what bounds the negative log density with labels summed out, ``(starts,)``."""
    of_labels = courses.weight * shares * (courses.log_share() - shares.clamp(min=1e-30).log())
    return (courses.loss(values) - of_labels.sum((-2, -1))).nan_to_num(math.inf)


class _Departures(NamedTuple):
    """Products of the departures of each cluster's vertices from its mean, of several starts."""

    number: Tensor  # (starts, K) of vertices
    products: Tensor  # (starts, K, components, components)
    squares: Tensor  # (starts, K) the whole trace
    white: Tensor  # (starts, K) each direction's share of what is beyond the components
    sums: Tensor | None  # (starts, K, subjects) squares of sums over a subject's visits, where these are looked at


class _Vertices:
    """The values of vertices that say something, missing ones as their cluster's course has them."""

    def __init__(self, visits: Visits, curves: BinnedCurves) -> None:
        keep = visits.is_informative
        self.label = torch.as_tensor(curves.label)[keep.cpu()]
        self.values = visits.values[keep]
        self.seen = None if visits.observed is None else visits.observed[keep]
        self.filled = self.values if self.seen is None else self._filled(torch.as_tensor(curves.course))
        self.squares = _small(self.filled.square().sum(-1))
        self.basis = self._basis()
        self.projected = _small(self.filled @ self.basis.to(self.values))
        self.visits, self.sums = visits, None
        if visits.subject_sums is not None:
            self.sums = visits.sum_of_subject(self.filled)

    def _filled(self, course: Tensor) -> Tensor:
        assert self.seen is not None
        course = course.to(self.values)[self.label.to(self.values.device)]
        own = (self.seen * (self.values - course)).sum(-1, keepdim=True) / self.seen.sum(-1, keepdim=True)
        return torch.where(self.seen > 0, self.values, course + own)

    def _basis(self) -> Tensor:
        """Return orthonormal courses ``(visits, components)``: the constant one, and the principal components."""
        n_visits = self.values.shape[1]
        q = min(COMPONENTS, *self.values.shape)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            about_own_mean = self.filled - self.filled.mean(-1, keepdim=True)
            _, _, components = torch.svd_lowrank(about_own_mean, q, PASSES)
        constant = torch.ones(n_visits, 1, dtype=torch.float64)
        basis: Tensor = torch.linalg.qr(torch.cat([constant, _small(components)], 1)[:, :n_visits])[0]
        return basis

    def means(self, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Return clusters' mean courses ``(starts, K, visits)`` of seen values, and how many of these."""
        weights = shares.mT.to(self.values)
        seen = weights.sum(-1, keepdim=True) if self.seen is None else weights @ self.seen
        mean = _small(weights @ self.values / seen.clamp(min=1e-6))
        return mean, _small(seen).expand_as(mean)

    def departures(self, shares: Tensor) -> _Departures:
        """Return the products of the departures from the clusters' means."""
        count = shares.sum(1).clamp(min=1e-6)
        mean = _small(shares.mT.to(self.values) @ self.filled) / count[..., None]
        middle = mean @ self.basis
        products = torch.einsum("slk,lp,lq->skpq", shares, self.projected, self.projected)
        products = products - count[..., None, None] * middle[..., None] * middle[..., None, :]
        squares = (shares.mT @ self.squares - count * mean.square().sum(-1)).clamp(min=0)
        sums = None
        if self.sums is not None:
            own = self.visits.sum_of_subject(mean.to(self.values)).square()
            sums = _small(shares.mT.to(self.values) @ self.sums.square()) - count[..., None] * _small(own)
        n_visits, n_components = self.basis.shape
        beyond = (squares - products.diagonal(dim1=-2, dim2=-1).sum(-1)).clamp(min=0)
        return _Departures(count, products, squares, beyond / max(n_visits - n_components, 1), sums)

    def fits(self, mean: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return squared distances to curves ``(starts, L, K)``, products with columns ``(..., r)``, shares seen."""
        mean, columns = mean.to(self.values), columns.to(self.values)
        flat = columns.movedim(-2, 0).flatten(1)  # (visits, starts K r)
        shift = (columns * mean[..., None]).movedim(-2, 0).flatten(1)
        shape = (len(self.values), *mean.shape[:2])
        crossed = (self.values @ mean.flatten(0, 1).mT).reshape(shape)
        if self.seen is None:
            own, shift, part = mean.square().sum(-1), shift.sum(0), torch.ones_like(self.values[:, 0])
        else:
            own = (self.seen @ mean.square().flatten(0, 1).mT).reshape(shape)
            shift, part = self.seen @ shift, self.seen.mean(-1)
        distance = (self.values.square().sum(-1)[:, None, None] + own - 2 * crossed).movedim(0, 1)
        products = (self.values @ flat - shift).reshape(*shape, columns.shape[-1]).movedim(0, 1)
        return _small(distance), _small(products), _small(part)

    def lasting(self, mean: Tensor, weight: Tensor) -> Tensor:
        """Return weighted squares of subjects' sums about those of curves, ``(starts, vertices, K)``."""
        assert self.sums is not None
        own, weight = self.visits.sum_of_subject(mean.to(self.values)), weight.to(self.values)
        crossed = self.sums @ (weight * own).mT
        found = self.sums.square() @ weight.mT - 2 * crossed + (weight * own.square()).sum(-1)[:, None]
        return _small(found)


class _Clusters(Courses):
    """The clusters' density, of several starts at once, given the labels' probabilities."""

    def __init__(self, visits: Visits, curves: BinnedCurves, vertices: _Vertices) -> None:
        super().__init__(visits, curves)
        self.vertices, self.weight = vertices, visits.weight
        self.first_sigma = torch.as_tensor(curves.residual_sd)
        self.first_omega = None if curves.lasting_sd is None else torch.as_tensor(curves.lasting_sd)
        self.first_scatter = math.log(curves.spread)
        self.baseline = VertexPriors().baseline
        self.count = torch.bincount(self.subject, minlength=len(self.time)).double()

    def of(self, start: Start) -> Values:
        """Return the free numbers of a start."""
        scatter = torch.full((len(self.first_sigma), len(SCATTER)), self.first_scatter, dtype=torch.float64)
        lasting = {} if self.first_omega is None else {"log_omega": self.first_omega.log()}
        return super().of(start) | lasting | {"log_sigma": self.first_sigma.log(), "log_scatter": scatter}

    def start(self, v: Values) -> Start:
        """Return the sites of one start's free numbers."""
        scatter = dict(zip(SCATTER, np.asarray(v["log_scatter"].exp()).T, strict=True))
        own = {"sigma": np.asarray(v["log_sigma"].exp()), "pi": np.asarray(self.log_share()[0, 0].exp())}
        own |= {"omega": np.asarray(v["log_omega"].exp())} if "log_omega" in v else {}
        return super().start(v) | scatter | own | {"level": np.asarray(self.observed[0].T)}

    def see(self, shares: Tensor) -> None:
        """Take up the labels' probabilities ``(starts, L, K)``."""
        self.observed, self.seen = self.vertices.means(shares)
        self.departures = self.vertices.departures(shares)

    def log_share(self) -> Tensor:
        """Return the logarithms of the clusters' shares of the vertices, ``(starts, 1, K)``."""
        count = self.departures.number + 1
        return (count / count.sum(-1, keepdim=True)).log()[:, None]

    @torch.no_grad()
    def shares(self, v: Values) -> Tensor:
        """Return the labels' probabilities ``(starts, L, K)``."""
        curves, columns = self._scattered(v, self._placed(v, v["place"]).scores)
        weight, reduced = self._reduced(v, columns)
        variance, chol, volume = self._factors(v, columns, reduced)
        mean = curves.mean + self._offsets(v, curves)[..., self.subject]
        distance, products, part = self.vertices.fits(mean, reduced)
        if weight is not None:
            distance = distance - self.vertices.lasting(mean, weight)
        known = torch.linalg.solve_triangular(chol, products.permute(0, 2, 3, 1), upper=False).square().sum(-2)
        variance = variance[:, None]
        each = (distance - known.mT / variance) / variance
        each = each + part[:, None] * len(self.subject) * variance.log() + volume[:, None]
        probability: Tensor = (self.log_share() - 0.5 * each).softmax(-1)
        return probability

    def loss(self, v: Values) -> Tensor:
        """Return the negative log joint density, places and offsets integrated out, ``(starts,)``."""
        at = self._placed(v, v["place"])
        curves, columns = self._scattered(v, at.scores)
        free = {name: prior for name, prior in PRIORS.items() if name in v}
        priors = sum(0.5 * ((v[name] - m) / sd).square().flatten(1).sum(-1) for name, (m, sd) in free.items())
        return self._of_vertices(v, columns) + self._marginal(v, at, curves) + self._priors(v) + priors

    def _of_vertices(self, v: Values, columns: Tensor) -> Tensor:
        """Return the negative log density of what vertices depart by from their cluster's mean, ``(starts,)``."""
        d, (weight, reduced) = self.departures, self._reduced(v, columns)
        variance, chol, volume = self._factors(v, columns, reduced)
        inside = self.vertices.basis.mT @ reduced  # (starts, K, components, r)
        outside = reduced.mT @ reduced - inside.mT @ inside
        products = inside.mT @ d.products @ inside + d.white[..., None, None] * outside
        known = torch.cholesky_solve(products, chol).diagonal(dim1=-2, dim2=-1).sum(-1)
        squares = d.squares if weight is None or d.sums is None else d.squares - (weight * d.sums).sum(-1)
        scaled = (squares - known / variance) / variance
        volume = volume + len(self.subject) * variance.log()
        return 0.5 * self.weight * ((d.number - 1).clamp(min=0) * volume + scaled).sum(-1)

    def _reduced(self, v: Values, columns: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return g of :mod:`neuropyro.models.vertex_effects`, ``(starts, K, subjects)``, and the columns less by it."""
        if "log_omega" not in v:
            return None, columns
        lasting, variance = ((2 * v[name]).exp()[..., None] for name in ("log_omega", "log_sigma"))
        weight = lasting_weight(lasting, variance, self.count)
        return weight, columns - self._of_visit(weight[..., None, :] * self._of_subject(columns.mT)).mT

    def _factors(self, v: Values, columns: Tensor, reduced: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return sigma squared, and the Cholesky factor and log determinant of I + J'J / sigma^2, or what it is then.

        What lasts of subjects adds its own to the log determinant.
        """
        variance = (2 * v["log_sigma"]).exp()
        eye = torch.eye(COLUMNS, dtype=columns.dtype)
        chol = torch.linalg.cholesky_ex(eye + columns.mT @ reduced / variance[..., None, None])[0]
        volume = 2 * chol.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        if "log_omega" in v:
            ratio = (2 * (v["log_omega"] - v["log_sigma"])).exp()[..., None]
            volume = volume + torch.log1p(self.count * ratio).sum(-1)
        return variance, chol, volume

    def _curves(self, v: Values, scores: Tensor) -> Curves:
        return self._scattered(v, scores)[0]

    def _scattered(self, v: Values, scores: Tensor) -> tuple[Curves, Tensor]:
        """Return the mean curves, and the columns of the scatter's covariance."""
        theta = Trajectories(v["a"], v["log_b"].exp(), v["c"], v["d"])
        baseline = torch.full_like(v["log_scatter"][..., :1], self.baseline)
        power = torch.full_like(baseline, VertexPriors().power[0])
        law = torch.cat([baseline, v["log_scatter"].exp(), power], -1)
        mean, columns = scattered(scores, theta, law)
        by_score = -columns[..., 1] / v["log_scatter"][..., :1].exp()  # of sds of c (Stein's lemma)
        return Curves(mean, by_score), columns

    def _weight(self, v: Values) -> Tensor:
        white = (2 * v["log_sigma"]).exp()[..., None] / (self.weight * self.seen).clamp(min=1e-9)
        noise = (2 * v["log_nu"]).exp()[..., None] + white
        return (self.seen > 0) / noise


def _small(x: Tensor) -> Tensor:
    """Return what is worked out on the CPU, in double precision."""
    return x.double().cpu()
