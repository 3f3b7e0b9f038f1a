"""No staging: scores are time, whatever the data say of subjects."""

import numpy as np
import pytest

from neuropyro.data import simulate_reference
from neuropyro.inference import Schedule, fit
from neuropyro.models import VertexClusterMixture
from neuropyro.unstaged import unstaged

SHORT = Schedule(max_steps=60, warm_up=20)


@pytest.mark.parametrize(("labels", "guide"), [(None, "map"), ([0, 1] * 10, "normal")])
def test_scores_are_standardised_times(labels, guide):
    cohort = simulate_reference(n_subjects=20, n_vertices=20, n_clusters=2, seed=3)
    model = unstaged(VertexClusterMixture(2, labels=labels, visit_effect=True), cohort)
    result = fit(model, cohort, guide, schedule=SHORT, progress=False)
    reference = cohort.time[cohort.is_reference]
    expected = (cohort.time - reference.mean()) / reference.std()
    # Subjects differ by a thousandth of a score.
    np.testing.assert_allclose(
        result.posterior(3)["dps"], np.tile(expected, (len(result.posterior(3)["dps"]), 1)), atol=0.02
    )
    forecast = model.forecast(result, cohort, 1.0, draws=20)
    last = np.array([cohort.time[cohort.subject == name].max() for name in cohort.subjects])
    np.testing.assert_allclose(forecast.dps.mean(0), (last + 1 - reference.mean()) / reference.std(), atol=0.02)


def test_its_curves_follow_time_where_everyone_shares_the_course():
    """Values that are one sigmoid of age: the start alone, and then the fit, have its midpoint."""
    rng = np.random.default_rng(0)
    design = simulate_reference(n_subjects=40, n_vertices=12, n_clusters=1, seed=0)
    curve = -3 / (1 + np.exp(-(design.time - 62) / 4))
    values = curve[:, None] + 0.2 * rng.standard_normal((len(curve), 12))
    cohort = type(design)(values, design.time, design.subject, design.diagnosis)
    model = unstaged(VertexClusterMixture(1, scatter=False, subject_effect=False), cohort)
    result = fit(model, cohort, "map", schedule=Schedule(max_steps=100, warm_up=20), progress=False)
    reference = cohort.time[cohort.is_reference]
    onset = float(result.posterior(1)["c"][0, 0]) * reference.std() + reference.mean()
    assert onset == pytest.approx(62, abs=1.0)
