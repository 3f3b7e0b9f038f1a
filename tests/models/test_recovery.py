"""Known parameters come back, on the DIVE paper's own simulation."""

import numpy as np
import pytest

from neuropyro.data import simulate_reference
from neuropyro.inference import Schedule, cluster_agreement, fit
from neuropyro.models import SubjectProgression, VertexClusterMixture


@pytest.fixture(scope="module")
def cohort():
    return simulate_reference(n_subjects=100, n_vertices=200, seed=7)


@pytest.mark.parametrize("guide", ["map", pytest.param("normal", marks=pytest.mark.slow)])
def test_scores_clusters_and_onsets(cohort, guide):
    model = VertexClusterMixture(3)
    result = fit(model, cohort, guide=guide, schedule=Schedule(max_steps=200, warm_up=300), progress=False)
    posterior = result.posterior(50)
    dps = posterior["dps"].mean(0)
    truth = cohort.truth
    assert np.corrcoef(dps, truth["dps"])[0, 1] > 0.985
    assert np.sqrt(np.mean((dps - truth["dps"]) ** 2)) < 0.25
    assert cluster_agreement(model.assignments(result), np.asarray(truth["Z"])) > 0.9
    np.testing.assert_allclose(posterior["c"].mean(0), truth["c"], atol=0.35)
    np.testing.assert_allclose(dps[cohort.is_reference].mean(), 0, atol=1e-5)
    np.testing.assert_allclose(dps[cohort.is_reference].std(), 1, atol=0.02)


def test_scores_of_scalar_biomarkers():
    few = simulate_reference(n_subjects=100, n_vertices=6, seed=8)
    schedule = Schedule(max_steps=100, warm_up=150)
    result = fit(SubjectProgression(), few, guide="normal", schedule=schedule, progress=False)
    # Six noisy biomarkers bound what any method can know of a score.
    assert np.corrcoef(result.posterior(50)["dps"].mean(0), few.truth["dps"])[0, 1] > 0.95
