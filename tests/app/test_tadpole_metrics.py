"""The challenge's measures, against brute force, scikit-learn and numbers worked by hand."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from neuropyro.data import CohortError
from neuropyro.tadpole_metrics import (
    balanced_accuracy,
    coverage_accuracy,
    mean_absolute_error,
    multiclass_auc,
    weighted_error_score,
)


def cases(n: int = 80, ties: bool = False):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, n)
    p = rng.dirichlet(np.ones(3), n) + 0.6 * np.eye(3)[label]
    return label, np.round(p, 1) + 0.1 if ties else p


def brute_force_auc(label, p):
    """Fraction of pairs in order, over ordered pairs of classes, case by case; ties count half."""
    p = p / p.sum(1, keepdims=True)
    areas = []
    for i, j in permutations(range(3), 2):
        order = [1.0 if a > b else 0.5 if a == b else 0.0 for a in p[label == i, i] for b in p[label == j, i]]
        areas.append(np.mean(order))
    return np.mean(areas)


@pytest.mark.parametrize("ties", [False, True])
def test_mauc_is_hand_and_tills(ties):
    label, p = cases(ties=ties)
    assert multiclass_auc(label, p) == pytest.approx(brute_force_auc(label, p), abs=1e-12)
    normal = p / p.sum(1, keepdims=True)
    assert multiclass_auc(label, p) == pytest.approx(roc_auc_score(label, normal, multi_class="ovo"), abs=1e-12)


def test_mauc_ends():
    label = np.array([0, 0, 1, 1, 2])
    assert multiclass_auc(label, np.eye(3)[label]) == 1
    assert multiclass_auc(label, np.ones((5, 3))) == 0.5
    two = np.array([0, 0, 1, 1])  # a class without cases is left out
    assert multiclass_auc(two, np.eye(3)[two]) == 1


def test_bca_by_hand():
    """Called: rows are the truth. Pairs give (2/3 + 1)/2, (1 + 1)/2 and (3/4 + 1/2)/2."""
    confusion = [[2, 1, 0], [0, 3, 1], [0, 1, 1]]
    label = np.concatenate([[i] * sum(row) for i, row in enumerate(confusion)])
    called = np.concatenate([[j] * n for row in confusion for j, n in enumerate(row)]).astype(int)
    expected = ((2 / 3 + 1) / 2 + 1 + (3 / 4 + 1 / 2) / 2) / 3
    assert balanced_accuracy(label, np.eye(3)[called]) == pytest.approx(expected)


def test_bca_without_cases_counts_half():
    assert balanced_accuracy([0, 0], np.eye(3)[[0, 0]]) == pytest.approx((0.75 + 0.75 + 0.5) / 3)


def test_errors_by_hand():
    true, best = [10.0, 20.0, np.nan, 30.0], [12.0, 19.0, 5.0, 30.0]
    low, high = [11.0, 18.0, 4.0, 29.0], [15.0, 22.0, 6.0, 30.0]
    assert mean_absolute_error(true, best) == pytest.approx(1.0)
    # Widths 4, 4, 1, so weights 1/4, 1/4, 1.
    assert weighted_error_score(true, best, low, high) == pytest.approx((2 / 4 + 1 / 4) / 1.5)
    # Only 20 lies within its interval; 30 is on an end, which is not within.
    assert coverage_accuracy(true, low, high) == pytest.approx(abs(1 / 3 - 1 / 2))
    assert coverage_accuracy(true, low, high, nominal=1 / 3) == pytest.approx(0)


def test_refuses():
    with pytest.raises(CohortError, match=r"classes: 3 is not among the 3 columns"):
        multiclass_auc([0, 3], np.ones((2, 3)))
    with pytest.raises(CohortError, match=r"classes .* do not fit"):
        balanced_accuracy([0, 1, 2], np.ones((2, 3)))
    with pytest.raises(CohortError, match="probabilities: they must be finite"):
        multiclass_auc([0, 1], [[np.nan, 1], [1, 1]])
    with pytest.raises(CohortError, match="mAUC: cases of at least two classes"):
        multiclass_auc([0, 0], np.ones((2, 3)))
    with pytest.raises(CohortError, match="WES: the interval of case 1 is 2 to 2; it needs a width"):
        weighted_error_score([1, 2], [1, 2], [0, 2], [2, 2])
    with pytest.raises(CohortError, match="do not fit; give one number a case"):
        mean_absolute_error([1, 2], [1])
    with pytest.raises(CohortError, match="no case whose truth is known"):
        mean_absolute_error([np.nan], [1])
    with pytest.raises(CohortError, match="a case whose truth is known has no finite forecast"):
        mean_absolute_error([1.0, 2.0], [1.0, np.nan])
