"""Starting values from the data alone, close enough to the mode for the optimiser's first steps.

The first principal component of standardised maps orders visits along the course; its sign comes from the diagnosis,
or else from time.  Maps averaged over bins of that order are curves with little noise, which k-means groups.  The
component saturates where the trajectories do: the scores of the bins and a sigmoid for each cluster are fitted
jointly, which bends the scores straight.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import scipy.optimize
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.visits import Visits

__all__ = [
    "BinnedCurves",
    "bin_curves",
    "first_component",
    "fit_bins",
    "start_biomarkers",
    "start_clusters",
    "start_labelled",
]

Floats = NDArray[np.float64]
MAX_BINS = 24
VISITS_A_BIN = 8
VISITS_A_FINE_BIN = 3
MAX_FINE = 300  # fine bins times clusters
CLEAR = 3.0  # standard errors by which a diagnosis settles the sign
MIN_SPEED = 0.02  # scores a year: where time says nothing, or the wrong thing
ROUNDS = 8  # of fitting trajectories and stages in turn
A_SD = 5.0  # of the change of a course, weakly held
GRID = 400  # points at which a subject's stage is tried
STIFFNESS = 0.001  # of the bins' steps against leaving their start, in sds of the curves
HALF_SEEN = 0.002  # of curves that are seen in part only, against running away
SMOOTHNESS = 0.003  # of the bins' steps against differing from the next: a smooth bend costs little, noise much


class BinnedCurves(NamedTuple):
    """Clusters of vertices as mean values in bins of an order of the visits."""

    scores: Floats  # (bins,) mean score of a bin
    means: Floats  # (K, bins)
    share: Floats  # (K,) share of the vertices
    residual_sd: Floats  # (K,) sd of a value about its vertex's mean in the bin
    course: Floats  # (K, visits) mean value of the cluster's vertices at each visit, 0 where none was seen
    precision: Floats  # (K, visits) of the course


def start_clusters(visits: Visits, n_clusters: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Return starting values of the sites of the scores and of K clusters of vertices."""
    component = first_component(visits)
    curves = bin_curves(visits, component, partial(_k_means, n_clusters=n_clusters, rng=rng))
    return _start(visits, component, curves)


def start_labelled(visits: Visits, label: Tensor) -> dict[str, Floats]:
    """Return starting values of the sites of the scores and of clusters whose vertices ``label (vertices,)`` tells."""
    component = first_component(visits)
    known = label[visits.is_informative].cpu().numpy()
    return _start(visits, component, bin_curves(visits, component, lambda curves: known))


def start_biomarkers(visits: Visits) -> dict[str, Floats]:
    """Return starting values of the sites of the scores and of each biomarker by itself."""
    component = first_component(visits)
    return _start(visits, component, bin_curves(visits, component, lambda curves: np.arange(len(curves))))


def _start(visits: Visits, component: Floats, curves: BinnedCurves) -> dict[str, Floats]:
    fine = _fine_bins(curves, component)
    bins, theta = fit_bins(fine)
    scores = _bent(component, fine.scores, bins)
    subject, within = visits.subject.cpu().numpy(), _array(visits.time_within)
    speed = max(float((scores * within).sum() / max(float((within**2).sum()), 1e-12)), MIN_SPEED)
    stage = _stages(curves, theta, speed * within, subject, bins)
    for _ in range(ROUNDS):
        theta = _trajectories(curves, theta, stage[subject] + speed * within)
        stage = _stages(curves, theta, speed * within, subject, bins)
    reference = (stage[subject] + speed * within)[visits.reference.cpu().numpy()]
    shift, scale = reference.mean(), reference.std() or 1.0
    beta = (stage - speed * _array(visits.subject_time) - shift) / scale
    spread = max(beta.std(), 0.1)
    a, b, c, d = theta.T
    return {
        "log_alpha_mean": np.log(speed / scale),
        "log_alpha_sd": np.array(0.3),
        "beta_mean": beta.mean(),
        "beta_sd": spread,
        "correlation": np.array(0.0),
        "log_alpha_z": np.zeros(visits.n_subjects),
        "stage_z": (beta - beta.mean()) / spread,
        "a": a,
        "b": b * scale,
        "c": (c - shift) / scale,
        "d": d,
        "pi": curves.share,
        "sigma": curves.residual_sd,
        "level": curves.course.T,
    }


def _trajectories(curves: BinnedCurves, theta: Floats, scores: Floats) -> Floats:
    """Fit each cluster's sigmoid to its course at given scores, from where it was."""
    reach = float(np.ptp(scores)) or 1.0

    def fitted(start: Floats, course: Floats, weight: Floats) -> list[float]:
        scale = np.array([max(abs(start[0]), 1e-3), 1.0, reach, max(abs(start[0]), 1e-3)])

        def misfit(p: Floats) -> Floats:
            a, log_b, c, d = p * scale
            curve = d + a / (1 + np.exp(-np.clip(np.exp(log_b) * (scores - c), -50, 50)))
            weak = [log_b - np.log(6 / reach), a / A_SD, (c - scores.mean()) / reach]
            return np.concatenate([(curve - course) * weight, weak])

        origin = np.array([start[0], np.log(start[1]), start[2], start[3]]) / scale
        a, log_b, c, d = scipy.optimize.least_squares(misfit, origin, max_nfev=30).x * scale
        return [a, np.exp(log_b), c, d]

    weights = np.sqrt(curves.precision)
    return np.array([fitted(*each) for each in zip(theta, curves.course, weights, strict=True)])


def _stages(curves: BinnedCurves, theta: Floats, travelled: Floats, subject: NDArray[np.int64], bins: Floats) -> Floats:
    """Return each subject's best score at its mean time, on a grid that reaches a quarter beyond the bins.

    A weak pull towards the middle places those whom the curves, flat there, do not place.
    """
    reach = 0.25 * (bins[-1] - bins[0])
    grid = np.linspace(bins[0] - reach, bins[-1] + reach, GRID)
    a, b, c, d = (column[:, None] for column in theta.T)
    pull = ((grid - bins.mean()) / bins.std()) ** 2
    misfit = np.empty((subject.max() + 1, GRID))
    for g, stage in enumerate(grid):
        curve = d + a / (1 + np.exp(-np.clip(b * (stage + travelled - c), -50, 50)))
        misfit[:, g] = np.bincount(subject, (curves.precision * (curves.course - curve) ** 2).sum(0))
    return np.asarray(grid[(misfit + pull).argmin(1)])


def first_component(visits: Visits) -> Floats:
    """Return the first principal component of the maps ``(visits,)``; missing values are at the vertex's mean.

    Patients get the higher scores; where the diagnosis does not tell them clearly from controls, later visits do.
    """
    centred = visits.values - visits.values.mean(-1, keepdim=True)
    _, _, right = torch.svd_lowrank(centred.float(), q=min(6, *centred.shape), niter=4)
    component = _array(right[:, 0]) * np.sqrt(visits.n_visits)
    trend = _diagnosis_score(component, visits)
    if abs(trend) < CLEAR:
        trend += _time_score(component, visits)
    return np.asarray(component if trend >= 0 else -component)


def _time_score(component: Floats, visits: Visits) -> float:
    """Return by how many standard errors the component rises over a subject's time."""
    within = _array(visits.time_within)
    slope = (component * within).sum() / max((within**2).sum(), 1e-12)
    subject, count = visits.subject.cpu().numpy(), _array(visits.visits_of_subject)
    residual = component - (np.bincount(subject, component) / count)[subject] - slope * within
    freedom = max(len(component) - len(count) - 1, 1)
    error = np.sqrt((residual**2).sum() / freedom / max((within**2).sum(), 1e-12))
    return float(slope / error) if error > 0 else 0.0


def _diagnosis_score(component: Floats, visits: Visits) -> float:
    """Return by how many standard errors the mean of subjects who are ever patients is above that of controls."""
    subject, count = visits.subject.cpu().numpy(), _array(visits.visits_of_subject)
    control = np.bincount(subject, visits.is_control.cpu().numpy()) == count
    if not 1 < control.sum() < len(control) - 1:
        return 0.0
    mean = np.bincount(subject, component) / count
    patients, controls = mean[~control], mean[control]
    error = np.sqrt(patients.var() / len(patients) + controls.var() / len(controls))
    return float((patients.mean() - controls.mean()) / error) if error > 0 else 0.0


def bin_curves(visits: Visits, order: Floats, group: Callable[[Floats], NDArray[np.int64]]) -> BinnedCurves:
    """Average vertices of a group in bins of ``order (visits,)``; vertices that say nothing are left out.

    ``group`` labels the rows of an array (vertices, bins) by 0..K-1.
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
    return BinnedCurves(
        scores=_bin_means(order, place, n_bins),
        means=np.stack([_array(curves[keep])[groups == k].mean(0) for k in range(n_clusters)]),
        share=(count + 1) / (count.sum() + n_clusters),
        residual_sd=sd,
        course=_array(course),
        precision=_array(seen) / sd[:, None] ** 2 * np.ones_like(_array(course)),
    )


def _fine_bins(curves: BinnedCurves, order: Floats) -> BinnedCurves:
    """Average the clusters' courses in many narrow bins: with wide ones the ends of the course would be blunted."""
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


def _k_means(curves: Floats, n_clusters: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Label curves by k-means on what they depart by from their beginnings, since a vertex has a baseline of its own.

    With fewer distinct departures than clusters, labels are dealt out in turn.
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
        a, b, c, d = (column[:, None] for column in theta.T)
        curve = d + a / (1 + np.exp(-np.clip(b * (scores - c), -50, 50)))
        flat = np.r_[np.log(theta[:, 1] * reach / 6), theta[:, 0] / size]  # keeps half-seen curves from running away
        return np.concatenate(
            [
                ((curve - curves.means) * weight).ravel(),
                SMOOTHNESS * np.diff(p[: n_bins - 1]),
                STIFFNESS * p[: n_bins - 1],
                HALF_SEEN * flat,
            ]
        )

    change = curves.means[:, -1] - curves.means[:, 0]
    middle = np.array([_crossing(curves.scores, mean) for mean in curves.means])
    theta = np.stack([change, np.full(n_clusters, np.log(6 / reach)), middle, curves.means[:, 0]], 1)
    solution = scipy.optimize.least_squares(misfit, np.r_[np.zeros(n_bins - 1), theta.ravel()], max_nfev=60)
    return unpack(solution.x)


def _crossing(scores: Floats, curve: Floats) -> float:
    """Return the score where a curve is first past half its way from start to end."""
    half = (curve[0] + curve[-1]) / 2
    past = np.sign(curve - half) != np.sign(curve[0] - half)
    return float(scores[np.argmax(past)]) if past.any() else float(scores.mean())


def _bent(component: Floats, knots: Floats, scores: Floats) -> Floats:
    """Map the component to scores by straight pieces between bins; the end pieces go on."""
    piece = np.clip(np.searchsorted(knots, component) - 1, 0, len(knots) - 2)
    slope = np.diff(scores) / np.maximum(np.diff(knots), 1e-9)
    return np.asarray(scores[piece] + slope[piece] * (component - knots[piece]))


def _array(tensor: Tensor) -> Floats:
    return np.asarray(tensor.double().cpu())
