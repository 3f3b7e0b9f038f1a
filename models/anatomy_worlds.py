"""A world that might have been: numbers, then maps, slices and scans, of the same subjects with the same noise."""

from __future__ import annotations

from numpy.typing import ArrayLike

from neuropyro.models.anatomy_counterfactual import Counterfactual, Exogenous, predict_scalars, visits_at
from neuropyro.models.anatomy_parts import AnatomyParts
from neuropyro.models.anatomy_prediction import predict_images, predict_maps
from neuropyro.models.anatomy_program import Interventions

__all__ = ["predict_world"]


def predict_world(
    parts: AnatomyParts,
    exogenous: Exogenous,
    do: Interventions,
    times: ArrayLike | None,
    nodes: tuple[str, ...] | None,
) -> Counterfactual:
    """Run the mechanisms again, with the noise that was and interventions in place.

    Parameters
    ----------
    times
        Ages, (times,) or (subjects, times); those of the visits if None.
    nodes
        What is wanted; if None all numbers, and maps, slices and scans where any were seen.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models import AnatomySimulator
    >>> sim, covariates = AnatomySimulator(), {"apoe4": [1], "prs": [0.0], "education": [15.0]}
    >>> cohort = Cohort([[10.0]], [70.0], ["a"], feature_names=["adas"], covariates=covariates)
    >>> known = sim.infer_exogenous(cohort, draws=2)
    >>> world = predict_world(sim.parts, known, {"beta": lambda onset: onset + 1}, None, ("dps",))
    >>> (world["dps"] - known["dps"]).round(6).tolist()
    [[[1.0]], [[1.0]]]
    """
    wanted = _seen_nodes(parts, exogenous) if nodes is None else nodes
    grid = visits_at(exogenous.observation, times, do, wanted)
    values = predict_scalars(parts.graph(wanted), exogenous, grid)
    if "thickness" in wanted:
        values["thickness"] = predict_maps(parts.thickness, exogenous, grid, values)
    if "image" in wanted or "scan" in wanted:
        values["image"], values["scan"] = predict_images(parts.image, parts.scan, exogenous, grid, values)
    ages = exogenous.observation.values["entry_age"] + grid.design.years
    found = {name: values[name].cpu().numpy() for name in wanted}
    return Counterfactual(exogenous.observation.subject, ages.cpu().numpy(), found)


def _seen_nodes(parts: AnatomyParts, exogenous: Exogenous) -> tuple[str, ...]:
    """Return all numbers, and what kinds of maps and images were seen."""
    maps = () if exogenous.observation.maps is None else ("thickness",)
    images = () if exogenous.images is None else ("image", "scan")
    return (*(name for name in parts.scalars.order if name != "attended"), *maps, *images)
