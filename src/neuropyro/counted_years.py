"""How far the years between people count as years of the course, in words."""

from __future__ import annotations

import numpy as np

from neuropyro.outputs import Outcome

__all__ = ["remark_on_years"]

LEAST = 1.0  # sd over people of the mean times of their visits, years: below, nothing is to be told


def remark_on_years(outcome: Outcome) -> str:
    """Return a sentence on ``time_share``, or nothing where all people were seen at like times.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import torch
    >>> visits = SimpleNamespace(subject_time=torch.tensor([-8.0, 8.0]))
    >>> fit, posterior = SimpleNamespace(data=visits, is_point=False), {"time_share": np.linspace(-0.1, 0.3, 101)}
    >>> remark_on_years(SimpleNamespace(fit=fit, posterior=posterior)).split(" (")[0]
    'of the years between people 10 %'
    >>> visits.subject_time /= 100
    >>> remark_on_years(SimpleNamespace(fit=fit, posterior=posterior))
    ''
    """
    if float(outcome.fit.data.subject_time.double().std(correction=0)) < LEAST:
        return ""
    low, middle, high = np.round(100 * np.quantile(outcome.posterior["time_share"], [0.05, 0.5, 0.95])) + 0.0  # no -0
    interval = "" if outcome.fit.is_point else f" ({low:.0f} to {high:.0f})"
    return (
        f"of the years between people {middle:.0f} %{interval} count as years of the course (100 %: who is older is so "
        "much further along as speeds take people in these years; 0 %: they were recruited by how far along they are; "
        "less: who is older is less far along)"
    )
