r"""Action and prediction: the same subjects, with the noise that they had, under other circumstances.

**What is kept.**  At a time at which a subject was seen, every node keeps its noise; a node whose parents all are as
they were keeps its value to the last bit, images included.  At another time a subject keeps what is its own (genes,
onset, speed, offsets, what lasts in its maps, its anatomy) and visits have new noise.  The anatomy of a scan at another
time is that of the scan nearest in time.

References
----------
Pearl, *Causality*, 2nd ed. 2009, theorem 7.1.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from neuropyro.data.counter_random import CounterRandom
from neuropyro.models.anatomy_graph import Graph
from neuropyro.models.anatomy_image_abduction import ImageDraws
from neuropyro.models.anatomy_mechanism import Noise, ScalarMechanism
from neuropyro.models.anatomy_observation import Observation
from neuropyro.models.anatomy_program import Design, Interventions, intervened, site_name

__all__ = ["Counterfactual", "Exogenous", "Grid", "fresh_noise", "is_same", "predict_scalars", "visits_at"]

SAME = 1e-12  # relative difference that is rounding
SAME_TIME = 1e-6  # years


@dataclass(frozen=True, eq=False)
class Exogenous:
    """Posterior draws of the noise behind an observation.

    Attributes
    ----------
    observation
        What was seen.
    noise
        By site, ``(draws, subjects, 1 or visits)``.
    values
        The nodes' values with that noise, likewise: seen ones as they were seen.
    images
        What is behind the scans; None where there are none.
    scanned
        ``(scans, 2)`` subject and visit of each scan.
    effective
        ``(subjects,)``, see :class:`~neuropyro.models.anatomy_importance.Posterior`.
    seed
        Of noise at times at which nobody was seen.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models import AnatomySimulator
    >>> covariates = {"apoe4": [1], "prs": [0.0], "education": [15.0]}
    >>> cohort = Cohort([[10.0]], [70.0], ["a"], feature_names=["adas"], covariates=covariates)
    >>> known = AnatomySimulator().infer_exogenous(cohort, draws=3)
    >>> known["adas"].ravel().tolist(), len(set(known["dps"].ravel()))  # what was seen is kept, the score is uncertain
    ([10.0, 10.0, 10.0], 3)
    """

    observation: Observation
    noise: Mapping[str, Tensor]
    values: Mapping[str, Tensor]
    images: ImageDraws | None
    scanned: Tensor
    effective: Tensor
    seed: int

    @property
    def draws(self) -> int:
        """How many."""
        return len(self.values["years"])

    def __getitem__(self, node: str) -> NDArray[np.float64]:
        """Values of a node, ``(draws, subjects, 1 or visits)``."""
        return np.asarray(self.values[node].cpu())


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """Draws of what would have been.

    Attributes
    ----------
    subject
        ``(subjects,)`` names.
    times
        ``(subjects, times)`` ages in years.
    nodes
        By name, ``(draws, subjects, 1 or times, *shape)``.

    Examples
    --------
    >>> adas = np.array([10.0, 12.0, 14.0]).reshape(3, 1, 1)  # three draws of one subject at one time
    >>> here = Counterfactual(np.array(["a"]), np.array([[70.0]]), {"adas": adas})
    >>> treated = replace(here, nodes={"adas": here["adas"] - 2})
    >>> treated.minus(here).mean("adas").tolist(), here.interval("adas").ravel().tolist()
    ([[-2.0]], [10.0, 14.0])
    """

    subject: NDArray[Any]
    times: NDArray[np.float64]
    nodes: Mapping[str, NDArray[Any]]

    def __getitem__(self, node: str) -> NDArray[Any]:
        """Draws of a node; `KeyError` where it was not wanted."""
        if node not in self.nodes:
            raise KeyError(f"no node {node!r} here; there are {', '.join(self.nodes)}: name it in `nodes`")
        return self.nodes[node]

    def mean(self, node: str) -> NDArray[Any]:
        """Over draws, ``(subjects, 1 or times, *shape)``."""
        return np.asarray(self[node].mean(0))

    def sd(self, node: str) -> NDArray[Any]:
        """Over draws, ``(subjects, 1 or times, *shape)``; NaN where a draw of a time is never."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self[node].std(0))

    def interval(self, node: str, level: float = 0.9) -> NDArray[Any]:
        """Lower and upper end of the central interval, ``(2, ...)``: draws, since never and a time have no middle."""
        drawn = np.sort(self[node], axis=0)
        ends = np.array([(1 - level) / 2, (1 + level) / 2]) * (len(drawn) - 1)
        return np.asarray(drawn[ends.round().astype(int)])

    def minus(self, other: Counterfactual) -> Counterfactual:
        """Differences, draw by draw, from the same subjects under other circumstances; never from never is 0."""
        shared = {name: _difference(x, other.nodes[name]) for name, x in self.nodes.items() if name in other.nodes}
        return replace(self, nodes=shared)


def _difference(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
    """Return x - y, 0 where both are infinite."""
    x, y = np.broadcast_arrays(x, y)
    return np.asarray(np.subtract(x, y, out=np.zeros_like(x), where=x != y))


@dataclass(frozen=True, eq=False)
class Grid:
    """Times that are asked for, and which of them are visits.

    Attributes
    ----------
    design
        Subjects, years since entry, interventions and nodes.
    visit
        ``(subjects, times)`` number of the visit at a time; -1 where there was none.
    nearest
        ``(subjects, times)`` number of the visit nearest in time.

    Examples
    --------
    >>> design = Design(np.arange(1), torch.tensor([[0.0, 0.4, 1.0]]))  # visits were at 0 and 1
    >>> grid = Grid(design, visit=torch.tensor([[0, -1, 1]]), nearest=torch.tensor([[0, 0, 1]]))
    >>> grid.of(torch.tensor([[28.0, 25.0]])), grid.seen
    (tensor([[28., 28., 25.]]), tensor([[ True, False,  True]]))
    """

    design: Design
    visit: Tensor
    nearest: Tensor

    @property
    def seen(self) -> Tensor:
        """``(subjects, times)`` whether there was a visit."""
        return self.visit >= 0

    def of(self, factual: Tensor) -> Tensor:
        """Values at visits ``(*, subjects, visits)`` brought to the times, each from the nearest visit."""
        return factual.gather(-1, self.nearest.expand(*factual.shape[:-1], -1))


def visits_at(observation: Observation, times: ArrayLike | None, do: Interventions, nodes: tuple[str, ...]) -> Grid:
    """Lay out the times: ages (times,) or (subjects, times), or those of the visits if None.

    Raises
    ------
    ValueError
        Where the times have another shape or are not finite.

    Examples
    --------
    >>> years, there = torch.tensor([[0.0, 1.0]]), torch.ones(1, 2, dtype=torch.bool)
    >>> seen = Observation(np.array(["a"]), years, there, {"entry_age": torch.tensor([[70.0]])}, {})
    >>> visits_at(seen, [70.0, 70.4, 71.0], {}, ()).visit
    tensor([[ 0, -1,  1]])
    """
    n = len(observation)
    if times is None:
        years, there = observation.years, observation.there
    else:
        ages = torch.as_tensor(np.asarray(times, np.float64)).to(observation.years)
        if ages.ndim > 2 or (ages.ndim == 2 and ages.shape[0] not in (1, n)) or not bool(ages.isfinite().all()):
            raise ValueError(f"times: ages (times,), or (subjects, times) of {n} subjects, got {tuple(ages.shape)}")
        years = (ages if ages.ndim == 2 else ages.reshape(1, -1)).expand(n, -1) - observation.values["entry_age"]
        there = torch.ones_like(years, dtype=torch.bool)
    apart = (years.unsqueeze(-1) - observation.years.unsqueeze(-2)).abs()
    apart = apart.masked_fill(~observation.there.unsqueeze(-2), torch.inf)
    visit = torch.where((apart.amin(-1) < SAME_TIME) & there, apart.argmin(-1), -1)
    return Grid(Design(np.arange(n), years, do, nodes), visit, apart.argmin(-1))


def predict_scalars(graph: Graph, exogenous: Exogenous, grid: Grid) -> dict[str, Tensor]:
    """Values of nodes of numbers, ``(draws, subjects, 1 or times)``.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models import AnatomySimulator
    >>> sim, covariates = AnatomySimulator(), {"apoe4": [1], "prs": [0.0], "education": [15.0]}
    >>> cohort = Cohort([[10.0]], [70.0], ["a"], feature_names=["adas"], covariates=covariates)
    >>> known = sim.infer_exogenous(cohort, draws=3)
    >>> grid = visits_at(known.observation, None, {"beta": lambda onset: onset + 1}, ("dps",))
    >>> scores = predict_scalars(sim.parts.scalars, known, grid)["dps"]
    >>> (scores - known.values["dps"]).round(decimals=6).unique().tolist()
    [1.0]
    """
    shape = (exogenous.draws, *grid.design.shape)
    values = {"years": grid.design.years.expand(shape)}
    for name in graph.ancestors(grid.design.nodes):
        mechanism = graph.mechanisms[name]
        if not isinstance(mechanism, ScalarMechanism):
            continue
        of_visits = graph.levels[name] == "visit"
        parents = {p: values[p] for p in mechanism.parents}
        value = mechanism.value(_noise_at(name, mechanism, exogenous, grid), parents).to(values["years"])
        value = value.expand(shape if of_visits else (*shape[:2], 1))
        kept = grid.of(exogenous.values[name]) if of_visits else exogenous.values[name]
        value = torch.where(_unchanged(graph, name, values, exogenous, grid), kept, value)
        value = intervened(value, grid.design, name)
        values[name] = value.expand(*shape[:2], value.shape[-1])
    return values


def _unchanged(graph: Graph, name: str, values: Mapping[str, Tensor], exogenous: Exogenous, grid: Grid) -> Tensor:
    """Where a node's parents all are as they were at a visit, ``(draws, subjects, 1 or times)``."""
    same = grid.seen if graph.levels[name] == "visit" else torch.ones_like(grid.seen[:, :1])
    for parent in graph.mechanisms[name].parents:
        before = exogenous.values[parent]
        before = grid.of(before) if graph.levels[parent] == "visit" else before
        same = same & is_same(values[parent], before)
    return same.expand(exogenous.draws, *same.shape[-2:])


def is_same(now: Tensor, before: Tensor) -> Tensor:
    """Whether values ``(*)`` differ by no more than rounding: ``(*)`` bool.

    Examples
    --------
    >>> before = torch.tensor([1.0, 1.0, torch.inf], dtype=torch.float64)
    >>> is_same(before * (1 + 1e-15), before), is_same(before * 1.1, before)
    (tensor([True, True, True]), tensor([False, False,  True]))
    """
    return (now == before) | ((now - before).abs() <= SAME * before.abs().clamp_min(1))


def _noise_at(name: str, mechanism: ScalarMechanism, exogenous: Exogenous, grid: Grid) -> dict[str, Tensor]:
    """Return a node's noise at the times: the visits' own, new noise where there was no visit."""
    if not mechanism.noise:
        return {}
    law, site = mechanism.noise[""], site_name(name, "")
    own = exogenous.noise[site]
    if law.level == "subject":
        return {"": own}
    return {"": torch.where(grid.seen, grid.of(own), fresh_noise(site, law, exogenous, grid.design.shape))}


def fresh_noise(site: str, law: Noise, exogenous: Exogenous, shape: tuple[int, int]) -> Tensor:
    """Noise of which nothing is known, ``(draws, subjects, 1 or times, *event)``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> known = SimpleNamespace(seed=0, draws=2, values={"years": torch.zeros(2, 3, 1)})
    >>> four, five = (fresh_noise("u_adas", Noise("visit"), known, (3, times)) for times in (4, 5))
    >>> four.shape, bool((four == five[..., :4]).all())  # a further time changes nothing at the others
    (torch.Size([2, 3, 4]), True)
    """
    source = CounterRandom(exogenous.seed)
    count = shape[1] if law.level == "visit" else 1
    units = np.arange(exogenous.draws * shape[0])
    draw = source.normal if law.kind == "normal" else source.uniform
    found = torch.from_numpy(draw(f"unseen {site}", units, (count, *law.shape)))
    return found.to(exogenous.values["years"]).reshape(exogenous.draws, shape[0], count, *law.shape)
