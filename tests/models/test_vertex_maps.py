"""Maps of vertices' own trajectories: summaries of draws by hand, and recovery of a simulation's truth."""

import numpy as np
import pytest
import torch

from neuropyro.data import Cohort, simulate_reference
from neuropyro.inference import Schedule, fit
from neuropyro.models import VertexClusterMixture
from neuropyro.models.course import Course
from neuropyro.models.trajectory import Trajectories
from neuropyro.models.vertex_maps import maps_of_vertices
from neuropyro.models.visits import prepare_visits


def course(seed, labels):
    rng = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    falls = torch.tensor([99.0, 0.0])  # of the second cluster, neither
    theta = Trajectories(a=drawn(2) - falls, b=drawn(2).exp(), c=drawn(2), d=drawn(2))
    return Course(
        theta, drawn(2, 5).abs(), drawn(2).abs(), None, None, drawn(5), torch.as_tensor(labels), drawn(len(labels), 9)
    )


def test_they_are_summaries_of_each_vertexs_own_trajectory():
    values = np.random.default_rng(0).normal(2.5, 0.3, (6, 3))
    values[:, 2] = 2.0  # never varies
    visits = prepare_visits(Cohort(values, np.arange(6), [0, 0, 0, 1, 1, 1]), "all", dtype=torch.float64)
    courses = [course(seed, [0, 1, seed % 2]) for seed in range(9)]
    share = np.array([[1.0, 0.0], [0.5, 0.5], [0.25, 0.75]])
    maps = maps_of_vertices(courses, visits, share, level=0.8)
    for v in range(2):
        by_hand = {name: [] for name in maps.median}
        for one in courses:
            k = int(one.label[v])
            e, (*sds, power) = one.own[v, :4].numpy(), one.scatter[k].numpy()
            speed = np.log(max(1 + power * sds[2] * e[2], 0.05)) / power
            e = e * sds
            a, b, c, d = (float(x[k]) for x in one.theta)
            d, c, b, a = d + e[0], c + e[1], b * np.exp(speed), a + e[3]
            location, scale, alpha = float(visits.location[v]), float(visits.scale[v]), float(one.scores[0].exp())
            s = np.linspace(c - 1e-5, c + 1e-5, 2)
            slope = np.diff(scale * a / (1 + np.exp(-b * (s - c))))[0] / 2e-5
            made = {"baseline": location + scale * d, "change": scale * a, "onset": c, "years": c / alpha}
            for name, value in (made | {"speed": slope * alpha}).items():
                by_hand[name].append(value)
        low, high = np.quantile(by_hand["change"], [0.1, 0.9])
        assert (low * high < 0) == (v == 1)
        for name, numbers in by_hand.items():
            if v == 1 and name in ("onset", "years"):  # of what may not change at all
                assert np.isnan([maps.median[name][v], maps.lower[name][v], maps.upper[name][v]]).all()
                continue
            assert maps.median[name][v] == pytest.approx(np.median(numbers), rel=1e-6), name
            ends = np.quantile(numbers, [0.1, 0.9])
            assert [maps.lower[name][v], maps.upper[name][v]] == pytest.approx(ends.tolist(), rel=1e-6), name
    assert all(np.isnan(maps.median[name][2]) for name in maps.median)
    assert maps.entropy == pytest.approx([0, np.log(2), -0.25 * np.log(0.25) - 0.75 * np.log(0.75)])
    names = [name for name, _ in maps.named()]
    assert names[:3] == ["baseline", "baseline 10%", "baseline 90%"]
    assert names[-1] == "entropy of the cluster"


def test_a_point_leaves_ends_without_width_empty():
    cohort = simulate_reference(n_subjects=6, n_vertices=4, n_clusters=2, seed=0)
    short = Schedule(max_steps=2, warm_up=0, window=2)
    for scatter in (False, True):
        model = VertexClusterMixture(2, labels=(0, 0, 1, 1), scatter=scatter)
        maps = model.vertex_maps(fit(model, cohort, "map", schedule=short, progress=False), draws=9)
        for name in maps.median:
            assert np.isfinite(maps.median[name]).all()
            assert np.isfinite(maps.lower[name]).tolist() == np.isfinite(maps.upper[name]).tolist() == [scatter] * 4
    model = VertexClusterMixture(2, labels=(0, 0, 1, 1), scatter=False)
    maps = model.vertex_maps(fit(model, cohort, "normal", schedule=short, progress=False), draws=9)
    assert all((maps.lower[name] < maps.upper[name]).all() for name in maps.median)


@pytest.mark.slow
def test_a_vertexs_onset_is_nearer_to_its_own_than_its_clusters_is():
    cohort = simulate_reference(n_subjects=60, n_vertices=100, n_clusters=2, seed=0)
    cohort = cohort.subset(vertices=cohort.truth["vertex_b"] > 0)  # one has b = -.01: it has no course at all
    model = VertexClusterMixture(2)
    result = fit(model, cohort, "map", progress=False)
    maps = model.vertex_maps(result, draws=400)  # by fifty draws the ends of intervals are off by .3 sds
    true = np.asarray(cohort.truth["vertex_c"])
    shared = model.assignments(result) @ result.posterior(1)["c"][0]
    # The gauge is estimated: a common shift and scale are no error of a vertex.
    errors = [np.std(found - true) for found in (maps.median["onset"], shared)]
    assert errors[0] < 0.6 * errors[1]
    inside = (maps.lower["onset"] <= true) & (true <= maps.upper["onset"])
    assert inside.mean() > 0.6
