"""What of a fit can be trusted, in words.

Five questions, in the order in which they matter: has the optimisation converged?  Do restarts (or chains) agree?  Is
the guide near the posterior?  Does the fitted model make data like the data?  Can units be predicted?  Whatever is
answered with no, or cannot be known, comes with what to try next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neuropyro.default_dtype import default_dtype
from neuropyro.inference.predictive_checks import (
    WITHIN,
    LeaveOneOut,
    PredictiveCheck,
    check_predictive,
    leave_one_out,
)
from neuropyro.inference.run_agreement import RHAT_LIMIT, Agreement, compare_runs
from neuropyro.inference.weights import KHAT_LIMIT, Weights, log_weights

if TYPE_CHECKING:
    from neuropyro.inference.result import Fit

__all__ = ["Diagnosis", "Finding", "diagnose"]

Answer = Literal["yes", "no", "not known", "not asked"]
FAIR_KHAT = 1.0
MANY_BAD_UNITS = 0.05
CONVERGED = ("Did the optimisation converge?", "Did the sampler converge?")
ESTIMATES = "estimates from all of them"
NEAR = "Is the approximation (the guide) near the posterior?"


@dataclass(frozen=True)
class Finding:
    """The answer to one question.

    Parameters
    ----------
    question
        What was asked.
    answer
        ``"yes"`` (nothing to fear); ``"no"``; ``"not known"``, where what was worked out does not say; or ``"not
        asked"``, where there was nothing to work it out from.
    reason
        In words, with the numbers.
    advice
        What to try next; empty where nothing is amiss.

    Examples
    --------
    >>> print(Finding("Do restarts agree?", "not asked", "There is one run only.", "--restarts 4"))
    not asked  Do restarts agree? There is one run only.
               try: --restarts 4
    """

    question: str
    answer: Answer
    reason: str
    advice: str = ""

    def __str__(self) -> str:
        """Return it as a line or two."""
        advice = f"\n{'':11}try: {self.advice}" if self.advice else ""
        return f"{self.answer:>9}  {self.question} {self.reason}{advice}"


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """All findings, and what they rest on.

    Parameters
    ----------
    fit
        What was diagnosed.
    findings
        One a question.
    weights
        Importance weights of the guide; None for a point or NUTS.
    agreement
        Of the restarts or chains; None where there is one.
    checks
        Of the posterior predictive.
    loo
        Leave-one-out; None where the fit is a point or the model has no pointwise log-likelihood.

    Examples
    --------
    See `diagnose`.  What was answered with no, in one sentence:

    >>> from types import SimpleNamespace
    >>> findings = (Finding("Do restarts agree?", "no", "R-hat 1.3."),)
    >>> Diagnosis(SimpleNamespace(is_point=False), findings, None, None, (), None).verdict
    'Use with care; answered with no: do restarts agree.'
    """

    fit: Fit
    findings: tuple[Finding, ...]
    weights: Weights | None
    agreement: Agreement | None
    checks: tuple[PredictiveCheck, ...]
    loo: LeaveOneOut | None

    @property
    def trusted(self) -> bool:
        """Whether everything that was asked was answered with yes."""
        return not self._asked("no", "not known")

    @property
    def advice(self) -> tuple[str, ...]:
        """What to try next, most urgent first."""
        return tuple(finding.advice for finding in self.findings if finding.advice)

    @property
    def verdict(self) -> str:
        """One sentence; of a fit that has not converged nothing else matters yet."""
        if any(finding.question in CONVERGED and finding.answer == "no" for finding in self.findings):
            return "The fit has not converged: do not rely on it before it has."
        if self.fit.is_point:
            return "A point estimate: it says nothing of how sure it is."
        if self.trusted:
            return "Nothing speaks against this fit: means and intervals can be used."
        kinds = (("answered with no", self._asked("no")), ("not known", self._asked("not known")))
        care = "Keep this fit, and take its intervals as approximate" if self._only_far else "Use with care"
        return f"{care}; {'; '.join(f'{said}: {asked}' for said, asked in kinds if asked)}."

    @property
    def _only_far(self) -> bool:
        """Whether nothing but the guide's distance from the posterior is answered with no, as of most large models."""
        return [finding.question for finding in self.findings if finding.answer == "no"] == [NEAR]

    def _asked(self, *answers: Answer) -> str:
        return "; ".join(found.question.rstrip("?").lower() for found in self.findings if found.answer in answers)

    def __str__(self) -> str:
        """Return the verdict and every finding."""
        return "\n".join([self.verdict, *map(str, self.findings)])


def diagnose(
    fit: Fit, draws: int = 500, predictive_draws: int = 200, statistics: Sequence[Any] | None = None
) -> Diagnosis:
    """Say what of a fit can be trusted, and what to try next.

    Parameters
    ----------
    fit
        Of any model and guide, or of NUTS.
    draws
        For importance weights, R-hat and leave-one-out.
    predictive_draws
        Simulated data sets.
    statistics
        As in :func:`~neuropyro.inference.check_predictive`.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.inference import fit
    >>> y = torch.linspace(-1.5, 1.5, 20)
    >>> diagnose(fit(model, y, "laplace", seed=0, progress=False)).trusted
    True
    """
    with default_dtype(fit.dtype):
        weights = None if fit.is_point or fit.is_sampled else log_weights(fit, draws)
        agreement = compare_runs(fit, draws) if len(fit.runs) > 1 else None
        checks = tuple(check_predictive(fit, statistics, predictive_draws))
        loo = leave_one_out(fit, draws)
    findings = (
        _converged(fit),
        _agrees(fit, agreement),
        _near(fit, weights),
        _predicts(fit, checks),
        _leaves_out(fit, loo),
    )
    return Diagnosis(fit, findings, weights, agreement, checks, loo)


def _converged(fit: Fit) -> Finding:
    question = CONVERGED[fit.is_sampled]
    if not np.isfinite(fit.losses[-1]):
        return Finding(question, "no", "The loss is not finite.", "a smaller learning rate, or other starting values")
    said = fit.verdict.removeprefix("not converged: ")
    reason = f"{said[0].upper()}{said[1:]}."
    if fit.converged:
        return Finding(question, "yes", reason)
    if fit.is_sampled:
        return Finding(question, "no", reason, "more draws and a longer warm-up")
    if fit.guide_name == "laplace":  # which the command line gives all the steps that it takes
        return Finding(
            question, "no", reason, "--guide normal, or several starts: --restarts 4; in Python more warm_up"
        )
    return Finding(question, "no", reason, "more steps: --max-steps, or in Python Schedule(max_steps=...)")


def _agrees(fit: Fit, agreement: Agreement | None) -> Finding:
    question = "Do chains agree?" if fit.is_sampled else "Do restarts agree?"
    if agreement is None:
        several = "several starts: --restarts 4, or in Python fit(..., restarts=4)"
        advice = "chains=4" if fit.is_sampled else several
        return Finding(question, "not asked", "There is one run only.", advice)
    site, rhat = agreement.worst
    spread = "" if fit.is_sampled else f"Log evidence (ELBO) within {agreement.spread:.3g} nats; "
    limit = f"1 is agreement, {RHAT_LIMIT} the limit"
    reason = f"{spread}largest R-hat of the model's numbers {rhat:.3f} ({site}; {limit})."
    if agreement.holds:
        return Finding(question, "yes", reason)
    advice = (
        "longer chains, target_accept nearer to 1, or a model that is easier to identify"
        if fit.is_sampled
        else "take the best of more starts (--restarts, in Python restarts=), and see where they differ: several modes?"
    )
    return Finding(question, "no", reason, advice)


def _near(fit: Fit, weights: Weights | None) -> Finding:
    if weights is None:
        if fit.is_sampled:
            return Finding(NEAR, "yes", "NUTS draws from the posterior itself, as far as its chains agree.")
        return Finding(NEAR, "not asked", "A point has no spread to compare.", _another_guide("laplace", "structured"))
    khat = weights.khat
    reason = f"Pareto k-hat {khat:.2f} of {len(weights.log_weights)} draws (near: below {KHAT_LIMIT})."
    if abs(khat - KHAT_LIMIT) < weights.khat_error:
        reason += f" Its error is {weights.khat_error:.1g}: of other draws it may lie on the other side of that."
    if khat < KHAT_LIMIT:
        return Finding(NEAR, "yes", reason)
    strays = int(weights.is_stray.sum())
    if strays:
        reason += (
            f" {strays} of them {'lies' if strays == 1 else 'lie'} where the posterior is all but nil: some number is "
            "far off there, such as one person's speed; medians bear that, means and ends of intervals may not."
        )
    far = "far from it" if khat > FAIR_KHAT else "somewhat off"
    nuts = "where data are small NUTS, in Python sample(...)"
    correlated = f"{_another_guide('structured', 'mvn')}, which know correlations"
    steps = {
        "structured": nuts,  # a flow is fitted no better: it may be nearer in all, and has narrower intervals
        "normal": correlated,
        "lowrank": correlated,
        "laplace": f"{_another_guide('structured')}, which is fitted to the posterior's mass and not to its peak",
    }
    advice = steps.get(str(fit.guide_name), f"{_another_guide('flow')}; or {nuts}")
    reason += (
        f" All latent variables together are {far}, as is usual where there are many: by itself no reason to discard "
        "the fit. Means and sds one by one may be good (on studies simulated from the model, `calibrate` in Python "
        "tells)."
    )
    return Finding(NEAR, "no", reason, advice)


def _another_guide(*names: str) -> str:
    """Return how to ask for other guides, on the command line and in Python.

    Examples
    --------
    >>> _another_guide("structured", "mvn")
    '--guide structured or --guide mvn, in Python guide="structured" or "mvn"'
    """
    options = " or ".join(f"--guide {name}" for name in names)
    arguments = " or ".join(f'"{name}"' for name in names)
    return f"{options}, in Python guide={arguments}"


def _predicts(fit: Fit, checks: Sequence[PredictiveCheck]) -> Finding:
    question = "Does the fitted model make data like the data?"
    if not checks:
        return Finding(question, "not asked", "The model observes nothing.")
    extreme = [check for check in checks if check.is_extreme]
    if not extreme:
        lowest = min(checks, key=lambda check: min(check.p_value, 1 - check.p_value))
        return Finding(
            question, "yes", f"{len(checks)} statistics are as of simulated data, or nearly; most extreme: {lowest}."
        )
    reason = "; ".join(map(str, extreme)) + "."
    advice = "a model with what is missing: another noise, or effects of subjects or groups"
    too_alike = any(check.statistic == WITHIN and check.p_value < 0.5 for check in extreme)
    if too_alike and getattr(fit.model, "vertex_effect", None) is False:
        advice = "what lasts of a subject at each vertex or biomarker: --vertex-effect, in Python vertex_effect=True"
    return Finding(question, "no", reason, advice)


def _leaves_out(fit: Fit, loo: LeaveOneOut | None) -> Finding:
    question = f"Can each {'unit' if loo is None else loo.unit} be left out in turn?"
    if loo is None:
        why = "A point has no draws to weigh." if fit.is_point else "The model has no pointwise log-likelihood."
        return Finding(question, "not asked", why)
    reason = f"{str(loo)[0].upper()}{str(loo)[1:]}."
    if loo.bad <= MANY_BAD_UNITS:
        return Finding(question, "yes", reason)
    reason += f" So it is not known how a left-out {loo.unit} would be predicted; {ESTIMATES} are not touched by that."
    subjects = 'whole subjects: neuropyro dive select, or in Python leave_one_out(fit, unit="subject_terms")'
    whole = subjects if hasattr(fit.model, "subject_log_likelihood") else ""
    return Finding(
        question, "not known", reason, whole or "cross-validation in folds, since single units weigh too much"
    )
