"""Units of what models of visits sample, as posteriors' files say them, and what each site is.

Scores are in sds of the reference visits' (controls' first ones, or all people's first ones where there are no
controls), as `neuropyro.models.scores.fix_gauge` sets them; values are as standardised: in sds of a vertex (or
biomarker) over the visits that set its scale.
"""

from __future__ import annotations

__all__ = ["CLUSTER_UNITS", "MEANINGS", "SCORE_UNITS"]

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

MEANINGS = {
    "pi": "share of the vertices or biomarkers, by the model",
    "a": "whole change",
    "b": "steepness at the onset",
    "c": "onset: the score at the middle of the change",
    "d": "value long before the onset",
    "sigma": "sd of the residuals",
    "rho": "sd of what a person lastingly differs by in a cluster or biomarker",
    "tau": "sd of what a visit differs by in a cluster",
    "omega": "sd of what a person lastingly differs by at a single vertex or biomarker",
    "ageing": "change by time alone, beside the progression",
    **{f"scatter_{name}": f"sd of {name} over a cluster's vertices or biomarkers" for name in ("c", "a")},
    "scatter_log_b": "sd of log b over a cluster's vertices or biomarkers",
    "power_b": "power by which a vertex's or biomarker's b goes with its whole change",
    "coupling": "how much neighbours on the mesh tend to be of one cluster",
    "alpha": "speed of a person",
    "log_alpha": "its logarithm",
    "beta": "score of a person at the study's mean time",
    "stage": "score of a person at the mean time of its visits",
    "place": "log speed and stage of a person, in units in which they are independent",
    "dps": "progression score at a visit",
    "u": "what a person lastingly differs by in a cluster or biomarker",
    "u_scaled": "the same in units of its sd given all else",
    "level": "level of a cluster at a visit",
    "log_alpha_mean": "mean log speed of people",
    "log_alpha_sd": "sd of people's log speeds",
    "beta_mean": "mean of people's scores at the study's mean time",
    "beta_sd": "sd of these scores",
    "correlation": "of people's log speeds and these scores",
    "control_log_alpha": "by how much controls' mean log speed is above that of others, whom the means above are of",
    "control_beta": "by how many sds of the others controls' mean score is above theirs",
    "control_sd": "how many times as wide as the others' controls' scores spread",
    "time_share": "share of the years between people by which older ones are further along",
    "effect_log_alpha": "change of the log speed per unit of a covariate",
    "effect_beta": "change of the score per unit of a covariate",
}
"""By site, in words."""
