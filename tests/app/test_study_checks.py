"""That a study is refused before anything is done to it, where a map is in another unit than the others."""

import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError
from neuropyro.study_checks import check_subjects, check_units


def maps(scale=1.0, row=4, mean=2.5):
    values = mean + 0.3 * np.random.default_rng(0).normal(size=(12, 50)).astype(np.float32)
    values[row] *= scale
    return Cohort(values, 70 + np.arange(12) % 3, np.repeat(list("abcd"), 3))


@pytest.mark.parametrize("scale", [1000, 0.001, 25.4])
def test_a_map_in_another_unit_is_named(scale):
    with pytest.raises(CohortError, match=r"map of subject b at 71 years has a median of .*, where that of all"):
        check_units(maps(scale))


@pytest.mark.parametrize(("scale", "mean"), [(1, 2.5), (0.6, 2.5), (8, 0), (100, 0), (0, 2.5)])
def test_maps_of_one_unit_are_kept(scale, mean):
    """A thin cortex, curvature or z-scores around 0 that differ, and a map that is empty, which is told elsewhere."""
    check_units(maps(scale or np.nan, mean=mean))


def test_biomarkers_are_of_many_units():
    check_units(Cohort([[2.0, 3000.0], [2000.0, 3.0], [2.0, 3.0]], [70, 71, 72], ["a"] * 3, feature_names=["x", "y"]))


def test_an_age_at_entry_at_each_visit_is_refused():
    ones = np.arange(10.0).reshape(5, 2)
    still = Cohort(ones, [70, 70, 65, 65, 80], list("aabbc"))
    with pytest.raises(CohortError, match="all visits of each person are at one time, as where the age at entry"):
        check_subjects(still)
    check_subjects(Cohort(ones, [70, 71, 65, 65, 80], list("aabbc")))
    check_subjects(Cohort(ones[:3], [70, 65, 80], list("abc")))
