"""The figure of a choice of the number of clusters."""

from __future__ import annotations

from matplotlib.figure import Figure

from neuropyro.selection import Selection

__all__ = ["plot_selection"]


def plot_selection(found: Selection) -> Figure:
    """Draw the criteria, and the folds' agreement, over the number of clusters.

    Examples
    --------
    >>> import numpy as np
    >>> from neuropyro.inference.reproducibility import Reproducibility
    >>> from neuropyro.selection import Candidate
    >>> agreement, terms = Reproducibility(0.9, 0.8), np.zeros(10)
    >>> two, three = (Candidate(k, terms - k, terms - k, k, k, 0.1, agreement, True, None) for k in (2, 3))
    >>> len(plot_selection(Selection((two, three), folds=5)).axes)
    3
    """
    table = found.columns()
    k = table["clusters"]
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for name, label, colour in (("held_out", "held out", "#0072B2"), ("loo", "leave-one-out", "#56B4E9")):
        left.errorbar(
            k, -table[f"{name}_below_best"], table[f"{name}_error"], fmt="o-", ms=4, label=label, color=colour
        )
    left.set_ylabel("log density below the best (nats)")
    for name, label, colour, line in (("bic", "BIC", "#D55E00", "o-"), ("icl", "ICL", "#CC79A7", "s--")):
        middle.plot(k, table[name] - table[name].min(), line, ms=4, label=label, color=colour)
    middle.set_ylabel("above the best (-2 log density)")
    for name, label, colour, line in (("dice", "Dice", "#009E73", "o-"), ("rand", "adjusted Rand", "#E69F00", "s--")):
        right.plot(k, table[name], line, ms=4, label=label, color=colour)
    right.set_ylabel("agreement of folds' clusters")
    right.set_ylim(None, 1.02)
    for axis in (left, middle, right):
        axis.axvline(found.clusters, color="0.8", lw=6, zorder=0)
        axis.set_xlabel("clusters")
        axis.set_xticks(k)
        axis.legend(frameon=False, fontsize=8)
    figure.suptitle(f"{found.clusters} clusters by ICL; {found.folds} folds", fontsize=10)
    return figure
