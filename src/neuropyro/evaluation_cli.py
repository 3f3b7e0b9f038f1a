"""The commands that evaluate the method on a cohort: each prints and writes one table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from neuropyro.console import say
from neuropyro.data.open_study import NO_OPTIONS, StudyOptions
from neuropyro.result_file import check_file, tell_replaced
from neuropyro.tables import write_csv

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from neuropyro.data import Cohort
    from neuropyro.models import VertexClusterMixture

__all__ = ["register"]

evaluate = App(name="evaluate", help="Evaluate the method on a cohort, beside baselines.")
SUBJECTS, VISITS, STRIDE = 120, 4, 8  # of the simulated study; every eighth vertex of fsaverage5


@dataclass(frozen=True)
class _FitOptions:
    """How each fit is made.

    Parameters
    ----------
    clusters
        Number of clusters.
    guide
        How posteriors are approximated.
    visit_effect, vertex_effect
        Whether a visit has offsets of its own, and a subject at each vertex; by default where the cohort has a mesh.
    ageing
        Whether all subjects' vertices also change with time alone.
    max_steps
        A fit that has not converged by then ends.
    seed
        Seed of simulations, folds and fits.
    device
        torch device; CUDA where there is one.
    """

    clusters: int = 3
    guide: Literal["map", "laplace", "normal", "lowrank", "mvn", "structured", "flow"] = "map"
    visit_effect: bool | None = None
    vertex_effect: bool | None = None
    ageing: bool = False
    max_steps: int = 6000
    seed: int = 0
    device: str | None = None

    def model(self, cohort: Cohort) -> VertexClusterMixture:
        """Return the model."""
        from neuropyro.models import VertexClusterMixture
        from neuropyro.study_checks import check_clusters
        from neuropyro.study_defaults import kind_of_columns

        check_clusters(cohort, self.clusters)
        switches = kind_of_columns(cohort, self.visit_effect, self.vertex_effect)
        return VertexClusterMixture(self.clusters, ageing=self.ageing, **switches)

    def options(self) -> dict[str, Any]:
        """Return what `fit` takes."""
        from neuropyro.inference import Schedule

        schedule = Schedule(max_steps=self.max_steps)
        return {"guide": self.guide, "seed": self.seed, "device": self.device, "schedule": schedule}


Fitting = Annotated[_FitOptions, Parameter(name="*")]
Study = Annotated[StudyOptions, Parameter(name="*")]
DEFAULT = _FitOptions()


def register(app: App) -> None:
    """Add the commands to an app.

    Examples
    --------
    >>> app = App()
    >>> register(app)
    >>> app("evaluate patterns ad.npz --out patterns.csv", result_action="return_value")
    Traceback (most recent call last):
    ValueError: evaluate patterns: give two cohorts, or none for a simulation
    """
    app.command(evaluate)


@evaluate.command
def _consistency(
    cohort: Path | None = None, *, out: Path, folds: int = 10, fitting: Fitting = DEFAULT, study: Study = NO_OPTIONS
) -> None:
    """Leave out a fold of subjects at a time, and see whether clusters and scores stay the same.

    Parameters
    ----------
    cohort
        As for ``dive fit``; by default a simulated study.
    out
        The .csv file to write: for the model and for k-means, Dice's coefficient and the adjusted Rand index over pairs
        of folds, and the correlation of scores.
    folds
        Parts that subjects are dealt to.
    """
    import numpy as np

    check_file(out, (cohort, *study.files()))
    loaded = _cohort(cohort, study, fitting.seed)
    from neuropyro.evaluation_consistency import evaluate_consistency

    found = evaluate_consistency(loaded, fitting.model(loaded), folds, **fitting.options())
    rows = [{"method": c.method, **asdict(c.clusters), "scores": c.scores} for c in found]
    _write(out, {name: np.array([row[name] for row in rows]) for name in rows[0]})


@evaluate.command
def _staging(
    cohort: Path | None = None,
    *,
    out: Path,
    score: str = "mmse",
    folds: int = 10,
    regions: Path | None = None,
    fitting: Fitting = DEFAULT,
    study: Study = NO_OPTIONS,
) -> None:
    """Stage subjects by fits of others, and correlate with a cognitive score that no fit has seen.

    Parameters
    ----------
    cohort
        As for ``dive fit``; by default a simulated study.
    out
        The .csv file to write: Pearson's and Spearman's correlation with their standard errors, for the model, fixed
        regions, the first principal component, and time.
    score
        The covariate that holds the score.
    folds
        Parts that subjects are dealt to.
    regions
        An .npy file of whole numbers, a region for each vertex; by default compact pieces of the mesh.
    """
    import numpy as np

    check_file(out, (cohort, regions, *study.files()))
    loaded = _cohort(cohort, study, fitting.seed)
    from neuropyro.evaluation_staging import evaluate_staging

    fixed = _regions(regions, loaded)
    found = evaluate_staging(loaded, score, fitting.model(loaded), folds, regions=fixed, **fitting.options())
    names = ("method", "pearson", "pearson_error", "spearman", "spearman_error")
    _write(out, {name: np.array([getattr(one, name) for one in found]) for name in names})


@evaluate.command
def _forecasts(
    cohort: Path | None = None,
    *,
    out: Path,
    first: int = 2,
    regions: Path | None = None,
    fitting: Fitting = DEFAULT,
    study: Study = NO_OPTIONS,
) -> None:
    """Predict later visits from the first ones.

    Parameters
    ----------
    cohort
        As for ``dive fit``; by default a simulated study.
    out
        The .csv file to write: errors and the coverage of 90 % intervals by years ahead, for the model, fixed regions,
        no staging, a linear mixed model at each vertex, and the last value carried forward. Of a table of biomarkers it
        has a row for each, in its own unit (``mae_own_unit``) and in sds of it (``mae_sds``), and one of all, in sds.
    first
        Visits of each subject that are known.
    regions
        An .npy file of whole numbers, a region for each vertex; by default compact pieces of the mesh.
    """
    import numpy as np

    check_file(out, (cohort, regions, *study.files()))
    loaded = _cohort(cohort, study, fitting.seed)
    from neuropyro.evaluation_forecasts import evaluate_forecasts

    fixed = _regions(regions, loaded)
    found = evaluate_forecasts(loaded, fitting.model(loaded), first, regions=fixed, **fitting.options())
    ahead = [None, *np.unique(found[0].years).tolist()]
    rows = [row for years in ahead for errors in found for row in errors.rows(years)]
    _write(out, {name: np.array([row[name] for row in rows]) for name in rows[0]})


@evaluate.command
def _patterns(
    first: Path | None = None,
    second: Path | None = None,
    *,
    out: Path,
    splits: int = 3,
    fitting: Fitting = DEFAULT,
    study: Study = NO_OPTIONS,
) -> None:
    """Tell two patterns apart: two diseases, or two modalities, over the same vertices.

    Parameters
    ----------
    first, second
        Two cohorts, as for ``dive fit``; by default two simulated diseases.
    out
        The .csv file to write: how well fits of halves of one cohort agree, and of halves of different ones.
    splits
        Times that each cohort is halved.
    """
    import numpy as np

    if (first is None) != (second is None):
        raise ValueError("evaluate patterns: give two cohorts, or none for a simulation")
    check_file(out, (first, second, *study.files()))
    one, other = _cohort(first, study, fitting.seed), _cohort(second, study, fitting.seed + 1)
    from neuropyro.evaluation_patterns import MEASURES, evaluate_patterns

    found = evaluate_patterns(one, other, fitting.model(one), splits, **fitting.options())
    rows = [
        (name, which, values.mean(), values.min(), values.max())
        for name in MEASURES
        for which, values in (("one cohort", found.within[name]), ("different cohorts", found.between[name]))
    ]
    names = ("measure", "halves_of", "mean", "least", "most")
    _write(out, {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})
    say(found.sentence, sentence=found.sentence)


def _cohort(path: Path | None, study: StudyOptions, seed: int) -> Cohort:
    from neuropyro.data import Cohort

    return _simulated(seed) if path is None else Cohort.open(path, study)


def _simulated(seed: int) -> Cohort:
    """Simulate a study, with a test of 30 points that loses two at each score, from the controls' mean on."""
    from dataclasses import replace

    import numpy as np

    from neuropyro.data import simulate_cohort

    whole = simulate_cohort(SUBJECTS, VISITS, missing_visits=0.0, seed=seed)
    cohort = whole.subset(vertices=np.arange(0, whole.n_vertices, STRIDE))
    rng = np.random.default_rng(seed)
    points = 29 - 2 * np.log1p(np.exp(np.asarray(cohort.truth["dps"]))) + rng.normal(0, 1, cohort.n_visits)
    return replace(cohort, covariates={"mmse": np.clip(np.rint(points), 0, 30)})


def _regions(path: Path | None, cohort: Cohort) -> NDArray[np.int64] | None:
    from neuropyro.fixed_regions import compact_regions, read_regions

    return compact_regions(cohort) if path is None else read_regions(path, cohort)


def _write(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tell_replaced(path)
    write_csv(path, columns)
    say(path.read_text().rstrip(), table=path.resolve(), columns=columns)
