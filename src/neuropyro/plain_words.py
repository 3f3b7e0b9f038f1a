"""What fits and checks say, for readers who do not know the method: terms explained, inner names left out."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuropyro.inference import Diagnosis

__all__ = ["diagnosis_in_words", "explained", "more_steps", "plain_verdict", "remedy"]

FEWEST_STEPS = 12000  # twice the default; a fit that converges ends before
BEST = "how well the model explains the data, at the least; higher is better"
TERMS = (
    (r"\(ELBO\)", f"(ELBO: {BEST})"),
    (r"\bELBO\b(?! \()", f"ELBO ({BEST})"),
    (r"\bk-hat\b(?! \()", "k-hat (how far the approximation is from the posterior; less is nearer)"),
    (r"\bPareto k\b(?! \(|-)", "Pareto k (how much hangs on this one)"),
    (r"\bR-hat\b(?! \()", "R-hat (how much runs differ)"),
    (r"\bnats\b(?! \()", "nats (units of log likelihood)"),
)
"""Terms, explained where they first stand, unless they are there already."""
SITE = ("of the data (V) ", "of values as standardised ")
"""The name of the model's observed site, and what it is."""
ESTIMATES = ("estimates from all of them", "scores and curves")
"""What is known of units all the same, in general, and in DIVE."""
IN_PYTHON = "; allow more warm_up"
SPREAD = re.compile(r"; (?:its global block, by|\S+ of short chains' paths)[^;]*?(, and not settled)?(\.?)$")
UNSETTLED = (
    "; how wide the intervals of curves are had not settled: take them as approximate, and to see by how much they may "
    "differ fit again with another --seed and `neuropyro compare` the two"
)


def plain_verdict(verdict: str) -> str:
    """Return a fit's verdict without what was done to the guide afterwards, and what can be done in Python alone.

    Where what was done to the guide had not come to an end, it says so, and what that means.

    Examples
    --------
    >>> plain_verdict("converged after 9 steps; its global block, by 46 short chains, 1.3 times as wide as by the ELBO")
    'converged after 9 steps'
    >>> chains = "its global block, by 64 short chains, 1.07 times as wide as by the ELBO, and not settled"
    >>> plain_verdict(f"converged after 9 steps; {chains}")[:85]
    'converged after 9 steps; how wide the intervals of curves are had not settled: take t'
    >>> plain_verdict("not converged: a step of Newton's to the mode would gain 7.9 nats; allow more warm_up")
    "not converged: a step of Newton's to the mode would gain 7.9 nats"
    """
    return SPREAD.sub(_spread_in_words, verdict).removesuffix(IN_PYTHON)


def _spread_in_words(found: re.Match[str]) -> str:
    return (UNSETTLED if found[1] else "") + found[2]


def more_steps(steps: int) -> int:
    """Return how many steps may be enough where so many were not.

    Examples
    --------
    >>> more_steps(20), more_steps(9000)
    (12000, 18000)
    """
    return max(2 * steps, FEWEST_STEPS)


def remedy(guide: str, steps: int) -> str:
    """Return what to try where a fit by a guide, of so many steps, has not converged.

    Examples
    --------
    >>> remedy("laplace", 600), remedy("normal", 4000)
    ('compare --guide normal and --restarts 4', 'give more steps, as --max-steps 12000')
    """
    if guide == "laplace":
        return "compare --guide normal and --restarts 4"
    return f"give more steps, as --max-steps {more_steps(steps)}"


def explained(text: str) -> str:
    """Return a text with each term explained where it first stands.

    Examples
    --------
    >>> explained("Log evidence within 2 nats; 3 nats at the most.")
    'Log evidence within 2 nats (units of log likelihood); 3 nats at the most.'
    """
    for pattern, said in TERMS:
        if said not in text and not (said.startswith("ELBO") and BEST in text):
            text = re.sub(pattern, lambda _, said=said: said, text, count=1)  # type: ignore[misc]
    return text


def diagnosis_in_words(diagnosis: Diagnosis) -> str:
    """Return the verdict and every finding.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from neuropyro.inference import Diagnosis, Finding
    >>> found = (Finding("Did it converge?", "yes", "Converged after 9 steps; its global block, by 46 short chains."),)
    >>> print(diagnosis_in_words(Diagnosis(SimpleNamespace(is_point=False), found, None, None, (), None)))
    Nothing speaks against this fit: means and intervals can be used.
          yes  Did it converge? Converged after 9 steps.
    """
    plain = [replace(finding, reason=plain_verdict(finding.reason)) for finding in diagnosis.findings]
    return explained("\n".join([diagnosis.verdict, *map(str, plain)]).replace(*SITE).replace(*ESTIMATES))
