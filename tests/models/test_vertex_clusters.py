"""The mixture against brute force over all K^L labels, its invariances, and Pyro's own checks."""

import itertools
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from pyro.infer.mcmc.util import TraceEinsumEvaluator
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_normal, norm

from neuropyro.data import Cohort, CohortError, simulate_reference
from neuropyro.guides import make_guide
from neuropyro.inference import Schedule, fit, simulate_prior
from neuropyro.inference.fit import build_guide
from neuropyro.models import VertexClusterMixture
from neuropyro.models.visits import Visits

L, K = 4, 3
SWITCHES = [(False, False, False), (True, False, False), (False, True, False), (True, True, False), (True, True, True)]
SWITCHES = [(*switches, False) for switches in SWITCHES] + [(False, False, False, True), (True, True, True, True)]
NAMES = ["plain", "scatter", "subject effect", "scatter and subject effect", "all with visit effect"]
NAMES += ["vertex effect", "all with vertex effect"]
SCATTER = ("scatter_c", "scatter_log_b", "scatter_a", "power_b")
CLUSTER_SITES = ("pi", "a", "b", "c", "d", "sigma", "rho", "tau", "omega", *SCATTER)
Draw = dict[str, torch.Tensor]


@pytest.fixture(params=SWITCHES, ids=lambda s: NAMES[SWITCHES.index(s)])
def model(request):
    scatter, subject_effect, visit_effect, vertex_effect = request.param
    switches = {"scatter": scatter, "subject_effect": subject_effect, "visit_effect": visit_effect}
    switches |= {"vertex_effect": vertex_effect}
    return VertexClusterMixture(K, standardise=None, **switches)


@pytest.fixture
def double_by_default() -> Iterator[None]:
    """`TraceEnum_ELBO` makes a weight of its own, of the default dtype, and multiplies densities by it."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def cohort(missing: bool = False, **changes) -> Cohort:
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1.5, (6, L))
    if missing:
        values[[0, 2, 2, 3, 5], [1, 0, 3, 2, 0]] = np.nan
    arrays = {
        "values": values,
        "time": np.array([70, 71.5, 64, 65, 66.2, 75]),
        "subject": np.array(["b", "b", "a", "a", "a", "c"]),
    }
    return Cohort(**(arrays | changes))


def prior_draw(model: VertexClusterMixture, visits) -> Draw:
    """One draw of every site but Z and V, from the prior."""
    nodes = poutine.trace(model).get_trace(visits).nodes
    return {
        name: site["value"]
        for name, site in nodes.items()
        if site["type"] == "sample" and not site["is_observed"] and name != "Z" and not _deterministic(site)
    }


def _deterministic(site) -> bool:
    return bool(site["infer"].get("_deterministic")) or type(site["fn"]).__name__ == "_Subsample"


def log_density(model, visits, draw: Draw, with_priors: bool = False) -> float:
    """Log p(V | draw), or log p(V, draw), with Z summed out by Pyro."""
    given = poutine.condition(model, draw)
    if not with_priors:
        given = poutine.block(given, hide=list(draw))
    trace = poutine.trace(poutine.enum(given, first_available_dim=-2)).get_trace(visits)
    evaluator = TraceEinsumEvaluator(trace, has_enumerable_sites=True, max_plate_nesting=1)
    return float(evaluator.log_prob(trace))


def scores_by_hand(draw: Draw, data: Cohort) -> tuple[np.ndarray, np.ndarray]:
    """Scores alpha (t - t0) + beta of the visits, and the number of visits of each subject; by loops."""
    g = {name: value.numpy() for name, value in draw.items()}
    t0 = data.time.mean()
    score = np.zeros(data.n_visits)
    counts = []
    cross = g["correlation"] * g["log_alpha_sd"] * g["beta_sd"]
    covariance = np.array([[g["log_alpha_sd"] ** 2, cross], [cross, g["beta_sd"] ** 2]])
    for i, name in enumerate(data.subjects):
        rows = np.flatnonzero(data.subject == name)
        time = g["time_share"] * (data.time[rows].mean() - t0)  # as far as it counts
        slope = np.array([np.exp(g["log_alpha_mean"]) * time, 1.0])  # of stage by (log alpha, beta), at their means
        variance, shared = slope @ covariance @ slope, covariance[0] @ slope
        stage = g["beta_mean"] + slope[0] + np.sqrt(variance) * g["place"][i, 0]
        log_alpha = g["log_alpha_mean"] + shared / np.sqrt(variance) * g["place"][i, 0]
        log_alpha += np.sqrt(covariance[0, 0] - shared**2 / variance) * g["place"][i, 1]
        score[rows] = np.exp(log_alpha) * (data.time[rows] - data.time[rows].mean()) + stage
        counts.append(len(rows))
    return score, np.array(counts)


def nodes_by_hand(score: np.ndarray, theta: list[float], scatter: list[float]) -> list[tuple]:
    """Weight, mean (visits,) and columns (visits, 4) of scattered courses about each of seven nodes, one by one."""
    d, c, b, a = theta
    found = []
    for angle in (None, 0, 60, 120, 180, 240, 300):
        at = np.zeros(2) if angle is None else 2 * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        ends = []
        for direction in (np.array([1, 0]), np.array([0, 1])):
            for sign in (1, -1):
                z = np.sqrt(0.7) * at + sign * np.sqrt(2 * 0.3) * direction
                power = max(1 + scatter[4] * scatter[2] * z[1], 0.05)  # that of the vertex's b over the cluster's
                speed = np.log(power) / scatter[4] if scatter[4] else 0.0
                ends.append(expit(b * np.exp(speed) * (score - c - scatter[1] * z[0])))
        rise = np.mean(ends, 0)
        slopes = [a * (ends[i] - ends[i + 1]) / (2 * np.sqrt(2)) for i in (0, 2)]
        columns = np.stack([np.full_like(rise, scatter[0]), *slopes, scatter[3] * rise], -1)
        found.append((1 / 2 if angle is None else 1 / 12, d + a * rise, columns))
    return found


def cluster_by_hand(model, draw: Draw, data: Cohort, k: int) -> list[tuple]:
    """Weight, mean (visits,) and covariance (visits, visits) of a vertex of cluster k, node by node."""
    score, counts = scores_by_hand(draw, data)
    theta = [float(draw[name][k]) for name in ("d", "c", "b", "a")]
    scatter = [model.vertex_priors.baseline] if model.scatter else [0.0]
    scatter += [float(draw[name][k]) if model.scatter else 0.0 for name in SCATTER]
    nodes = nodes_by_hand(score, theta, scatter)
    curve = mean_by_hand(nodes)
    shift = np.zeros(len(score))
    if model.subject_effect:
        seen = ~np.isnan(data.values) & (np.nanstd(data.values, 0) > 0)
        known = seen.mean(1) / level_variance_by_hand(model, draw, data, k)
        of_subject = data.subject_index == np.arange(len(counts))[:, None]
        precision = 1 / float(draw["rho"][k]) ** 2 + of_subject @ known
        rise = curve - curve.mean() if model.scatter else curve
        u = (draw["u_scaled"][:, k].numpy() - of_subject @ (known * rise) / np.sqrt(precision)) / np.sqrt(precision)
        shift = u[data.subject_index]
    white = float(draw["sigma"][k]) ** 2 * np.eye(len(score))
    if model.vertex_effect:
        white += float(draw["omega"][k]) ** 2 * (data.subject_index[:, None] == data.subject_index)
    return [(weight, mean + shift, white + columns @ columns.T) for weight, mean, columns in nodes]


def mean_by_hand(nodes: list[tuple]) -> np.ndarray:
    """Mean over nodes, ``(visits,)``."""
    return sum(node[0] * node[1] for node in nodes)


def log_densities_by_hand(model, draw: Draw, data: Cohort) -> np.ndarray:
    """Log of pi_k p(V_l | Z_l = k), (vertices, K), missing values left out of each density."""
    each = np.zeros((data.n_vertices, K))
    for k, v in itertools.product(range(K), range(data.n_vertices)):
        nodes = cluster_by_hand(model, draw, data, k)
        moved = draw["level"][:, k].numpy() - mean_by_hand(nodes) if model.visit_effect else 0.0
        seen = ~np.isnan(data.values[:, v])
        terms = [
            np.log(weight)
            + multivariate_normal.logpdf(data.values[seen, v], (mean + moved)[seen], covariance[np.ix_(seen, seen)])
            for weight, mean, covariance in nodes
        ]
        each[v, k] = np.log(float(draw["pi"][k])) + logsumexp(terms)
    return each


def level_variance_by_hand(model, draw: Draw, data: Cohort, k: int) -> float:
    """Variance of a cluster's level at a visit about its curve."""
    white = float(draw["sigma"][k]) ** 2 * model.n_clusters / data.n_vertices
    return white + (float(draw["tau"][k]) ** 2 if model.visit_effect else 0.0)


def brute_force(model, draw: Draw, data: Cohort) -> float:
    """Log of the sum over all K^L labellings of p(Z) prod_l p(V_l | Z_l)."""
    each = log_densities_by_hand(model, draw, data)
    labellings = itertools.product(range(K), repeat=data.n_vertices)
    return float(logsumexp([sum(each[v, k] for v, k in enumerate(z)) for z in labellings]))


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
@pytest.mark.parametrize("seed", [0, 1])
def test_density_is_the_sum_over_all_labellings(model, missing, seed):
    pyro.set_rng_seed(seed)
    data = cohort(missing)
    visits = model.prepare(data, dtype=torch.float64)
    draw = prior_draw(model, visits)
    assert log_density(model, visits, draw) == pytest.approx(brute_force(model, draw, data), rel=1e-10, abs=0)


def test_pointwise_likelihood_adds_up_to_it_and_assignments_are_its_shares(model):
    data = cohort(missing=True)
    visits = model.prepare(data, dtype=torch.float64)
    draw = prior_draw(model, visits)
    posterior = fixed_posterior(visits, with_scores(model, visits, draw))
    pointwise = model.log_likelihood(posterior)
    assert pointwise.shape == (1, L)
    assert pointwise.sum() == pytest.approx(brute_force(model, draw, data), rel=1e-10)
    each = log_densities_by_hand(model, draw, data)
    shares = np.exp(each - logsumexp(each, 1, keepdims=True))
    np.testing.assert_allclose(model.assignments(posterior), shares, atol=1e-10)


def with_scores(model, visits, draw: Draw) -> Draw:
    """Add the deterministic sites."""
    nodes = poutine.trace(poutine.condition(model, draw)).get_trace(visits).nodes
    return draw | {name: s["value"] for name, s in nodes.items() if s["type"] == "sample" and _deterministic(s)}


def fixed_posterior(visits, *draws: Draw):
    stacked = {name: np.stack([np.asarray(d[name]) for d in draws]) for name in draws[0]}
    return SimpleNamespace(data=visits, posterior=lambda n: stacked, is_point=len(draws) == 1)


def test_a_level_is_normal_about_its_curve():
    model = VertexClusterMixture(K, visit_effect=True, standardise=None)
    data = cohort()
    visits = model.prepare(data, dtype=torch.float64)
    draw = prior_draw(model, visits)
    trace = poutine.trace(poutine.condition(model, draw)).get_trace(visits)
    expected = 0.0
    for k in range(K):
        curve = mean_by_hand(cluster_by_hand(model, draw, data, k))
        sd = np.sqrt(level_variance_by_hand(model, draw, data, k))
        expected += norm.logpdf(draw["level"][:, k].numpy(), curve, sd).sum()
    trace.compute_log_prob(lambda name, site: name == "level")
    assert float(trace.nodes["level"]["log_prob_sum"]) == pytest.approx(expected, rel=1e-10)


def test_a_visit_without_values_says_nothing(model):
    data = cohort(missing=True)
    empty = data.values.copy()
    empty[4] = np.nan
    with_empty = cohort(values=empty)
    visits = model.prepare(with_empty, dtype=torch.float64)
    draw = with_scores(model, visits, prior_draw(model, visits))
    dropped = model.prepare(with_empty.subset(visits=np.arange(6) != 4), dtype=torch.float64)
    draw_dropped = draw | {site: draw[site][[0, 1, 2, 3, 5]] for site in ("dps", "level") if site in draw}
    np.testing.assert_allclose(
        model.log_likelihood(fixed_posterior(visits, draw)),
        model.log_likelihood(fixed_posterior(dropped, draw_dropped)),
        rtol=1e-8,
    )


def test_a_vertex_without_values_says_nothing(model):
    values = cohort().values.copy()
    values[:, 2] = np.nan
    visits = model.prepare(cohort(values=values), dtype=torch.float64)
    posterior = fixed_posterior(visits, with_scores(model, visits, prior_draw(model, visits)))
    assert model.log_likelihood(posterior)[0, 2] == pytest.approx(0, abs=1e-8)
    np.testing.assert_allclose(model.assignments(posterior)[2], posterior.posterior(1)["pi"][0], atol=1e-8)


def test_all_sorts_of_odd_subjects_have_a_finite_density_and_starting_values(model):
    values = cohort().values.copy()
    values[5] = np.nan  # the whole of subject c
    values[:, 1] = 2.0  # a constant vertex
    twice = cohort(values=values, time=np.array([70, 70, 64, 65, 66.2, 75]))  # two scans on one day
    visits = model.prepare(twice, dtype=torch.float64)
    start = model.init_values(visits)
    assert all(torch.isfinite(value).all() for value in start.values())
    assert np.isfinite(log_density(model, visits, start, with_priors=True))


def permuted(draw: Draw, order: list[int], sites: tuple[str, ...], last: tuple[str, ...] = ()) -> Draw:
    moved = {name: value[order] if name in sites else value for name, value in draw.items()}
    return moved | {name: draw[name][..., order] for name in last if name in draw}


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
class TestInvariance:
    def density(self, model, data, draw):
        return log_density(model, model.prepare(data, dtype=torch.float64), draw, with_priors=True)

    def drawn(self, model, data):
        return prior_draw(model, model.prepare(data, dtype=torch.float64))

    def test_to_the_labels_of_clusters(self, model, missing):
        data = cohort(missing)
        draw = self.drawn(model, data)
        moved = permuted(draw, [2, 0, 1], CLUSTER_SITES, last=("u_scaled", "level"))
        assert self.density(model, data, moved) == pytest.approx(self.density(model, data, draw), rel=1e-12)
        swapped = permuted(draw, [2, 0, 1], ("a",))
        assert self.density(model, data, swapped) != pytest.approx(self.density(model, data, draw), rel=1e-6)

    def test_to_the_order_of_rows(self, model, missing):
        data = cohort(missing)
        draw = self.drawn(model, data)
        order = [3, 5, 0, 4, 2, 1]
        shuffled, moved = data.subset(visits=order), permuted(draw, order, ("level",))
        assert self.density(model, shuffled, moved) == pytest.approx(self.density(model, data, draw), rel=1e-12)

    def test_to_the_names_of_subjects(self, model, missing):
        data = cohort(missing)
        draw = self.drawn(model, data)
        renamed = cohort(missing, subject=np.array(["y", "y", "z", "z", "z", "x"]))  # a, b, c become z, y, x
        moved = permuted(draw, [2, 1, 0], ("place", "u_scaled"))
        assert self.density(model, renamed, moved) == pytest.approx(self.density(model, data, draw), rel=1e-12)

    def test_to_the_order_of_vertices(self, model, missing):
        data = cohort(missing)
        draw = self.drawn(model, data)
        shuffled = data.subset(vertices=[2, 0, 3, 1])
        assert self.density(model, shuffled, draw) == pytest.approx(self.density(model, data, draw), rel=1e-12)


def test_identify_changes_the_gauge_and_the_labels_but_not_the_density(model):
    data = cohort(missing=True)
    visits = model.prepare(data, dtype=torch.float64)
    draws = [prior_draw(model, visits) for _ in range(4)]
    raw = fixed_posterior(visits, *[with_scores(model, visits, draw) for draw in draws])
    identified = model.identify({site: np.stack([d[site] for d in draws]) for site in draws[0]}, visits)
    same = SimpleNamespace(data=visits, posterior=lambda n: identified, is_point=False)
    np.testing.assert_allclose(model.log_likelihood(same), model.log_likelihood(raw), rtol=1e-9)
    reference = identified["dps"][:, data.is_reference]
    np.testing.assert_allclose(reference.mean(1), 0, atol=1e-9)
    np.testing.assert_allclose(reference.std(1), 1, rtol=1e-9)
    t = data.time - data.time.mean()
    of_visit = data.subject_index
    np.testing.assert_allclose(
        identified["dps"], identified["alpha"][:, of_visit] * t + identified["beta"][:, of_visit], atol=1e-8
    )
    assert (np.diff(identified["c"].mean(0)) >= 0).all()


def test_identify_makes_clusters_of_relabelled_draws_agree(model):
    visits = model.prepare(cohort(), dtype=torch.float64)
    draw = prior_draw(model, visits)
    orders = [[0, 1, 2], [2, 0, 1], [1, 0, 2]]
    draws = [permuted(draw, order, CLUSTER_SITES, last=("u_scaled", "level")) for order in orders]
    identified = model.identify({site: np.stack([d[site] for d in draws]) for site in draw}, visits)
    for site, array in identified.items():
        np.testing.assert_allclose(array, np.broadcast_to(array[:1], array.shape), atol=1e-9, err_msg=site)


def test_z_is_enumerated_and_only_the_data_are_observed(model):
    visits = model.prepare(cohort(), dtype=torch.float64)
    trace = poutine.trace(poutine.enum(model, first_available_dim=-2)).get_trace(visits)
    z = trace.nodes["Z"]
    assert z["infer"]["enumerate"] == "parallel"
    assert z["value"].shape == (K, 1)
    observed = [
        n for n, s in trace.nodes.items() if s["type"] == "sample" and s["is_observed"] and not _deterministic(s)
    ]
    assert observed == ["V"]
    assert [frame.name for frame in trace.nodes["V"]["cond_indep_stack"]] == ["vertex"]


@cache
def start_with_missing(model: VertexClusterMixture) -> tuple[Visits, Draw]:
    """The cohort with missing values and the model's start on it, which takes seconds to find."""
    visits = model.prepare(cohort(missing=True), dtype=torch.float64)
    return visits, model.init_values(visits)


def guide_at_start(name, model):
    visits, start = start_with_missing(model)
    with pyro.settings.context(module_local_params=True):
        return build_guide(model, visits, name, start), visits


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize("name", ["map", "normal", "structured"])
def test_pyro_accepts_it_with_strict_enumeration(model, name):
    guide, visits = guide_at_start(name, model)
    elbo = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=True)
    loss = elbo.differentiable_loss(model, guide, visits)
    loss.backward()
    assert torch.isfinite(loss)
    assert "Z" not in guide(visits)
    gradients = [p.grad for p in guide.parameters()]
    assert gradients
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)


@pytest.mark.usefixtures("double_by_default")
def test_the_elbo_of_a_point_is_the_joint_density(model):
    visits = model.prepare(cohort(missing=True), dtype=torch.float64)
    draw = prior_draw(model, visits)
    guide = make_guide("map", model, visits, draw)
    loss = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=True).loss(model, guide, visits)
    assert -loss == pytest.approx(log_density(model, visits, draw, with_priors=True), rel=1e-10)


@pytest.mark.usefixtures("double_by_default")
def test_vectorised_particles_of_a_point_give_the_loss_of_one(model):
    visits = model.prepare(cohort(missing=True), dtype=torch.float64)
    guide = make_guide("map", model, visits, prior_draw(model, visits))
    one = TraceEnum_ELBO(max_plate_nesting=1).loss(model, guide, visits)
    four = TraceEnum_ELBO(max_plate_nesting=1, num_particles=4, vectorize_particles=True).loss(model, guide, visits)
    assert four == pytest.approx(one, rel=1e-10)


@pytest.mark.usefixtures("double_by_default")
def test_vectorised_particles_of_a_normal_guide(model):
    guide, visits = guide_at_start("normal", model)
    elbo = TraceEnum_ELBO(
        max_plate_nesting=1, num_particles=4, vectorize_particles=True, strict_enumeration_warning=True
    )
    loss = elbo.differentiable_loss(model, guide, visits)
    loss.backward()
    assert torch.isfinite(loss)


def test_every_site_follows_the_data_in_dtype(model):
    assert torch.get_default_dtype() == torch.float32
    visits = model.prepare(cohort(missing=True), dtype=torch.float64)
    trace = poutine.trace(poutine.enum(model, first_available_dim=-2)).get_trace(visits)
    trace.compute_log_prob()
    samples = {n: s for n, s in trace.nodes.items() if s["type"] == "sample" and type(s["fn"]).__name__ != "_Subsample"}
    kinds = {name: site["value"].dtype for name, site in samples.items() if name != "Z"}
    assert kinds == dict.fromkeys(kinds, torch.float64)
    densities = {name: site["log_prob"].dtype for name, site in samples.items() if not _deterministic(site)}
    assert densities == dict.fromkeys(densities, torch.float64)


def test_every_density_follows_the_data_in_device(model):
    missing = not model.vertex_effect  # meta tensors are never sparse
    visits = model.prepare(cohort(missing), dtype=torch.float64)
    # Meta tensors clash with any tensor made elsewhere; they have no values, which Pyro's checks would need.
    meta = visits.to("meta", None)
    draw = {name: value.to("meta") for name, value in prior_draw(model, visits).items()}
    with pyro.validation_enabled(False):
        given = poutine.condition(model, draw)
        trace = poutine.trace(poutine.enum(given, first_available_dim=-2)).get_trace(meta)
        trace.compute_log_prob()
    samples = {n: s for n, s in trace.nodes.items() if s["type"] == "sample" and type(s["fn"]).__name__ != "_Subsample"}
    devices = {name: {site["value"].device.type, site["log_prob"].device.type} for name, site in samples.items()}
    assert devices == {name: {"meta"} for name in devices}
    assert "dps" in devices


def test_more_clusters_than_varying_vertices_are_refused():
    values = cohort().values.copy()
    values[:, :2] = 1.0
    with pytest.raises(CohortError, match="2 of 4 vertices vary over visits, too few for 3 clusters"):
        VertexClusterMixture(3).prepare(cohort(values=values))


def test_no_clusters_are_refused():
    with pytest.raises(ValueError, match="n_clusters is 0; give 1 or more"):
        VertexClusterMixture(0)


@pytest.mark.parametrize("given", [2.5, 2.0, "2", None])
def test_a_number_of_clusters_is_whole(given):
    with pytest.raises(ValueError, match=f"n_clusters is {given!r}; give 1 or more, a whole number"):
        VertexClusterMixture(given)
    assert VertexClusterMixture(np.int64(2)).n_clusters == 2


def test_shares_follow_the_vertices_and_not_the_units_of_offsets():
    """With as many subjects as vertices, offsets in units of their cluster's share once drew a share to nothing."""
    model, design = VertexClusterMixture(3), simulate_reference(n_subjects=60, n_vertices=200, n_clusters=3, seed=0)
    simulated = simulate_prior(model, design, seed=5)
    result = fit(model, simulated.data, "map", schedule=Schedule(max_steps=100), seed=5, progress=False)
    counts = model.assignments(result, draws=1).mean(0)
    # The mode of Dirichlet(5 + counts); expected counts, since labels are all but certain here.
    mode = (200 * counts + 4) / (200 + 12)
    np.testing.assert_allclose(result.posterior(1)["pi"][0], mode, atol=0.02)
