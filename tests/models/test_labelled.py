"""Known labels: the model with Z observed, whose sum over all labellings is the enumerated model."""

import itertools
from types import SimpleNamespace

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from pyro.infer.mcmc.util import TraceEinsumEvaluator
from scipy.special import logsumexp

from neuropyro.data import Cohort, CohortError, simulate_reference
from neuropyro.guides import make_guide
from neuropyro.inference import Schedule, fit, load_fit, simulate_prior
from neuropyro.models import SubjectProgression, VertexClusterMixture

L, K = 4, 2
LABELS = (1, 0, 1, 1)


def cohort(missing=True):
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1.5, (6, L))
    if missing:
        values[[0, 2, 3], [1, 0, 2]] = np.nan
    return Cohort(values, [70, 71.5, 64, 65, 66.2, 75], ["b", "b", "a", "a", "a", "c"])


def prior_draw(model, visits):
    nodes = poutine.trace(model).get_trace(visits).nodes
    return {
        name: site["value"]
        for name, site in nodes.items()
        if site["type"] == "sample"
        and not site["is_observed"]
        and name != "Z"
        and "_deterministic" not in site["infer"]
        if type(site["fn"]).__name__ != "_Subsample"
    }


def log_density(model, visits, draw):
    """Log p(V, Z | draw), Z summed out where it is not observed."""
    given = poutine.block(poutine.condition(model, draw), hide=list(draw))
    trace = poutine.trace(poutine.enum(given, first_available_dim=-2)).get_trace(visits)
    return float(TraceEinsumEvaluator(trace, True, max_plate_nesting=1).log_prob(trace))


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
@pytest.mark.parametrize("visit_effect", [False, True], ids=["", "visits and vertices"])
def test_the_sum_over_all_labellings_is_the_enumerated_model(missing, visit_effect):
    switches = {"visit_effect": visit_effect, "vertex_effect": visit_effect, "standardise": None}
    enumerated = VertexClusterMixture(K, **switches)
    data = cohort(missing)
    visits = enumerated.prepare(data, dtype=torch.float64)
    draw = prior_draw(enumerated, visits)
    each = []
    for labels in itertools.product(range(K), repeat=L):
        if len(set(labels)) == K:
            model = VertexClusterMixture(K, labels=labels, **switches)
            each.append(log_density(model, model.prepare(data, dtype=torch.float64), draw))
    pointwise = log_pointwise(enumerated, visits, draw)
    uniform = [pointwise[:, k].sum() for k in range(K)]  # labellings without a vertex of some cluster are refused
    assert logsumexp(each + uniform) == pytest.approx(log_density(enumerated, visits, draw), rel=1e-10)


def log_pointwise(model, visits, draw):
    """Log p(V_l, Z_l = k) by the enumerated model."""
    given = poutine.trace(poutine.condition(model, draw)).get_trace(visits).nodes
    values = {name: site["value"] for name, site in given.items() if site["type"] == "sample" and name != "Z"}
    posterior = {name: value.numpy()[None] for name, value in values.items() if name not in ("V", "subject", "vertex")}
    result = SimpleNamespace(data=visits, posterior=lambda _: posterior, is_point=True)
    total, share = model.log_likelihood(result)[0], model.assignments(result)
    return total[:, None] + np.log(share)


def test_every_biomarker_a_cluster_of_its_own_is_the_model_of_biomarkers():
    plain = {"subject_effect": False, "standardise": None}
    clusters = VertexClusterMixture(L, scatter=False, labels=range(L), **plain)
    biomarkers = SubjectProgression(**plain)
    data = cohort()
    visits = clusters.prepare(data, dtype=torch.float64)
    draw = prior_draw(clusters, visits)
    of_labels = float(draw["pi"].log().sum())
    own = {site: value for site, value in draw.items() if site != "pi"}
    densities = (
        log_density(clusters, visits, draw),
        log_density(biomarkers, biomarkers.prepare(data, dtype=torch.float64), own),
    )
    assert densities[0] - of_labels == pytest.approx(densities[1], rel=1e-10)


def test_scales_of_biomarkers_of_their_own_are_not_shrunk_towards_each_other():
    data = simulate_reference(n_subjects=20, n_vertices=L, n_clusters=2, seed=0)
    own, regions = (VertexClusterMixture(k, labels=labels) for k, labels in ((L, range(L)), (K, LABELS)))
    torch.testing.assert_close(own.prepare(data).scale, SubjectProgression().prepare(data).scale)
    assert (regions.prepare(data).scale != own.prepare(data).scale).any()


def test_an_atlas_is_fitted_kept_and_asked():
    labels = np.arange(30) % 3
    data = simulate_reference(n_subjects=20, n_vertices=30, n_clusters=3, seed=1, labels=(labels + 1) % 3)
    model = VertexClusterMixture(3, labels=labels)
    result = fit(model, data, "map", schedule=Schedule(max_steps=150), progress=False)
    np.testing.assert_array_equal(model.assignments(result), np.eye(3)[labels])
    # Regions keep their numbers, though the last is the first to fall.
    onsets = result.posterior(1)["c"][0]
    assert onsets[2] < onsets[0] < onsets[1]
    dps = result.posterior(1)["dps"][0]
    assert np.corrcoef(dps, np.asarray(data.truth["dps"]))[0, 1] > 0.95  # thirty vertices in much noise
    pi = result.posterior(1)["pi"][0]
    np.testing.assert_allclose(pi, 1 / 3, atol=0.02)
    assert model.log_likelihood(result).shape == (1, 30)
    assert np.isfinite(model.subject_log_likelihood(result)).all()
    low, high = model.personalize(result, data.subset(subjects=data.subjects[:3]), draws=100).interval("dps", 0.98)
    assert ((low < dps[:12]) & (dps[:12] < high)).all()
    (replicate,) = list(model.replicates(result, 1))
    assert replicate["V"].shape == (30, 80)


def test_a_saved_fit_has_its_labels(tmp_path):
    data = simulate_reference(n_subjects=8, n_vertices=6, n_clusters=2, seed=1)
    model = VertexClusterMixture(2, labels=np.array([0, 1, 0, 1, 1, 0]))
    result = fit(model, data, "map", schedule=Schedule(max_steps=2), progress=False)
    result.save(tmp_path)
    assert load_fit(tmp_path, data).model == model


def test_simulated_values_lie_about_their_own_clusters_curve():
    data = simulate_reference(n_subjects=20, n_vertices=200, n_clusters=2, seed=0)
    labels = np.arange(200) % 2
    model = VertexClusterMixture(2, labels=labels, scatter=False, subject_effect=False, standardise=None)
    simulated = simulate_prior(model, data, seed=0, dtype=torch.float64)
    t = simulated.truth
    curve = t["d"][:, None] + t["a"][:, None] / (1 + np.exp(-t["b"][:, None] * (t["dps"] - t["c"][:, None])))
    for k in range(2):
        residual = simulated.data.values.numpy()[labels == k] - curve[k]
        assert abs(residual.mean(0)).max() < 5 * t["sigma"][k] / 10  # five standard errors of 100 vertices
        assert residual.std() == pytest.approx(t["sigma"][k], rel=0.05)


def test_particles_and_one_draw_give_the_same_loss():
    model = VertexClusterMixture(K, labels=LABELS, standardise=None)
    visits = model.prepare(cohort(), dtype=torch.float64)
    torch.set_default_dtype(torch.float64)
    try:
        with pyro.settings.context(module_local_params=True):
            guide = make_guide("map", model, visits, prior_draw(model, visits))
            one = Trace_ELBO(max_plate_nesting=1).loss(model, guide, visits)
            four = Trace_ELBO(max_plate_nesting=1, num_particles=4, vectorize_particles=True).loss(model, guide, visits)
    finally:
        torch.set_default_dtype(torch.float32)
    assert four == pytest.approx(one, rel=1e-10)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, 1.0], "a whole number for each vertex, not float64"),
        ([0, 2], "labels: 2 is there, where 2 clusters have 0 to 1"),
        ([-1, 0, 1], "labels: -1 is there, where 2 clusters have 0 to 1"),
        ([0, 0, 0], "labels: no vertex is of cluster 1"),
    ],
)
def test_labels_are_checked(labels, message):
    with pytest.raises(ValueError, match=message):
        VertexClusterMixture(2, labels=labels)


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="labels and spatial"):
        VertexClusterMixture(2, labels=LABELS, spatial="potts")
    with pytest.raises(CohortError, match="labels: 3 labels for 4 vertices"):
        VertexClusterMixture(2, labels=LABELS[:3]).prepare(cohort())
    values = cohort().values.copy()
    values[:, 1] = 2.0
    data = Cohort(values, cohort().time, cohort().subject)
    with pytest.raises(CohortError, match="values: no vertex of cluster 0 varies"):
        VertexClusterMixture(2, labels=LABELS).prepare(data)
