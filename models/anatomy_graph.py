"""Which node comes before which: a directed graph of mechanisms, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from neuropyro.models.anatomy_mechanism import Level, Mechanism

__all__ = ["Graph"]


@dataclass(frozen=True)
class Graph:
    """Mechanisms by node name, and what is given from outside.

    Parameters
    ----------
    mechanisms
        By node name.
    given
        Nodes without a mechanism: those of the study's design, each a visit's.

    Raises
    ------
    ValueError
        Where a parent does not exist, nodes cause each other in a circle, or a visit's node has noise of a subject.

    Examples
    --------
    >>> from neuropyro.models.anatomy_mechanisms import Gaussian, Linear
    >>> graph = Graph({"mmse": Gaussian(Linear(27.0, dps=-2.0), 1.5), "dps": Gaussian(0.0, 1.0, "subject")})
    >>> graph.order, graph.levels["dps"], sorted(graph.descendants(["dps"]))
    (('dps', 'mmse'), 'subject', ['dps', 'mmse'])
    >>> Graph({"mmse": Gaussian(Linear(27.0, score=-2.0), 1.5)})
    Traceback (most recent call last):
    ValueError: anatomy: mmse has a parent 'score', which is no node; there are years, mmse
    """

    mechanisms: Mapping[str, Mechanism]
    given: tuple[str, ...] = ("years",)

    def __post_init__(self) -> None:
        for name, mechanism in self.mechanisms.items():
            unknown = [p for p in mechanism.parents if p not in self.mechanisms and p not in self.given]
            if unknown:
                known = ", ".join([*self.given, *self.mechanisms])
                raise ValueError(f"anatomy: {name} has a parent {unknown[0]!r}, which is no node; there are {known}")
        try:
            self.order  # noqa: B018 (found now, so that a circle is told now)
        except CycleError as error:
            raise ValueError(f"anatomy: nodes cause each other: {' -> '.join(error.args[1])}") from None

    @cached_property
    def order(self) -> tuple[str, ...]:
        """All nodes with a mechanism, parents first."""
        parents = {name: mechanism.parents for name, mechanism in self.mechanisms.items()}
        return tuple(name for name in TopologicalSorter(parents).static_order() if name in self.mechanisms)

    @cached_property
    def levels(self) -> Mapping[str, Level]:
        """Whether a node is a subject's or a visit's: a visit's where its noise or any parent is."""
        found: dict[str, Level] = dict.fromkeys(self.given, "visit")
        for name in self.order:
            mechanism = self.mechanisms[name]
            levels = {found[p] for p in mechanism.parents} | {n.level for n in mechanism.noise.values()}
            found[name] = "visit" if "visit" in levels else "subject"
        return found

    def ancestors(self, nodes: Iterable[str]) -> tuple[str, ...]:
        """``nodes`` and everything that they depend on, parents first.

        Raises
        ------
        ValueError
            Where one is no node.
        """
        wanted: set[str] = set()
        waiting = [name for name in nodes if name not in self.given]
        while waiting:
            name = waiting.pop()
            if name not in self.mechanisms:
                raise ValueError(f"anatomy: there is no node {name!r}; there are {', '.join(self.order)}")
            if name not in wanted:
                wanted.add(name)
                waiting += [p for p in self.mechanisms[name].parents if p not in self.given]
        return tuple(name for name in self.order if name in wanted)

    def descendants(self, nodes: Iterable[str]) -> frozenset[str]:
        """``nodes`` and everything that depends on them."""
        found = set(nodes)
        for name in self.order:
            if found.intersection(self.mechanisms[name].parents):
                found.add(name)
        return frozenset(found)
