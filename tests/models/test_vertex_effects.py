"""What lasts of subjects at single vertices: against dense normals, loops, and known truths."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from neuropyro.data import simulate_reference
from neuropyro.inference import Schedule, diagnose, fit
from neuropyro.inference.predictive_checks import WITHIN
from neuropyro.models import VertexClusterMixture, VisitNormal
from neuropyro.models.vertex_effects import Lasting, SubjectSums

L, K, R = 6, 2, 3
SUBJECT = torch.tensor([0, 0, 0, 1, 2, 2, 2, 2])
N = len(SUBJECT)
SAME = (SUBJECT[:, None] == SUBJECT).double()
TIGHT = {"rtol": 1e-10, "atol": 1e-10}


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.fixture(params=[False, True], ids=["complete", "missing"])
def data(request):
    if not request.param:
        return draw(L, N), None
    seen = (torch.rand(L, N) < 0.6).double()
    seen[0], seen[1] = 0, 1  # a vertex that was never seen, one that always was
    return draw(L, N) * seen, seen


def law(data, batch, omega=None):
    values, seen = data
    loc, factor, sigma = draw(*batch, N), draw(*batch, N, R), 0.3 + torch.rand(batch, dtype=torch.float64)
    omega = 0.2 + torch.rand(batch, dtype=torch.float64) if omega is None else torch.full(batch, omega).double()
    lasting = Lasting(omega, sigma, SubjectSums.of(values, seen, SUBJECT))
    return VisitNormal(loc, sigma, factor, seen, lasting=lasting)


def dense(one, values, seen):
    """Log densities ``(K, L)``, vertex by vertex, from the visits that were seen alone."""
    shape = torch.broadcast_shapes(one.scale.shape, (L,))
    loc, factor = one.loc.expand(*shape, N), one.factor.expand(*shape, N, R)
    sigma, omega = one.scale.expand(shape), one.lasting.omega.expand(shape)
    found = torch.zeros(shape, dtype=torch.float64)
    for at in np.ndindex(*shape):
        keep = torch.ones(N, dtype=torch.bool) if seen is None else seen[at[-1]] > 0
        covariance = factor[at] @ factor[at].mT + sigma[at] ** 2 * torch.eye(N).double() + omega[at] ** 2 * SAME
        if keep.any():
            one_row = MultivariateNormal(loc[at][keep], covariance[keep][:, keep])
            found[at] = one_row.log_prob(values[at[-1]][keep])
    return found


@pytest.mark.parametrize("batch", [(K, 1), (L,), (2, K, 1)], ids=["shared curves", "own curves", "particles"])
def test_the_density_is_that_of_dense_normals(data, batch):
    one = law(data, batch)
    torch.testing.assert_close(one.log_prob(data[0]), dense(one, *data), **TIGHT)


def test_without_any_it_is_the_white_one(data):
    one = law(data, (K, 1), omega=0.0)
    white = VisitNormal(one.loc, one.scale, one.factor, data[1])
    torch.testing.assert_close(one.log_prob(data[0]), white.log_prob(data[0]), **TIGHT)


def test_gradients_are_those_of_dense_normals(data):
    one = law(data, (K, 1))
    free = [one.loc, one.scale, one.factor, one.lasting.omega]
    for tensor in free:
        tensor.requires_grad_()
    ours = torch.autograd.grad(one.log_prob(data[0]).sum(), free)
    theirs = torch.autograd.grad(dense(one, *data).sum(), free)
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_sums_are_of_the_visits_that_were_seen(data):
    values, seen = data
    sums = SubjectSums.of(values, seen, SUBJECT)
    table, mask = sums.sums.to_dense(), torch.ones(L, N) if seen is None else seen
    has = torch.ones(L, 3) if sums.seen is None else sums.seen.to_dense()
    for vertex in range(L):
        own = {}  # by the visits that a sum is over
        for place in has[vertex].nonzero().ravel():
            own[tuple(sums.member[place].nonzero().ravel().tolist())] = float(table[vertex, place])
        expected = {}
        for i in range(3):
            at = tuple(n for n in range(N) if SUBJECT[n] == i and mask[vertex, n])
            if at:
                expected[at] = float(values[vertex, list(at)].sum())
        assert own == pytest.approx(expected)


def test_those_of_some_vertices_and_of_another_precision(data):
    values, seen = data
    some = torch.tensor([4, 1])
    part = SubjectSums.of(values, seen, SUBJECT).of_vertices(some).to(None, torch.float32)
    assert part.sums.dtype == part.member.dtype == torch.float32
    whole = SubjectSums.of(values, seen, SUBJECT).sums.to_dense()[some].float()
    torch.testing.assert_close(part.sums.to_dense(), whole)


def test_draws_have_the_covariance():
    one = law((torch.zeros(L, N).double(), None), (1,))
    n = 20_000
    drawn = one.sample((n,)).squeeze(1)
    expected = one.factor[0] @ one.factor[0].mT + one.scale**2 * torch.eye(N).double() + one.lasting.omega**2 * SAME
    sd = expected.diagonal().sqrt()
    assert ((torch.cov(drawn.T) - expected).abs() < 6 * torch.outer(sd, sd) / n**0.5).all()
    assert ((drawn.mean(0) - one.loc[0]).abs() < 5 * sd / n**0.5).all()


def test_people_who_differ_everywhere():
    """With white residuals alone, what is a subject's own at each vertex is taken for progression, and is missed."""
    cohort = simulate_reference(n_subjects=25, n_vertices=60, n_clusters=2, seed=2)
    rng, sd = np.random.default_rng(0), cohort.values.std()
    values = cohort.values + sd * rng.standard_normal((cohort.n_subjects, cohort.n_vertices))[cohort.subject_index]
    values[rng.random(values.shape) < 0.2] = np.nan
    schedule = Schedule(max_steps=80, warm_up=80)
    correlation, predicts = {}, {}
    for has in (False, True):
        model = VertexClusterMixture(2, vertex_effect=has)
        result = fit(model, replace(cohort, values=values), "map", schedule=schedule, seed=0, progress=False)
        correlation[has] = np.corrcoef(result.posterior(1)["dps"][0], cohort.truth["dps"])[0, 1]
        predicts[has] = diagnose(result, 10, 100, [WITHIN]).findings[3]
    assert correlation[False] < 0.8
    assert correlation[True] > 0.88
    omega = result.posterior(1)["omega"][0] * float(result.data.scale.mean())
    assert omega == pytest.approx(np.full(2, sd), rel=0.1)  # 1,500 effects: their sd is known to 2 %
    assert (predicts[False].answer, predicts[True].answer) == ("no", "yes")
    assert "--vertex-effect" in predicts[False].advice


@pytest.mark.parametrize("guide", ["laplace", "normal", "structured"])
def test_guides_bear_missing_values(guide):
    """Whose sums are sparse."""
    cohort = simulate_reference(n_subjects=8, n_vertices=12, n_clusters=2, seed=2)
    values = np.array(cohort.values)
    values[np.random.default_rng(0).random(values.shape) < 0.2] = np.nan
    model, schedule = VertexClusterMixture(2, vertex_effect=True), Schedule(max_steps=20, warm_up=20)
    result = fit(model, replace(cohort, values=values), guide, schedule=schedule, progress=False)
    assert abs(np.corrcoef(result.posterior(20)["dps"].mean(0), cohort.truth["dps"])[0, 1]) > 0.9
