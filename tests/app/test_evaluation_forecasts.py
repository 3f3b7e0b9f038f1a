"""Prediction of later visits: what is held back, errors by hand, and the methods side by side."""

import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError, simulate_reference
from neuropyro.evaluation_forecasts import Errors, evaluate_forecasts, hold_back
from neuropyro.inference import Schedule
from neuropyro.models import VertexClusterMixture


def test_first_visits_with_a_value_are_known_and_later_ones_held_back():
    values = np.arange(12.0).reshape(6, 2)
    values[1] = np.nan
    cohort = Cohort(values, [72, 70, 71, 73, 60, 61], list("bbbbaa"))
    known, later = hold_back(cohort, 2)
    assert sorted(zip(known.subject, known.time, strict=True)) == [("a", 60), ("a", 61), ("b", 71), ("b", 72)]
    assert list(zip(later.subject, later.time, strict=True)) == [("b", 73)]


@pytest.mark.parametrize(("first", "message"), [(0, "0 first visits"), (4, "no subject has more than 4 visits")])
def test_what_leaves_nothing_to_predict_is_refused(first, message):
    with pytest.raises(CohortError, match=message):
        hold_back(simulate_reference(n_subjects=3, n_vertices=3, seed=0), first)


def test_a_row_of_the_table_by_hand():
    inside = np.array([1.0, 0.5, 0.0])
    errors = Errors("m", np.array(["a", "a", "b"]), np.array([1, 2, 1]), np.array([1.0, 3.0, 5.0]), np.ones(3), inside)
    row = errors.row()
    assert (row["mae"], row["rmse"], row["coverage90"], row["visits"], row["years"]) == (3.0, 1.0, 0.5, 3, "all")
    assert row["mae_error"] == pytest.approx(np.std([2.0, 5.0], ddof=1) / np.sqrt(2))  # over subjects, not visits
    assert errors.row(1)["mae"] == 3.0
    assert np.isnan(errors.row(2)["mae_error"])


@pytest.mark.slow
def test_methods_stand_side_by_side():
    cohort = simulate_reference(n_subjects=24, n_vertices=20, n_clusters=2, seed=0)
    schedule = Schedule(max_steps=30, warm_up=10)
    options = {"guide": "map", "schedule": schedule, "draws": 40, "progress": False}
    found = evaluate_forecasts(cohort, VertexClusterMixture(2), regions=np.arange(20) % 2, **options)
    by_name = {errors.method: errors for errors in found}
    assert list(by_name) == ["clusters", "fixed regions", "no staging", "linear mixed model", "last value"]
    values = cohort.values.reshape(24, 4, 20)
    carried = np.abs(values[:, 2:] - values[:, 1:2]).mean(-1).ravel()
    np.testing.assert_allclose(by_name["last value"].absolute, carried, rtol=1e-6)
    assert by_name["clusters"].years.tolist() == [1, 2] * 24
    assert by_name["clusters"].row()["mae"] < by_name["last value"].row()["mae"]
    assert np.isnan(by_name["last value"].row()["coverage90"])
    assert 0.5 < by_name["clusters"].row()["coverage90"] <= 1
