r"""Clinical trials in the simulated population: arms, a start, dropout, an outcome, and the power of a test.

Subjects are recruited in the order of their numbers, where they are eligible by what is measured at a screening visit
(at entry), and are assigned to arms at random.  From ``start`` on an arm's interventions hold.  A subject leaves at an
exponential time; visits may be missed as in any study.  Each subject's outcome is reduced to one number, and arms are
compared by Welch's test.

References
----------
Welch, "The generalization of Student's problem when several different population variances are involved", Biometrika
1947; Brown, Cai & DasGupta, "Interval estimation for a binomial proportion", Statistical Science 2001 (Jeffreys'
interval of the power).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import beta, ttest_ind

from neuropyro.data import Cohort
from neuropyro.data.counter_random import CounterRandom
from neuropyro.models.anatomy_program import Design, Interventions, planned_years

if TYPE_CHECKING:
    from neuropyro.models.anatomy import AnatomySimulator

__all__ = ["Comparison", "Power", "Trial", "TrialData", "change", "slope", "stage_between"]

Floats = NDArray[np.float64]
Eligible = Callable[["AnatomySimulator", Cohort], NDArray[np.bool_]]
"""From the simulator and the screening visits of candidates to who may take part, in the order of its subjects."""
SCREENED, MOST_SCREENED = 4, 400  # candidates for each who is still wanted, at first and in all
JUDGED_AT_MOST = 5000  # candidates at once


def change(years: Floats, outcome: Floats) -> Floats:
    """Last planned visit less first, ``(subjects,)`` of (subjects, visits); NaN where either was missed.

    Examples
    --------
    >>> change(np.array([[0.0, 1.0, 2.0]]), np.array([[20.0, np.nan, 23.0]])).tolist()
    [3.0]
    """
    return np.asarray(outcome[:, -1] - outcome[:, 0])


def slope(years: Floats, outcome: Floats) -> Floats:
    """Slope a year of each subject's least-squares line through its visits; NaN with fewer than two.

    Examples
    --------
    >>> slope(np.array([[0.0, 1.0, 2.0]] * 2), np.array([[20.0, np.nan, 24.0], [20.0, np.nan, np.nan]])).tolist()
    [2.0, nan]
    """
    seen = ~np.isnan(outcome)
    count = np.maximum(seen.sum(1, keepdims=True), 1)
    x = np.where(seen, years - np.where(seen, years, 0).sum(1, keepdims=True) / count, 0)
    spread = (x**2).sum(1)
    product = (x * np.where(seen, outcome, 0)).sum(1)
    return np.where(spread > 0, product / np.where(spread > 0, spread, 1), np.nan)


def stage_between(low: float, high: float) -> Eligible:
    """Enrichment: subjects whose score at screening, predicted from what was measured there, lies in a range.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> simulator = SimpleNamespace(predicted_stage=lambda screening: np.array([0.2, 1.5, 3.0]))
    >>> stage_between(1.0, 2.5)(simulator, None).tolist()
    [False, True, False]
    """

    def eligible(simulator: AnatomySimulator, screening: Cohort) -> NDArray[np.bool_]:
        stage = simulator.predicted_stage(screening)
        return (stage >= low) & (stage <= high)

    return eligible


@dataclass(frozen=True, eq=False)
class TrialData:
    """What a trial measured.

    Attributes
    ----------
    arm
        ``(subjects,)`` names.
    years
        ``(subjects, visits)`` since entry.
    outcome
        ``(subjects, visits)``; NaN where a visit was missed or the subject had left.
    units
        ``(subjects,)`` numbers of the subjects.
    screened
        How many candidates were looked at.

    Examples
    --------
    >>> from neuropyro.models import AnatomySimulator
    >>> data = Trial({"placebo": {}, "drug": {}}, per_arm=3, dropout=0.0).simulate(AnatomySimulator())
    >>> sorted(data.arm.tolist()), data.outcome.shape, bool((data.years[:, 0] == 0).all())
    (['drug', 'drug', 'drug', 'placebo', 'placebo', 'placebo'], (6, 4), True)
    """

    arm: NDArray[np.str_]
    years: Floats
    outcome: Floats
    units: NDArray[np.int64]
    screened: int


@dataclass(frozen=True)
class Comparison:
    """Two arms: difference of means, its standard error, p value, and how many subjects counted in each.

    Examples
    --------
    >>> arm, years = np.array(["placebo"] * 3 + ["drug"] * 3), np.array([[0.0, 1.0]] * 6)
    >>> data = TrialData(arm, years, np.array([[0.0, x] for x in (1, 2, 3, 4, 5, 6)]), np.arange(6), 6)
    >>> found = Trial({"placebo": {}, "drug": {}}, visits=2).compare(data, "drug")
    >>> found.difference, round(found.standard_error, 4), found.counted  # 5 - 2, sqrt(1 / 3 + 1 / 3)
    (3.0, 0.8165, (3, 3))
    """

    difference: float
    standard_error: float
    p: float
    counted: tuple[int, int]


@dataclass(frozen=True)
class Power:
    """Share of trials with a p value below the level, with a 90 % interval, by the trials simulated.

    Examples
    --------
    >>> from neuropyro.models import AnatomySimulator
    >>> trial = Trial({"placebo": {}, "toxin": {"alpha": 2.0}}, outcome="dps", per_arm=20)
    >>> power = trial.power(AnatomySimulator(), trials=20)
    >>> power.power, round(power.low, 2)
    (1.0, 0.91)
    """

    power: float
    low: float
    high: float
    trials: int
    difference: float
    standard_error: float


@dataclass(frozen=True)
class Trial:
    """A design of a trial.

    Parameters
    ----------
    arms
        Interventions by the arms' names; the first is what others are compared with.
    outcome
        Node.
    per_arm
        Subjects of each arm who begin.
    years, visits
        Length, and visits, the first at entry.
    start
        Years after entry at which a ``treatment`` begins.
    dropout
        Expected number of subjects who leave, a subject and year: the rate.
    eligible
        Who may take part; everyone if None.
    statistic
        From years and outcomes (subjects, visits) to one number a subject: `change` or `slope`.

    Examples
    --------
    >>> from neuropyro.models import AnatomySimulator
    >>> trial = Trial({"placebo": {}, "drug": {"treatment": 0.5}}, outcome="dps", per_arm=100, years=2.0)
    >>> trial.compare(trial.simulate(AnatomySimulator(), seed=1), "drug").p < 0.01
    True
    """

    arms: Mapping[str, Interventions]
    outcome: str = "adas"
    per_arm: int = 200
    years: float = 1.5
    visits: int = 4
    start: float = 0.0
    dropout: float = 0.1
    eligible: Eligible | None = None
    statistic: Callable[[Floats, Floats], Floats] = change

    def __post_init__(self) -> None:
        if len(self.arms) < 2:
            raise ValueError(f"trial: {len(self.arms)} arm; give two or more")
        if self.per_arm < 2 or self.visits < 2 or not self.years > 0 or self.start < 0 or self.dropout < 0:
            raise ValueError("trial: per_arm and visits must be 2 or more, years above 0, start and dropout 0 or more")

    def simulate(self, simulator: AnatomySimulator, seed: int = 0) -> TrialData:
        """Run the trial once.

        Raises
        ------
        ValueError
            Where fewer than one candidate in 400 is eligible.
        """
        units, screened = self.recruit(simulator, self.per_arm * len(self.arms), seed)
        order = np.argsort(CounterRandom(seed).uniform("u_arm", units))
        arm = np.empty(len(units), np.int64)
        arm[order] = np.arange(len(units)) % len(self.arms)
        years = planned_years(units, self.visits, self.years / (self.visits - 1), seed).numpy()
        outcome = np.empty_like(years)
        for k, do in enumerate(self.arms.values()):
            outcome[arm == k] = self._outcomes(simulator, units[arm == k], years[arm == k], do, seed)
        return TrialData(np.array(list(self.arms))[arm], years, outcome, units, screened)

    def recruit(self, simulator: AnatomySimulator, wanted: int, seed: int) -> tuple[NDArray[np.int64], int]:
        """Numbers of the first ``wanted`` eligible subjects, and how many candidates were looked at."""
        if self.eligible is None:
            return np.arange(wanted), wanted
        found: list[NDArray[np.int64]] = []
        screened, count = 0, 0
        while count < wanted and screened < MOST_SCREENED * wanted:
            block = min(max(SCREENED * (wanted - count), screened), JUDGED_AT_MOST)
            screening = simulator.simulate(block, 1, seed=seed, maps=False, images=False, first=screened)
            found.append(screened + np.flatnonzero(self.eligible(simulator, screening)))
            screened, count = screened + block, count + len(found[-1])
        if count < wanted:
            raise ValueError(f"trial: {count} of {screened} candidates are eligible; widen the criteria")
        return np.concatenate(found)[:wanted], screened

    def _outcomes(
        self, simulator: AnatomySimulator, units: NDArray[np.int64], years: Floats, do: Interventions, seed: int
    ) -> Floats:
        started = {"treatment_start": self.start} if "treatment" in do and "treatment_start" not in do else {}
        design = Design(units, torch.from_numpy(years), {**started, **do}, (self.outcome, "attended"))
        values = simulator.run(design, seed)
        outcome, attended = (np.broadcast_to(values[name].numpy(), years.shape) for name in (self.outcome, "attended"))
        stays = -np.log(CounterRandom(seed).uniform("u_dropout", units)) / self.dropout if self.dropout else np.inf
        there = (attended > 0) & (years <= np.reshape(stays, (-1, 1))) | (years == 0)
        return np.where(there, outcome, np.nan)

    def compare(self, data: TrialData, arm: str) -> Comparison:
        """Compare an arm with the first one by Welch's test.

        Raises
        ------
        ValueError
            Where there is no such arm, or fewer than two subjects of one count.
        """
        first = next(iter(self.arms))
        if arm not in self.arms or arm == first:
            raise ValueError(f"trial: {arm!r} is no arm to compare with {first!r}; there are {', '.join(self.arms)}")
        numbers = self.statistic(data.years, data.outcome)
        treated, control = (numbers[(data.arm == name) & ~np.isnan(numbers)] for name in (arm, first))
        if min(len(treated), len(control)) < 2:
            raise ValueError(
                "trial: fewer than two subjects of an arm were seen often enough; shorten it or enlarge it"
            )
        error = float(np.sqrt(treated.var(ddof=1) / len(treated) + control.var(ddof=1) / len(control)))
        p = float(ttest_ind(treated, control, equal_var=False).pvalue)
        return Comparison(float(treated.mean() - control.mean()), error, p, (len(treated), len(control)))

    def power(
        self, simulator: AnatomySimulator, arm: str | None = None, trials: int = 500, level: float = 0.05, seed: int = 0
    ) -> Power:
        """Simulate the trial many times, each with subjects of its own.

        Parameters
        ----------
        arm
            Which is compared with the first; the second if None.
        level
            Of the two-sided test.

        Raises
        ------
        ValueError
            As `simulate` and `compare` do.
        """
        arm = list(self.arms)[1] if arm is None else arm
        whole = replace(self, per_arm=self.per_arm * trials).simulate(simulator, seed)
        each = np.concatenate(  # (trials, subjects): the first so many of each arm are the first trial's
            [np.flatnonzero(whole.arm == name).reshape(trials, self.per_arm) for name in self.arms], axis=1
        )
        found = []
        for rows in each:
            data = TrialData(whole.arm[rows], whole.years[rows], whole.outcome[rows], whole.units[rows], whole.screened)
            found.append(self.compare(data, arm))
        hits = sum(one.p < level for one in found)
        low, high = (float(beta.ppf(q, hits + 0.5, trials - hits + 0.5)) for q in (0.05, 0.95))
        differences = np.array([one.difference for one in found])
        return Power(hits / trials, low, high, trials, float(differences.mean()), float(differences.std(ddof=1)))
