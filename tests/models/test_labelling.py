"""Draws whose clusters were shuffled are put back into one order."""

import itertools

import numpy as np
import pytest

from neuropyro.models.labelling import align_labels

K, N, VERTICES = 3, 30, 4
AXES = {"a": 1, "b": 1, "c": 1, "d": 1, "sigma": 1, "pi": 1, "u": 2}


def draws_in_one_order(n_draws: int = 12, jitter: float = 0.05) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    centre = {"a": [-2.0, -1.0, 1.5], "b": [1.5, 1.0, 2.0], "c": [-0.5, 0.6, 1.8], "d": [0.0, 0.3, -0.2]}
    clusters = {k: np.array(v) + jitter * rng.normal(size=(n_draws, K)) for k, v in centre.items()}
    others = {
        "pi": np.array([0.5, 0.3, 0.2]) + 0.01 * rng.normal(size=(n_draws, K)),
        "u": np.arange(K) + 0.1 * rng.normal(size=(n_draws, 5, K)),
        "dps": np.sort(rng.normal(0.5, 1.5, (n_draws, N)), 1),
        "beta_mean": rng.normal(size=n_draws),
    }
    return clusters | others


def shuffled(draws: dict[str, np.ndarray], orders: list[tuple[int, ...]]) -> dict[str, np.ndarray]:
    moved = {name: x.copy() for name, x in draws.items()}
    for s, order in enumerate(orders):
        for name in AXES.keys() & draws.keys():
            moved[name][s] = draws[name][s][..., list(order)]
    return moved


def test_permuted_draws_are_put_back():
    draws = draws_in_one_order()
    orders = list(itertools.permutations(range(K))) * 2
    aligned = align_labels(shuffled(draws, orders), AXES)
    for name, array in draws.items():
        np.testing.assert_array_equal(aligned[name], array, err_msg=name)


def test_clusters_come_in_the_order_of_their_mean_onset():
    draws = draws_in_one_order()
    aligned = align_labels(shuffled(draws, [(2, 0, 1)] * 12), AXES)
    assert (np.diff(aligned["c"].mean(0)) > 0).all()
    np.testing.assert_array_equal(aligned["u"], draws["u"])


def test_one_draw_is_sorted():
    draws = {name: x[:1] for name, x in draws_in_one_order().items()}
    aligned = align_labels(shuffled(draws, [(1, 2, 0)]), AXES)
    np.testing.assert_array_equal(aligned["c"], draws["c"])


def test_clusters_with_crossing_onsets_are_matched_by_their_curves():
    """Onsets overlap between draws, so that sorting each draw by itself would mix the clusters up."""
    draws = draws_in_one_order()
    rng = np.random.default_rng(5)
    draws["c"] = 0.5 + 0.3 * rng.normal(size=draws["c"].shape)
    assert (np.argsort(draws["c"], 1) != np.argsort(draws["c"][0])).any()
    orders = list(itertools.permutations(range(K))) * 2
    aligned = align_labels(shuffled(draws, orders), AXES)
    final = np.argsort(draws["c"].mean(0), kind="stable")
    np.testing.assert_array_equal(aligned["a"], draws["a"][:, final])
    np.testing.assert_array_equal(aligned["c"], draws["c"][:, final])


def test_curves_alone_decide_so_that_any_shared_reordering_gives_one_result():
    draws = draws_in_one_order()
    results = [align_labels(shuffled(draws, [order] * 12), AXES) for order in itertools.permutations(range(K))]
    for result in results[1:]:
        np.testing.assert_array_equal(result["pi"], results[0]["pi"])


def test_sites_without_clusters_and_one_cluster_pass_through():
    draws = draws_in_one_order()
    aligned = align_labels(draws, AXES)
    assert aligned["beta_mean"] is draws["beta_mean"]
    assert aligned["dps"] is draws["dps"]
    one = {name: (x[..., :1] if name in AXES else x) for name, x in draws.items()}
    np.testing.assert_array_equal(align_labels(one, AXES)["a"], one["a"])


def alike(jitter: float) -> dict[str, np.ndarray]:
    """Draws whose first two clusters have one curve, but for jitter."""
    draws, rng = draws_in_one_order(jitter=0.05), np.random.default_rng(6)
    for name in "abcd":
        draws[name][:, 1] = draws[name][:, 0].mean() + jitter * rng.normal(size=12)
    draws["c"][:, 1] += 0.02 - (draws["c"][:, 1] - draws["c"][:, 0]).mean()  # so that their order is known
    return draws


@pytest.mark.parametrize(
    ("jitter", "sigma", "pi"), [(0.1, [0.3, 0.9, 0.5], [0.5, 0.3, 0.2]), (0.0, [0.5, 0.5, 0.5], [0.02, 0.9, 0.08])]
)
def test_clusters_of_like_curves_are_told_apart_by_noise_and_by_share(jitter, sigma, pi):
    rng = np.random.default_rng(7)
    draws = alike(jitter)
    draws["sigma"] = np.array(sigma) * np.exp(0.001 * rng.normal(size=(12, K)))
    draws["pi"] = np.array(pi) * np.exp(0.05 * rng.normal(size=(12, K)))
    aligned = align_labels(shuffled(draws, list(itertools.permutations(range(K))) * 2), AXES)
    final = np.argsort(draws["c"].mean(0), kind="stable")
    np.testing.assert_array_equal(aligned["sigma"], draws["sigma"][:, final])
    np.testing.assert_array_equal(aligned["pi"], draws["pi"][:, final])


def test_draws_of_one_labelling_stay_as_they_are():
    """As from a variational guide: curves overlap from draw to draw, noise is known to a fiftieth."""
    draws, rng = alike(0.0), np.random.default_rng(8)
    draws = {name: np.tile(x, (10,) + (1,) * (x.ndim - 1)) for name, x in draws.items()}
    for name in "abcd":
        draws[name] = draws[name] + 0.4 * rng.normal(size=draws[name].shape)
    draws["sigma"] = np.array([1.0, 1.2, 1.1]) * np.exp(0.02 * rng.normal(size=(120, K)))
    draws["pi"] = np.array([0.5, 0.3, 0.2]) * np.exp(0.2 * rng.normal(size=(120, K)))
    final = np.argsort(draws["c"].mean(0), kind="stable")
    np.testing.assert_array_equal(align_labels(draws, AXES)["sigma"], draws["sigma"][:, final])


def test_a_level_that_is_hardly_known_moves_no_label():
    """Few biomarkers of a cluster, each with a baseline of its own: the cluster rises or falls, wherever it is."""
    rng, n = np.random.default_rng(9), 60
    draws = {
        "a": np.array([5.0, -3.5]) + 0.4 * rng.normal(size=(n, 2)),
        "b": np.array([1.2, 1.6]) + 0.2 * rng.normal(size=(n, 2)),
        "c": np.array([2.2, 2.4]) + 0.3 * rng.normal(size=(n, 2)),
        "d": 2.0 * rng.normal(size=(n, 2)),
        "dps": np.sort(rng.normal(1.5, 1.5, (n, N)), 1),
    }
    final = np.argsort(draws["c"].mean(0), kind="stable")
    np.testing.assert_array_equal(align_labels(draws, AXES)["a"], draws["a"][:, final])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [100, 500])
def test_clusters_that_differ_in_their_change_alone_are_not_mixed(n, seed):
    """A guide's draws of four clusters: onsets and steepnesses overlap, and what is lost differs by thirty sds."""
    rng = np.random.default_rng(seed)
    centres = {
        "a": ([-8.34, -1.2, -6.33, -8.36], 0.07),
        "b": ([4.44, 5.42, 5.9, 3.87], [1.09, 1.66, 1.45, 0.98]),
        "c": ([1.49, 2.34, 1.81, 0.9], [0.3, 0.52, 0.39, 0.15]),
        "d": ([0.41, -0.04, 0.06, 1.37], 0.02),
        "sigma": ([0.984, 0.989, 0.988, 0.976], 0.005),
        "pi": ([0.086, 0.642, 0.185, 0.086], 0.006),
    }
    draws = {name: np.array(mean) + np.array(sd) * rng.normal(size=(n, 4)) for name, (mean, sd) in centres.items()}
    draws["dps"] = np.sort(rng.normal(0.9, 1.0, (n, N)), 1)
    final = np.argsort(draws["c"].mean(0), kind="stable")
    np.testing.assert_array_equal(align_labels(draws, AXES)["a"], draws["a"][:, final])
