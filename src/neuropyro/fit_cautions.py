"""What a converged fit may still have wrong, told from its numbers: scales, steps and speeds that no data can show."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from neuropyro.biomarker_plots import own_curves
from neuropyro.curve_misfit import misfits
from neuropyro.data.unknown_names import few
from neuropyro.outputs import Outcome
from neuropyro.progression_plots import cluster_means

__all__ = ["caution"]

FEWEST, DOMINANT = 6, 0.75  # reference visits, and the share of their variance that one of them may have
STEEP = 10.0  # per score; the prior has 1.3, and less than 4 nearly always
UNLIKE = 300.0  # largest over smallest speed


def caution(outcome: Outcome) -> str:
    """Return a sentence on the signs of a mode that fits noise, with a remedy; empty where there is no sign.

    One subject alone may set the scale of the scores, clusters may jump where they should bend, and some subjects may
    stand still beside others: small studies of maps in which people differ by much that is no disease end there, and
    converge.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> cohort, model = simulate_reference(n_subjects=8, n_vertices=12, seed=1), VertexClusterMixture(2)
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> caution(Outcome(model, cohort, fit(model, cohort, "map", schedule=short, progress=False)))
    ''
    """
    signs = [*_alone(outcome), *_steep(outcome), *_unlike(outcome)]
    missed = _missed(outcome)
    clusters = "fewer" if signs else "more"
    others = "" if outcome.each_alone else f" and {clusters} clusters"
    if missed and outcome.cohort.feature_names is not None and not outcome.each_alone:
        others += ", or leave --clusters out, so that each biomarker has a trajectory of its own,"
    remedy = f"compare other starts (--restarts 4, or in Python restarts=4){others} before you believe the scores"
    return "; ".join([*signs, *missed, remedy]) if signs or missed else ""


def _alone(outcome: Outcome) -> list[str]:
    """Name the subject whose first score makes nearly all of the reference's variance."""
    rows = np.flatnonzero(outcome.cohort.is_reference)
    score = np.median(outcome.posterior["dps"], 0)[rows]
    share = (score - score.mean()) ** 2 / max(((score - score.mean()) ** 2).sum(), 1e-12)
    if len(rows) < FEWEST or share.max() < DOMINANT:
        return []
    one = share.argmax()
    who = outcome.cohort.subject[rows[one]]
    return [f"subject {who}, at a score of {score[one]:.1f}, alone sets the scale, beside which all others are alike"]


def _steep(outcome: Outcome) -> list[str]:
    """Name the clusters that change within a tenth of a score or so."""
    b = np.median(outcome.posterior["b"], 0)
    steep = [f"{k + 1} (b {x:.0f} a score)" for k, x in enumerate(b) if x > STEEP]
    return [f"cluster {', '.join(steep)} jumps where it should bend"] if steep else []


def _missed(outcome: Outcome) -> list[str]:
    """Name the curves that leave the data."""
    score = np.median(outcome.posterior["dps"], 0).astype(np.float64)
    if outcome.cohort.feature_names is None:
        names = [f"cluster {name}" for name in outcome.cluster_names]
        a, b, c, d = (np.median(outcome.trajectories[name], 0).astype(np.float64) for name in "abcd")
        values, curves = cluster_means(outcome), d + a * expit(b * (score[:, None] - c))
    else:
        names = [str(name) for name in outcome.cohort.feature_names]
        values, curves = np.asarray(outcome.cohort.values, np.float64), np.median(own_curves(outcome, score), 0).T
    found = misfits(values, curves, score, outcome.cohort.subject_index)
    said = [f"{names[one.course]} ({one.in_words})" for one in found]
    return [f"curves miss the data: {', '.join(few(said))}"] if said else []


def _unlike(outcome: Outcome) -> list[str]:
    """Name the slowest subject, where speeds are hardly comparable."""
    speed = np.median(outcome.posterior["alpha"], 0)
    ratio = speed.max() / max(speed.min(), 1e-30)
    if ratio < UNLIKE:
        return []
    slowest = outcome.cohort.subjects[speed.argmin()]
    return [f"subject {slowest} stands still beside the fastest, whose speed is {ratio:,.0f} times as large"]
