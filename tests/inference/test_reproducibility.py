"""Agreement of clusterings: by hand, against scikit-learn, and its laws."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from neuropyro.inference.reproducibility import adjusted_rand, dice, reproducibility

K = 4


def clusterings(n, seed=0, size=60):
    rng = np.random.default_rng(seed)
    base = rng.integers(K, size=size)
    return [np.where(rng.random(size) < 0.3, rng.integers(K, size=size), base) for _ in range(n)]


def test_the_adjusted_rand_index_is_scikit_learns():
    for seed in range(5):
        a, b = clusterings(2, seed)
        assert adjusted_rand(a, b, K) == pytest.approx(adjusted_rand_score(a, b), abs=1e-12)
    same = np.zeros(10, int)
    assert adjusted_rand(same, same, K) == 1.0


def test_dice_by_hand():
    a, b = np.array([0, 0, 0, 1, 1, 2]), np.array([1, 1, 0, 0, 0, 2])
    # Matched: 0 with 1 (two shared of three and two), 1 with 0 (two of two and three), 2 with 2.
    assert dice(a, b, 3) == pytest.approx([4 / 5, 4 / 5, 1.0])


def test_names_of_clusters_do_not_matter_and_pairs_with_itself_do_not_count():
    several = clusterings(4)
    found = reproducibility(several, K)
    order = np.array([2, 0, 3, 1])
    moved = reproducibility([several[0], order[several[1]], several[2], order[several[3]]], K)
    assert moved.dice == pytest.approx(found.dice)
    assert moved.rand == pytest.approx(found.rand)
    pairs = [dice(a, b, K).mean() for i, a in enumerate(several) for b in several[i + 1 :]]
    assert found.dice == pytest.approx(np.mean(pairs))
    assert found.dice < 0.9
    perfect = reproducibility([several[0], order[several[0]]], K)
    assert perfect.dice == 1.0
    assert perfect.rand == pytest.approx(1.0)


def test_one_clustering_has_nothing_to_agree_with():
    with pytest.raises(ValueError, match="give two or more"):
        reproducibility(clusterings(1), K)
