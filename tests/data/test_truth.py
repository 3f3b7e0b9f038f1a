"""The truth that travels with a simulation."""

import numpy as np
import pytest

from neuropyro.data import CohortError, Truth


def truth() -> Truth:
    return Truth(
        visit={"dps": np.arange(4.0)},
        subject={"alpha": np.array([1.0, 2.0])},
        vertex={"Z": np.array([0, 1, 1])},
        other={"a": np.array([-5.0, -4.0])},
    )


def test_it_is_one_mapping_over_its_groups():
    own = truth()
    assert list(own) == ["dps", "alpha", "Z", "a"]
    assert len(own) == 4
    assert own["Z"].tolist() == [0, 1, 1]
    assert "dps" in own
    assert "sigma" not in own
    with pytest.raises(KeyError, match="no truth named 'sigma'; there are dps, alpha, Z, a"):
        own["sigma"]
    with pytest.raises(KeyError, match="there are none"):
        Truth()["a"]


def test_subset_keeps_rows_of_its_group_alone():
    part = truth().subset(visit=np.array([3, 0]), vertex=np.array([2]))
    assert part["dps"].tolist() == [3, 0]
    assert part["Z"].tolist() == [1]
    assert part["alpha"].tolist() == [1, 2]
    assert part["a"].tolist() == [-5, -4]
    with pytest.raises(ValueError, match="read-only"):
        part["dps"][0] = 1


def test_check():
    truth().check({"visit": 4, "subject": 2, "vertex": 3})
    with pytest.raises(CohortError, match=r"truth: `alpha` has 2 rows, but there are 3 \(subject\)"):
        truth().check({"subject": 3})


def test_a_node_in_two_groups_is_refused():
    with pytest.raises(CohortError, match="truth: a node stands in two groups"):
        Truth(visit={"s": np.ones(2)}, other={"s": np.ones(1)})
