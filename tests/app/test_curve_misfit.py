"""Curves that leave their data are found; people's own offsets and missing values are no misfit."""

import numpy as np
import pytest

from neuropyro.curve_misfit import misfits

PEOPLE, VISITS = 40, 3
RNG = np.random.default_rng(0)
SUBJECT = np.repeat(np.arange(PEOPLE), VISITS)
SCORE = np.repeat(RNG.normal(0, 1, PEOPLE), VISITS) + np.tile([0.0, 0.1, 0.2], PEOPLE)
CURVE = np.stack([np.tanh(SCORE), 100 * np.tanh(-SCORE)], 1)


def noisy(seed, own=0.3):
    rng = np.random.default_rng(seed)
    offsets = own * rng.normal(size=(PEOPLE, 2))[SUBJECT] + 0.2 * rng.normal(size=CURVE.shape)
    return CURVE + offsets * [1, 100]


def test_offsets_of_people_are_no_misfit():
    found = [list(misfits(noisy(seed), CURVE, SCORE, SUBJECT)) for seed in range(50)]
    assert sum(map(len, found)) == 0  # five errors, of 13 people's means, are one in 3,000


@pytest.mark.parametrize(("third", "low", "high"), [("low", 0, 1 / 3), ("middling", 1 / 3, 2 / 3), ("high", 2 / 3, 1)])
def test_the_course_the_third_and_the_distance(third, low, high):
    values = noisy(1)
    there = (np.quantile(SCORE, low) <= SCORE) & (np.quantile(SCORE, high) >= SCORE)
    values[there, 1] -= 60
    values[::4, 1] = np.nan
    (found,) = misfits(values, CURVE, SCORE, SUBJECT)
    assert (found.course, found.third) == (1, third)
    assert found.off == pytest.approx(-60, abs=25)
    assert found.in_words.endswith(f"above its values at {third} scores")


def test_few_people_tell_nothing():
    few = SUBJECT < 12  # four in a third
    values = noisy(2, own=0.0)[few] + [3, 0]
    assert list(misfits(values, CURVE[few], SCORE[few], SUBJECT[few])) == []


def test_a_course_without_values():
    values = noisy(3)
    values[:, 0] = np.nan
    assert list(misfits(values, CURVE, SCORE, SUBJECT)) == []
