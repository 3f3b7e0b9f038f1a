r"""Abduction: which noise must have been, given what was seen.

Where a node is seen, its noise follows from its value and its parents' (:mod:`neuropyro.models.anatomy_mechanisms`).
So what has to be inferred is the noise of unseen nodes that seen ones depend on: a few numbers a subject, u, with

.. math::  p(u \mid \text{seen}) \propto p(u) \prod_{\text{seen } x} p(x \mid \mathrm{parents}(u)).

Here is that density as a Pyro program, for any guide and runner; :mod:`neuropyro.models.anatomy_importance` draws from
it without either.

References
----------
Pearl, *Causality*, 2nd ed. 2009, theorem 7.1.7 (abduction, action, prediction).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import pyro
import torch
from torch import Tensor

from neuropyro.data import Cohort
from neuropyro.models.anatomy_graph import Graph
from neuropyro.models.anatomy_map_evidence import MapEvidence, map_evidence
from neuropyro.models.anatomy_mechanism import Noise, ScalarMechanism
from neuropyro.models.anatomy_mechanisms import Discrete
from neuropyro.models.anatomy_observation import Measures, Observation, observe_cohort
from neuropyro.models.anatomy_program import sample_noise, site_name
from neuropyro.models.anatomy_thickness import Thickness

__all__ = ["Abduction", "Seen"]


@dataclass(frozen=True, eq=False)
class Seen:
    """What was seen, and what follows for each node: the data of `Abduction`.

    Attributes
    ----------
    observation
        Of subjects and visits.
    evidence
        What maps tell; None where there are none.
    nodes
        Those that are seen or that seen ones depend on, parents first.
    latents
        Noise to be inferred, by node.
    discrete
        Nodes to be summed over, and their numbers of values.

    Examples
    --------
    >>> from neuropyro.models.anatomy_mechanisms import Gaussian, Linear
    >>> graph = Graph({"apoe4": Discrete((0.7, 0.3)), "adas": Gaussian(Linear(10.0, apoe4=2.0), 1.0)})
    >>> cohort = Cohort([[12.0]], [70.0], ["a"], feature_names=["adas"])
    >>> seen = Abduction(graph, Measures({"adas": "visit"}, 0, None, ())).prepare(cohort)
    >>> seen.nodes, seen.discrete, seen.supposing(apoe4=torch.tensor([[[0.0]], [[1.0]]])).discrete
    (('apoe4', 'adas'), {'apoe4': 2}, {})
    """

    observation: Observation
    evidence: MapEvidence | None
    nodes: tuple[str, ...]
    latents: Mapping[str, Noise]
    discrete: Mapping[str, int]

    def supposing(self, **values: Tensor) -> Seen:
        """Return the same under hypotheses: values ``(hypotheses, subjects, 1)`` of the discrete nodes."""
        return replace(self, observation=self.observation.with_values(**values), discrete={})


@dataclass(frozen=True, eq=False)
class Abduction:
    """The density of unseen noise and of what was seen: a Pyro program over a `Cohort`.

    Sites, in plates ``subject`` (dim -2) and ``visit`` (dim -1): ``u_<node>`` of unseen nodes, the seen nodes by their
    names, and a factor ``thickness``, the density of all maps of a subject.

    Parameters
    ----------
    graph
        Mechanisms.
    measures
        What may be seen.

    Examples
    --------
    >>> from neuropyro.models.anatomy_mechanisms import Gaussian, Linear
    >>> graph = Graph({"dps": Gaussian(0.0, 1.0, "subject"), "adas": Gaussian(Linear(10.0, dps=4.0), 3.0)})
    >>> abduction = Abduction(graph, Measures({"adas": "visit"}, 0, None, ()))
    >>> seen = abduction.prepare(Cohort([[15.0]], [70.0], ["a"], feature_names=["adas"]))
    >>> known = pyro.poutine.condition(abduction, {"u_dps": torch.tensor([[0.5]])})
    >>> exact = dist.Normal(0.0, 1.0).log_prob(torch.tensor(0.5)) + dist.Normal(12.0, 3.0).log_prob(torch.tensor(15.0))
    >>> bool((pyro.poutine.trace(known).get_trace(seen).log_prob_sum() - exact).abs() < 1e-5)
    True
    """

    graph: Graph
    measures: Measures

    default_guide: ClassVar[str] = "structured"

    def prepare(
        self, data: Cohort | Seen, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Seen:
        """Bring a cohort into shape, on a device, and sort its nodes into seen, given and unknown ones.

        Raises
        ------
        ValueError
            Where a discrete node is unseen that is a visit's and that others depend on.
        """
        if isinstance(data, Seen):
            return replace(data, observation=data.observation.to(device, dtype))
        observation = observe_cohort(data, self.measures).to(device, dtype)
        maps = self.graph.mechanisms.get("thickness")
        evidence = None
        if observation.maps is not None and isinstance(maps, Thickness):
            evidence = map_evidence(maps, observation.maps, observation.age)
        return self._sorted(observation, evidence)

    def _sorted(self, observation: Observation, evidence: MapEvidence | None) -> Seen:
        targets = {name for name in observation.values if name in self.graph.mechanisms}
        needed = set() if evidence is None else set(self.graph.mechanisms["thickness"].parents)
        nodes = self.graph.ancestors(targets | needed)
        for name in nodes:
            needed |= set(self.graph.mechanisms[name].parents)
        latents, discrete = {}, {}
        for name in nodes:
            mechanism = self.scalar(name)
            if name in targets and (name not in needed or bool(observation.known[name].all())):
                continue
            if isinstance(mechanism, Discrete):
                discrete[name] = mechanism.kinds(observation.values)
            elif mechanism.noise:
                latents[name] = mechanism.noise[""]
        by_visit = [name for name in discrete if self.graph.levels[name] == "visit"]
        if by_visit:
            raise ValueError(f"abduction: {by_visit[0]} is unseen at some visits, and seen nodes depend on it; give it")
        return Seen(observation, evidence, nodes, latents, discrete)

    def scalar(self, name: str) -> ScalarMechanism:
        """Mechanism of a node of numbers."""
        return cast(ScalarMechanism, self.graph.mechanisms[name])

    def init_values(self, seen: Seen, seed: int = 0) -> dict[str, Tensor]:
        """Noise in its middle."""
        years = seen.observation.years
        return {
            site_name(name, ""): torch.full_like(
                years if law.level == "visit" else years[:, :1], 0.5 if law.kind == "uniform" else 0.0
            )
            for name, law in seen.latents.items()
        }

    def __call__(self, data: Cohort | Seen) -> None:
        """Run the story over what was seen.

        Raises
        ------
        ValueError
            Where a discrete node is unseen that others depend on: no guide can draw it.
        """
        seen = self.prepare(data) if isinstance(data, Cohort) else data
        if seen.discrete:
            raise ValueError(
                f"abduction: {next(iter(seen.discrete))} is unseen in some subjects, which no guide can draw; leave "
                "`fit` out, and it is summed over"
            )
        n, visits = seen.observation.years.shape
        subjects, each_visit = pyro.plate("subject", n, dim=-2), pyro.plate("visit", visits, dim=-1)
        values: dict[str, Tensor] = {"years": seen.observation.years}
        for name in seen.nodes:
            values[name] = self._node(name, values, seen, subjects, each_visit)
        if seen.evidence is not None:
            dps, offset = values["dps"], values["thickness_offset"]
            with subjects:
                pyro.factor("thickness", seen.evidence.log_density(dps.expand(*dps.shape[:-1], visits), offset))

    def _node(
        self, name: str, values: Mapping[str, Tensor], seen: Seen, subjects: pyro.plate, each_visit: pyro.plate
    ) -> Tensor:
        """Value of a node: seen, or made of its noise; the density of what is seen is added to the program's."""
        mechanism, like = self.scalar(name), seen.observation.years
        parents = {p: values[p] for p in mechanism.parents}
        own = None
        if name in seen.latents:
            own = mechanism.value({"": sample_noise(name, seen.latents[name], like, subjects, each_visit)}, parents)
        elif not mechanism.noise:
            own = mechanism.value({}, parents)
        known = seen.observation.known.get(name)
        if known is None:
            assert own is not None
            return own
        filled = mechanism.typical(parents, like[:, :1]) if own is None else own
        value = torch.where(known, seen.observation.values[name], filled.detach() if own is None else own)
        law = mechanism.law(parents)
        if law is not None and (mechanism.parents or isinstance(mechanism, Discrete)):
            with ExitStack() as plates:
                plates.enter_context(subjects)
                if self.graph.levels[name] == "visit":
                    plates.enter_context(each_visit)
                pyro.sample(name, law.mask(known), obs=value)
        return value
