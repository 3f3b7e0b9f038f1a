"""Diagnosis from the score: the probabilities that made the data, and uncertainty that flattens them."""

import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError
from neuropyro.score_diagnosis import ScoreDiagnosis, fit_score_diagnosis, known_diagnoses

NAMES = ("CN", "MCI", "AD")
TRUTH = ScoreDiagnosis(NAMES, np.array([0.0, -1.0, -4.0]), np.array([0.0, 1.5, 3.0]))


def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    dps = rng.normal(1, 1.5, n)
    p = TRUTH.probabilities(dps)
    return dps, np.array(NAMES)[(rng.random((n, 1)) > p.cumsum(1)).sum(1)]


def test_the_probabilities_that_made_the_data():
    dps, diagnosis = drawn(20000)
    model = fit_score_diagnosis(dps, diagnosis)
    grid = np.linspace(-2, 4, 13)
    # Standard error of a probability from some 1,500 visits near a score: .013; three of them.
    np.testing.assert_allclose(model.probabilities(grid), TRUTH.probabilities(grid), atol=0.04)
    np.testing.assert_allclose(model.probabilities(grid).sum(1), 1)


def test_an_uncertain_score_has_flatter_probabilities():
    draws = np.random.default_rng(1).normal([[-2.0, 4.0]], 1.0, (4000, 2))
    averaged, at_mean = TRUTH.averaged(draws), TRUTH.probabilities([-2.0, 4.0])
    assert (averaged.max(1) < at_mean.max(1)).all()
    np.testing.assert_allclose(averaged, np.mean([TRUTH.probabilities(d) for d in draws], 0))


def test_draws_count_once_a_visit():
    dps, diagnosis = drawn(300)
    once, often = fit_score_diagnosis(dps, diagnosis), fit_score_diagnosis(np.tile(dps, (7, 1)), diagnosis)
    np.testing.assert_allclose(often.slope - often.slope[0], once.slope - once.slope[0], rtol=1e-2)


def test_other_diagnoses_are_left_out_and_two_will_do():
    dps, diagnosis = drawn(2000)
    model = fit_score_diagnosis(dps, diagnosis, ("CN", "AD"))
    kept = diagnosis != "MCI"
    assert model.probabilities(dps[kept]).shape == (kept.sum(), 2)
    right = model.probabilities(dps[kept]).argmax(1) == (diagnosis[kept] == "AD")
    assert right.mean() > 0.9
    assert model.probabilities(10.0)[1] > 0.99


def test_scores_that_separate_without_error_have_finite_slopes():
    model = fit_score_diagnosis(np.r_[-np.ones(20), np.ones(20)], np.repeat(["CN", "AD"], 20), ("CN", "AD"))
    assert np.isfinite(model.slope).all()


def test_few_peoples_diagnoses_leave_doubt():
    """Of 20 people it errs less about others, in nats, than with hardly any prior, which is all but certain of all."""
    rng = np.random.default_rng(0)
    losses = {0.16: [], 1e-3: []}
    for _ in range(100):
        scores, noise = rng.normal(0, 1.5, 420), rng.normal(0, 0.5, 420)
        ill = scores + noise > 0.5
        for penalty, lost in losses.items():
            labels = np.where(ill[:20], "AD", "CN")
            p = fit_score_diagnosis(scores[:20], labels, ("CN", "AD"), penalty).probabilities(scores[20:])[:, 1]
            lost.append(-np.log(np.where(ill[20:], p, 1 - p).clip(1e-12)).mean())
    assert np.mean(losses[0.16]) < 0.8 * np.mean(losses[1e-3])  # .26 and .39


def test_refuses():
    with pytest.raises(CohortError, match="diagnosis: no visit is MCI"):
        fit_score_diagnosis(np.zeros(2), ["CN", "AD"])
    with pytest.raises(CohortError, match=r"diagnosis: \(2,\) for scores of \(3,\) visits"):
        fit_score_diagnosis(np.zeros(3), ["CN", "AD"])


def test_diagnoses_are_in_the_order_of_severity_by_the_words_in_them():
    mild = ["EMCI", "MCI due to AD", "Mild AD", "late LMCI", "uncertain dementia"]
    expected = ("CN", "FTD", "SMC", *mild, "AD dementia", "Alzheimer's disease")
    names = np.random.default_rng(0).permutation(expected)
    cohort = Cohort(np.ones((10, 2)), np.arange(60.0, 70.0), np.arange(10), names)
    assert known_diagnoses(cohort) == expected
