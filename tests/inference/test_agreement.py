"""Agreement of clusterings."""

import itertools

import numpy as np

from neuropyro.inference import cluster_agreement


def test_it_is_the_best_over_all_permutations():
    rng = np.random.default_rng(1)
    labels, posterior = rng.integers(3, size=40), rng.random((40, 3))
    found = posterior.argmax(1)
    best = max(np.mean(np.array(p)[found] == labels) for p in itertools.permutations(range(3)))
    assert cluster_agreement(posterior, labels) == best


def test_fewer_clusters_than_labels():
    assert cluster_agreement(np.ones((4, 1)), np.array([0, 0, 1, 2])) == 0.5
