"""Standardisation, missing values, and times."""

import numpy as np
import pytest
import torch

from neuropyro.data import Cohort
from neuropyro.models.visits import prepare_visits

N_SUBJECTS, VISITS, L = 12, 3, 5


def cohort(missing: bool = False, **changes) -> Cohort:
    rng = np.random.default_rng(1)
    subject = np.repeat(np.arange(N_SUBJECTS), VISITS)
    own = rng.normal(0, 0.3, (N_SUBJECTS, L))
    values = 2.5 + own[subject] + rng.normal(0, 0.1, (len(subject), L))
    if missing:
        values[rng.random(values.shape) < 0.2] = np.nan
    arrays = {
        "values": values,
        "time": 60 + 20 * rng.random(len(subject)),
        "subject": subject,
        "diagnosis": np.where(subject < 6, 1, 2),
    }
    return Cohort(**(arrays | changes))


def back(visits) -> np.ndarray:
    return (visits.location[:, None] + visits.scale[:, None] * visits.values).numpy().T


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
@pytest.mark.parametrize("standardise", ["controls", "all", None])
def test_location_and_scale_invert_it(standardise, missing):
    data = cohort(missing)
    visits = prepare_visits(data, standardise, dtype=torch.float64)
    seen = ~np.isnan(data.values)
    np.testing.assert_allclose(back(visits)[seen], data.values[seen], rtol=1e-12)
    assert (visits.values.numpy().T[~seen] == 0).all()
    if missing:
        np.testing.assert_array_equal(visits.observed.numpy().T, seen)
    else:
        assert visits.observed is None
    torch.testing.assert_close(visits.sum_squares, visits.values.square().sum(-1))


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
@pytest.mark.parametrize("standardise", ["controls", "all"])
def test_it_is_by_the_mean_and_by_the_sd_about_a_subjects_own_line_in_time(standardise, missing):
    data = cohort(missing)
    rows = data.is_control if standardise == "controls" else np.ones(data.n_visits, bool)
    visits = prepare_visits(data, standardise, dtype=torch.float64)
    np.testing.assert_allclose(visits.location, np.nanmean(data.values[rows], 0), rtol=1e-12)
    for v in range(L):
        squares = freedom = 0.0
        for name in np.unique(data.subject[rows]):
            mine = (data.subject == name) & rows & ~np.isnan(data.values[:, v])
            own, time = data.values[mine, v], data.time[mine]
            if len(own):
                degree = 1 if len(own) >= 3 else 0
                squares += ((own - np.polyval(np.polyfit(time, own, degree), time)) ** 2).sum()
                freedom += len(own) - 1 - degree
        assert float(visits.scale[v]) == pytest.approx(np.sqrt(squares / freedom), rel=1e-10)


def test_without_a_diagnosis_controls_means_all():
    plain = prepare_visits(cohort(diagnosis=None), "controls")
    everyone = prepare_visits(cohort(diagnosis=None), "all")
    torch.testing.assert_close(plain.scale, everyone.scale)
    torch.testing.assert_close(plain.location, everyone.location)


def test_without_repeated_visits_the_overall_sd_stands_in():
    data = cohort(subject=np.arange(N_SUBJECTS * VISITS), diagnosis=None)
    visits = prepare_visits(data, "all", dtype=torch.float64)
    np.testing.assert_allclose(visits.scale, data.values.std(0), rtol=1e-10)


@pytest.mark.parametrize("standardise", ["controls", "all", None])
@pytest.mark.parametrize("constant", [2.5, 0.0, np.nan, 1e6])
def test_a_constant_vertex_is_missing_throughout(standardise, constant):
    values = cohort().values.copy()
    values[:, 2] = constant
    visits = prepare_visits(cohort(values=values), standardise, dtype=torch.float64)
    assert (visits.observed[2] == 0).all()
    assert (visits.observed[[0, 1, 3, 4]] == 1).all()
    assert (visits.values[2] == 0).all()
    assert visits.is_informative.tolist() == [True, True, False, True, True]
    assert torch.isfinite(visits.location).all()
    assert (visits.scale > 0).all()


def test_a_vertex_that_varies_among_patients_alone_is_standardised_by_all():
    values = cohort().values.copy()
    values[:18, 1] = 2.5  # the controls
    data = cohort(values=values)
    visits = prepare_visits(data, "controls", dtype=torch.float64)
    everyone = prepare_visits(data, "all", dtype=torch.float64)
    assert visits.is_informative.all()
    torch.testing.assert_close(visits.scale[1], everyone.scale[1])
    torch.testing.assert_close(visits.location[1], everyone.location[1])


def test_float32_values_far_from_zero_keep_their_digits():
    data = cohort()
    shifted = Cohort((data.values + 1000).astype(np.float32), data.time, data.subject, data.diagnosis)
    near, far = prepare_visits(data, "all"), prepare_visits(shifted, "all")
    # 1000 +- .1 in float32 has a spacing of 6e-5; over an sd of .1, that is 6e-4.
    torch.testing.assert_close(near.values, far.values, atol=3e-3, rtol=0)


def test_times():
    data = cohort()
    visits = prepare_visits(data, "all", dtype=torch.float64)
    subject_time = np.array([data.time[data.subject == s].mean() for s in data.subjects])
    np.testing.assert_allclose(visits.subject_time, subject_time - data.time.mean(), atol=1e-12)
    np.testing.assert_allclose(visits.time_within, data.time - subject_time[data.subject_index], atol=1e-12)
    assert visits.visits_of_subject.tolist() == [VISITS] * N_SUBJECTS
    assert visits.subject.tolist() == data.subject_index.tolist()
    assert visits.reference.tolist() == np.flatnonzero(data.is_reference).tolist()
    assert visits.is_control.tolist() == data.is_control.tolist()
    assert (visits.n_vertices, visits.n_visits, visits.n_subjects) == (L, N_SUBJECTS * VISITS, N_SUBJECTS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_device(dtype):
    visits = prepare_visits(cohort(missing=True), "controls", device="cpu", dtype=dtype)
    whole = {"subject": torch.long, "reference": torch.long, "is_control": torch.bool}
    tensors = {name: x for name, x in vars(visits).items() if isinstance(x, torch.Tensor)}
    assert {name: x.dtype for name, x in tensors.items()} == dict.fromkeys(tensors, dtype) | whole
    assert prepare_visits(cohort(), None).values.dtype == torch.get_default_dtype()
