"""Who is seen only where curves are flat, against slopes by differences and onsets that are drawn."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit

from neuropyro.ends_of_curves import people_at_ends, relative_information, remark_on_ends

CURVES = {"a": [-2.0, 1.0], "b": [1.5, 3.0], "c": [-0.5, 2.0], "sigma": [0.5, 0.2], "pi": [0.7, 0.3]}
SCORES = np.array([-4.0, -0.5, 0.7, 2.0, 5.0])


def information(score, onsets):
    """Sum over clusters and members the squares of slopes, by central differences, over the noise's variance."""
    a, b, sigma, pi = (np.array(CURVES[name]) for name in ("a", "b", "sigma", "pi"))

    def mean(at):
        return a * expit(b * (at[:, None, None] - onsets))

    slope = (mean(score + 1e-4) - mean(score - 1e-4)) / 2e-4
    return ((slope**2).mean(1) * pi / sigma**2).sum(-1)


def test_information_is_that_of_the_slopes():
    onsets = np.array(CURVES["c"])[None]
    best = information(np.linspace(-3.5, 5, 4001), onsets).max()
    found = relative_information(SCORES, CURVES)
    np.testing.assert_allclose(found, information(SCORES, onsets) / best, rtol=1e-3)  # of a maximum on a grid


def test_members_with_onsets_of_their_own_tell_of_more_scores():
    spread = np.array([0.3, 0.6])
    drawn = np.array(CURVES["c"]) + spread * np.random.default_rng(0).standard_normal((40_000, 2))
    found = relative_information(SCORES, CURVES | {"scatter_c": spread})
    expected = information(SCORES, drawn)
    # The Monte Carlo error of means over 40,000 members is below 2 % at all of these scores.
    np.testing.assert_allclose(found / found[1], expected / expected[1], rtol=0.04)
    assert found[-1] > 2 * relative_information(SCORES, CURVES)[-1]


def outcome(*score):
    draws = {name: np.tile(np.array(values), (3, 1)) for name, values in CURVES.items()}
    subject = np.arange(len(score)) // 2  # two visits each
    names = np.array([f"s{i}" for i in range(len(score) // 2)])
    cohort = SimpleNamespace(subjects=names, n_subjects=len(names), subject_index=subject)
    return SimpleNamespace(posterior=draws | {"dps": np.tile(score, (3, 1))}, cohort=cohort)


def test_one_visit_where_something_changes_is_enough():
    found = people_at_ends(outcome(0.0, 9.0, 8.0, 9.0, -9.0, -8.0))
    assert {end: names.tolist() for end, names in found.items()} == {"before": ["s2"], "beyond": ["s1"]}


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ((0.0, 1.0), ""),
        ((8.0, 9.0), "of 1 person 1 was seen only beyond all that changes (s0): the values hardly tell how far"),
        ((8.0, 9.0, 0.0, 1.0), "of 2 people 1 was seen only beyond all that changes (s0): the values hardly tell"),
        ((8.0, 9.0, 0.0, 1.0), "population's law places this one, and intervals"),
        ((8.0, 9.0, 0.0, 1.0), "do not compare this score"),
        ((8.0, 9.0, -9.0, -8.0), "places them, and intervals miss the truth where it is wrong; do not compare these"),
        ((8.0, 9.0) * 7, "of 7 people 7 were seen only beyond all that changes (s0, s1, s2, s3, s4, ...): their"),
        ((8.0, 9.0, -9.0, -8.0), "beyond all that changes (s0): "),
    ],
)
def test_it_is_said_of_whom(scores, said):
    assert said in remark_on_ends(outcome(*scores))
    assert bool(remark_on_ends(outcome(*scores))) == bool(said)
