r"""A simulator of brain anatomy: this brain with other genes, at another age, under a treatment, in another scanner.

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
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from neuropyro.data import Cohort
from neuropyro.models.anatomy_abduction import Abduction
from neuropyro.models.anatomy_cohort import cohort_of
from neuropyro.models.anatomy_counterfactual import Counterfactual, Exogenous
from neuropyro.models.anatomy_effects import Effect, average_effect
from neuropyro.models.anatomy_exogenous import abduct, stage_at_mode
from neuropyro.models.anatomy_image_abduction import Runner
from neuropyro.models.anatomy_mechanism import ScalarMechanism
from neuropyro.models.anatomy_parts import FIELDS, AnatomyParts, is_treated
from neuropyro.models.anatomy_program import Design, Interventions, planned_years, run_by_parts, run_program
from neuropyro.models.anatomy_thickness import Thickness
from neuropyro.models.anatomy_worlds import predict_world
from neuropyro.models.corruption import Corruption

__all__ = ["AnatomySimulator"]

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
        self.parts = AnatomyParts(generator, scanners, thickness, extra, mechanisms)

    def __call__(self, design: Design) -> dict[str, Tensor]:
        """Run the story forward: the Pyro program."""
        return run_program(self.parts.graph(design.nodes), design)

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
            raise ValueError(
                f"simulate: n ({n}) and visits ({visits}) must be 1 or more, interval ({interval}) above 0"
            )
        fields = (("thickness",) if maps else ()) + (("image", "scan") if images else ())
        units = np.arange(first, first + n)
        years = planned_years(units, visits, interval, seed).to(device, dtype)
        values = self.run(Design(units, years, do or {}, (*self.parts.scalars.order, *fields)), seed)
        mesh = self.parts.thickness.mesh if maps else None
        sites, extra = tuple(self.parts.scanners), tuple(self.parts.extra)
        return cohort_of(units, values, self.parts.scalars.levels, sites, mesh, extra)

    def run(self, design: Design, seed: int = 0) -> dict[str, Tensor]:
        """Run the program with the subjects' own noise; the wanted nodes ``(subjects, 1 or visits, *event)``."""
        self.parts.check_interventions(design.do)
        fields = set(FIELDS).intersection(design.nodes)
        return run_by_parts(self, self.parts.graph(design.nodes), design, seed, BATCH if fields else len(design.units))

    @property
    def abduction(self) -> Abduction:
        """The density of what nobody sees, given a cohort with maps: a Pyro program for any guide and runner."""
        return self.parts.abduction(maps=True, images=False)

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
        images = observation.images is not None
        pictures = (self.parts.image, self.parts.scan) if images else None
        abduction = self.parts.abduction(self.parts.has_maps(observation), images)
        return abduct(abduction, pictures, observation, draws, seed, fit)

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
        self.parts.check_interventions(do or {}, is_treated(observation))
        exogenous = observation
        if isinstance(exogenous, Cohort):
            exogenous = self.infer_exogenous(exogenous, draws, seed=seed, fit=fit)
        return predict_world(self.parts, exogenous, do or {}, times, None if nodes is None else tuple(nodes))

    def predicted_stage(self, cohort: Cohort) -> NDArray[np.float64]:
        """Score at each subject's first visit, at the mode of what is unseen, ``(subjects,)``: for enrichment."""
        return stage_at_mode(self.parts.abduction(self.parts.has_maps(cohort), images=False), cohort)

    def ate(
        self,
        do: Interventions,
        reference: Interventions | None = None,
        outcome: str = "adas",
        years: float = 5.0,
        n: int = 1000,
        *,
        seed: int = 0,
    ) -> Effect:
        """Average effect of ``do`` against ``reference`` on a node, so many years after entry.

        Both worlds have the same ``n`` people and the same noise, so that only the intervention differs.

        Examples
        --------
        >>> AnatomySimulator().ate({"apoe4": 2.0}, {"apoe4": 0.0}, "mmse", n=2000)
        Effect(-3.612, 90 % interval -3.723 to -3.5, 2,000 subjects)
        """
        return average_effect(self.run, do, reference or {}, outcome, years, n, seed)
