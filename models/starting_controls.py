"""Where controls start beside the others: by the moments of the places that one law for all has found."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.control_group import CONTROL_SITES, ControlGroup
from neuropyro.models.scores import SCORE_GLOBALS, population_hyper
from neuropyro.models.subject_place import Hyper, SubjectPlace
from neuropyro.models.visits import Visits

__all__ = ["told_apart", "with_controls"]

WITHIN = 0.1  # share of a variance over all people that is left within the groups, at the least
RATIOS = (0.2, 1.5)  # of controls' sd to others', at a start
MOST_CORRELATION = 0.95


def with_controls(start: Mapping[str, NDArray[np.float64]], visits: Visits) -> dict[str, NDArray[np.float64]]:
    """Return a start of one law for all with the sites by which controls differ; as it is where nobody is told apart.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.starting_values import start_clusters
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(simulate_reference(n_subjects=20, n_vertices=12, n_clusters=2, seed=0), "all")
    >>> start = with_controls(start_clusters(visits, 2, np.random.default_rng(0))[0], visits)
    >>> bool(start["control_beta"] < 0)  # controls are earlier
    True
    """
    if visits.controls is None:
        return dict(start)
    given = {site: torch.as_tensor(start[site], dtype=torch.float64) for site in (*SCORE_GLOBALS, "place")}
    time, controls = (x.double().cpu() for x in (visits.subject_time, visits.controls))
    others, group, place = told_apart(population_hyper(given), given["place"], time, controls)
    found = dict(zip((*SCORE_GLOBALS, *CONTROL_SITES, "place"), (*others, *group, place), strict=True))
    return {**start, **{site: np.asarray(value) for site, value in found.items()}}


def told_apart(population: Hyper, place: Tensor, time: Tensor, controls: Tensor) -> tuple[Hyper, ControlGroup, Tensor]:
    """Start from one law for all people: return that of the others, what controls differ by, and the places by both.

    Speeds and stages stay, and so do the moments over all people, as far as groups that differ by nearly all of them
    allow.

    Parameters
    ----------
    population
        Of all people.
    place
        ``(subjects, 2)`` by that law.
    time
        ``(subjects,)``, see `SubjectPlace`.
    controls
        ``(subjects,)``: 1 for a control, else 0.

    Examples
    --------
    >>> everybody = Hyper(*torch.tensor([-1.0, 0.3, 0.5, 1.2, 0.6, 0.5]))
    >>> place, controls = torch.tensor([[-1.0, 0.0], [-0.6, 0.0], [0.4, 0.0], [1.4, 0.0]]), torch.tensor([1.0, 1, 0, 0])
    >>> others, group, _ = told_apart(everybody, place, torch.zeros(4), controls)
    >>> round(float(group.sd), 3), bool(group.beta < 0)  # .4 apart beside 1, and earlier
    (0.4, True)
    >>> torch.stack(group.marginal(others, 0.5)).round(decimals=3).tolist() == torch.stack(everybody).tolist()
    True
    """
    law = SubjectPlace(population, time)
    log_alpha, stage = law.log_alpha_and_stage(place)
    beta, share = stage - log_alpha.exp() * law.counted, controls.mean()
    apart_a, apart_b = (
        _apart(x, controls, sd, share) for x, sd in ((log_alpha, population.sd_a), (beta, population.sd_b))
    )
    between = share * (1 - share)
    ratio = (_sd(beta, controls) / _sd(beta, 1 - controls).clamp(min=1e-6)).clamp(*RATIOS)
    sd_a = (population.sd_a.square() - between * apart_a.square()).sqrt()
    within = population.sd_b.square() - between * apart_b.square()
    sd_b = (within / (1 - share + share * ratio.square())).sqrt()
    shared = population.correlation * population.sd_a * population.sd_b - between * apart_a * apart_b
    correlation = (shared / (sd_a * sd_b * (1 - share + share * ratio))).clamp(-MOST_CORRELATION, MOST_CORRELATION)
    mean_a, mean_b = population.mean_a - share * apart_a, population.mean_b - share * apart_b
    others = Hyper(mean_a, sd_a, mean_b, sd_b, correlation, population.share)
    group = ControlGroup(apart_a, apart_b / sd_b, ratio)
    return others, group, SubjectPlace(group.of(others, controls), time).place(log_alpha, stage)


def _apart(x: Tensor, controls: Tensor, sd: Tensor, share: Tensor) -> Tensor:
    """Return how far controls' mean is from the others', no farther than leaves some variance within."""
    most = sd * ((1 - WITHIN) / (share * (1 - share))).sqrt()
    apart = (x * controls).sum() / controls.sum() - (x * (1 - controls)).sum() / (1 - controls).sum()
    return apart.clamp(-most, most)


def _sd(x: Tensor, members: Tensor) -> Tensor:
    mean = (x * members).sum() / members.sum()
    return ((x - mean).square() * members).sum().div(members.sum()).sqrt()
