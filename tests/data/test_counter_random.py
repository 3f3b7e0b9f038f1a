"""Philox against its published answers; streams that depend on nothing but what they are for."""

import numpy as np
import pytest
from scipy.stats import kstest

from neuropyro.data.counter_random import CounterRandom, philox

# Counter, key and answer: the known answers that come with the paper's own code (Random123, kat_vectors).
ALL = 0xFFFFFFFF
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ALL, ALL, ALL, ALL), (ALL, ALL), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_published_answers(counter, key, answer):
    words = tuple(np.array([word], np.uint64) for word in counter)
    assert tuple(int(word[0]) for word in philox(words, key)) == answer


def test_a_unit_has_the_same_numbers_whoever_draws_and_however_many():
    source = CounterRandom(3)
    every = source.normal("noise", range(50), (7, 5))
    np.testing.assert_array_equal(source.normal("noise", [41, 2], (7, 5)), every[[41, 2]])
    np.testing.assert_array_equal(source.normal("noise", range(50), (3, 5)), every[:, :3])


def test_chunks_make_no_difference(monkeypatch):
    whole = CounterRandom(0).uniform("x", range(20), (11,))
    monkeypatch.setattr("neuropyro.data.counter_random.CHUNK", 7)
    np.testing.assert_array_equal(CounterRandom(0).uniform("x", range(20), (11,)), whole)


def test_seeds_names_and_units_have_streams_of_their_own():
    draws = [CounterRandom(s).normal(name, [u], (2000,))[0] for s in (0, 1) for name in "ab" for u in (0, 2**33)]
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation).max() < 4.5 / np.sqrt(2000)  # 28 pairs: 4.5 standard errors


def test_uniform_and_normal_numbers_have_their_distributions():
    source = CounterRandom(5)
    assert kstest(source.uniform("u", range(5000), (4,)).ravel(), "uniform").pvalue > 0.01
    assert kstest(source.normal("n", range(5000), (4,)).ravel(), "norm").pvalue > 0.01
    # Units in a row, as neighbours: no correlation along the first axis.
    rows = source.normal("n", range(20001))
    assert abs(np.corrcoef(rows[1:], rows[:-1])[0, 1]) < 4 / np.sqrt(20000)


def test_no_numbers_and_no_units_are_empty():
    assert CounterRandom(0).uniform("x", range(3), (0,)).shape == (3, 0)
    assert CounterRandom(0).normal("x", [], (4,)).shape == (0, 4)
