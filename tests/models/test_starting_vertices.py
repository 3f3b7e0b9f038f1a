"""Starts improved by what vertices say, against dense normal densities and known truths."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from neuropyro.data import simulate_reference
from neuropyro.inference import cluster_agreement, simulate_prior
from neuropyro.models import VertexClusterMixture
from neuropyro.models.deterministic import with_deterministic
from neuropyro.models.starting_courses import Courses
from neuropyro.models.starting_descent import stacked
from neuropyro.models.starting_labels import label_vertices
from neuropyro.models.starting_values import group_and_start
from neuropyro.models.starting_vertices import _Clusters, _Vertices

N_CLUSTERS = 2


@pytest.fixture(scope="module", params=[False, True], ids=["", "vertex effects"])
def small(request):
    visits = VertexClusterMixture(N_CLUSTERS, vertex_effect=request.param).prepare(
        simulate_reference(10, 25, N_CLUSTERS, seed=1), dtype=torch.float64
    )
    curves, starts = group_and_start(visits, N_CLUSTERS, np.random.default_rng(0), 0.2)
    vertices = _Vertices(visits, curves)
    clusters = _Clusters(visits, curves, vertices)
    clusters.see(torch.nn.functional.one_hot(vertices.label, N_CLUSTERS).double()[None])
    return visits, vertices, clusters, stacked([clusters.of(starts[0])])


def dense(clusters, values):
    """Return the clusters' mean curves with offsets, and their covariances."""
    curves, columns = clusters._scattered(values, clusters._placed(values, values["place"]).scores)
    mean = curves.mean + clusters._offsets(values, curves)[..., clusters.subject]
    variance = (2 * values["log_sigma"]).exp()[0]
    covariance = columns[0] @ columns[0].mT + variance[:, None, None] * torch.eye(columns.shape[-2]).double()
    if "log_omega" in values:
        same = (clusters.subject[:, None] == clusters.subject).double()
        covariance = covariance + (2 * values["log_omega"]).exp()[0][:, None, None] * same
    return mean[0].numpy(), covariance.numpy()


def test_labels_probabilities_are_those_of_dense_normals(small):
    visits, _, clusters, values = small
    mean, covariance = dense(clusters, values)
    each = np.stack(
        [multivariate_normal.logpdf(visits.values.numpy(), *law) for law in zip(mean, covariance, strict=True)], -1
    )
    joint = each + clusters.log_share()[0].numpy()
    expected = np.exp(joint - np.logaddexp.reduce(joint, 1)[:, None])
    np.testing.assert_allclose(clusters.shares(values)[0], expected, atol=1e-6)


def test_departures_have_the_density_of_dense_normals(small):
    visits, vertices, clusters, values = small
    moved = values | {"log_scatter": values["log_scatter"] + 0.3, "log_sigma": values["log_sigma"] - 0.2}

    def by_hand(v):
        _, covariance = dense(clusters, v)
        total = 0.0
        for k, one in enumerate(covariance):
            own = visits.values[vertices.label == k].numpy()
            left = own - own.mean(0)
            total += (len(own) - 1) * np.linalg.slogdet(one)[1] + (left @ np.linalg.inv(one) * left).sum()
        return 0.5 * total

    def ours(v):
        _, columns = clusters._scattered(v, clusters._placed(v, v["place"]).scores)
        return float(clusters._of_vertices(v, columns))

    assert ours(moved) - ours(values) == pytest.approx(by_hand(moved) - by_hand(values), rel=1e-6)


def test_volume_is_that_of_the_peak_over_places():
    visits = VertexClusterMixture(N_CLUSTERS).prepare(
        simulate_reference(10, 25, N_CLUSTERS, seed=1), dtype=torch.float64
    )
    curves, starts = group_and_start(visits, N_CLUSTERS, np.random.default_rng(0), 0.2)
    courses = Courses(visits, curves)
    values = {name: x.clone() for name, x in stacked([courses.of(starts[0])]).items()}
    values["place"].requires_grad_()
    optimiser = torch.optim.LBFGS([values["place"]], max_iter=200, line_search_fn="strong_wolfe")

    def misfit():
        optimiser.zero_grad()
        total = courses.misfit(values, values["place"]).sum()
        total.backward()
        return total

    optimiser.step(misfit)
    peak = {name: x.detach() for name, x in values.items()}
    steps = torch.stack(torch.meshgrid(*[torch.linspace(-2.5, 2.5, 201).double()] * 2, indexing="ij"), -1).reshape(
        -1, 2
    )
    everywhere = {name: x.expand(len(steps), *x.shape[1:]) for name, x in peak.items()}
    each = courses.misfit(everywhere, peak["place"] + steps[:, None])
    area = (5 / 200) ** 2 / (2 * np.pi)
    integral = -(torch.logsumexp(-each, 0) + np.log(area)).sum()
    # Gauss and Newton's curvature of ten subjects; a subject's part is off by a few hundredths of a nat.
    assert float(courses.loss(peak)[0] - courses._priors(peak)[0]) == pytest.approx(float(integral), abs=0.1 * 10)
    assert float(courses.misfit(peak, peak["place"]).sum()) < float(integral) - 5  # the peak alone is no substitute


def of_the_prior(*words):
    """Return a cohort of the model's own prior, 60 subjects x 4 visits who differ lastingly, without diagnoses."""
    model = VertexClusterMixture(3)
    design = simulate_reference(n_subjects=60, n_vertices=200, n_clusters=3, seed=0)
    first = np.array([design.time[design.subject == s].min() for s in design.subject])
    design = replace(design, time=design.time - first, diagnosis=None)
    return model, simulate_prior(model, design, int(np.random.SeedSequence(words).generate_state(1)[0]))


@pytest.mark.parametrize("seed", [27, 36])
def test_labels_where_groups_of_equal_widths_would_mix_clusters(seed):
    _, simulated = of_the_prior(seed, 0)
    labels = label_vertices(simulated.data, 3, np.random.default_rng(0))
    assert cluster_agreement(np.eye(3)[labels], simulated.truth["Z"].ravel()) >= 0.97


def test_labels_where_clusters_differ_by_their_noise():
    """Courses a sixth of an sd apart; the values of one cluster are three times as noisy."""
    design = simulate_reference(60, 200, 2, interval=0.3, seed=0)
    rng, truth = np.random.default_rng(0), design.truth["Z"]
    noise = 1.5 * rng.normal(size=design.values.shape) * (truth == 1)
    visits = VertexClusterMixture(2).prepare(replace(design, values=(design.values + noise).astype(np.float32)))
    labels = label_vertices(visits, 2, np.random.default_rng(0))
    assert cluster_agreement(np.eye(2)[labels], truth) >= 0.97


@pytest.mark.parametrize("words", [(2, 0), (27, 0), (0, 30)])
def test_scores_where_subjects_differ_lastingly(words):
    """By mean courses alone .85 and .70; in the last a sixth of the vertices tells of the course."""
    model, simulated = of_the_prior(*words)
    start = model.init_values(simulated.data)
    drawn = {site: np.asarray(x)[None] for site, x in start.items()}
    scores = with_deterministic(model._sample_mixture, drawn, simulated.data, like=simulated.data.values)["dps"][0]
    assert np.corrcoef(scores, simulated.truth["dps"].ravel())[0, 1] >= 0.95


def test_speeds_that_differ_much_start_so():
    """Their logarithms have an sd of 1.56, where the prior's middle is .37."""
    model, simulated = of_the_prior(0, 43)
    assert 1.0 < float(model.init_values(simulated.data)["log_alpha_sd"]) < 2.2


def test_labels_of_maps_almost_without_noise():
    """Groups far narrower than their distance: no failure, and each has its label."""
    cohort = simulate_reference(12, 30, 2, interval=6, noise_sd=1e-4, visits=3, seed=2)
    visits = VertexClusterMixture(2).prepare(cohort)
    labels = label_vertices(visits, 2, np.random.default_rng(0))
    assert cluster_agreement(np.eye(2)[labels], cohort.truth["Z"]) >= 0.9
