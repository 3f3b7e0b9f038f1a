"""The generative story as a Pyro program over a design, and the streams of its noise.

Sites, in plates ``subject`` (dim -2) and ``visit`` (dim -1): for each noise of a node ``u_<node>`` (``u_<node>_<part>``
where a node has several), standard normal or uniform, ``(subjects, 1)`` or ``(subjects, visits)`` with whatever event
shape it has; and for each node a deterministic site of its name.  ``pyro.poutine.condition`` sets noise,
``pyro.poutine.do`` intervenes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from numpy.typing import ArrayLike, NDArray
from pyro import poutine
from torch import Tensor

from neuropyro.data.counter_random import CounterRandom
from neuropyro.models.anatomy_graph import Graph
from neuropyro.models.anatomy_mechanism import Noise

__all__ = [
    "Design",
    "Interventions",
    "draw_noise",
    "intervened",
    "planned_years",
    "run_by_parts",
    "run_program",
    "sample_noise",
    "site_name",
]

JITTER, MOST_JITTER = 0.05, 0.4  # of the interval between visits: sd, and at most

Interventions = Mapping[str, float | ArrayLike | Tensor | Callable[[Tensor], Tensor]]
"""By node: a number, an array (subjects,) or (subjects, visits), or a function of the value that would have been."""


@dataclass(frozen=True, eq=False)
class Design:
    """Who is seen when, and what is done to them.

    Parameters
    ----------
    units
        ``(subjects,)`` numbers of the subjects, which their noise is a function of.
    years
        ``(subjects, visits)`` since entry; its device and dtype are those of all that follows.
    do
        Interventions by node.
    nodes
        Which nodes are wanted, in order: their ancestors come along.

    Examples
    --------
    >>> design = Design(np.arange(3), torch.zeros(3, 2), {"apoe4": [0.0, 1.0, 2.0], "sex": 1.0})
    >>> design.part(slice(1, 3)).do, design.part(slice(1, 3)).shape
    ({'apoe4': [1.0, 2.0], 'sex': 1.0}, (2, 2))
    """

    units: NDArray[np.int64]
    years: Tensor
    do: Interventions = field(default_factory=dict)
    nodes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Subjects and visits."""
        return int(self.years.shape[0]), int(self.years.shape[1])

    def part(self, rows: slice) -> Design:
        """Return some of the subjects, interventions by array included."""
        n = len(self.units)
        do = {name: value if _is_shared(value, n) else value[rows] for name, value in self.do.items()}  # type: ignore[index]
        return replace(self, units=self.units[rows], years=self.years[rows], do=do)


def _is_shared(value: Any, n: int) -> bool:
    """Whether an intervention is the same for all subjects."""
    return callable(value) or np.ndim(value) == 0 or (n != 1 and len(value) == 1)


def site_name(node: str, part: str) -> str:
    """Name of a noise's site.

    Examples
    --------
    >>> site_name("adas", ""), site_name("thickness", "white")
    ('u_adas', 'u_thickness_white')
    """
    return f"u_{node}_{part}" if part else f"u_{node}"


def run_program(graph: Graph, design: Design) -> dict[str, Tensor]:
    """Run the story forward, inside Pyro; returns the values of the wanted nodes and their ancestors.

    Examples
    --------
    >>> from neuropyro.models.anatomy_mechanisms import Function, Gaussian
    >>> score = Function(lambda beta, years: beta + 0.5 * years)
    >>> graph = Graph({"beta": Gaussian(0.0, 1.0, "subject"), "dps": score})
    >>> run_program(graph, Design(np.arange(1), torch.tensor([[0.0, 2.0]]), {"beta": 1.0}, ("dps",)))["dps"]
    tensor([[1., 2.]])
    """
    n, visits = design.shape
    values: dict[str, Tensor] = {"years": design.years}
    subjects, each_visit = pyro.plate("subject", n, dim=-2), pyro.plate("visit", visits, dim=-1)
    for name in graph.ancestors(design.nodes):
        mechanism = graph.mechanisms[name]
        noise = {
            part: sample_noise(name, law, design.years, subjects, each_visit, part)
            for part, law in mechanism.noise.items()
        }
        value = mechanism.value(noise, {p: values[p] for p in mechanism.parents})
        value = intervened(value, design, name)
        with subjects:
            values[name] = pyro.deterministic(name, value, event_dim=mechanism.event_dim)
    return values


def sample_noise(
    node: str, law: Noise, like: Tensor, subjects: pyro.plate, each_visit: pyro.plate, part: str = ""
) -> Tensor:
    """Sample a node's noise in its plates.

    Examples
    --------
    >>> plates = pyro.plate("subject", 3, dim=-2), pyro.plate("visit", 2, dim=-1)
    >>> sample_noise("apoe4", Noise("subject"), torch.zeros(3, 2), *plates).shape
    torch.Size([3, 1])
    >>> sample_noise("thickness", Noise("visit", "normal", (7,)), torch.zeros(3, 2), *plates, part="white").shape
    torch.Size([3, 2, 7])
    """
    zero = like.new_zeros(law.shape)
    base = dist.Normal(zero, zero + 1) if law.kind == "normal" else dist.Uniform(zero, zero + 1)
    with ExitStack() as plates:
        plates.enter_context(subjects)
        if law.level == "visit":
            plates.enter_context(each_visit)
        drawn: Tensor = pyro.sample(site_name(node, part), base.to_event(len(law.shape)))
    return drawn


def intervened(value: Tensor, design: Design, name: str) -> Tensor:
    """Return the value that an intervention sets in the place of ``value``, if there is one.

    Raises
    ------
    ValueError
        Where an intervention has another shape than a number, (subjects,) or (subjects, visits).

    Examples
    --------
    >>> design = Design(np.arange(2), torch.zeros(2, 3), {"apoe4": [0.0, 2.0], "prs": lambda score: score + 1})
    >>> intervened(torch.ones(2, 1), design, "apoe4").tolist(), intervened(torch.ones(2, 1), design, "prs").tolist()
    ([[0.0], [2.0]], [[2.0], [2.0]])
    """
    if name not in design.do:
        return value
    wanted = design.do[name]
    if callable(wanted):
        return torch.as_tensor(wanted(value), dtype=value.dtype, device=value.device)
    given = torch.as_tensor(np.asarray(wanted) if not isinstance(wanted, Tensor) else wanted).to(design.years)
    given = given.unsqueeze(-1) if given.ndim == 1 else given
    n, visits = design.shape
    if given.ndim > 2 or (given.ndim == 2 and not (given.shape[0] in (1, n) and given.shape[1] in (1, visits))):
        raise ValueError(
            f"do: {name} has shape {tuple(given.shape)}; give a number, one for each of {n} subjects, or one for each "
            f"of their {visits} visits"
        )
    return given.expand(n, given.shape[1]) if given.ndim == 2 else given.expand(n, 1)


def draw_noise(graph: Graph, design: Design, source: CounterRandom, stream: str = "") -> dict[str, Tensor]:
    """Draw the noise of the wanted nodes, each subject's from streams of its own.

    Parameters
    ----------
    stream
        Name of the streams, where a subject's noise is to be drawn more than once.

    Returns
    -------
    By site, ``(subjects, 1 or visits, *event)``.

    Examples
    --------
    >>> from neuropyro.models.anatomy_mechanisms import Gaussian
    >>> graph, source = Graph({"beta": Gaussian(0.0, 1.0, "subject")}), CounterRandom(0)
    >>> three = draw_noise(graph, Design(np.arange(3), torch.zeros(3, 1), nodes=("beta",)), source)["u_beta"]
    >>> last = draw_noise(graph, Design(np.array([2]), torch.zeros(1, 1), nodes=("beta",)), source)["u_beta"]
    >>> bool(three[2] == last[0])  # whoever else is simulated
    True
    """
    visits = design.shape[1]
    drawn = {}
    for name in graph.ancestors(design.nodes):
        for part, law in graph.mechanisms[name].noise.items():
            site, count = site_name(name, part), 1 if law.level == "subject" else visits
            draw = source.normal if law.kind == "normal" else source.uniform
            drawn[site] = torch.from_numpy(draw(stream + site, design.units, (count, *law.shape))).to(design.years)
    return drawn


def planned_years(units: NDArray[np.int64], visits: int, interval: float, seed: int) -> Tensor:
    """Years since entry ``(subjects, visits)`` of visits about ``interval`` years apart; the first is at 0.

    Examples
    --------
    >>> years = planned_years(np.arange(2), visits=3, interval=0.5, seed=0)
    >>> years[:, 0].tolist(), bool(((years - torch.tensor([0.0, 0.5, 1.0])).abs() <= 0.2).all())
    ([0.0, 0.0], True)
    """
    jitter = JITTER * CounterRandom(seed).normal("u_years", units, (visits,))
    jitter[:, 0] = 0
    return torch.from_numpy(interval * (np.arange(visits) + jitter.clip(-MOST_JITTER, MOST_JITTER)))


@torch.no_grad()
def run_by_parts(
    program: Callable[[Design], dict[str, Tensor]], graph: Graph, design: Design, seed: int, batch: int
) -> dict[str, Tensor]:
    """Run the program with each subject's own noise, ``batch`` subjects at a time.

    Returns
    -------
    The wanted nodes, ``(subjects, 1 or visits, *event)``.

    Examples
    --------
    >>> from neuropyro.models import AnatomySimulator
    >>> sim, design = AnatomySimulator(), Design(np.arange(5), torch.zeros(5, 1), {}, ("mmse",))
    >>> whole, parts = (run_by_parts(sim, sim.parts.scalars, design, 1, batch)["mmse"] for batch in (5, 2))
    >>> whole.shape, bool(torch.allclose(whole, parts))
    (torch.Size([5, 1]), True)
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in design.nodes}
    for begin in range(0, len(design.units), batch):
        part = design.part(slice(begin, begin + batch))
        values = poutine.condition(program, data=draw_noise(graph, part, CounterRandom(seed)))(part)
        for name in design.nodes:
            value, event = values[name], graph.mechanisms[name].event_dim
            shape = (part.shape[0], part.shape[1] if graph.levels[name] == "visit" else 1)
            parts[name].append(value.expand(*shape, *value.shape[value.ndim - event :]))
    return {name: torch.cat(values) for name, values in parts.items()}
