"""Prediction of later visits: what is held back, errors by hand, and the methods side by side."""

import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError, simulate_reference
from neuropyro.evaluation_forecasts import Errors, evaluate_forecasts, hold_back
from neuropyro.inference import Schedule
from neuropyro.models import VertexClusterMixture
from neuropyro.models.standardise import location_and_scale


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


def test_biomarkers_have_their_own_units_and_are_averaged_in_sds():
    rng = np.random.default_rng(0)
    who, time = np.repeat(np.arange(8), 4), np.tile(np.arange(70.0, 74.0), 8)
    values = np.c_[rng.normal(28, 1, 32), rng.normal(7000, 300, 32), np.full(32, 5.0)]
    values[3, 1] = np.nan
    names = np.array(["MMSE", "volume", "constant"])
    schedule = Schedule(max_steps=2, warm_up=0, window=2)
    options = {"guide": "map", "schedule": schedule, "draws": 4, "progress": False}
    tables = []
    for factor in (1.0, 1000.0):
        cohort = Cohort(values * [1, factor, 1], time, who, feature_names=names)
        found = evaluate_forecasts(cohort, VertexClusterMixture(1), 2, **options)
        carried = next(errors for errors in found if errors.method == "last value")
        tables.append({row["biomarker"]: row for row in carried.rows()})
    table = tables[0]
    assert list(table) == ["all", *names]
    known = values.reshape(8, 4, 3)
    off = np.abs(known[:, 2:] - known[:, 1:2])
    assert table["MMSE"]["mae_own_unit"] == pytest.approx(off[..., 0].mean())
    assert table["volume"]["mae_own_unit"] == pytest.approx(np.nanmean(off[..., 1]))
    assert (table["MMSE"]["visits"], table["volume"]["visits"]) == (16, 15)
    sds = location_and_scale(hold_back(cohort, 2)[0], "controls", alike=False)[1] / [1, factor, 1]
    assert table["volume"]["mae_sds"] == pytest.approx(np.nanmean(off[..., 1]) / sds[1])
    assert np.isnan(table["constant"]["mae_sds"])
    by_visit = np.nanmean(off[..., :2] / sds[:2], -1)
    assert table["all"]["mae_sds"] == pytest.approx(by_visit.mean())
    assert np.isnan(table["all"]["mae_own_unit"])
    for name, factor in (("all", 1), ("MMSE", 1), ("volume", 1000)):  # another unit changes that column alone
        assert tables[1][name]["mae_sds"] == pytest.approx(table[name]["mae_sds"])
        if name != "all":
            assert tables[1][name]["rmse_own_unit"] == pytest.approx(factor * table[name]["rmse_own_unit"])
    assert [row["biomarker"] for row in carried.rows(2)] == ["all", *names]
