"""The commands that fit clusters: of a study, and of a simulated one to begin with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from neuropyro.console import listed, say, warn
from neuropyro.data.open_study import NO_OPTIONS, StudyOptions, is_of_biomarkers, is_study
from neuropyro.plain_words import plain_verdict, remedy
from neuropyro.result_folder import check_room, keep_fits, make_room, refuse_file, unfinished
from neuropyro.study_memory import keep_reading

if TYPE_CHECKING:  # the models' libraries take seconds to import, and --help needs none of them
    from neuropyro.data import Cohort
    from neuropyro.outputs import Outcome

__all__ = ["demo", "dive_fit", "register"]

Guide = Literal["map", "laplace", "normal", "lowrank", "mvn", "structured", "flow"]
DEMO_SUBJECTS = 240
DEMO_TOLERANCE = 1e-5  # of the loss, some 300 nats in 50 steps: with less the fit may creep on for thousands of steps


def register(app: App, dive: App) -> None:
    """Add the commands to the app and to its group of disease progression.

    Examples
    --------
    >>> app, dive = App(), App(name="dive")
    >>> register(app, dive)
    >>> try:
    ...     dive("fit visits.csv --out fit", result_action="return_value")
    ... except ValueError as error:
    ...     print(str(error).partition(";")[0])
    visits.csv: no such file or folder
    """
    app.command(demo)
    dive.command(dive_fit, name="fit")


def demo(*, out: Path = Path("demo"), overwrite: bool = False, guide: Guide = "normal", seed: int = 0) -> None:
    """Simulate a study on the fsaverage5 cortex, fit DIVE to it, and compare with the truth.

    Parameters
    ----------
    out
        Folder for cohort, fit and report; an earlier demo's are replaced.
    overwrite
        Whether a fit of your own that the folder holds is replaced too.
    guide
        How the posterior is approximated.
    seed
        Seed of the simulation and of the fit.

    Raises
    ------
    ValueError
        Where the folder holds a fit of your own, and ``overwrite`` is not given.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "fit.json").touch()  # a fit of your own
    >>> demo(out=folder)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ...: it holds a fit already; give another --out, or --overwrite to replace it
    """
    refuse_file(out)
    if not overwrite and not _is_simulated(out / "cohort.npz"):
        keep_fits([out])
    from neuropyro.data import simulate_cohort
    from neuropyro.inference import Schedule
    from neuropyro.report import truth_lines

    _check_room(out)
    cohort = simulate_cohort(n_subjects=DEMO_SUBJECTS, visits=4, n_clusters=3, missing_visits=0.03, seed=seed)
    print(cohort, file=sys.stderr)
    options = {"guide": guide, "seed": seed, "schedule": Schedule(tolerance=DEMO_TOLERANCE)}
    outcome = _fit(cohort, options, n_clusters=3, visit_effect=True, vertex_effect=True)
    _make_room(out)
    with unfinished(out):
        cohort.save(out / "cohort.npz")
        _write(outcome, out)
    lines = truth_lines(outcome)
    say("\n".join(lines), truth=lines)
    _say_fit(outcome, out)


def _is_simulated(cohort: Path) -> bool:
    """Whether a cohort's file is there and holds a simulation's truth, as a demo's does."""
    if not cohort.is_file():
        return False
    from neuropyro.data.cohort_files import read_npz

    return any(name.startswith("truth_") for name in read_npz(cohort))


def dive_fit(
    cohort: Path,
    *,
    out: Path,
    overwrite: bool = False,
    clusters: int | None = None,
    guide: Guide | None = None,
    scatter: bool = True,
    subject_effect: bool = True,
    visit_effect: bool | None = None,
    vertex_effect: bool | None = None,
    ageing: bool = False,
    spatial: bool = False,
    covariates: tuple[str, ...] = (),
    standardise: Literal["controls", "all", "none"] = "controls",
    adjust: tuple[str, ...] = (),
    site: str | None = None,
    level_hemispheres: bool = False,
    restarts: int = 1,
    max_steps: int = 6000,
    seed: int = 0,
    device: Annotated[str | None, Parameter(help="torch device; CUDA where there is one")] = None,
    study: Annotated[StudyOptions, Parameter(name="*")] = NO_OPTIONS,
) -> None:
    """Cluster the vertices of a cohort by their trajectories, and stage its subjects.

    Parameters
    ----------
    cohort
        An .npz file: values (visits x vertices), time, subject; optionally diagnosis, faces or edges, coordinates.
        Or a FreeSurfer subjects folder, a folder of maps, or a table that names maps or has biomarkers (TADPOLE's too).
    out
        Folder for the fit, its tables and its report.
    overwrite
        Whether a fit that the folder holds is replaced.
    clusters
        Number of clusters; by default 3 of maps, while each of up to 30 biomarkers has a trajectory of its own.
    guide
        How the posterior is approximated; "map" is a point, without intervals. By default structured; of more than
        2048 vertices laplace for up to 60 people, and normal for more.
    scatter
        Whether a vertex has its own trajectory near its cluster's.
    subject_effect
        Whether a subject has its own offset in each cluster.
    visit_effect
        Whether a visit has one too; by default where the cohort has a mesh, over which residuals are smooth.
    vertex_effect
        Whether a subject lastingly differs at each single vertex, too; by default where the cohort has a mesh.
    ageing
        Whether all subjects' vertices also change with time alone, which is then told apart from the progression.
    spatial
        Whether neighbours on the cohort's mesh tend to be of one cluster; how much so is learned.
    covariates
        Covariates (apoe4,sex,education) that a subject's speed and stage depend on; each where it is first known.
    standardise
        Whose visits set each vertex's location and scale.
    adjust
        Covariates (age,sex,icv) whose effects in controls are taken out of the values first.
    site
        The covariate that names a visit's site, over which values are harmonised first, by ComBat.
    level_hemispheres
        Whether both hemispheres of a visit are set to one level first, which takes errors of a whole one out; not where
        the disease is of one side.
    restarts
        Fits from different starts; the best is reported.
    max_steps
        A fit that has not converged by then ends, and says so; its results are written all the same.  Starting values,
        of maps most of the time, come before.
    seed
        Seed of the fit.
    study
        How to read maps.

    Raises
    ------
    ValueError
        Where the cohort cannot be read or lacks what is named, or the folder holds a fit or the cohort itself.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.data import simulate_reference
    >>> folder = Path(tempfile.mkdtemp())
    >>> simulate_reference(n_subjects=6, n_vertices=9, seed=0).save(folder / "cohort.npz")
    >>> dive_fit(folder / "cohort.npz", out=folder / "fit", clusters=10)
    Traceback (most recent call last):
    neuropyro.data.errors.CohortError: --clusters 10: give a number from 1 to 9, for the cohort has 9 vertices
    """
    refuse_file(out)
    if not overwrite:
        keep_fits([out])
    from neuropyro.data import Cohort
    from neuropyro.study_checks import check_study
    from neuropyro.study_defaults import clusters_of, kind_of_columns, remark_on_clusters
    from neuropyro.study_preparation import prepare_study
    from neuropyro.study_remarks import few_people, missing_hemispheres, remarks
    from neuropyro.vertices_left_out import vertices_left_out

    opened = Cohort.open(cohort, study)
    check_study(opened, clusters, listed(covariates), spatial, level_hemispheres)
    from neuropyro.default_guide import default_guide
    from neuropyro.inference import Schedule  # takes seconds, for which no error of use should wait

    if (adjust or site or level_hemispheres) and cohort.resolve() == (out / "cohort.npz").resolve():
        raise ValueError(f"{cohort}: would be replaced by what is adjusted; give another --out")
    for said in [] if is_study(cohort) else missing_hemispheres(opened):
        warn(f"warning: {cohort}: {said}")
    inputs = cohort, *study.files()
    _check_room(out, inputs)
    switches: dict[str, Any] = {"scatter": scatter, "subject_effect": subject_effect, "ageing": ageing}
    switches |= kind_of_columns(opened, visit_effect, vertex_effect) | clusters_of(opened, clusters)
    switches |= {"spatial": "potts" if spatial else None, "covariates": listed(covariates)}
    scaled = None if standardise == "none" else standardise
    schedule = Schedule(max_steps=max_steps, warm_up=min(max_steps, Schedule.warm_up))
    chosen = guide or default_guide(opened, spatial)
    options = {"guide": chosen, "seed": seed, "restarts": restarts, "device": device, "schedule": schedule}
    prepared = prepare_study(opened, listed(adjust), site, level_hemispheres)
    loaded, notes = prepared.cohort, prepared.notes
    reading, lines = _read_as(cohort, study)
    reading += [f"guide {chosen}, by the size of the study; --guide names another"] * (guide is None)
    reading += remark_on_clusters(opened, clusters) + few_people(opened)
    kept = vertices_left_out(opened, cohort, study) if is_study(cohort) else []
    print(loaded, *reading, *kept, *notes, *remarks(loaded, standardise, lines, ageing), sep="\n", file=sys.stderr)
    outcome = _fit(loaded, options, (*kept, *notes), tuple(map(str, inputs)), standardise=scaled, **switches)
    _make_room(out, inputs)  # not before: what is refused or stopped leaves the earlier fit
    with unfinished(out):
        prepared.save(out)
        keep_reading(study, cohort, out)
        _write(outcome, out)
    verdict, converged = plain_verdict(outcome.fit.verdict), outcome.fit.converged
    say(verdict if converged else "", verdict=verdict)
    _say_fit(outcome, out)
    if not converged:
        why = verdict.removeprefix("not converged: ")
        todo = f"results are kept, but do not rely on them; {remedy(chosen, max_steps)}"
        warn(f"{out}: the fit has not converged: {why}; {todo}")


def _read_as(path: Path, study: StudyOptions) -> tuple[list[str], list[str]]:
    """Return of a table of biomarkers what of its reading is not plain, and where each visit is in it."""
    from neuropyro.data.biomarkers_table import biomarkers_table

    if not is_of_biomarkers(path, study):
        return [], []
    table = biomarkers_table(path, study)
    return [table.roles(), *table.remarks()], table.lines()


def _check_room(out: Path, inputs: tuple[Path, ...] = ()) -> None:
    check_room(out, _products(), inputs)


def _make_room(out: Path, inputs: tuple[Path, ...] = ()) -> None:
    if make_room(out, _products(), inputs):
        print(f"{out}: the results of an earlier fit are replaced", file=sys.stderr)


def _products() -> tuple[str, ...]:
    from neuropyro.outputs import PRODUCTS
    from neuropyro.report import PICTURES

    return (*PRODUCTS, *PICTURES)


def _say_fit(outcome: Outcome, out: Path) -> None:
    from neuropyro.ends_of_curves import remark_on_ends
    from neuropyro.fit_cautions import caution
    from neuropyro.known_speeds import remark_on_speeds

    report, fit = (out / "report.html").resolve(), outcome.fit
    if outcome.left_out:
        print(outcome.remark_on_left_out, file=sys.stderr)
    for remark in filter(None, (remark_on_ends(outcome), remark_on_speeds(outcome))):
        print(remark, file=sys.stderr)
    facts = {"converged": fit.converged, "elbo": fit.elbo, "seconds": fit.seconds}
    facts |= {outcome.columns: outcome.cohort.n_vertices, "left_out": outcome.left_out}
    said = caution(outcome) if fit.converged else ""
    if said:
        warn(f"caution: {said}")
    say(f"report: {report}", out=out.resolve(), report=report, caution=said, **facts)


def _fit(
    cohort: Cohort,
    options: dict[str, Any],
    notes: tuple[str, ...] = (),
    files: tuple[str, ...] = (),
    **switches: Any,
) -> Outcome:
    from neuropyro.inference import fit
    from neuropyro.models import VertexClusterMixture
    from neuropyro.outputs import Outcome

    model = VertexClusterMixture(**switches)
    return Outcome(model, cohort, fit(model, cohort, **options), notes=notes, files=files)


def _write(outcome: Outcome, out: Path) -> None:
    from neuropyro.outputs import write_outcome
    from neuropyro.progress_bars import watching
    from neuropyro.report import write_report

    with watching("results"):
        write_outcome(outcome, out)
    with watching("report"):
        write_report(outcome, out / "report.html")
