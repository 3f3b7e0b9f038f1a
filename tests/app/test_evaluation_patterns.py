"""Two patterns told apart, and one that is not taken for two."""

from dataclasses import replace

import numpy as np
import pytest

from neuropyro.data import CohortError, simulate_reference
from neuropyro.evaluation_patterns import MEASURES, Patterns, evaluate_patterns
from neuropyro.inference import Schedule
from neuropyro.models import VertexClusterMixture

SHORT = {"guide": "map", "schedule": Schedule(max_steps=30, warm_up=10), "progress": False}


def disease(labels, seed):
    return simulate_reference(60, 40, 2, 3.0, seed=seed, labels=labels)


def test_a_measure_tells_apart_where_its_ranges_do_not_meet():
    within = {"clusters": np.array([0.8, 0.9]), "onset": np.array([0.5, 0.9]), "change": np.array([0.2, 0.3])}
    between = {"clusters": np.array([0.1, 0.7]), "onset": np.array([0.1, 0.6]), "change": np.array([0.0, 0.1])}
    found = Patterns(within, between)
    assert found.told_apart_by == ("clusters", "change")
    assert found.sentence == f"The patterns are told apart by {MEASURES['clusters']} and {MEASURES['change']}."
    assert "not told apart" in Patterns(within, within).sentence


@pytest.mark.slow
def test_two_diseases_of_other_networks_are_told_apart_by_their_clusters():
    networks = [np.arange(40) % 2, np.arange(40) // 20]
    found = evaluate_patterns(disease(networks[0], 0), disease(networks[1], 1), VertexClusterMixture(2), 1, **SHORT)
    assert found.within["clusters"].shape == (2,)
    assert found.between["clusters"].shape == (4,)
    assert "clusters" in found.told_apart_by
    assert found.within["clusters"].min() > 0.8
    assert np.abs(found.between["clusters"]).max() < 0.2


@pytest.mark.slow
def test_one_disease_seen_twice_is_not():
    network = np.arange(40) % 2
    first, second = disease(network, 0), disease(network, 1)
    # In another unit, which says nothing of the pattern.
    second = replace(second, values=10 * second.values + 3)
    found = evaluate_patterns(first, second, VertexClusterMixture(2), 1, **SHORT)
    assert found.between["clusters"].min() > 0.8


def test_other_vertices_are_refused():
    first, second = disease(np.arange(40) % 2, 0), simulate_reference(10, 30, 2, seed=0)
    with pytest.raises(CohortError, match="40 vertices in one cohort, 30 in the other"):
        evaluate_patterns(first, second, VertexClusterMixture(2), 1, **SHORT)
