"""What is said below a table of fits: what ranks nothing, and why; and what its sites are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neuropyro.inference.weights import Weights

if TYPE_CHECKING:
    from neuropyro.inference.result import Fit

__all__ = ["legend", "on_leave_one_out", "on_other_elbos", "on_strays"]

WIDENED = "by the ELBO"  # in the verdict of a fit whose widths short chains have set


def on_strays(name: str, weights: Weights) -> str:
    """Say of a guide how many draws stray, and what its ELBO then is.

    Examples
    --------
    >>> print(on_strays("structured", Weights(np.array([-3.0, -2.0, -1.0, 0.0, -1e6]))))
    structured: 1 of 5 draws lies where the posterior is all but nil, 999,998 nats below the others. Its ELBO (≤) is \
without such draws, an upper bound that ranks nothing. In them some number is far off, such as one person's speed: \
medians bear that, means and ends of intervals may not.
    """
    count, draws = int(weights.is_stray.sum()), len(weights.log_weights)
    lowest = np.median(weights.log_weights) - weights.log_weights.min()
    lie, far = ("lies", "") if count == 1 else ("lie", "up to ")
    return (
        f"{name}: {count} of {draws} draws {lie} where the posterior is all but nil, {far}{lowest:,.0f} nats below the "
        "others. Its ELBO (≤) is without such draws, an upper bound that ranks nothing. In them some number is far "
        "off, such as one person's speed: medians bear that, means and ends of intervals may not."
    )


def on_leave_one_out(unknown: Sequence[str], by_elbo: bool) -> list[str]:
    """Say of which fits leave-one-out is not known, and by what else they compare.

    Examples
    --------
    >>> on_leave_one_out(["normal"], by_elbo=False)[0][-35:]
    'Compare means and sds, shown below.'
    >>> on_leave_one_out([], by_elbo=True)
    []
    """
    if not unknown:
        return []
    rest = "Guides of one model compare by ELBO, k-hat." if by_elbo else "Compare means and sds, shown below."
    return [f"Leave-one-out is not known of {', '.join(unknown)}: units weigh too much (bad k). {rest}"]


def on_other_elbos(fits: Mapping[str, Fit]) -> list[str]:
    """Say why the ELBO that a fit ends with is another than here, where its widths were set after that.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> widened = "converged after 9 steps; its global block, by 46 short chains, 1.3 times as wide as by the ELBO"
    >>> print(*on_other_elbos({"first": SimpleNamespace(verdict=widened, elbo=-20.5, is_point=False)}))
    The ELBO here is of a fit as it is; the final ELBO of the report (first -20.5) was before short chains set widths.
    """
    widened = [f"{name} {fit.elbo:.6g}" for name, fit in fits.items() if WIDENED in fit.verdict]
    last = f"the final ELBO of the report ({', '.join(widened)}) was before short chains set widths"
    return [f"The ELBO here is of a fit as it is; {last}."] if widened else []


def legend(elements: Iterable[str], meanings: Mapping[str, str], units: Mapping[str, str]) -> list[str]:
    """Return a line for each site that has a meaning, of those in the names of elements, in their order.

    Examples
    --------
    >>> legend(["pi[MMSE]", "pi[CSF]", "own[0]"], {"pi": "share", "c": "onset"}, {})
    ['', 'pi: share']
    """
    sites = dict.fromkeys(element.partition("[")[0] for element in elements)
    known = [site for site in sites if site in meanings]
    lines = [f"{site}: {meanings[site]}{f'; unit: {units[site]}' if site in units else ''}" for site in known]
    return ["", *lines] if lines else []
