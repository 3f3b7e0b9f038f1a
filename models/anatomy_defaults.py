r"""The mechanisms that the anatomy simulator has unless others are given: an elderly population, as a memory clinic's.

Scores are in sds of controls' first visits, about; ages and times in years.  What has a source:

* e4 alleles are two draws with frequency .14 (Farrer et al., JAMA 1997: about .14 in Caucasian controls).
* e4 brings onset forward.  Corder et al., Science 1993, found 84 -> 68 years from none to two alleles in families with
  late onset, 8 years an allele; in a population the effect is smaller, and here it is about 4 years at median speed.
* MMSE has 30 points, ADAS-Cog (11 items) 70, by their construction.

Everything else is a **choice**, made so that the simulated tables look like those of the large longitudinal studies:
controls have an MMSE of about 29 and an ADAS-Cog of about 6, patients with dementia about 20 and 22; patients lose some
2 points of the MMSE a year; ventricles grow by 1 to 2 % a year in ageing and by some 5 % in dementia; the cortex thins
by .2 % a year in ageing.  No number here was fitted to data.

===================  ========================================================================================
node                 mechanism
===================  ========================================================================================
sex                  1 (male) or 0, even odds
education            years, Normal(15, 2.8)
apoe4                alleles 0, 1, 2
prs                  polygenic score without APOE, Normal(0, 1)
entry_age            Uniform(55, 85) years
site                 scanner, even odds
vulnerability        Normal(0, 1), never seen; common cause of onset and speed
reserve              Normal(0, 1), never seen; common cause of both tests
ventricle_offset     Normal(0, .22), log of a subject's own ventricle size
thickness_offset     Normal(0, .08) mm, a subject's own cortex
treatment            factor of the speed from ``treatment_start`` on; 1, unless someone intervenes
treatment_start      years after entry; never, unless someone intervenes
beta                 score at 70 years: .2 + .55 apoe4 + .3 prs - .08 (education - 15) + .45 vulnerability + .8 u
alpha                scores a year, log: log .17 + .12 apoe4 + .08 prs - .02 (education - 15) + .25 vulnerability + .3 u
age                  entry_age + years
dps                  score: beta + alpha (age - 70 - (1 - treatment) max(0, years - treatment_start))
ventricles           area in the slice, log: ventricle_offset + .017 (age - 70) + .9 logistic(1.1 (dps - 2.2))
ventricle_volume     ml: 30 ventricles^1.5, measured with an error of 3 %
atrophy              fraction of the cortex lost: .002 (age - 70) + .2 logistic(1.2 (dps - 1.5))
cortical_thickness   mm: 2.5 (1 - atrophy) + thickness_offset, measured with an error of .02
adas                 0 to 70, logit = -2.4 + .5 dps - .03 (education - 15) - .15 reserve + .2 u
mmse                 0 to 30, logit = 3 - .65 dps + .04 (education - 15) + .2 reserve + .35 u
diagnosis            CN, MCI, AD: dps + .3 u below 1, between, above 2.4
attended             whether a follow-up took place: logit of missing it = -2.7 + .15 dps
===================  ========================================================================================

Site has no parents: studies that recruit otherwise (age, prevalence) set it, or ``entry_age`` and ``beta``, by a
mechanism of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neuropyro.models.anatomy_mechanism import ScalarMechanism, Support
from neuropyro.models.anatomy_mechanisms import (
    Constant,
    Discrete,
    Function,
    Gaussian,
    Linear,
    Uniform,
    bounded,
    ordered_probabilities,
    positive,
)

__all__ = ["DIAGNOSES", "ORIGIN", "ScoreLine", "default_mechanisms"]

ORIGIN = 70.0  # years, at which beta is the score
LIFETIME = Support(0.0, 120.0)  # years
EDUCATION = 15.0
E4_FREQUENCY = 0.14
DIAGNOSES = ("CN", "MCI", "AD")
CUTS, DIAGNOSIS_SD = (1.0, 2.4), 0.3
THICKNESS = 2.5  # mm


def default_mechanisms(sites: int) -> dict[str, ScalarMechanism]:
    """Return the mechanisms of the table above, by node.

    Parameters
    ----------
    sites
        How many scanners there are.

    Examples
    --------
    >>> mechanisms = default_mechanisms(sites=2)
    >>> mechanisms["site"].probabilities, mechanisms["dps"].parents[:3]
    ((0.5, 0.5), ('beta', 'alpha', 'age'))
    >>> mechanisms["age"].value({}, {"entry_age": torch.tensor([[60.0]]), "years": torch.tensor([[0.0, 2.0]])})
    tensor([[60., 62.]])
    """
    return _roots(sites) | _progression() | _measures()


def _roots(sites: int) -> dict[str, ScalarMechanism]:
    """Return what nothing in the model causes."""
    q = E4_FREQUENCY
    return {
        "sex": Discrete((0.5, 0.5)),
        "education": Gaussian(EDUCATION, 2.8, "subject"),
        "apoe4": Discrete(((1 - q) ** 2, 2 * q * (1 - q), q**2)),
        "prs": Gaussian(0.0, 1.0, "subject"),
        "entry_age": Uniform(55.0, 85.0, allowed=LIFETIME),
        "site": Discrete((1 / sites,) * sites),
        "vulnerability": Gaussian(0.0, 1.0, "subject"),
        "reserve": Gaussian(0.0, 1.0, "subject"),
        "ventricle_offset": Gaussian(0.0, 0.22, "subject"),
        "thickness_offset": Gaussian(0.0, 0.08, "subject"),
        "treatment": Constant(1.0, Support(0.0)),
        "treatment_start": Constant(math.inf),
    }


def _progression() -> dict[str, ScalarMechanism]:
    """From genes and education to the score."""
    onset = Linear(0.2 + 0.08 * EDUCATION, apoe4=0.55, prs=0.3, education=-0.08, vulnerability=0.45)
    speed = Linear(math.log(0.17) + 0.02 * EDUCATION, apoe4=0.12, prs=0.08, education=-0.02, vulnerability=0.25)
    return {
        "beta": Gaussian(onset, 0.8, "subject"),
        "alpha": Gaussian(speed, 0.3, "subject", positive()),
        "age": Function(_age_at_visit, LIFETIME),
        "dps": Function(ScoreLine()),
    }


def _measures() -> dict[str, ScalarMechanism]:
    """From the score and ageing to what is measured."""
    adas = Linear(-2.4 + 0.03 * EDUCATION, dps=0.5, education=-0.03, reserve=-0.15)
    mmse = Linear(3.0 - 0.04 * EDUCATION, dps=-0.65, education=0.04, reserve=0.2)
    return {
        "ventricles": Function(_ventricle_size),
        "ventricle_volume": Gaussian(_log_volume, 0.03, link=positive()),
        "atrophy": Function(_atrophy),
        "cortical_thickness": Gaussian(_mean_thickness, 0.02),
        "adas": Gaussian(adas, 0.2, link=bounded(-0.5, 70.5)),
        "mmse": Gaussian(mmse, 0.35, link=bounded(-0.5, 30.5)),
        "diagnosis": Discrete(_diagnosis_probabilities, "visit"),
        "attended": Discrete(_attendance, "visit"),
    }


def _age_at_visit(entry_age: Tensor, years: Tensor) -> Tensor:
    """Years."""
    return entry_age + years


@dataclass(frozen=True)
class ScoreLine:
    """Progression score; a treatment changes the speed from its start on, and nothing before.

    Parameters
    ----------
    origin
        Age at which beta is the score, years.
    share
        Of the years from there to a subject's entry, how many count: 0 where beta is the score at entry.

    Examples
    --------
    >>> years, onset, speed = torch.tensor([0.0, 2.0, 4.0]), torch.tensor(1.0), torch.tensor(0.5)
    >>> ScoreLine()(onset, speed, 70 + years, years, treatment=torch.tensor(0.0), treatment_start=torch.tensor(2.0))
    tensor([1., 2., 2.])
    """

    origin: float = ORIGIN
    share: float = 1.0
    parents: ClassVar[tuple[str, ...]] = ("beta", "alpha", "age", "years", "treatment", "treatment_start")

    def __call__(
        self, beta: Tensor, alpha: Tensor, age: Tensor, years: Tensor, treatment: Tensor, treatment_start: Tensor
    ) -> Tensor:
        """Evaluate it."""
        treated = (years - treatment_start).clamp_min(0)
        before = self.share * (age - years - self.origin)
        return beta + alpha * (before + years - (1 - treatment) * treated)


def _ventricle_size(ventricle_offset: Tensor, age: Tensor, dps: Tensor) -> Tensor:
    """Area of the ventricles in the slice, relative to the typical one."""
    disease = 0.9 * torch.sigmoid(1.1 * (dps - 2.2))
    return torch.exp(ventricle_offset + 0.017 * (age - ORIGIN) + disease)


def _log_volume(ventricles: Tensor) -> Tensor:
    """Log of the volume in ml: an area to the power 3/2."""
    return math.log(30.0) + 1.5 * ventricles.log()


def _atrophy(age: Tensor, dps: Tensor) -> Tensor:
    """Fraction of the cortex that is lost, as seen from a healthy 70 years."""
    return 0.002 * (age - ORIGIN) + 0.2 * torch.sigmoid(1.2 * (dps - 1.5))


def _mean_thickness(atrophy: Tensor, thickness_offset: Tensor) -> Tensor:
    """Mean thickness of the cortex, mm."""
    return THICKNESS * (1 - atrophy) + thickness_offset


def _diagnosis_probabilities(dps: Tensor) -> Tensor:
    """Of CN, MCI and AD."""
    return ordered_probabilities(dps, CUTS, DIAGNOSIS_SD)


def _attendance(years: Tensor, dps: Tensor) -> Tensor:
    """Of missing a visit and of attending it; the first is always attended."""
    missed = torch.where(years > 0, torch.sigmoid(-2.7 + 0.15 * dps), torch.zeros_like(dps))
    return torch.stack([missed, 1 - missed], -1)
