"""The command that compares numbers of clusters."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from neuropyro.console import listed, say, warn
from neuropyro.data.open_study import NO_OPTIONS, StudyOptions
from neuropyro.plain_words import more_steps
from neuropyro.result_folder import refuse_file
from neuropyro.tables import write_csv

if TYPE_CHECKING:  # PyTorch takes seconds to import, and --help needs none of it
    from neuropyro.data import Cohort
    from neuropyro.selection import Selection

__all__ = ["doubts", "numbers", "register"]

STEADY, UNSTEADY = 0.9, 0.7  # adjusted Rand index of folds' clusters, from which they are the same, and are not

Guide = Literal["map", "laplace", "normal", "lowrank", "mvn", "structured", "flow"]


def register(app: App) -> None:
    """Add the command to an app.

    Examples
    --------
    >>> app = App()
    >>> register(app)
    >>> app("select cohort.npz --clusters 8:2 --out select", result_action="return_value")
    Traceback (most recent call last):
    ValueError: --clusters: '8:2' names no numbers from 1 on; give the smaller one first
    """
    app.command(_select)


def _select(
    cohort: Path,
    *,
    out: Path,
    clusters: str = "2:8",
    folds: int = 5,
    guide: Guide = "map",
    scatter: bool = True,
    subject_effect: bool = True,
    visit_effect: bool | None = None,
    vertex_effect: bool | None = None,
    ageing: bool = False,
    spatial: bool = False,
    covariates: tuple[str, ...] = (),
    max_steps: int = 6000,
    seed: int = 0,
    device: Annotated[str | None, Parameter(help="torch device; CUDA where there is one")] = None,
    study: Annotated[StudyOptions, Parameter(name="*")] = NO_OPTIONS,
) -> None:
    """Compare numbers of clusters by cross-validation over subjects, leave-one-out, BIC and ICL.

    Parameters
    ----------
    cohort
        As for ``dive fit``.
    out
        Folder for ``selection.csv``, ``selection.png`` and ``selection.txt``, written anew after each number.
    clusters
        Numbers to compare: ``2:8`` (2 and 8 included), or ``2,3,5``.
    folds
        Parts that subjects are dealt to.
    guide
        How posteriors are approximated.
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
    max_steps
        Of each fit of all data.
    seed
        Seed of fits and folds.
    study
        How to read maps.
    """
    from neuropyro.data import Cohort
    from neuropyro.study_checks import check_clusters, check_spatial, check_subjects
    from neuropyro.study_defaults import kind_of_columns

    refuse_file(out)
    wanted = numbers(clusters)
    loaded = Cohort.open(cohort, study)
    check_subjects(loaded)
    check_clusters(loaded, max(wanted))
    check_spatial(loaded, spatial)
    from neuropyro.inference import Schedule  # takes seconds, for which no error of use should wait
    from neuropyro.models import VertexClusterMixture
    from neuropyro.selection import select as select_clusters

    fits = (
        f"{len(wanted) * (folds + 1)} fits follow, of all subjects and of {folds} parts left out, for each number; "
        "when the first is done, the bar says how long all the others will take"
    )
    print(loaded, *_of_biomarkers(loaded), fits, sep="\n", file=sys.stderr)
    switches: dict[str, Any] = {"scatter": scatter, "subject_effect": subject_effect, "ageing": ageing}
    switches |= kind_of_columns(loaded, visit_effect, vertex_effect)
    model = VertexClusterMixture(
        wanted[0], spatial="potts" if spatial else None, covariates=listed(covariates), **switches
    )
    options: dict[str, Any] = {"folds": folds, "guide": guide, "seed": seed, "device": device}
    out.mkdir(parents=True, exist_ok=True)

    def keep(found: Selection) -> None:
        done = ", ".join(str(one.clusters) for one in found.candidates)
        _write(found, [f"So far, with {done} of {clusters}: {found.sentence}"], out)

    schedule = Schedule(max_steps=max_steps)
    found = select_clusters(loaded, wanted, model, schedule=schedule, keep=keep, **options)
    warnings = [f"warning: {said}" for said in [*doubts(found, max_steps), *_caution(found, loaded)]]
    _write(found, [found.sentence, *warnings], out)
    for said in warnings:
        warn(said)
    say(found.sentence, clusters=found.clusters, sentence=found.sentence, criteria=found.columns())


def _write(found: Selection, lines: list[str], out: Path) -> None:
    """Write table, words and figure."""
    from neuropyro.selection_plots import plot_selection

    write_csv(out / "selection.csv", found.columns())
    (out / "selection.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    plot_selection(found).savefig(out / "selection.png", dpi=130)


def _of_biomarkers(cohort: Cohort) -> list[str]:
    """Say of named biomarkers that clusters are not what a fit gives them by default."""
    from neuropyro.study_defaults import each_alone

    own = f"without --clusters a fit gives each of the {cohort.n_vertices} biomarkers its own trajectory"
    return [own] * each_alone(cohort, None)


def _caution(found: Selection, cohort: Cohort) -> list[str]:
    """Say what a fit of the chosen number warns of."""
    from neuropyro.fit_cautions import caution
    from neuropyro.outputs import Outcome

    own = next(one for one in found.candidates if one.clusters == found.clusters)
    model: Any = own.result.model
    said = caution(Outcome(model, cohort, own.result)) if own.converged else ""
    return [f"the fit of {own.clusters}, which is the best of these by ICL, has this caution: {said}"] if said else []


def doubts(found: Selection, max_steps: int) -> list[str]:
    """Say which fits had not converged, and whether the choice lies at the end of what was tried.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> steady = SimpleNamespace(rand=0.95)
    >>> tried = [SimpleNamespace(clusters=k, converged=k < 4, agreement=steady) for k in (2, 3, 4)]
    >>> for said in doubts(SimpleNamespace(candidates=tried, clusters=4), max_steps=6000):
    ...     print(said)
    the fit of 4 clusters had not converged; give more steps, as --max-steps 12000
    4 is the most that was tried; try more
    """
    said = []
    open_ = [str(one.clusters) for one in found.candidates if not one.converged]
    if open_:
        named = f"the fit{'s' * (len(open_) > 1)} of {', '.join(open_)} clusters"
        said.append(f"{named} had not converged; give more steps, as --max-steps {more_steps(max_steps)}")
    said += _unstable(found)
    tried = [one.clusters for one in found.candidates]
    if len(tried) > 1 and found.clusters == max(tried):
        said.append(f"{found.clusters} is the most that was tried; try more")
    return said


def _unstable(found: Selection) -> list[str]:
    """Say where folds do not find the chosen clusters again, and would find fewer."""
    own = next(one for one in found.candidates if one.clusters == found.clusters)
    fewer = [one for one in found.candidates if 1 < one.clusters < own.clusters]
    steadier = [one for one in fewer if one.agreement.rand > STEADY]
    if own.agreement.rand > UNSTEADY or not steadier:
        return []
    best = max(steadier, key=lambda one: one.clusters)
    rands = f"adjusted Rand {own.agreement.rand:.2f}, where 1 is full agreement"
    return [
        f"folds of the subjects do not agree on what belongs to which of the {own.clusters} clusters ({rands}), while "
        f"they do with {best.clusters} ({best.agreement.rand:.2f})"
    ]


def numbers(text: str) -> list[int]:
    """Return the numbers that ``"2:8"`` (both included) or ``"2,3,5"`` stand for.

    Raises
    ------
    ValueError
        Where the text is neither.

    Examples
    --------
    >>> numbers("2:5"), numbers("2,3,5")
    ([2, 3, 4, 5], [2, 3, 5])
    """
    found = re.fullmatch(r"(\d+):(\d+)", text)
    if found is not None:
        return _some(list(range(int(found[1]), int(found[2]) + 1)), text)
    if re.fullmatch(r"\d+(,\d+)*", text):
        return _some([int(part) for part in text.split(",")], text)
    raise ValueError(f"--clusters: {text!r} is neither like 2:8 nor like 2,3,5")


def _some(wanted: list[int], text: str) -> list[int]:
    if not wanted or min(wanted) < 1:
        raise ValueError(f"--clusters: {text!r} names no numbers from 1 on; give the smaller one first")
    return wanted
