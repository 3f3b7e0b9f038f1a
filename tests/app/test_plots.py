"""What the figures draw: the artists' own data against the results they were made of."""

import importlib
import pkgutil
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm

import neuropyro
from neuropyro import plots
from neuropyro.data import Cohort, Mesh, cortex_mesh, simulate_reference
from neuropyro.inference import Schedule, fit, reliability
from neuropyro.models import VertexClusterMixture
from neuropyro.models.anatomy_counterfactual import Counterfactual
from neuropyro.models.corruption import Downsample, Mask
from neuropyro.models.forecasting import Forecasted
from neuropyro.outputs import Outcome
from neuropyro.plot_style import diagnosis_groups
from neuropyro.reconstruct_inputs import Job
from neuropyro.reconstruct_plots import errors_by_sd

STEPS = Schedule(max_steps=2, warm_up=0, window=2)  # what is drawn need not be a good fit


def outcome(guide: str) -> Outcome:
    cohort = simulate_reference(n_subjects=8, n_vertices=12, seed=1)
    model = VertexClusterMixture(n_clusters=2)
    return Outcome(model, cohort, fit(model, cohort, guide=guide, schedule=STEPS, progress=False), draws=20)


@pytest.fixture(scope="module")
def drawn() -> Outcome:
    return outcome("normal")


def test_every_figure_of_the_library_is_in_one_place():
    modules = [name for _, name, _ in pkgutil.iter_modules(neuropyro.__path__) if name.endswith("_plots")]
    found = {f for name in modules for f in importlib.import_module(f"neuropyro.{name}").__all__}
    assert {name for name in found if name.startswith("plot_")} == {n for n in plots.__all__ if n.startswith("plot_")}


def test_trajectories_are_the_posterior_median_and_its_interval_beside_the_visits(drawn):
    axes = plots.plot_trajectories(drawn).axes
    assert len(axes) == 2
    for k, axis in enumerate(axes):
        line = axis.lines[-1]
        a, b, c, d = (drawn.trajectories[name][:, k, None] for name in "abcd")
        dps = drawn.posterior["dps"]
        fits = [np.polyfit(np.median(dps, 0), draw, 1) for draw in dps]  # a draw's scores over their medians
        scores = np.array([np.polyval(line_of_draw, line.get_xdata()) for line_of_draw in fits])
        curves = d + a * expit(b * (scores - c))
        np.testing.assert_allclose(line.get_ydata(), np.median(curves, 0), rtol=1e-5)
        corners = axis.collections[0].get_paths()[0].vertices[:, 1]
        low, high = np.percentile(curves, (5, 95), axis=0)
        assert corners.min() == pytest.approx(low.min())
        assert corners.max() == pytest.approx(high.max())


def test_a_cluster_that_hardly_changes_is_seen_to():
    made = simulate_reference(n_subjects=8, n_vertices=12, seed=1)
    cohort = Cohort(made.values * np.repeat([1.0, 0.01], 6), made.time, made.subject, made.diagnosis)
    model = VertexClusterMixture(2, labels=(0,) * 6 + (1,) * 6)
    found = Outcome(model, cohort, fit(model, cohort, guide="normal", schedule=STEPS, progress=False), draws=20)
    changing, still = plots.plot_trajectories(found).axes
    spans = [float(np.diff(axis.get_ylim())[0]) for axis in (changing, still)]
    assert spans[1] == pytest.approx(spans[0] / 2)
    heights = [np.ptp(axis.collections[0].get_paths()[0].vertices[:, 1]) for axis in (changing, still)]
    assert heights[1] / spans[1] < 0.05  # of the panel, which its band would fill


def test_biomarkers_have_their_own_curves_in_their_own_unit():
    made = simulate_reference(n_subjects=20, n_vertices=4, n_clusters=2, seed=2)
    names, units = np.array(["volume", "area", "score", "test"]), np.array([1.0, 1000.0, 0.1, 10.0])
    cohort = Cohort(made.values * units, made.time, made.subject, made.diagnosis, feature_names=names)
    model = VertexClusterMixture(2, scatter=False, labels=(0, 0, 1, 1))  # a column's curve is its cluster's
    found = Outcome(model, cohort, fit(model, cohort, guide="map", schedule=STEPS, progress=False))
    axes = plots.plot_biomarkers(found).axes[: len(names)]
    assert [axis.get_ylabel() for axis in axes] == names.tolist()
    location, scale = found.fit.data.location.numpy(), found.fit.data.scale.numpy()
    for j, (axis, k) in enumerate(zip(axes, (0, 0, 1, 1), strict=True)):
        line = axis.lines[-1]
        a, b, c, d = (found.posterior[name][0, k] for name in "abcd")
        curve = (d + a * expit(b * (line.get_xdata() - c))) * scale[j] + location[j]
        np.testing.assert_allclose(line.get_ydata(), curve, rtol=1e-4)
    assert plots.plot_biomarkers(outcome("map")) is None
    means = (found.cohort.values - location) / scale  # a cluster's are of standardised biomarkers
    for k, axis in enumerate(plots.plot_trajectories(found).axes):
        dots = np.concatenate([line.get_ydata() for line in axis.lines[:-1]])
        np.testing.assert_allclose(np.sort(dots), np.sort(means[:, 2 * k : 2 * k + 2].mean(1)), atol=1e-4)
    assert "standardised" in plots.plot_trajectories(found).axes[0].get_ylabel()


def test_legends_lie_beside_the_data(drawn):
    figure = plots.plot_stages(drawn)
    figure.draw_without_rendering()
    (axis,) = figure.axes
    assert axis.get_legend().get_window_extent().x0 >= axis.get_window_extent().x1
    names = np.array(["one", "two"])
    made = simulate_reference(n_subjects=8, n_vertices=2, seed=2)
    cohort, model = Cohort(made.values, made.time, made.subject, made.diagnosis, feature_names=names), drawn.model
    few = fit(model, cohort, guide="map", schedule=STEPS, progress=False)
    figure = plots.plot_biomarkers(Outcome(model, cohort, few))
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert all(legend.get_window_extent().y1 <= axis.get_window_extent().y0 for axis in figure.axes)
    assert figure.get_suptitle() == "biomarkers, values as in the data"  # beside a panel it would be that one's label
    assert not figure.get_supylabel()


def test_stages_are_a_line_a_subject_with_an_interval_at_its_end(drawn):
    (axis,) = plots.plot_stages(drawn).axes
    medians = np.sort(np.median(drawn.posterior["dps"], 0))
    courses, *dots = (line.get_ydata() for line in axis.lines)
    assert np.sort(courses[~np.isnan(courses)]) == pytest.approx(medians)
    assert np.isnan(courses).sum() == drawn.cohort.n_subjects - 1  # none where a diagnosis changes
    assert np.sort(np.concatenate(dots)) == pytest.approx(medians)
    bars = [bar for collection in axis.collections for bar in collection.get_segments()]
    ends = {drawn.cohort.subject[row]: row for row in np.argsort(drawn.cohort.time)}
    low, high = np.percentile(drawn.posterior["dps"], (5, 95), axis=0)[:, list(ends.values())]
    assert sorted(bar[0, 1] for bar in bars) == pytest.approx(sorted(low))
    assert sorted(bar[1, 1] for bar in bars) == pytest.approx(sorted(high))


def test_a_subjects_line_goes_on_where_the_diagnosis_changes_and_the_dots_change(drawn):
    made = drawn.cohort
    first = [made.time[made.subject == who].min() for who in made.subject]
    words = np.where(made.time == first, "CN", "AD")
    cohort = Cohort(made.values, made.time, made.subject, words)
    (axis,) = plots.plot_stages(Outcome(drawn.model, cohort, drawn.fit, draws=20)).axes
    course, controls, patients = axis.lines
    whole = np.split(course.get_xdata(), np.flatnonzero(np.isnan(course.get_xdata())))
    pieces = [piece[~np.isnan(piece)] for piece in whole]
    for who in made.subjects:
        times = np.sort(made.time[made.subject == who])
        assert sum(np.array_equal(piece, times) for piece in pieces) == 1
    for dots, name in ((controls, "CN"), (patients, "AD")):
        assert sorted(dots.get_xdata()) == sorted(made.time[words == name])
    assert sum(len(bars.get_segments()) for bars in axis.collections) == made.n_subjects


def test_diagnoses_keep_the_studys_own_words_and_each_has_a_colour():
    words = ["AD", "CN", "MCI", "", "CN"]
    groups = diagnosis_groups(Cohort(np.ones((5, 2)), [1, 2, 3, 4, 5], list("abcde"), words))
    assert [name for _, _, name in groups] == ["CN", "MCI", "AD", "no diagnosis"]
    assert len({colour for _, colour, _ in groups}) == 4
    gravest = diagnosis_groups(Cohort(np.ones((2, 2)), [1, 2], list("ab"), ["AD", "CN"]))[1]
    assert gravest[1] == groups[2][1]  # without MCI as with it
    assert {colour for _, colour, _ in groups[1:3]} != {"#D55E00", "#E69F00"}  # red and orange, alike to many
    assert [members.tolist() for members, _, _ in groups[:2]] == [[w == name for w in words] for name in ("CN", "MCI")]
    numbered = Cohort(np.ones((3, 2)), [1, 2, 3], list("abc"), [1, 2, -1])
    assert [name for _, _, name in diagnosis_groups(numbered)] == ["controls", "patients", "no diagnosis"]


def test_a_forecast_is_what_was_seen_and_what_is_expected_of_each_biomarker_or_cluster():
    rng = np.random.default_rng(0)
    seen = Cohort(rng.random((3, 4)), [70, 72, 71], ["a"] * 3)
    draws = rng.random((50, 2, 4)).astype(np.float32)
    ends = np.quantile(draws, [0.05, 0.95], axis=0)
    who, when = np.array(["a", "a"]), np.array([73.0, 74.0])
    later = Forecasted(who, when, np.zeros((50, 2)), draws.mean(0), *ends, level=0.9, draws=draws)
    axes = plots.plot_forecast(later, seen, np.array([0, 1, -1, 0])).axes
    assert [axis.get_ylabel().split(":")[0] for axis in axes] == ["cluster 1", "cluster 2"]
    before, after = axes[0].lines[:2]
    assert before.get_xdata().tolist() == [70, 71, 72]
    np.testing.assert_allclose(before.get_ydata(), seen.values[[0, 2, 1]][:, [0, 3]].mean(1))
    of_cluster = draws[:, :, [0, 3]].mean(2)
    np.testing.assert_allclose(after.get_ydata(), of_cluster.mean(0), rtol=1e-5)
    bars = np.array(axes[0].collections[0].get_segments())[:, :, 1]
    np.testing.assert_allclose(bars.T, np.quantile(of_cluster, [0.05, 0.95], axis=0), rtol=1e-5)
    named = Cohort(seen.values, seen.time, seen.subject, feature_names=np.array(list("wxyz")))
    panels = plots.plot_forecast(later, named).axes  # no empty ones beside them
    assert all(axis.lines for axis in panels)
    assert all(axis.xaxis.get_tick_params()["labelbottom"] for axis in panels)
    assert [axis.get_ylabel()[0] for axis in panels] == list("wxyz")
    np.testing.assert_allclose(panels[2].lines[1].get_ydata(), later.mean[:, 2])
    (join,) = [line for line in panels[2].lines if line.get_xdata().tolist() == [72, 73]]  # from seen to forecast
    np.testing.assert_allclose(join.get_ydata(), [seen.values[1, 2], later.mean[0, 2]])
    assert (join.get_color(), join.get_linestyle()) == (after.get_color(), after.get_linestyle())  # the legend's


def test_a_forecast_of_one_visit_says_so_and_what_was_never_seen():
    once = Cohort([[np.nan, 25.0]], [70], ["a"], feature_names=np.array(["tau", "MMSE"]))
    mean = np.array([[3.0, 24.0]])
    later = Forecasted(np.array(["a"]), np.array([72.0]), np.zeros((4, 1)), mean, mean - 1, mean + 1, level=0.9)
    figure = plots.plot_forecast(later, once)
    assert figure.get_suptitle() == "subject a, 1 visit so far, values as in the data"
    assert [axis.get_title() for axis in figure.axes] == ["no value so far", ""]


def test_a_point_has_no_intervals():
    (axis,) = plots.plot_stages(outcome("map")).axes
    assert not axis.collections


def test_recovery_is_estimate_over_truth(drawn):
    (axis,) = plots.plot_recovery(drawn).axes
    points = np.concatenate([np.column_stack(line.get_data()) for line in axis.lines[:-1]])
    expected = np.column_stack([drawn.cohort.truth["dps"], np.median(drawn.posterior["dps"], 0)])
    assert points[np.argsort(points[:, 0])] == pytest.approx(expected[np.argsort(expected[:, 0])], rel=1e-5)


def test_reliability_is_share_of_right_labels_over_probability(drawn):
    (axis,) = plots.plot_reliability(drawn).axes
    found = reliability(drawn.assignments, drawn.cohort.truth["Z"])
    np.testing.assert_allclose(axis.collections[-1].get_offsets(), np.column_stack([found.confidence, found.accuracy]))


def test_coverage_of_normal_draws_is_that_of_the_normal_distribution():
    draws = norm.ppf((np.arange(2000) + 0.5) / 2000)[:, None] * np.ones(400)
    truth = norm.ppf((np.arange(400) + 0.5) / 400)
    (axis,) = plots.plot_coverage({"right": (draws, truth), "half as wide": (draws / 2, truth)}).axes
    _, right, narrow = axis.lines
    np.testing.assert_allclose(right.get_ydata(), right.get_xdata(), atol=0.01)
    half = 2 * norm.cdf(norm.ppf((1 + narrow.get_xdata()) / 2) / 2) - 1
    np.testing.assert_allclose(narrow.get_ydata(), half, atol=0.01)


def test_a_map_is_coloured_by_its_values_on_the_hemisphere_that_it_has():
    mesh = cortex_mesh(("left",))
    values = np.where(np.arange(mesh.n_vertices) % 2, 1.0, 3.0)
    figure = plots.plot_map(mesh, values, "thickness (mm)", limits=(1.0, 3.0))
    *panels, bar = figure.axes
    assert [axis.get_title() for axis in panels] == ["left, lateral", "left, medial"]
    assert bar.get_xlabel() == "thickness (mm)"
    assert bar.get_xlim() == (1.0, 3.0)
    (surface,) = panels[0].collections
    shown = {tuple(colour) for colour in np.round(surface.get_facecolor()[:, :3], 3)}
    viridis = mpl.colormaps["viridis"].resampled(64)
    assert tuple(np.round(viridis(63)[:3], 3)) in shown
    assert tuple(np.round(viridis(0)[:3], 3)) in shown


def test_a_mesh_without_template_has_no_map():
    assert plots.plot_map(Mesh.grid(3, 3), np.zeros(9), "x") is None
    assert plots.plot_map(None, np.zeros(9), "x") is None


def images(corruption, truth=True):
    """A reconstruction's results, of made-up numbers."""
    rng = torch.Generator().manual_seed(0)
    clean = torch.rand(2, 1, 16, 16, generator=rng) - 0.5
    draws = clean.numpy() + 0.1 * torch.randn(4, 2, 1, 16, 16, generator=rng).numpy()
    job = Job("images", corruption, corruption.corrupt(clean, seed=0), clean + 0.1 if truth else None)
    model = SimpleNamespace(corruption=corruption)
    fitted = SimpleNamespace(is_point=False)
    return SimpleNamespace(
        clean=clean, sd=draws.std(0), drawn={"clean": draws}, draws=4, fit=fitted, job=job, model=model
    )


def test_a_reconstruction_is_a_row_an_image_with_estimate_sd_truth_and_error():
    found = images(Downsample(4, noise=0.01))
    axes = plots.plot_reconstruction(found).axes
    titles = [axis.get_title() for axis in axes if axis.get_title()]
    assert titles == [
        "input",
        "posterior mean",
        "draw 1",
        "draw 2",
        "draw 3",
        "sd (grey levels)",
        "truth",
        "mean - truth\n(grey levels)",
    ]
    pictures = [axis.images[0].get_array() for axis in axes if axis.images]
    assert pictures[0].shape == (4, 4)
    np.testing.assert_allclose(pictures[1], found.clean[0, 0])
    np.testing.assert_allclose(pictures[5], found.sd[0, 0] * 127.5)
    np.testing.assert_allclose(pictures[7], -0.1 * 127.5 * np.ones((16, 16)), rtol=1e-4)


def test_a_point_has_no_panels_of_draws_and_sd():
    found = images(Downsample(4, noise=0.01))
    found.fit.is_point = True
    titles = [axis.get_title() for axis in plots.plot_reconstruction(found).axes if axis.get_title()]
    assert titles == ["input", "MAP: a point, no sd", "truth", "MAP - truth\n(grey levels)"]


def test_colours_of_small_sds_end_at_their_own_size():
    found = images(Downsample(4))
    found.sd = found.sd / 50  # all below a grey level
    panel, *_ = plots.plot_sd(found).axes
    assert panel.images[0].get_clim() == pytest.approx((0, 127.5 * np.percentile(found.sd, 99.5)))


def test_without_a_truth_there_is_no_error_and_a_hole_is_black():
    mask = torch.ones(16, 16)
    mask[:8] = 0
    axes = plots.plot_reconstruction(images(Mask(mask, noise=0.01), truth=False)).axes
    titles = [axis.get_title() for axis in axes if axis.get_title()]
    assert "truth" not in titles
    assert (axes[0].images[0].get_array()[:8] == -1).all()


def test_a_hole_is_outlined_beside_the_input_and_lost_pixels_are_not():
    mask = torch.ones(16, 16)
    mask[4:9, 3:12] = 0
    axes = plots.plot_reconstruction(images(Mask(mask, noise=0.01))).axes
    outlined = [bool(axis.collections) for axis in axes if axis.images and axis.get_title()]
    assert outlined == [False] + [True] * 7
    (outline,) = axes[1].collections
    np.testing.assert_allclose(outline.get_paths()[0].get_extents().bounds, (2.5, 3.5, 9, 5))
    speckled = (torch.rand(16, 16, generator=torch.Generator().manual_seed(0)) > 0.3).float()
    assert not plots.plot_reconstruction(images(Mask(speckled))).axes[1].collections
    assert not plots.plot_reconstruction(images(Downsample(4))).axes[1].collections


def test_errors_are_compared_with_sds_in_bins_of_like_sd():
    sd = np.repeat([1.0, 3.0], 600)
    said, true = errors_by_sd(sd, 2 * sd * np.tile([1.0, -1.0], 600))
    assert said == pytest.approx([1.0] * 6 + [3.0] * 6)
    assert true == pytest.approx(2 * said)


def test_sd_maps_are_in_grey_levels_and_a_point_has_none():
    found = images(Downsample(4))
    *panels, last, _bar = plots.plot_sd(found).axes
    np.testing.assert_allclose(panels[0].images[0].get_array(), found.sd[0, 0] * 127.5)
    assert last.lines[-1].get_ydata() == pytest.approx(0.1 * 127.5 * np.ones(12), rel=1e-4)
    found.fit.is_point = True
    with pytest.raises(ValueError, match="point"):
        plots.plot_sd(found)


def test_sd_maps_and_errors_fill_the_figure():
    figure = plots.plot_sd(images(Downsample(4)))
    figure.draw_without_rendering()
    *panels, errors, bar = figure.axes
    height = figure.bbox.height
    assert errors.get_tightbbox().y0 < 0.05 * height
    assert errors.get_window_extent().height > 0.6 * height
    below = min(panel.get_window_extent().y0 for panel in panels)
    assert 0 <= below - bar.get_window_extent().y1 < 0.08 * height  # the scale is next to what it is of


def test_worlds_are_slices_and_their_differences_from_the_first():
    first = np.zeros((3, 1, 2, 1, 8, 8))
    times = np.array([[60.0, 70.0]])
    worlds = {
        "as it is": Counterfactual(np.array(["a"]), times, {"image": first}),
        "treated": Counterfactual(np.array(["a"]), times, {"image": first + 0.25}),
    }
    axes = plots.plot_worlds(worlds).axes[:8]  # then their scales
    assert [axis.get_title() for axis in axes[:2]] == ["60 years", "70 years"]
    shown = [axis.images[0].get_array() for axis in axes]
    assert [float(picture.mean()) for picture in shown[::2]] == pytest.approx([0.0, 0.25, 0.25, 0.0])
    figure = plots.plot_worlds(worlds)
    figure.draw_without_rendering()
    scales = figure.axes[8:]
    assert any("red: darker" in scale.get_ylabel() for scale in scales)
    for scale in scales:  # labels longer than their scales run into those of other rows
        assert scale.yaxis.label.get_window_extent().height <= scale.get_window_extent().height


def test_courses_are_means_within_intervals_by_age():
    rng, times = np.random.default_rng(0), np.array([[70.0, 60.0]])  # not in order
    nodes = {
        "mmse": 25 + rng.normal(size=(200, 1, 2)),
        "dps": rng.normal(size=(200, 1, 2)),
        "apoe4": np.ones((200, 1, 1)),
    }
    world = Counterfactual(np.array(["a"]), times, nodes)
    figure = plots.plot_courses({"as it is": world, "treated": world})
    assert [axis.get_ylabel() for axis in figure.axes] == ["progression score\n(sds of controls' first visits)", "MMSE"]
    line, band = figure.axes[1].lines[0], figure.axes[1].collections[0].get_paths()[0].vertices
    assert line.get_xdata().tolist() == [60.0, 70.0]
    np.testing.assert_allclose(line.get_ydata(), nodes["mmse"].mean(0)[0, ::-1])
    low, high = world.interval("mmse")
    np.testing.assert_allclose([band[:, 1].min(), band[:, 1].max()], [low.min(), high.max()])
    with pytest.raises(ValueError, match="plot_courses: the worlds have none of dps, adas"):
        plots.plot_courses({"as it is": Counterfactual(np.array(["a"]), times, {"apoe4": nodes["apoe4"]})})


def test_worlds_without_slices_or_maps_are_refused():
    world = Counterfactual(np.array(["a"]), np.array([[60.0]]), {"mmse": np.full((5, 1, 1), 25.0)})
    with pytest.raises(ValueError, match="neither slices nor maps of a template; plot_courses draws numbers"):
        plots.plot_worlds({"as it is": world})


def test_differences_of_all_worlds_are_in_the_same_colours():
    """Of maps as of slices, with the sd of draws: the largest difference ends the scale, not each world's own."""
    mesh = cortex_mesh()
    rng = np.random.default_rng(0)
    nodes = {"image": np.zeros((5, 1, 1, 1, 8, 8)), "thickness": np.full((5, 1, 1, mesh.n_vertices), 2.5)}
    draws = rng.normal(size=(5, 1, 1, 1))
    moved = [
        {"image": nodes["image"] + 0.1 * k, "thickness": nodes["thickness"] - 0.2 * k - 0.02 * k * draws}
        for k in (1, 2)
    ]
    worlds = {
        name: Counterfactual(np.array(["a"]), np.array([[60.0]]), x)
        for name, x in zip(("as it is", "one", "two"), (nodes, *moved), strict=True)
    }
    axes = plots.plot_worlds(worlds, mesh).axes[:14]
    limits = [(axis.images or axis.collections)[0].get_clim() for axis in axes]
    assert limits[4] == limits[10] == pytest.approx((-0.2, 0.2))
    map_change, map_sd = 0.4 + 0.04 * draws.mean(), 0.04 * draws.std()
    assert limits[5] == limits[11] == pytest.approx((-map_change, map_change))
    assert limits[7] == limits[13] == pytest.approx((0, map_sd))
    shade = [float(axes[k].collections[0].get_array().mean()) for k in (5, 13)]
    assert shade == pytest.approx([-map_change / 2, map_sd], rel=1e-6)
    changes = [(axes[k].images or axes[k].collections)[0] for k in (4, 5)]
    assert len({picture.get_cmap().name for picture in changes}) == 1  # one colour is less in slices and in maps


def test_selection_marks_the_number_chosen():
    columns = {"clusters": np.array([2, 3, 4])} | {
        name: np.array([1.0, 0.0, 2.0])
        for name in (
            "held_out_below_best",
            "held_out_error",
            "loo_below_best",
            "loo_error",
            "bic",
            "icl",
            "dice",
            "rand",
        )
    }
    found = SimpleNamespace(columns=lambda: columns, clusters=3, folds=5)
    left, middle, right = plots.plot_selection(found).axes
    assert left.lines[0].get_ydata() == pytest.approx([-1.0, 0.0, -2.0])
    assert all(axis.lines[-1].get_xdata() == [3, 3] for axis in (left, middle, right))


@pytest.mark.parametrize(
    "plot", ["biomarkers", "reliability", "clusters", "entropy", "trajectories", "stages", "loss", "recovery"]
)
def test_a_fit_alone_is_told_what_a_figure_is_of(plot):
    with pytest.raises(
        TypeError, match=r"drawn of neuropyro\.outputs\.Outcome\(model, cohort, result\), not of a dict"
    ):
        getattr(plots, f"plot_{plot}")({})


def test_labels_of_worlds_are_in_what_a_notebook_cuts_out():
    random = np.random.default_rng(0)
    names = ["as it is", "a world with a long name"]
    worlds = {
        name: Counterfactual(np.array(["a"]), np.array([[70.0, 74.0]]), {"image": random.random((3, 1, 2, 1, 8, 8))})
        for name in names
    }
    figure = plots.plot_worlds(worlds, note="slices at their mode")
    seen = figure.get_tightbbox().bounds[0] * figure.dpi
    labels = [text for axis in figure.axes for text in axis.texts]
    assert [label.get_text() for label in labels] == [names[0], names[1], "difference", "its sd"]
    assert min(label.get_window_extent().x0 for label in labels) == pytest.approx(seen, abs=1)
    assert seen >= 0
