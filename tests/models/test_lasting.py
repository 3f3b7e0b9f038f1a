"""What lasts at a vertex: variance components of simulated residuals, and the conditional Normal by dense algebra."""

import numpy as np
import pytest
import torch
from scipy.stats import expon

from neuropyro.data import Cohort
from neuropyro.models.course import Course
from neuropyro.models.lasting import Components, by_subject, centred_residuals, components_of, own_deviation
from neuropyro.models.trajectory import Trajectories
from neuropyro.models.visits import prepare_visits

SUBJECTS, VISITS, L = 80, 4, 120


def flat_course(labels, own=None):
    """Two clusters whose curves do not move, so that residuals are the values less their cluster's mean."""
    zero, one = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    return Course(
        theta=Trajectories(a=zero, b=one, c=zero, d=zero),
        scatter=None if own is None else torch.ones(2, 5, dtype=torch.float64),
        sigma=one,
        rho=None,
        spread=None,
        scores=torch.zeros(6, dtype=torch.float64),
        label=torch.as_tensor(labels),
        own=own,
    )


def simulated(missing=0.0):
    """Values with known components: every vertex has its own variances about its cluster's."""
    rng = np.random.default_rng(1)
    labels = np.arange(L) % 2
    lasting = np.where(labels, 0.25, 1.0) * rng.uniform(0.9, 1.1, L)
    passing = np.where(labels, 1.0, 0.5)
    subject = np.repeat(np.arange(SUBJECTS), VISITS)
    values = (np.sqrt(lasting) * rng.standard_normal((SUBJECTS, L)))[subject]
    values = values + np.sqrt(passing) * rng.standard_normal(values.shape)
    values += expon.rvs(scale=3, size=(len(subject), 2), random_state=2)[:, labels]  # what a cluster shares at a visit
    values[rng.random(values.shape) < missing] = np.nan
    time = np.tile(np.arange(VISITS), SUBJECTS)
    visits = prepare_visits(Cohort(values, time, subject), None, dtype=torch.float64)
    return visits, labels, lasting, passing


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_components_of_simulated_residuals_are_found(missing):
    visits, labels, lasting, passing = simulated(missing)
    found = components_of(flat_course(labels), visits, torch.zeros(SUBJECTS * VISITS, dtype=torch.float64))
    for k in range(2):
        # The average over 60 vertices of 80 subjects: two per cent; four of them.
        assert float(found.lasting[labels == k].mean()) == pytest.approx(lasting[labels == k].mean(), rel=0.08)
        assert float(found.passing[labels == k].mean()) == pytest.approx(passing[labels == k].mean(), rel=0.05)
    # A vertex's own variance has an error of some 15 to 35 per cent, and is shrunk.
    assert np.sqrt(np.mean((found.lasting.numpy() / lasting - 1) ** 2)) < 0.3
    assert np.corrcoef(found.lasting, lasting)[0, 1] > 0.9


def test_a_vertex_alone_in_its_cluster_has_nothing_that_lasts():
    visits, _, _, _ = simulated()
    labels = np.r_[1, np.zeros(L - 1, int)]
    found = components_of(flat_course(labels), visits, torch.zeros(SUBJECTS * VISITS, dtype=torch.float64))
    assert float(found.lasting[0]) == 0
    assert float(found.passing[0]) == 1  # the cluster's own sigma


def test_residuals_are_about_the_vertices_own_baseline_and_their_clusters_mean():
    visits, labels, _, _ = simulated(0.2)
    own = torch.zeros(L, 9, dtype=torch.float64)
    own[:, 0] = torch.linspace(-2, 2, L)
    dps = torch.zeros(SUBJECTS * VISITS, dtype=torch.float64)
    left = centred_residuals(flat_course(labels, own), visits.values, visits.observed, dps)
    for k in range(2):
        for n in (0, 5):
            seen = (visits.observed[:, n] > 0).numpy() & (labels == k)
            values = visits.values[:, n].numpy() - own[:, 0].numpy()
            np.testing.assert_allclose(left[seen, n], values[seen] - values[seen].mean(), atol=1e-12)
    assert (left[visits.observed == 0] == 0).all()


def test_it_is_the_conditional_normal_of_dense_algebra():
    components = Components(torch.tensor([0.7, 0.2]).double(), torch.tensor([0.4, 1.1]).double())
    residual = torch.tensor([[0.5, -0.2, 1.0, 0.3], [0.1, 0.0, -0.4, 0.9]], dtype=torch.float64)
    observed = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1]], dtype=torch.float64)
    subject = torch.tensor([0, 0, 0, 1])
    mean, variance = own_deviation(components, *by_subject(residual * observed, observed, subject, 2))
    for vertex in range(2):
        for i in range(2):
            rows = (subject == i) & (observed[vertex] > 0)
            n = int(rows.sum())
            lasts, passes = float(components.lasting[vertex]), float(components.passing[vertex])
            gain = lasts * np.ones(n) @ np.linalg.inv(lasts * np.ones((n, n)) + passes * np.eye(n))
            assert float(mean[vertex, i]) == pytest.approx(gain @ residual[vertex, rows].numpy())
            assert float(variance[vertex, i]) == pytest.approx(lasts - lasts * gain.sum())
