"""How far the years between people count as years of the course, where that is known."""

from dataclasses import replace

import numpy as np
import pytest

from neuropyro.data import Cohort, simulate_reference
from neuropyro.inference import fit
from neuropyro.models import VertexClusterMixture


def followed() -> Cohort:
    """A population of all ages, each as far along as the years since a common age say, within three years."""
    return simulate_reference(n_subjects=60, n_vertices=60, n_clusters=2, seed=3)


def recruited() -> Cohort:
    """The same people, whose ages have nothing to do with how far along they are."""
    cohort, rng = followed(), np.random.default_rng(0)
    first = cohort.time[cohort.is_first_visit][cohort.subject_index]
    return replace(cohort, time=cohort.time - first + rng.uniform(40, 80, cohort.n_subjects)[cohort.subject_index])


@pytest.mark.parametrize(("cohort", "share"), [(followed(), 1.0), (recruited(), 0.0)], ids=["followed", "recruited"])
def test_it_is_found(cohort, share):
    found = fit(VertexClusterMixture(2), cohort, "map", progress=False).posterior(1)
    # Four standard errors of the regression of 60 stages on ages, whose sd is 11.5 years: besides, stages differ by 3.2
    # years of travel in the one cohort, by 12 in the other.
    besides = 3.2 if share else 12.0
    assert found["time_share"][0] == pytest.approx(share, abs=4 * besides / 11.5 / np.sqrt(60))
    assert np.corrcoef(found["dps"][0], cohort.truth["dps"])[0, 1] > 0.995
