"""The mechanisms that a simulator is made of: numbers at once, maps and images when they are first needed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch

from neuropyro.data import Cohort
from neuropyro.data.unknown_names import there_are
from neuropyro.models.anatomy_abduction import Abduction
from neuropyro.models.anatomy_cohort import SCALARS
from neuropyro.models.anatomy_counterfactual import Exogenous
from neuropyro.models.anatomy_defaults import default_mechanisms
from neuropyro.models.anatomy_graph import Graph
from neuropyro.models.anatomy_images import SliceImage
from neuropyro.models.anatomy_mechanism import Mechanism, ScalarMechanism, Support
from neuropyro.models.anatomy_mechanisms import Constant
from neuropyro.models.anatomy_observation import Measures
from neuropyro.models.anatomy_program import Interventions
from neuropyro.models.anatomy_scanners import Scanners, default_scanners
from neuropyro.models.anatomy_thickness import Thickness
from neuropyro.models.corruption import Corruption

__all__ = ["FIELDS", "AnatomyParts", "is_treated"]

FIELDS = ("thickness", "image", "scan")
"""Nodes that are maps or images, parents first."""
MEASURED = ("sex", "education", "apoe4", "prs", "site", "treatment", "treatment_start", "diagnosis", *SCALARS)


class AnatomyParts:
    """Mechanisms by node; see :class:`~neuropyro.models.anatomy.AnatomySimulator` for the parameters.

    Examples
    --------
    >>> parts = AnatomyParts("brains64", None, None, None, {})
    >>> parts.graph().levels["apoe4"], parts.graph().levels["mmse"]
    ('subject', 'visit')
    >>> parts.check_interventions({"treatment": 0.5})
    Traceback (most recent call last):
    ValueError: do: a treatment that never starts; give its start too, in years after entry, as treatment_start=0
    """

    def __init__(
        self,
        generator: Any,
        scanners: Mapping[str, Corruption] | None,
        thickness: Thickness | None,
        extra: Mapping[str, ScalarMechanism] | None,
        mechanisms: Mapping[str, ScalarMechanism],
    ) -> None:
        self.scanners = dict(scanners) if scanners is not None else default_scanners()
        defaults = default_mechanisms(len(self.scanners))
        unknown = sorted(set(mechanisms) - set(defaults))
        if unknown:
            raise ValueError(
                f"anatomy: there is no node {unknown[0]!r} to replace; there are {', '.join(defaults)} (new ones into "
                "`extra`)"
            )
        self.extra = dict(extra or {})
        taken = sorted(set(self.extra) & {*defaults, *FIELDS})
        if taken:
            raise ValueError(f"anatomy: {taken[0]!r} is a node already; replace it by {taken[0]}=...")
        self.scalars = Graph({**defaults, **mechanisms, **self.extra})
        self._generator, self._thickness = generator, thickness

    @cached_property
    def thickness(self) -> Thickness:
        """The mechanism of maps."""
        return Thickness.default() if self._thickness is None else self._thickness

    @cached_property
    def image(self) -> SliceImage:
        """The mechanism of slices; a generator given by name is loaded now."""
        if isinstance(self._generator, SliceImage):
            return self._generator
        if not isinstance(self._generator, str):
            return SliceImage.of(self._generator)
        from neuropyro.generators import load_generator

        return SliceImage.of(load_generator(self._generator))

    @cached_property
    def scan(self) -> Scanners:
        """The mechanism of scans."""
        return Scanners(self.scanners, self.image.shape)

    def graph(self, fields: tuple[str, ...] = ()) -> Graph:
        """Mechanisms of all nodes of numbers, and of some fields with those that they depend on."""
        needed = [name for name in FIELDS if name in fields or (name == "image" and "scan" in fields)]
        found: dict[str, Mechanism] = {name: getattr(self, name) for name in needed}
        return Graph({**self.scalars.mechanisms, **found})

    def abduction(self, maps: bool, images: bool) -> Abduction:
        """Return the density of what nobody sees, for cohorts with or without maps and images."""
        names = {*MEASURED, *self.extra}
        levels = {name: level for name, level in self.scalars.levels.items() if name in names}
        shape = self.scan.shape if images else None
        measures = Measures(levels, self.thickness.size if maps else 0, shape, tuple(self.scanners))
        return Abduction(self.graph(("thickness",) if maps else ()), measures)

    def has_maps(self, cohort: Cohort) -> bool:
        """Whether the columns of a cohort are vertices, and not nodes by their names."""
        return cohort.feature_names is None or not set(cohort.feature_names.tolist()) & set(self.scalars.order)

    def check_interventions(self, do: Interventions, treated: bool = False) -> None:
        """Refuse interventions on what is no node of numbers, by impossible values, and a treatment or start alone.

        Parameters
        ----------
        do
            By node.
        treated
            Whether there are people whose treatment has a start of their own.

        Raises
        ------
        ValueError
            Naming what there is.
        """
        for name in do:
            if name not in self.scalars.mechanisms:
                what = "a map or image; intervene on its parents" if name in FIELDS else "no node"
                raise ValueError(f"do: {name!r} is {what}; {there_are(name, self.scalars.order)}")
            mechanism = self.scalars.mechanisms[name]
            if isinstance(mechanism, ScalarMechanism):
                _refuse_impossible(name, do[name], mechanism.support)
        if "treatment_start" in do and "treatment" not in do and not treated:
            raise ValueError(
                "do: a treatment's start without a treatment; give its factor of the speed too, as treatment=.5"
            )
        start = self.scalars.mechanisms.get("treatment_start")
        never = not treated and isinstance(start, Constant) and math.isinf(start.number)
        if "treatment" in do and "treatment_start" not in do and never:
            raise ValueError(
                "do: a treatment that never starts; give its start too, in years after entry, as treatment_start=0"
            )


def _refuse_impossible(name: str, value: Any, support: Support) -> None:
    """Refuse to set a node to what it can never be, such as five alleles; functions of its value are left alone.

    Raises
    ------
    ValueError
        Naming the node, the value, and what it can be.

    Examples
    --------
    >>> _refuse_impossible("apoe4", 5, Support(0, 2, whole=True))
    Traceback (most recent call last):
    ValueError: do: apoe4 cannot be 5; give a whole number from 0 to 2
    """
    if callable(value):
        return
    given = torch.as_tensor(value, dtype=torch.float64)
    wrong = given[~support.holds(given)]
    if wrong.numel():
        raise ValueError(f"do: {name} cannot be {wrong.flatten()[0].item():g}; give {support}")


def is_treated(people: Cohort | Exogenous) -> bool:
    """Whether anybody's treatment has a start of their own.

    Examples
    --------
    >>> cohort = Cohort([[10.0]], [70.0], ["a"], feature_names=["adas"], covariates={"treatment_start": [0.0]})
    >>> is_treated(cohort), is_treated(Cohort([[10.0]], [70.0], ["a"], feature_names=["adas"]))
    (True, False)
    """
    if isinstance(people, Cohort):
        return "treatment_start" in people.covariates
    starts = people.observation.values.get("treatment_start")
    return starts is not None and bool(starts.isfinite().any())
