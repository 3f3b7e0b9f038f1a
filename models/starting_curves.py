"""Mean curves of clusters of vertices in bins of an order of the visits, and the sigmoids that follow them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.optimize
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from neuropyro.models.starting_residuals import lasting_and_passing
from neuropyro.models.visits import Visits

__all__ = ["BinnedCurves", "bin_curves", "fit_bins", "fit_trajectories", "k_means", "mean_curves", "narrow_bins"]

Floats = NDArray[np.float64]
MAX_BINS = 24
VISITS_A_BIN = 8
VISITS_A_FINE_BIN = 3
MAX_FINE = 300  # fine bins times clusters
A_SD = 5.0  # of the change of a course, weakly held
STIFFNESS = 0.001  # of the bins' steps against leaving their start, in sds of the curves
HALF_SEEN = 0.002  # of curves that are seen in part only, against running away
SMOOTHNESS = 0.003  # of the bins' steps against differing from the next: a smooth bend costs little, noise much
SPEED_NODES, SPEED_WEIGHTS = np.sqrt(3) * np.array([-1, 0, 1]), np.array([1, 4, 1]) / 6  # Gauss-Hermite quadrature


class BinnedCurves(NamedTuple):
    """Clusters of vertices as mean values in bins of an order of the visits.

    Examples
    --------
    >>> course, label, one = np.array([[0.0, 0.0, 3.0]]), np.array([0, 0, -1]), np.ones(1)  # one vertex says nothing
    >>> curves = BinnedCurves(np.array([-1.0, 1.0]), course[:, 1:], one, one, course, 2 + 0 * course, label)
    >>> narrow = narrow_bins(curves, np.array([2.0, 0.0, 1.0]))
    >>> narrow.means.tolist(), narrow.scores.tolist()  # bins hold visits in their order: the second, third and first
    ([[1.5, 0.0]], [0.5, 2.0])
    """

    scores: Floats  # (bins,) mean score of a bin
    means: Floats  # (K, bins)
    share: Floats  # (K,) share of the vertices
    residual_sd: Floats  # (K,) sd of a value about its vertex's mean in the bin; of what passes, if some may last
    course: Floats  # (K, visits) mean value of the cluster's vertices at each visit, 0 where none was seen
    precision: Floats  # (K, visits) of the course
    label: NDArray[np.int64]  # (vertices,) -1 where a vertex says nothing
    spread: float = 0.0  # sd of log speed over a cluster's vertices
    lasting_sd: Floats | None = None  # (K,) sd of what lasts of a subject at a vertex, where that is looked for


def mean_curves(theta: Floats, scores: Floats, spread: float) -> Floats:
    """Return the mean course of clusters whose vertices' log speeds have sd ``spread``, ``(K, scores)``.

    ``theta (K, 4)``: columns a, b, c, d.

    Examples
    --------
    >>> theta = np.array([[-4.0, 1.0, 0.0, 3.0]])  # from 3 to -1, about a score of 0
    >>> mean_curves(theta, np.array([-99.0, 0.0, 99.0]), spread=0.3).round(6).tolist()
    [[3.0, 1.0, -1.0]]
    """
    return np.asarray(theta[:, 3, None] + theta[:, 0, None] * (_rises(theta, scores, spread) @ SPEED_WEIGHTS))


def _rises(theta: Floats, scores: Floats, spread: float) -> Floats:
    """Return the share of its change that each kind of vertex has made, ``(K, scores, nodes)``."""
    b, c = theta[:, 1, None, None], theta[:, 2, None, None]
    return np.asarray(expit(b * np.exp(spread * SPEED_NODES) * (scores[:, None] - c)))


def _slopes(theta: Floats, scores: Floats, spread: float) -> tuple[Floats, Floats]:
    """Return the derivatives of `mean_curves` by the score, ``(K, scores)``, and by a, log b, c, d, ``(..., 4)``."""
    rises = _rises(theta, scores, spread)
    a, b, c, _ = (column[:, None] for column in theta.T)
    by_score = a * b * ((rises * (1 - rises) * np.exp(spread * SPEED_NODES)) @ SPEED_WEIGHTS)
    columns = [rises @ SPEED_WEIGHTS, by_score * (scores - c), -by_score, np.ones_like(by_score)]
    return by_score, np.stack(columns, -1)


def bin_curves(visits: Visits, order: Floats, group: Callable[[Floats], NDArray[np.int64]]) -> BinnedCurves:
    """Average vertices of a group in bins of ``order (visits,)``; vertices that say nothing are left out.

    ``group`` labels the rows of an array (vertices, bins) by 0..K-1.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(simulate_reference(n_subjects=6, n_vertices=9, seed=0), "all", dtype=torch.float64)
    >>> curves = bin_curves(visits, np.arange(24.0), lambda rows: np.arange(len(rows)) % 2)  # labels in turn
    >>> curves.scores.tolist(), np.allclose(curves.course[1], visits.values[1::2].mean(0))
    ([3.5, 11.5, 19.5], True)
    """
    n_bins = int(np.clip(visits.n_visits // VISITS_A_BIN, 2, MAX_BINS))
    place = _places(order, n_bins)
    member = torch.as_tensor(np.eye(n_bins)[place]).to(visits.values)
    seen = member.sum(0) if visits.observed is None else visits.observed @ member
    curves = (visits.values @ member) / seen.clamp(min=1)
    residual = (visits.sum_squares - (seen * curves.square()).sum(-1)) / seen.sum(-1).clamp(min=1)
    keep = visits.is_informative
    groups = group(_array(curves[keep]))
    n_clusters = int(groups.max()) + 1
    count = np.bincount(groups)
    variance = np.bincount(groups, _array(residual[keep])) / count
    sd = np.sqrt(np.maximum(variance, 1e-3))
    label = torch.full((visits.n_vertices,), -1, device=keep.device)
    label[keep] = torch.as_tensor(groups, dtype=torch.long, device=keep.device)
    member = (label == torch.arange(n_clusters, device=keep.device).unsqueeze(-1)).to(visits.values)
    seen = member.sum(-1, keepdim=True) if visits.observed is None else member @ visits.observed
    course = (member @ visits.values) / seen.clamp(min=1)
    lasting, passing = None, sd
    if visits.subject_sums is not None:
        lasting, passing = lasting_and_passing(visits, _array(label).astype(np.int64), sd)
    return BinnedCurves(
        scores=_bin_means(order, place, n_bins),
        means=np.stack([_array(curves[keep])[groups == k].mean(0) for k in range(n_clusters)]),
        share=(count + 1) / (count.sum() + n_clusters),
        residual_sd=passing,
        lasting_sd=lasting,
        course=_array(course),
        precision=visits.weight * _array(seen) / sd[:, None] ** 2 * np.ones_like(_array(course)),
        label=label.cpu().numpy(),
    )


def narrow_bins(curves: BinnedCurves, order: Floats) -> BinnedCurves:
    """Average the clusters' courses in many narrow bins: with wide ones the ends of the course would be blunted.

    Examples
    --------
    >>> course, order, one = np.arange(12.0)[None], np.arange(12.0), np.ones(1)
    >>> wide = BinnedCurves(order, course, one, one, course, np.ones((1, 12)), np.zeros(1, int))
    >>> narrow_bins(wide, order).means.tolist()  # three visits a bin
    [[1.0, 4.0, 7.0, 10.0]]
    """
    n_clusters, n_visits = curves.course.shape
    n_bins = int(np.clip(n_visits // VISITS_A_FINE_BIN, 2, max(MAX_BINS, MAX_FINE // n_clusters)))
    place = _places(order, n_bins)
    weight = np.stack([np.bincount(place, row, n_bins) for row in curves.precision])
    total = np.stack([np.bincount(place, row, n_bins) for row in curves.precision * curves.course])
    means = np.where(weight > 0, total / np.where(weight > 0, weight, 1), curves.means.mean(1, keepdims=True))
    return curves._replace(scores=_bin_means(order, place, n_bins), means=means)


def _places(order: Floats, n_bins: int) -> NDArray[np.int64]:
    """Deal visits, in their order, to bins of equal size."""
    rank = np.argsort(np.argsort(order, kind="stable"), kind="stable")
    return np.asarray(rank * n_bins // len(order))


def _bin_means(values: Floats, place: NDArray[np.int64], n_bins: int) -> Floats:
    return np.bincount(place, values, n_bins) / np.maximum(np.bincount(place, minlength=n_bins), 1)


def k_means(curves: Floats, n_clusters: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Label curves ``(vertices, bins)`` by k-means on what they depart by from their beginnings: ``(vertices,)``.

    A vertex has a baseline of its own.  With fewer distinct departures than clusters, labels are dealt out in turn.

    Examples
    --------
    >>> curves = np.array([[0.0, 0, 0, -1], [5.0, 5, 5, 4], [0.0, 0, -1, -2], [3.0, 3, 2, 1]])
    >>> labels = k_means(curves, 2, np.random.default_rng(0))
    >>> bool(labels[0] == labels[1] != labels[2] == labels[3])
    True
    """
    from sklearn.cluster import KMeans  # half a second to import

    departures = curves - curves[:, : -(-curves.shape[1] // 4)].mean(1, keepdims=True)
    if len(np.unique(departures, axis=0)) < n_clusters:
        return np.arange(len(departures)) % n_clusters
    seed = int(rng.integers(2**31))
    return np.asarray(KMeans(n_clusters, n_init=8, random_state=seed).fit(departures).labels_, np.int64)


def fit_bins(curves: BinnedCurves) -> tuple[Floats, Floats]:
    """Fit the scores of the bins and one sigmoid a cluster jointly, by least squares.

    Returns
    -------
    scores ``(bins,)``, increasing, with the ends where they were; theta ``(K, 4)``, columns a, b, c, d

    Examples
    --------
    >>> theta, scores = np.array([[-4.0, 1.2, -1.0, 0.2], [3.0, 1.0, 0.5, 0.1]]), np.linspace(-4, 4, 24)
    >>> means, share = mean_curves(theta, scores, 0.0), np.full(2, 0.5)
    >>> curves = BinnedCurves(scores, means, share, np.ones(2), means, np.ones((2, 24)), np.arange(2))
    >>> found, again = fit_bins(curves)  # scores and sigmoids that made the means
    >>> bool(np.abs(found - scores).max() < 0.15), bool(np.abs(again - theta).max() < 0.25)
    (True, True)
    """
    n_bins, n_clusters = len(curves.scores), len(curves.means)
    steps = np.maximum(np.diff(curves.scores), 1e-3)
    reach = float(steps.sum())
    size = float(np.ptp(curves.means)) or 1.0
    weight = np.sqrt(curves.share * n_clusters)[:, None] / size

    def unpack(p: Floats) -> tuple[Floats, Floats]:
        bent = np.exp(p[: n_bins - 1]) * steps
        scores = curves.scores[0] + np.r_[0, np.cumsum(bent)] * reach / bent.sum()
        a, log_b, c, d = p[n_bins - 1 :].reshape(n_clusters, 4).T
        return scores, np.stack([a, np.exp(log_b), c, d], 1)

    def misfit(p: Floats) -> Floats:
        scores, theta = unpack(p)
        curve = mean_curves(theta, scores, curves.spread)
        flat = np.r_[np.log(theta[:, 1] * reach / 6), theta[:, 0] / size]  # keeps half-seen curves from running away
        return np.concatenate(
            [
                ((curve - curves.means) * weight).ravel(),
                SMOOTHNESS * np.diff(p[: n_bins - 1]),
                STIFFNESS * p[: n_bins - 1],
                HALF_SEEN * flat,
            ]
        )

    def jacobian(p: Floats) -> Floats:
        scores, theta = unpack(p)
        by_score, by_theta = _slopes(theta, scores, curves.spread)
        bent = np.exp(p[: n_bins - 1]) * steps
        before = np.arange(n_bins - 1) < np.arange(n_bins)[:, None]
        passed = np.r_[0, np.cumsum(bent)] / bent.sum()
        moved = reach * bent / bent.sum() * (before - passed[:, None])  # (bins, steps) of scores by log steps
        curve = np.zeros((n_clusters, n_bins, len(p)))
        curve[..., : n_bins - 1] = by_score[..., None] * moved
        own = np.zeros((n_clusters, n_bins, n_clusters, 4))
        own[np.arange(n_clusters), :, np.arange(n_clusters)] = by_theta
        curve[..., n_bins - 1 :] = own.reshape(n_clusters, n_bins, -1)
        free = np.eye(len(p))
        of_steps, of_theta = free[: n_bins - 1], free[n_bins - 1 :].reshape(n_clusters, 4, -1)
        return np.concatenate(
            [
                (curve * weight[..., None]).reshape(-1, len(p)),
                SMOOTHNESS * np.diff(of_steps, axis=0),
                STIFFNESS * of_steps,
                HALF_SEEN * of_theta[:, 1],
                HALF_SEEN * of_theta[:, 0] / size,
            ]
        )

    change = curves.means[:, -1] - curves.means[:, 0]
    middle = np.array([_crossing(curves.scores, mean) for mean in curves.means])
    theta = np.stack([change, np.full(n_clusters, np.log(6 / reach)), middle, curves.means[:, 0]], 1)
    start = np.r_[np.zeros(n_bins - 1), theta.ravel()]
    solution = scipy.optimize.least_squares(misfit, start, jacobian, max_nfev=60)
    return unpack(solution.x)


def _crossing(scores: Floats, curve: Floats) -> float:
    """Return the score where a curve is first past half its way from start to end."""
    half = (curve[0] + curve[-1]) / 2
    past = np.sign(curve - half) != np.sign(curve[0] - half)
    return float(scores[np.argmax(past)]) if past.any() else float(scores.mean())


def fit_trajectories(curves: BinnedCurves, theta: Floats, scores: Floats) -> Floats:
    """Fit each cluster's sigmoid to its course at given scores, from where it was.

    Examples
    --------
    >>> theta, scores = np.array([[-4.0, 1.2, -1.0, 0.2], [3.0, 1.0, 0.5, 0.1]]), np.linspace(-4, 4, 40)
    >>> course, precision = mean_curves(theta, scores, 0.0), np.full((2, 40), 1e6)
    >>> curves = BinnedCurves(scores, course, np.full(2, 0.5), np.ones(2), course, precision, np.arange(2))
    >>> (fit_trajectories(curves, theta + 0.3, scores).round(2) + 0.0).tolist()
    [[-4.0, 1.2, -1.0, 0.2], [3.0, 1.0, 0.5, 0.1]]
    """
    reach = float(np.ptp(scores)) or 1.0

    def fitted(start: Floats, course: Floats, weight: Floats) -> list[float]:
        scale = np.array([max(abs(start[0]), 1e-3), 1.0, reach, max(abs(start[0]), 1e-3)])

        def misfit(p: Floats) -> Floats:
            a, log_b, c, d = p * scale
            curve = mean_curves(np.array([[a, np.exp(log_b), c, d]]), scores, curves.spread)[0]
            weak = [log_b - np.log(6 / reach), a / A_SD, (c - scores.mean()) / reach]
            return np.concatenate([(curve - course) * weight, weak])

        def jacobian(p: Floats) -> Floats:
            a, log_b, c, d = p * scale
            _, by_theta = _slopes(np.array([[a, np.exp(log_b), c, d]]), scores, curves.spread)
            weak = np.array([[0, 1, 0, 0], [1 / A_SD, 0, 0, 0], [0, 0, 1 / reach, 0]])
            return np.asarray(np.concatenate([by_theta[0] * weight[:, None], weak]) * scale)

        origin = np.array([start[0], np.log(start[1]), start[2], start[3]]) / scale
        a, log_b, c, d = scipy.optimize.least_squares(misfit, origin, jacobian, max_nfev=30).x * scale
        return [a, np.exp(log_b), c, d]

    weights = np.sqrt(curves.precision)
    return np.array([fitted(*each) for each in zip(theta, curves.course, weights, strict=True)])


def _array(tensor: Tensor) -> Floats:
    return np.asarray(tensor.double().cpu())
