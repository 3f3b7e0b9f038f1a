"""The commands of the anatomy simulator."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from neuropyro.anatomy_arguments import parse_do, parse_times
from neuropyro.console import say
from neuropyro.new_cohort import naming
from neuropyro.one_subject import one_subject
from neuropyro.result_folder import refuse_file

if TYPE_CHECKING:  # PyTorch takes seconds to import, and --help needs none of it
    from neuropyro.data import Cohort
    from neuropyro.models.anatomy_counterfactual import Counterfactual
    from neuropyro.models.anatomy_program import Interventions

__all__ = ["counterfactual", "register", "simulate_anatomy"]

MOST_NAMED = 5  # subjects, in what is said
AT_VISITS = (
    "at the visits' own ages every world keeps the visits' noise, so that intervals are narrow; at other ages, which "
    "--times gives, it is new"
)
NO_COHORT = "{}: no such file; give a cohort (.npz), such as a shard that `neuropyro simulate anatomy` writes"

Guide = Literal["mode", "laplace", "normal", "lowrank", "mvn", "structured", "flow"]


def register(app: App, simulate: App) -> None:
    """Add the commands to the app and to its group of simulations.

    Examples
    --------
    >>> app, simulate = App(), App(name="simulate")
    >>> register(app, simulate)
    >>> app("counterfactual shard.npz --do apoe4 --out worlds", result_action="return_value")
    Traceback (most recent call last):
    ValueError: do: 'apoe4' is not a node and a number, such as apoe4=2
    """
    simulate.command(simulate_anatomy, name="anatomy")
    app.command(counterfactual)


def simulate_anatomy(
    *,
    out: Path,
    subjects: int = 20,
    visits: int = 4,
    interval: float = 1.0,
    do: str = "",
    maps: bool = True,
    images: bool = True,
    files: bool = True,
    shard: int = 100,
    generator: str = "brains64",
    seed: int = 0,
) -> None:
    """Simulate a longitudinal study: genes, progression, cortical maps, brain slices, tests; and the truth.

    Under torchrun each process writes its share of the shards; any number of processes writes the same study.

    Parameters
    ----------
    out
        Folder: tables, a folder a subject as BIDS has it (slices in NIfTI and PNG, maps in GIFTI), and shards/*.npz.
    subjects
        How many.
    visits
        Planned for each subject; some do not take place.
    interval
        Years between visits.
    do
        Interventions by node, such as apoe4=2 or treatment=.7,treatment_start=1 (factor of the speed of progression,
        and from how many years after entry). truth.tsv has a column for every node.
    maps
        Whether there are maps of cortical thickness.
    images
        Whether there are slices.
    files
        Whether each visit has files of its own beside the shards.
    shard
        Subjects in a shard.
    generator
        Of slices: a bundled name or a checkpoint's path.
    seed
        Seed.

    Raises
    ------
    ValueError
        Where ``do`` cannot be read, a node is unknown, or there is no subject.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.data import Cohort
    >>> out = Path(tempfile.mkdtemp())
    >>> simulate_anatomy(out=out, subjects=2, visits=1, do="apoe4=2", maps=False, images=False)  # doctest: +ELLIPSIS
    study: ...
    >>> Cohort.load(out / "shards" / "shard-00000.npz").covariates["apoe4"].tolist()  # alleles of every subject
    [2.0, 2.0]
    """
    refuse_file(out)
    from neuropyro.anatomy_files import Study, write_study
    from neuropyro.models import AnatomySimulator

    study = Study(subjects, visits, interval, seed, parse_do(do), maps, images, shard, files)
    write_study(AnatomySimulator(generator), study, out)
    if os.environ.get("RANK", "0") == "0":
        say(f"study: {out.resolve()}", study=out.resolve())


def counterfactual(
    cohort: Path,
    *,
    out: Path,
    do: Annotated[list[str], Parameter(consume_multiple=True, negative=())],
    subject: str | None = None,
    times: str | None = None,
    draws: int = 32,
    guide: Guide = "normal",
    steps: int = 200,
    generator: str = "brains64",
    seed: int = 0,
) -> None:
    """Draw what would have been: other genes, another age, a treatment, another scanner.

    Writes for each world a table of all numbers (mean, sd, 5 %, 95 %; diagnoses CN, MCI, AD are 0, 1, 2), maps and
    slices of draws, and one figure.

    Parameters
    ----------
    cohort
        An .npz file, such as a shard of `simulate anatomy`: a subject's visits, with whatever was seen.
    out
        Folder for the results.
    do
        Worlds, each in one word: apoe4=0 treatment=.5,treatment_start=2 site=B. Nodes are those of the tables that are
        written, treatment a factor of the speed of progression, its start in years after entry.
    subject
        Whose, by the name in the cohort; the first if not given, which is said.
    times
        Ages, as 55:90:5 or 70,72.5; those of the visits if not given, at which all worlds keep the visits' own noise.
    draws
        From the posterior.
    guide
        How the posterior of slices' latents is approximated; "mode" is the likeliest one alone, and quick, but sds of
        slices and of what is read from them are then too small.
    steps
        Of the optimiser.
    generator
        Of slices: a bundled name or a checkpoint's path.
    seed
        Of everything random.

    Raises
    ------
    ValueError
        Where a world or the times cannot be read, or the cohort lacks the subject or cannot be read.

    Examples
    --------
    >>> counterfactual(Path("shard.npz"), out=Path("worlds"), do=["apoe4=0"], times="90:70:5")
    Traceback (most recent call last):
    ValueError: times: '90:70:5' is not first:last:step, such as 55:90:5
    """
    from tqdm.auto import tqdm

    from neuropyro.data import Cohort

    refuse_file(out)
    empty = [text for text in do if not parse_do(text)]
    if empty:
        raise ValueError(f"do: {empty[0]!r} names no intervention; give one, as apoe4=0")
    ages = None if times is None else parse_times(times)
    worlds: dict[str, Interventions] = {"as it is": {}} | {text: parse_do(text) for text in do}
    if not cohort.is_file():
        raise FileNotFoundError(NO_COHORT.format(cohort))
    whole = Cohort.load(cohort)
    one = _chosen(whole, subject)
    from neuropyro.anatomy_outputs import write_worlds  # takes seconds, for which no error of use should wait
    from neuropyro.models import AnatomySimulator
    from neuropyro.models.anatomy_observation import observe_cohort
    from neuropyro.models.anatomy_parts import is_treated

    simulator = AnatomySimulator(generator)
    for world in worlds.values():
        simulator.parts.check_interventions(world, is_treated(one))
    parts = simulator.parts
    with naming(cohort):  # before anything is said of what follows
        observe_cohort(one, parts.abduction(parts.has_maps(one), one.images is not None).measures)
    print(_whose(one, whole, subject is None), f"inferring what was not seen of {one}", sep="\n", file=sys.stderr)
    at_mode = guide == "mode" and one.images is not None
    if at_mode:
        print("slices at their mode: their sds are too small; --guide normal, the default, has them", file=sys.stderr)
    if ages is None:
        print(AT_VISITS, file=sys.stderr)
    with naming(cohort):
        exogenous = simulator.infer_exogenous(one, draws, seed=seed, fit=_runner(guide, steps, seed))
    with tqdm(worlds.items(), "worlds", unit="world") as bar:
        found = {name: simulator.counterfactual(exogenous, world, times=ages) for name, world in bar}
    for name in _unchanged(found, worlds):
        print(f"{name}: the same world as it is, since this is so already or does nothing", file=sys.stderr)
    figures = [path.resolve() for path in write_worlds(found, one.mesh, out, at_mode)]
    said = "\n".join(f"figure: {figure}" for figure in figures)
    facts = {"figure": figures[0], "figures": figures, "out": out.resolve()}
    say(said, **facts, worlds=list(found), subject=one.subjects[0])


def _chosen(cohort: Cohort, subject: str | None) -> Cohort:
    """Return one subject's visits."""
    if subject is None:
        return cohort.subset(subjects=cohort.subjects[:1])
    return one_subject(cohort, subject)


def _whose(one: Cohort, whole: Cohort, by_default: bool) -> str:
    """Say whose worlds are drawn, and how to name another subject.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> whole = simulate_reference(n_subjects=9, n_vertices=3, seed=1)
    >>> print(_whose(_chosen(whole, None), whole, by_default=True))
    subject 0, the first of 9; --subject takes another: 1, 2, 3, 4, 5, ...
    """
    if not by_default or whole.n_subjects == 1:
        return f"subject {one.subjects[0]}"
    others = [str(name) for name in whole.subjects[1:]]
    named = ", ".join([*others[:MOST_NAMED], *(["..."] if len(others) > MOST_NAMED else [])])
    return f"subject {one.subjects[0]}, the first of {whole.n_subjects}; --subject takes another: {named}"


def _unchanged(found: Mapping[str, Counterfactual], worlds: Mapping[str, Interventions]) -> list[str]:
    """Return the names of the worlds in which all but what they set is as in the first."""
    import numpy as np

    first, *others = found
    as_it_is = found[first].nodes
    return [
        name
        for name in others
        if all(np.allclose(found[name].nodes[node], x) for node, x in as_it_is.items() if node not in worlds[name])
    ]


def _runner(guide: Guide, steps: int, seed: int) -> Any:
    """Return what fits latents, or None for their mode."""
    if guide == "mode":
        return None
    from neuropyro.inference import fit
    from neuropyro.inference.convergence import CosineSchedule

    schedule = CosineSchedule(0.06, max_steps=steps, warm_up=steps // 2, window=20)
    return lambda model, data: fit(model, data, guide=guide, schedule=schedule, seed=seed)
