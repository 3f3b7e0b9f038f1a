"""Signs of a fit that converged to noise, on posteriors that have them."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit

from neuropyro import curve_misfit
from neuropyro.data import Cohort
from neuropyro.fit_cautions import caution

SUBJECTS = np.repeat([f"s{i}" for i in range(8)], 2)
COHORT = Cohort(np.ones((16, 2)) * np.arange(16)[:, None], np.tile([70.0, 71.0], 8), SUBJECTS)
SPEEDS = np.linspace(0.1, 0.9, 8)
FIRST = np.array([-1.2, -0.8, -0.5, -0.1, 0.2, 0.5, 0.8, 1.1])


def outcome(first=FIRST, b=(1.0, 2.0), alpha=SPEEDS, off=0.0):
    """Two vertices, each a cluster that falls by 1 at a score of 0; ``off`` is added to the first's low values."""
    score = np.repeat(first, 2)
    posterior = {"dps": score[None], "b": np.array([b]), "alpha": np.asarray(alpha)[None]}
    course = {"a": -1.0, "b": b, "c": 0.0, "d": 2.0}
    values = 2 - expit(np.array(b) * score[:, None])
    values[score < -0.4, 0] += off
    return SimpleNamespace(
        cohort=COHORT,
        posterior=posterior,
        model=SimpleNamespace(n_clusters=2),
        each_alone=False,
        cluster_names=["1", "2"],
        trajectories={name: np.broadcast_to(value, (1, 2)) for name, value in course.items()},
        assignments=np.eye(2),
        values=values,
    )


def test_a_fit_without_signs():
    assert caution(outcome()) == ""


@pytest.mark.parametrize(
    ("signs", "said"),
    [
        ({"first": np.r_[-2.6, np.linspace(0.3, 0.5, 7)]}, "subject s0, at a score of -2.6, alone sets the scale"),
        ({"b": (1.0, 107.0)}, "cluster 2 (b 107 a score) jumps where it should bend; "),
        ({"alpha": np.r_[np.full(7, 0.5), 1e-5]}, "subject s7 stands still beside the fastest, whose speed is 50,000 "),
    ],
)
def test_each_sign_is_told_with_its_remedy(signs, said):
    found = caution(outcome(**signs))
    assert found.startswith(said)
    others = "compare other starts (--restarts 4, or in Python restarts=4) and fewer clusters"
    assert found.endswith(f"{others} before you believe the scores")


@pytest.mark.parametrize(("off", "where"), [(0.8, "0.8 below its values"), (-0.8, "0.8 above its values")])
def test_a_curve_that_leaves_its_data_is_named(off, where, monkeypatch):
    monkeypatch.setattr(curve_misfit, "FEWEST", 3)
    assert caution(outcome()) == ""
    said = caution(outcome(off=off))
    assert said.startswith(f"curves miss the data: cluster 1 ({where} at low scores); compare other starts")
    assert "and more clusters before" in said


def test_all_signs_share_a_remedy():
    found = caution(outcome(np.r_[-2.6, np.linspace(0.3, 0.5, 7)], (50.0, 60.0), np.r_[np.full(7, 0.5), 1e-5]))
    assert found.count("; ") == 3
    assert "cluster 1 (b 50 a score), 2 (b 60 a score) jumps" in found
