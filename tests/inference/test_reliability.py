"""Reliability of posteriors of labels: exact where they are calibrated, and what overconfidence looks like."""

import numpy as np
import pytest

from neuropyro.inference import cluster_agreement, interval_coverage
from neuropyro.inference.reliability import reliability


def drawn(sharpen=1.0, n=20_000, seed=0):
    """Posteriors of three labels, the labels drawn from them (under other names), and the posteriors sharpened."""
    rng = np.random.default_rng(seed)
    posterior = rng.dirichlet([1.5] * 3, n)
    labels = (posterior.cumsum(1) < rng.random((n, 1))).sum(1)
    sharper = posterior**sharpen
    return sharper / sharper.sum(1, keepdims=True), np.array([2, 0, 1])[labels]


def test_a_calibrated_posterior_lies_on_the_diagonal():
    found = reliability(*drawn())
    assert found.count.sum() == 20_000
    # A few bins of ten may miss by 3 sd once in forty runs; the seed is fixed.
    assert (np.abs(found.accuracy - found.confidence) < 3 * found.spread).all()
    assert found.error < 0.01


def test_an_overconfident_one_lies_below():
    posterior, labels = drawn(sharpen=4.0)
    found = reliability(posterior, labels)
    assert found.accuracy[-1] < found.confidence[-1] - 10 * found.spread[-1]
    assert found.error == pytest.approx(found.mean_confidence - found.mean_accuracy, abs=0.02)
    assert found.error > 0.2


def test_means_over_bins_are_means_over_elements():
    posterior, labels = drawn(n=500)
    found = reliability(posterior, labels, bins=7)
    assert found.mean_confidence == pytest.approx(posterior.max(1).mean())
    assert found.mean_accuracy == pytest.approx(cluster_agreement(posterior, labels))


def test_bins_by_hand():
    found = reliability([[0.6, 0.4], [0.4, 0.6], [1.0, 0.0], [0.5, 0.5]], [0, 1, 1, 0], bins=5)
    np.testing.assert_allclose(found.confidence, [0.5, 0.6, 1.0])
    np.testing.assert_allclose(found.accuracy, [1.0, 1.0, 0.0])
    assert found.count.tolist() == [1, 2, 1]


def test_intervals_of_few_draws_hold_as_often_as_they_promise():
    """Nine draws and a truth from one law have ten ranks alike, of which the middle eight are inside."""
    rng = np.random.default_rng(4)
    draws, truth = rng.standard_normal((9, 20_000)), rng.standard_normal(20_000)
    held = interval_coverage(draws, truth, [0.8])[0]
    assert held == pytest.approx(0.8, abs=4 * np.sqrt(0.8 * 0.2 / 20_000))
