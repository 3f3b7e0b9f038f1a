"""Levels of hemispheres: what is taken out and what stays, for new subjects too, and when it is advised."""

from dataclasses import replace

import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError, Mesh, cortex_mesh, simulate_cohort
from neuropyro.data.cifti_maps import CiftiSpace
from neuropyro.data.nifti_volumes import VolumeSpace
from neuropyro.data.surface_space import SurfaceSpace
from neuropyro.hemisphere_levels import (
    fit_hemisphere_levels,
    lasting_contrast,
    load_hemisphere_levels,
    unsteadiness,
)
from neuropyro.study_checks import check_hemispheres
from neuropyro.study_preparation import prepare_alike, prepare_study
from neuropyro.study_remarks import remarks

LEFT, RIGHT = slice(0, 30), slice(30, 50)
VISITS = 12


def beside(sheets: list[Mesh]) -> Mesh:
    """Return one mesh of several that do not touch."""
    first = np.cumsum([0, *(sheet.n_vertices for sheet in sheets)])
    edges = [sheet.edges + start for sheet, start in zip(sheets, first[:-1], strict=True)]
    return Mesh(int(first[-1]), edges=np.concatenate(edges))


@pytest.fixture(scope="module")
def clean() -> Cohort:
    """Four people at three visits on two sheets of 30 and 20 vertices; their courses are alike in both."""
    rng = np.random.default_rng(0)
    mesh = beside([Mesh.grid(5, 6), Mesh.grid(4, 5)])
    falls = rng.normal(0, 0.1, VISITS)
    values = rng.normal(2.5, 0.3, 50) + falls[:, None] * np.ones(50)
    time = 70.0 + np.tile(np.arange(3), 4)
    return Cohort(values, time, np.repeat(["a", "b", "c", "d"], 3), ["CN"] * VISITS, mesh=mesh)


@pytest.fixture(scope="module")
def shifted(clean) -> Cohort:
    errors = np.random.default_rng(1).normal(0, 0.05, (VISITS, 2))
    values = clean.values + np.where(np.arange(50) < 30, errors[:, :1], errors[:, 1:])
    return replace(clean, values=values)


def test_the_contrast_goes_and_what_is_common_stays(clean, shifted):
    levels = fit_hemisphere_levels(shifted)
    errors = shifted.values - clean.values
    contrast = errors[:, 0] - errors[:, 40]
    common = (errors[:, :1] + errors[:, 40:41]) / 2
    side = np.where(np.arange(50) < 30, 1, -1)
    # What is left of the errors: their mean over both sides, and half of the contrast's own mean.
    expected = clean.values + common + contrast.mean() / 2 * side
    np.testing.assert_allclose(levels(shifted).values, expected, atol=1e-12)
    assert levels.sd == pytest.approx(contrast.std())
    assert levels.lines()[0].startswith("Hemispheres set to one level at each of 12 visits")


def test_missing_values_and_a_missing_hemisphere(shifted):
    values = shifted.values.copy()
    values[2, RIGHT] = np.nan
    values[5, 3:9] = np.nan
    values[:, 45] = np.nan
    holed = replace(shifted, values=values)
    levels = fit_hemisphere_levels(holed)
    made = levels(holed).values
    np.testing.assert_array_equal(np.isnan(made), np.isnan(values))
    np.testing.assert_array_equal(made[2], values[2])  # nothing to compare with
    off = made - levels.means
    for visit in set(range(VISITS)) - {2}:
        assert np.nanmean(off[visit, LEFT]) == pytest.approx(np.nanmean(off[visit, RIGHT]), abs=1e-12)


def test_a_hemisphere_that_only_controls_have_does_not_bend_courses(clean):
    """Patients differ, and lack one side at their later visits: the side that they have stays level."""
    patient = np.isin(clean.subject, ["c", "d"])
    values = np.where(patient[:, None], 2.0, 2.5) * np.ones((VISITS, 50))
    later = patient & (clean.time > 70)
    values[later, RIGHT] = np.nan
    made = fit_hemisphere_levels(replace(clean, values=values))
    np.testing.assert_allclose(made(replace(clean, values=values)).values, values, atol=1e-12)


def test_how_unsteady_hemispheres_are_about_each_persons_line(shifted):
    found = unsteadiness(shifted)
    off = shifted.values - shifted.values.mean(0)
    contrast = (off[:, LEFT].mean(1) - off[:, RIGHT].mean(1)).reshape(4, 3)
    third = np.array([1, -2, 1]) / np.sqrt(6)  # of three visits at even times one number is left beside a line
    assert found.contrast == pytest.approx(np.sqrt(((contrast @ third) ** 2).mean()))
    assert found.single == pytest.approx(np.sqrt(((third @ shifted.values.reshape(4, 3, 50)) ** 2).mean()))
    assert found.chance == pytest.approx(found.single * np.sqrt(1 / 30 + 1 / 20))
    twice = unsteadiness(shifted.subset(visits=np.arange(VISITS) % 3 < 2))  # about each person's mean
    assert twice.contrast == pytest.approx(np.sqrt(contrast[:, :2].var(1, ddof=1).mean()))
    assert unsteadiness(fit_hemisphere_levels(shifted)(shifted)).contrast < 1e-12
    assert unsteadiness(replace(shifted, mesh=None)) is None
    assert unsteadiness(shifted.subset(visits=[0, 3, 6])) is None  # once each


def said_of(cohort: Cohort) -> list[str]:
    return [line for line in remarks(cohort, "controls") if "hemisphere" in line]


def test_it_is_advised_where_it_helps(clean, shifted):
    (said,) = said_of(replace(clean, values=clean.values + 5 * (shifted.values - clean.values)))
    assert said.endswith("unless the disease is of one side, --level-hemispheres takes them out")
    rng = np.random.default_rng(2)
    for side in (10, 50, 400):  # vertices; their errors are independent
        mesh = beside([Mesh.grid(1, side)] * 2)
        noise = 2.5 + rng.normal(0, 0.1, (VISITS, 2 * side))
        assert not said_of(replace(clean, values=noise, mesh=mesh))
        off = rng.normal(0, 0.1, (VISITS, 1)) * (np.arange(2 * side) < side)
        assert len(said_of(replace(clean, values=noise + off, mesh=mesh))) == (side > 10)  # of 10 chance is .45
    course = -0.3 * (clean.time[:, None] - 70) * (np.arange(50) < 30)  # a disease of one side
    assert not said_of(replace(clean, values=clean.values + rng.normal(0, 0.1, (VISITS, 50)) + course))


def test_what_lies_below_the_cortex_does_not_count(shifted):
    names = np.repeat(["CORTEX_LEFT", "CORTEX_RIGHT", "THALAMUS_LEFT"], [30, 20, 40])
    structure = np.char.add("CIFTI_STRUCTURE_", names)
    place = np.arange(90)
    cifti = CiftiSpace(structure, place, np.full((90, 3), -1), tuple(structure[[0, 30]]), (30, 20), place)
    loud = np.random.default_rng(3).normal(0, 9, (VISITS, 40))
    whole = replace(shifted, values=np.c_[shifted.values, loud], mesh=None, space=cifti)
    assert unsteadiness(whole) == pytest.approx(unsteadiness(shifted))


def test_new_subjects_are_levelled_by_the_same_means(shifted, tmp_path):
    old, new = shifted.subset(visits=range(6)), shifted.subset(visits=range(6, VISITS))
    prepared = prepare_study(old, level=True)
    made = prepared.cohort
    prepared.save(tmp_path)
    assert [note.split()[0] for note in prepared.notes] == ["Hemispheres"]
    assert Cohort.load(tmp_path / "cohort.npz").hash == made.hash
    levels = load_hemisphere_levels(tmp_path / "hemispheres.npz")
    alike = prepare_alike(new, tmp_path)
    off = alike.values - old.values.mean(0)
    np.testing.assert_allclose(off[:, LEFT].mean(1), off[:, RIGHT].mean(1), atol=1e-12)
    np.testing.assert_array_equal(levels(new).values, alike.values)
    np.testing.assert_array_equal(prepare_alike(old, tmp_path).values, made.values)
    prepare_study(old).save(tmp_path)  # not asked for: nothing is remembered of the fit before
    assert not (tmp_path / "hemispheres.npz").exists()


def test_islands_belong_to_no_side(clean):
    mesh = beside([Mesh.grid(5, 6), Mesh.grid(1, 1), Mesh.grid(4, 5)])
    values = np.insert(clean.values, 30, 9.0, axis=1)
    levels = fit_hemisphere_levels(replace(clean, values=values, mesh=mesh))
    assert levels.side.tolist() == [1] * 30 + [0] + [-1] * 20


def test_the_files_of_maps_tell_sides(clean, shifted):
    index = np.arange(50)
    right_first = SurfaceSpace(".mgh", ("rh", "lh"), (30, 20), index)
    flat = fit_hemisphere_levels(replace(shifted, mesh=None, space=right_first))
    assert flat.side.tolist() == [-1] * 30 + [1] * 20
    np.testing.assert_allclose(flat(shifted).values, fit_hemisphere_levels(shifted)(shifted).values, atol=1e-12)
    names = np.repeat(["CORTEX_LEFT", "CORTEX_RIGHT", "THALAMUS_LEFT"], [30, 15, 5])
    structure = np.char.add("CIFTI_STRUCTURE_", names)
    cifti = CiftiSpace(structure, index, np.full((50, 3), -1), tuple(structure[[0, 30]]), (30, 15), index)
    assert fit_hemisphere_levels(replace(shifted, space=cifti)).side.tolist() == [1] * 30 + [-1] * 15 + [0] * 5
    volume = replace(shifted, space=VolumeSpace(".nii", (50, 1, 1), np.eye(4), index))
    with pytest.raises(CohortError, match="neither its maps"):
        fit_hemisphere_levels(volume)


def test_what_has_no_two_hemispheres_is_refused(clean, shifted, tmp_path):
    one = clean.subset(vertices=range(30))
    three = replace(one, mesh=beside([Mesh.grid(2, 5)] * 3))
    stray = replace(clean, mesh=beside([Mesh.grid(7, 7), Mesh.grid(1, 1)]))
    left = Cohort(np.ones((2, cortex_mesh(("left",)).n_vertices)), [70, 71], ["a", "a"], mesh=cortex_mesh(("left",)))
    for cohort in (replace(clean, mesh=None), one, three, stray, left):
        with pytest.raises(CohortError, match=r"neither its maps nor a mesh tell .* two hemispheres; leave it out"):
            fit_hemisphere_levels(cohort)
    with pytest.raises(CohortError, match=r"of 50 vertices, but the cohort has 30"):
        fit_hemisphere_levels(shifted)(one)
    apart = clean.values.copy()
    apart[:6, LEFT], apart[6:, RIGHT] = np.nan, np.nan
    with pytest.raises(CohortError, match="no visit has values in both hemispheres"):
        check_hemispheres(replace(clean, values=apart), level=True)
    check_hemispheres(one, level=False)


@pytest.mark.parametrize("damage", [{"means": np.zeros(())}, {"side": np.zeros(3)}, {"sd": np.zeros(2)}, {"sd": None}])
def test_a_damaged_file_is_named(shifted, tmp_path, damage):
    whole = vars(fit_hemisphere_levels(shifted)) | damage
    np.savez(tmp_path / "other.npz", **{name: array for name, array in whole.items() if array is not None})
    with pytest.raises(CohortError, match=r"other\.npz: not hemispheres' levels"):
        load_hemisphere_levels(tmp_path / "other.npz")


def test_the_template_tells_sides_of_a_part_in_pieces():
    mesh = cortex_mesh()
    part = mesh.subset(np.arange(0, mesh.n_vertices, 7))
    cohort = Cohort(np.ones((2, part.n_vertices)), [70, 71], ["a", "a"], mesh=part)
    assert (fit_hemisphere_levels(cohort).side == np.where(part.template_index < 10242, 1, -1)).all()


@pytest.mark.parametrize(("sd", "told"), [(0.0, False), (0.06, True)])
def test_people_whose_hemispheres_differ_lastingly_are_told(sd, told):
    cohort = simulate_cohort(n_subjects=20, visits=2, seed=0)
    side = np.where(np.arange(cohort.n_vertices) < cohort.n_vertices // 2, 1.0, -1.0)
    offsets = np.random.default_rng(1).normal(0, sd, cohort.n_subjects)[cohort.subject_index]
    shifted = replace(cohort, values=cohort.values + np.outer(offsets, side).astype(np.float32))
    said = [line for line in remarks(shifted, "controls") if "between people" in line]
    assert bool(said) is told
    contrast = lasting_contrast(shifted).contrast
    # Relative standard error of the sd of 20 people: 1 / sqrt(38) = .16; smooth patterns add some .01 mm.
    assert contrast == pytest.approx(np.hypot(2 * sd, 0.01), rel=0.4)
