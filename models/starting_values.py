"""Starting values from the data alone, close enough to the mode for the optimiser's first steps.

The first principal component of standardised maps orders visits along the course; its sign comes from the diagnosis,
or else from time.  Vertices are grouped by their components, and each group averaged over bins of that order.  The
component saturates where the trajectories do: the scores of the bins and a sigmoid for each cluster are fitted
jointly, which bends the scores straight.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.starting_curves import (
    BinnedCurves,
    bin_curves,
    fit_bins,
    fit_trajectories,
    mean_curves,
    narrow_bins,
)
from neuropyro.models.starting_labels import label_vertices
from neuropyro.models.starting_order import first_component
from neuropyro.models.starting_population import SPEED_SD, Places, Population, VisitMisfit, place_subjects, time_share
from neuropyro.models.starting_search import search
from neuropyro.models.starting_vertices import refine
from neuropyro.models.subject_place import Hyper, SubjectPlace
from neuropyro.models.visits import Visits
from neuropyro.progress_bars import tell

__all__ = ["group_and_start", "improved", "start_biomarkers", "start_clusters", "start_labelled"]

Floats = NDArray[np.float64]
MIN_SPEED = 0.02  # scores a year: where time says nothing, or the wrong thing
ROUNDS = 8  # of fitting trajectories and subjects' places in turn
LEAST_OFFSET = 0.01  # sd of subjects' offsets, in sds of a value
LARGE_OFFSET = (
    0.03  # beside a cluster's whole change: the first component may be of offsets, and other starts are tried
)
LABELLINGS, AGREED = 6, 5.0  # tried, where there is more than one start, until two are as good, but for so many nats
KEPT = 8  # of the search's starts
VISIT_EFFECT = 0.1  # sd, in sds of a value
GRID = 800  # scores at which visits are tried


def start_clusters(
    visits: Visits, n_clusters: int, rng: np.random.Generator, spread: float = 0.0
) -> list[dict[str, Floats]]:
    """Return one or more starts: values of the sites of the scores and of K clusters of vertices.

    Parameters
    ----------
    spread
        Sd of log speed over a cluster's vertices: the mean of their sigmoids has longer tails than a sigmoid.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> cohort = simulate_reference(n_subjects=8, n_vertices=12, n_clusters=2, seed=0)
    >>> start = start_clusters(prepare_visits(cohort, "all"), 2, np.random.default_rng(0))[0]
    >>> start["a"].shape, start["place"].shape, bool((start["a"] < 0).all())  # both clusters' maps fall
    ((2,), (8, 2), True)
    """
    curves, starts = group_and_start(visits, n_clusters, rng, spread)
    if not _can_be_improved(curves, starts):
        return starts
    found = [refine(visits, curves, starts)]
    tell(1, LABELLINGS)
    while len(found) < LABELLINGS and not _found_again([bound for bound, _ in found]):
        found.append(refine(visits, *group_and_start(visits, n_clusters, rng, spread)))
        tell(len(found), LABELLINGS)
    return [min(found, key=lambda one: one[0])[1]]


def _found_again(bounds: list[float]) -> bool:
    """Whether the best has been found twice: a mixture of vertices may end in many modes, hundreds of nats apart."""
    best = sorted(bounds)[:2]
    return len(best) == 2 and best[1] - best[0] < AGREED


def group_and_start(
    visits: Visits, n_clusters: int, rng: np.random.Generator, spread: float = 0.0
) -> tuple[BinnedCurves, list[dict[str, Floats]]]:
    """Return clusters and starts that follow their mean courses; see `start_clusters`.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> cohort = simulate_reference(n_subjects=8, n_vertices=12, n_clusters=2, seed=0)
    >>> curves, starts = group_and_start(prepare_visits(cohort, "all"), 2, np.random.default_rng(0), spread=0.2)
    >>> np.allclose(starts[0]["pi"], (np.bincount(curves.label) + 1) / 14)  # shares of the vertices
    True
    """
    component = first_component(visits)
    label = label_vertices(visits, n_clusters, rng)
    curves = bin_curves(visits, component, lambda curves: label)._replace(spread=spread)
    return curves, _starts(visits, component, curves, rng)


def improved(
    visits: Visits, curves: BinnedCurves, starts: list[dict[str, Floats]], labels_known: bool = False
) -> list[dict[str, Floats]]:
    """Return the best of several starts by all that scattered vertices say; else the starts as they are.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(simulate_reference(n_subjects=8, n_vertices=12, n_clusters=2, seed=0), "all")
    >>> curves, starts = group_and_start(visits, 2, np.random.default_rng(0), spread=0.2)
    >>> len(starts), improved(visits, curves, starts) is starts  # one is all there is to choose from
    (1, True)
    """
    return [refine(visits, curves, starts, labels_known)[1]] if _can_be_improved(curves, starts) else starts


def _can_be_improved(curves: BinnedCurves, starts: list[dict[str, Floats]]) -> bool:
    """Where subjects hardly differ lastingly there is but one start, and mean courses have said enough."""
    return len(starts) > 1 and curves.spread > 0


def start_labelled(visits: Visits, label: Tensor, spread: float = 0.0) -> list[dict[str, Floats]]:
    """Return one or more starts of the scores and of clusters of labelled vertices, ``label (vertices,)``.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(simulate_reference(n_subjects=8, n_vertices=12, n_clusters=2, seed=0), "all")
    >>> start = start_labelled(visits, torch.arange(12) // 9)[0]  # nine vertices of one region, three of another
    >>> start["pi"].round(3).tolist()  # 10 / 14 and 4 / 14
    [0.714, 0.286]
    """
    component, rng = first_component(visits), np.random.default_rng(0)
    known = label[visits.is_informative].cpu().numpy()
    curves = bin_curves(visits, component, lambda curves: known)._replace(spread=spread)
    return improved(visits, curves, _starts(visits, component, curves, rng), labels_known=True)


def start_biomarkers(visits: Visits) -> list[dict[str, Floats]]:
    """Return starts of the scores and of each biomarker by itself.

    Examples
    --------
    >>> from neuropyro.data import Cohort, simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> fell = simulate_reference(n_subjects=20, n_vertices=4, n_clusters=2, noise_sd=0.2, seed=1)
    >>> cohort = Cohort(fell.values * [1, -1, 1, -1], fell.time, fell.subject, fell.diagnosis)
    >>> start = start_biomarkers(prepare_visits(cohort, "all"))[0]
    >>> np.sign(start["a"]).tolist(), start["pi"].tolist()  # whole changes, two of them turned round; equal shares
    ([-1.0, 1.0, -1.0, 1.0], [0.25, 0.25, 0.25, 0.25])
    """
    component, rng = first_component(visits), np.random.default_rng(0)
    return _starts(visits, component, bin_curves(visits, component, lambda curves: np.arange(len(curves))), rng)


def _starts(
    visits: Visits, component: Floats, curves: BinnedCurves, rng: np.random.Generator
) -> list[dict[str, Floats]]:
    fine = narrow_bins(curves, component)
    bins, theta = fit_bins(fine)
    scores = _bent(component, fine.scores, bins)
    subject, within, mean_time = visits.subject.cpu().numpy(), _array(visits.time_within), _array(visits.subject_time)
    speed = max(float((scores * within).sum() / max(float((within**2).sum()), 1e-12)), MIN_SPEED)
    stage = np.bincount(subject, scores) / np.bincount(subject)
    share = time_share(stage, speed * mean_time)
    beta = stage - speed * share * mean_time
    spread = np.diag([SPEED_SD**2, max(beta.var(), 0.01)])
    population = Population(np.array([np.log(speed), beta.mean()]), spread)
    for _ in range(ROUNDS):
        misfit = _misfit(curves, theta, scores, bins)
        places = place_subjects(misfit, subject, within, share * mean_time, population)
        share = time_share(places.stage, np.exp(places.log_alpha) * mean_time)
        scores = places.stage[subject] + np.exp(places.log_alpha[subject]) * within
        theta, population = fit_trajectories(curves, theta, scores), places.population
    rho, u = _offsets(curves, theta, scores, subject)
    start = _in_the_gauge(visits, places, share, theta, scores) | {"rho": rho, "u": u}
    shared = {"pi": curves.share, "sigma": curves.residual_sd, "level": curves.course.T}
    shared |= {} if curves.lasting_sd is None else {"omega": curves.lasting_sd}
    start["tau"] = np.full(len(theta), VISIT_EFFECT)
    starts = [start]
    if (rho > LARGE_OFFSET * np.abs(theta[:, 0])).any():
        starts += search(visits, curves, start, rng, KEPT)
    return [shared | start for start in starts]


def _offsets(curves: BinnedCurves, theta: Floats, scores: Floats, subject: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the offsets' sds ``(K,)``, and the offsets ``(subjects, K)``: what a subject's courses depart by."""
    n_subjects = int(subject.max()) + 1
    departures = curves.precision * (curves.course - mean_curves(theta, scores, curves.spread))
    total = np.stack([np.bincount(subject, row, n_subjects) for row in departures], 1)
    weight = np.stack([np.bincount(subject, row, n_subjects) for row in curves.precision], 1)
    u = total / np.maximum(weight, 1e-9)
    return np.maximum(u.std(0), LEAST_OFFSET), u


def _in_the_gauge(visits: Visits, places: Places, share: float, theta: Floats, scores: Floats) -> dict[str, Floats]:
    """Return the sites of scores and trajectories, the reference visits' scores having mean 0 and sd 1."""
    reference = scores[visits.reference.cpu().numpy()]
    shift, scale = reference.mean(), reference.std() or 1.0
    population = places.population
    mean_a, mean_b = population.mean - [np.log(scale), shift]
    (sd_a, sd_b), rho = population.sd, population.correlation
    hyper = {
        "log_alpha_mean": mean_a,
        "log_alpha_sd": sd_a,
        "beta_mean": mean_b / scale,
        "beta_sd": sd_b / scale,
        "correlation": np.array(rho),
        "time_share": np.array(share),
    }
    law = SubjectPlace(Hyper(*(torch.as_tensor(site) for site in hyper.values())), visits.subject_time.double().cpu())
    log_alpha, stage = (torch.as_tensor(x) for x in (places.log_alpha - np.log(scale), (places.stage - shift) / scale))
    a, b, c, d = theta.T
    return hyper | {
        "place": _array(law.place(log_alpha, stage)),
        "a": a,
        "b": b * scale,
        "c": (c - shift) / scale,
        "d": d,
    }


def _misfit(curves: BinnedCurves, theta: Floats, scores: Floats, bins: Floats) -> VisitMisfit:
    """Return the misfit of the clusters' courses, in units of what they depart by at present; no less than noise."""
    reach = 0.25 * (bins[-1] - bins[0])
    grid = np.linspace(bins[0] - reach, bins[-1] + reach, GRID)
    departures = curves.course - mean_curves(theta, scores, curves.spread)
    excess = max(float((curves.precision * departures**2).mean()), 1.0)
    misfit = np.zeros((len(scores), GRID))
    at_grid = mean_curves(theta, grid, curves.spread)
    for course, precision, curve in zip(curves.course, curves.precision, at_grid, strict=True):
        misfit += 0.5 / excess * precision[:, None] * (course[:, None] - curve) ** 2
    return VisitMisfit(grid, misfit)


def _bent(component: Floats, knots: Floats, scores: Floats) -> Floats:
    """Map the component to scores by straight pieces between bins; the end pieces go on."""
    piece = np.clip(np.searchsorted(knots, component) - 1, 0, len(knots) - 2)
    slope = np.diff(scores) / np.maximum(np.diff(knots), 1e-9)
    return np.asarray(scores[piece] + slope[piece] * (component - knots[piece]))


def _array(tensor: Tensor) -> Floats:
    return np.asarray(tensor.double().cpu())
