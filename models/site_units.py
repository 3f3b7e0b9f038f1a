"""Units of what models of visits sample, as posteriors' files say them.

Scores are in sds of the reference visits' (controls' first ones, or all people's first ones where there are no
controls), as `neuropyro.models.scores.fix_gauge` sets them; values are as standardised: in sds of a vertex (or
biomarker) over the visits that set its scale.
"""

from __future__ import annotations

__all__ = ["CLUSTER_UNITS", "SCORE_UNITS"]

SCORE, VALUE = "sds of controls (where there are none, of first visits)", "standardised"

SCORE_UNITS = dict.fromkeys(("dps", "stage", "beta", "beta_mean", "beta_sd", "effect_beta"), SCORE) | {
    "alpha": f"{SCORE} a year",
    **dict.fromkeys(("log_alpha", "log_alpha_mean"), f"log of {SCORE} a year"),
}
"""By site, of the scores and their population."""

CLUSTER_UNITS = dict.fromkeys(("a", "d", "sigma", "rho", "tau", "omega", "u", "level", "scatter_a", "V"), VALUE) | {
    "ageing": f"{VALUE} a year",
    "b": f"1 / {SCORE}",
    **dict.fromkeys(("c", "scatter_c"), SCORE),
}
"""By site, of clusters and what they make."""
