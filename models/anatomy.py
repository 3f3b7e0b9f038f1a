r"""A simulator of brain anatomy: what would this brain look like with other genes, at another age, in another scanner?

**The story.**  A person has genes, a sex, an education and an age.  Genes and education, and things that nobody sees,
set when a disease begins and how fast it moves: a line over age, the progression score, whose slope a treatment may
change from some time on.  The score and, apart from it, ageing thin the cortex, each vertex along a course of its own,
widen the ventricles and take away what tests measure; a diagnosis is made by the score.  A slice of the brain is the
person's own anatomy, moved along the directions in which ventricles and sulci widen; a scanner makes a scan of it.

**The graph.**  Every node but those in brackets, which nobody sees, may be in a cohort::

    sex   apoe4, prs, education, [vulnerability] --> [beta, alpha]        entry_age --> age
                                                          |                             |
                     treatment, treatment_start --> [score dps] <-----------------------+
                                                          |                             |
          +----------------+---------------+--------------+---------------+             |
          v                v               v              v               v             |
      diagnosis    adas, mmse      [ventricles]      [atrophy]        thickness         |
      attended     (education,     (own offset,      (age)            (own offset, <----+
                    [reserve])      age)             |      |          age, maps)
                                    |    |           |      v
                                    v    +--> [image] <-+  cortical_thickness
                        ventricle_volume         |
                                        site --> scan

**The maths.**  A structural causal model: each node is a function of its parents and of noise of its own,
x = f(parents, u), all u independent.  The functions are small (:mod:`neuropyro.models.anatomy_defaults` lists all of
them, with sources or the plain word that a number is a choice), and each is an argument.  With

.. math::

   s_n = \beta_i + \alpha_i \left(t_n - 70 - (1 - \phi_i) \max(0, \text{years}_n - \text{start}_i)\right)

a treatment phi changes the speed from its start on and never what was before.  An intervention, ``do``, puts a value in
a function's place.  A counterfactual is abduction, action, prediction: the noise that must have been, given what was
seen (:mod:`neuropyro.models.anatomy_abduction`), is kept; the intervention is made; the functions are run again
(:mod:`neuropyro.models.anatomy_counterfactual`).  Continuous functions are inverted, so what was seen comes back
exactly when nothing is changed; of unseen noise there are posterior draws.

**What it is not.**  No number was fitted to a cohort unless a fitted mechanism was put in.  Counterfactuals of single
people cannot be checked by any data: they are as good as the graph and the functions.

Sites of the Pyro program: see :mod:`neuropyro.models.anatomy_program`.

References
----------
Pearl, *Causality*, 2nd ed. 2009, chapter 7; Pawlowski, Castro & Glocker, "Deep structural causal models for tractable
counterfactual inference", NeurIPS 2020; Marinescu et al., NeuroImage 2019 (DIVE) and arXiv 2012.04567 (BRGM); Corder et
al., Science 1993 (APOE e4 and onset).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyro
import torch
from numpy.typing import ArrayLike, NDArray
from pyro import poutine
from torch import Tensor

from neuropyro.data import Cohort
from neuropyro.data.counter_random import CounterRandom
from neuropyro.models.anatomy_abduction import Abduction
from neuropyro.models.anatomy_cohort import SCALARS, cohort_of
from neuropyro.models.anatomy_counterfactual import Counterfactual, Exogenous, predict_scalars, visits_at
from neuropyro.models.anatomy_defaults import default_mechanisms
from neuropyro.models.anatomy_exogenous import abduct
from neuropyro.models.anatomy_graph import Graph
from neuropyro.models.anatomy_image_abduction import Runner
from neuropyro.models.anatomy_images import SliceImage
from neuropyro.models.anatomy_importance import mode_of
from neuropyro.models.anatomy_mechanisms import Mechanism, ScalarMechanism
from neuropyro.models.anatomy_observation import Measures
from neuropyro.models.anatomy_prediction import predict_images, predict_maps
from neuropyro.models.anatomy_program import Design, Interventions, draw_noise, run_program
from neuropyro.models.anatomy_scanners import Scanners, default_scanners
from neuropyro.models.anatomy_thickness import Thickness
from neuropyro.models.corruption import Corruption

__all__ = ["AnatomySimulator"]

MEASURED = ("sex", "education", "apoe4", "prs", "site", "treatment", "treatment_start", "diagnosis", *SCALARS)
FIELDS = ("thickness", "image", "scan")
BATCH = 32  # subjects at once, where there are maps or images


class AnatomySimulator:
    """A structural causal model of ageing, disease, cortex and brain slices; a Pyro program over a `Design`.

    Parameters
    ----------
    generator
        Of slices: a bundled name, or a generator whose card has the direction ``dilation``.
    scanners
        Corruptions by the sites' names; three by default (:mod:`neuropyro.models.anatomy_scanners`).
    thickness
        The mechanism of maps, such as `Thickness.of_fit`; by default three clusters on fsaverage5.
    extra
        Mechanisms of further nodes, by name.
    **mechanisms
        Mechanisms in place of the default ones, by node: see :mod:`neuropyro.models.anatomy_defaults`.

    Raises
    ------
    ValueError
        Where a name is no node, a parent does not exist, or nodes cause each other in a circle.

    Examples
    --------
    >>> sim = AnatomySimulator()
    >>> cohort = sim.simulate(50, visits=3, seed=1, maps=False, images=False)
    >>> cohort.feature_names.tolist()
    ['adas', 'mmse', 'ventricle_volume', 'cortical_thickness']
    >>> one = cohort.subset(subjects=cohort.subjects[:1])
    >>> untreated = sim.counterfactual(one, draws=100, times=[90.0])
    >>> treated = sim.counterfactual(one, do={"treatment": 0.5, "treatment_start": 0.0}, draws=100, times=[90.0])
    >>> bool((treated["dps"] < untreated["dps"]).all())
    True
    """

    def __init__(
        self,
        generator: Any = "brains64",
        scanners: Mapping[str, Corruption] | None = None,
        thickness: Thickness | None = None,
        extra: Mapping[str, ScalarMechanism] | None = None,
        **mechanisms: ScalarMechanism,
    ) -> None:
        self.scanners = dict(scanners) if scanners is not None else default_scanners()
        defaults = default_mechanisms(len(self.scanners))
        unknown = sorted(set(mechanisms) - set(defaults))
        if unknown:
            raise ValueError(
                f"anatomy: there is no node {unknown[0]!r} to replace; there are {', '.join(defaults)} (new nodes go into "
                "`extra`)"
            )
        self.extra = dict(extra or {})
        self.scalars = Graph({**defaults, **mechanisms, **self.extra})
        self._generator, self._thickness = generator, thickness

    @cached_property
    def thickness(self) -> Thickness:
        """The mechanism of maps."""
        return Thickness.default() if self._thickness is None else self._thickness

    @cached_property
    def image(self) -> SliceImage:
        """The mechanism of slices; the generator is loaded when it is first needed."""
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

    def graph(self, *fields: str) -> Graph:
        """Mechanisms of all nodes of numbers, and of some of the fields thickness, image and scan."""
        found: dict[str, Mechanism] = {name: getattr(self, name) for name in fields}
        return Graph({**self.scalars.mechanisms, **found})

    def __call__(self, design: Design) -> dict[str, Tensor]:
        """Run the story forward: the Pyro program."""
        wanted = [name for name in FIELDS if name in design.nodes]
        return run_program(self.graph(*(["image", *wanted] if "scan" in wanted else wanted)), design)

    def simulate(
        self,
        n: int,
        visits: int = 4,
        do: Interventions | None = None,
        seed: int = 0,
        *,
        interval: float = 1.0,
        maps: bool = True,
        images: bool = True,
        first: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> Cohort:
        """Simulate a longitudinal study; its truth travels with it.

        Parameters
        ----------
        n
            Subjects.
        visits
            Planned visits of each; some do not take place.
        do
            Interventions by node: a number, an array (n,) or (n, visits), or a function of the value that would be.
        seed
            A subject's noise is a function of it and of the subject's number, whatever else is simulated.
        interval
            Years between visits.
        maps, images
            Whether there are maps and scans; without maps the cohort's values are adas, mmse, ventricle_volume and
            cortical_thickness.
        first
            Number of the first subject: ``simulate(10, first=90)`` are the last ten of ``simulate(100)``.
        device, dtype
            Of the numbers' computation; maps and scans are float32.

        Returns
        -------
        Cohort
            Time is age in years.  ``truth`` has every node by its name, unseen ones included, and slices as ``image``.

        Raises
        ------
        ValueError
            Where an argument makes no sense.
        """
        if n < 1 or visits < 1 or not interval > 0 or first < 0:
            raise ValueError(f"simulate: n ({n}) and visits ({visits}) must be 1 or more, interval ({interval}) above 0")
        self._check_do(do or {})
        fields = (("thickness",) if maps else ()) + (("image", "scan") if images else ())
        design = self.design(np.arange(first, first + n), visits, interval, seed, do or {}, device, dtype)
        nodes = (*self.scalars.order, *fields)
        values = self._run(Design(design.units, design.years, design.do, nodes), seed, BATCH if fields else n)
        mesh = self.thickness.mesh if maps else None
        return cohort_of(design.units, values, self.scalars.levels, tuple(self.scanners), mesh, tuple(self.extra))

    def design(
        self,
        units: NDArray[np.int64],
        visits: int,
        interval: float,
        seed: int,
        do: Interventions,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> Design:
        """Lay out visits about ``interval`` years apart."""
        jitter = CounterRandom(seed).normal("u_years", units, (visits,)) * 0.05 * interval
        years = np.arange(visits) * interval + np.where(np.arange(visits) > 0, np.clip(jitter, -0.4, 0.4), 0)
        return Design(units, torch.from_numpy(years).to(device, dtype), do, self.scalars.order)

    def _run(self, design: Design, seed: int, batch: int) -> dict[str, Tensor]:
        """Run the program for some subjects at a time; every node ``(subjects, 1 or visits, *event)``."""
        graph = self.graph(*(name for name in FIELDS if name in design.nodes))
        parts: dict[str, list[Tensor]] = {name: [] for name in design.nodes}
        for begin in range(0, len(design.units), batch):
            part = design.part(slice(begin, begin + batch))
            noise = draw_noise(graph, part, CounterRandom(seed))
            with torch.no_grad():
                values = poutine.condition(self, data=noise)(part)
            for name in design.nodes:
                shape = (part.shape[0], part.shape[1] if graph.levels[name] == "visit" else 1)
                value = values[name]
                event = graph.mechanisms[name].event_dim
                parts[name].append(value.expand(*shape, *value.shape[value.ndim - event :]))
        return {name: torch.cat(values) for name, values in parts.items()}

    def _check_do(self, do: Interventions) -> None:
        """Refuse interventions on what is no node of numbers."""
        for name in do:
            if name not in self.scalars.mechanisms:
                what = "a field; intervene on its parents" if name in FIELDS else "no node"
                raise ValueError(f"do: {name!r} is {what}; there are {', '.join(self.scalars.order)}")

    @property
    def abduction(self) -> Abduction:
        """The density of what nobody sees, given a cohort: a Pyro program for any guide (maps included)."""
        return self._abduction(maps=True, images=False)

    def _abduction(self, maps: bool, images: bool) -> Abduction:
        vertices = self.thickness.size if maps else 0
        names = {*MEASURED, *self.extra}
        levels = {name: level for name, level in self.scalars.levels.items() if name in names}
        shape = self.scan.shape if images else None
        return Abduction(
            self.graph(*(("thickness",) if maps else ())), Measures(levels, vertices, shape, tuple(self.scanners))
        )

    def infer_exogenous(
        self, observation: Cohort, draws: int = 64, *, seed: int = 0, fit: Runner | None = None
    ) -> Exogenous:
        """Draw the noise behind a cohort: abduction.

        Parameters
        ----------
        observation
            Subjects of whom anything was seen: maps or the numbers that the simulator's cohorts have, scans with their
            ``site``, and whatever covariates are known.
        draws
            From the posterior.
        seed
            Of the draws.
        fit
            A runner with a guide, such as ``functools.partial(neuropyro.inference.fit, guide="structured")``.  Without
            one, unseen numbers are drawn by importance (exactly, but for the number of proposals), and each scan's
            latent stays at its mode, so that its uncertainty is left out of the images; its residual is drawn.

        Raises
        ------
        CohortError, ValueError
            Where the cohort is no observation of this simulator's nodes; it is said why.
        """
        maps, images = self._has_maps(observation), observation.images is not None
        pictures = (self.image, self.scan) if images else None
        return abduct(self._abduction(maps, images), pictures, observation, draws, seed, fit)

    def _has_maps(self, cohort: Cohort) -> bool:
        """Whether the columns of a cohort are vertices."""
        return cohort.feature_names is None or not set(cohort.feature_names.tolist()) & set(self.scalars.order)

    def counterfactual(
        self,
        observation: Cohort | Exogenous,
        do: Interventions | None = None,
        draws: int = 64,
        times: ArrayLike | None = None,
        nodes: Sequence[str] | None = None,
        *,
        seed: int = 0,
        fit: Runner | None = None,
    ) -> Counterfactual:
        """Draw what would have been: abduction, action, prediction.

        Parameters
        ----------
        observation
            See `infer_exogenous`; or what it returned, so that several worlds share the noise of one.
        do
            Interventions by node: a number, an array (subjects,) or (subjects, times), or a function of the value that
            would be.
        draws, seed, fit
            See `infer_exogenous`.
        times
            Ages, (times,) or (subjects, times); by default those of the visits.
        nodes
            What is wanted; by default all numbers, and maps, slices and scans where any were seen.

        Examples
        --------
        >>> sim = AnatomySimulator()
        >>> cohort = sim.simulate(1, visits=2, seed=3, maps=False, images=False)
        >>> same = sim.counterfactual(cohort, draws=4)
        >>> bool((same["adas"] == cohort.values[:, 0]).all())
        True
        """
        self._check_do(do or {})
        exogenous = observation
        if isinstance(exogenous, Cohort):
            exogenous = self.infer_exogenous(exogenous, draws, seed=seed, fit=fit)
        wanted = self._wanted(exogenous) if nodes is None else tuple(nodes)
        fields = [name for name in FIELDS if name in wanted]
        graph = self.graph(*(["image", *fields] if "scan" in fields else fields))
        grid = visits_at(exogenous.observation, times, do or {}, wanted)
        values = predict_scalars(graph, exogenous, grid)
        if "thickness" in fields:
            values["thickness"] = predict_maps(self.thickness, exogenous, grid, values)
        if "image" in fields or "scan" in fields:
            values["image"], values["scan"] = predict_images(self.image, self.scan, exogenous, grid, values)
        ages = exogenous.observation.values["entry_age"] + grid.design.years
        found = {name: values[name].cpu().numpy() for name in wanted}
        return Counterfactual(exogenous.observation.subject, ages.cpu().numpy(), found)

    def _wanted(self, exogenous: Exogenous) -> tuple[str, ...]:
        maps = () if exogenous.observation.maps is None else ("thickness",)
        images = () if exogenous.images is None else ("image", "scan")
        return (*(name for name in self.scalars.order if name != "attended"), *maps, *images)
