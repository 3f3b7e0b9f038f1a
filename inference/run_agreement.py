"""Whether restarts, or chains, found the same posterior."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray
from numpy.typing import NDArray

from neuropyro.inference.arviz_versions import arviz
from neuropyro.inference.dimensions import naming_of

if TYPE_CHECKING:
    from neuropyro.inference.result import Fit

__all__ = ["RHAT_LIMIT", "SMALL_SITE", "Agreement", "compare_runs", "small_sites"]

SMALL_SITE = 20  # sites with more numbers belong to subjects, visits or pixels
RHAT_LIMIT = 1.05


@dataclass(frozen=True, eq=False)
class Agreement:
    """How runs differ.

    Parameters
    ----------
    elbos
        ``(runs,)`` final ELBOs, nats.
    rhat
        The largest R-hat of each small site's numbers.
    where
        The name of that number, by site, as ``effect_beta[apoe4]``.

    Examples
    --------
    >>> found = Agreement(np.array([-20.0, -20.5]), {"mean": 1.01, "effect": 1.2}, {"effect": "effect[age]"})
    >>> found.spread, found.worst, found.holds
    (0.5, ('effect[age]', 1.2), False)
    """

    elbos: NDArray[np.float64]
    rhat: dict[str, float]
    where: dict[str, str] = field(default_factory=dict)

    @property
    def spread(self) -> float:
        """Largest minus smallest ELBO, nats."""
        return float(np.ptp(self.elbos))

    @property
    def worst(self) -> tuple[str, float]:
        """Name and value of the largest R-hat."""
        site, value = max(self.rhat.items(), key=lambda item: item[1], default=("", float("nan")))
        return self.where.get(site, site), value

    @property
    def holds(self) -> bool:
        """Whether the largest R-hat is as it should be."""
        return self.worst[1] < RHAT_LIMIT


def compare_runs(fit: Fit, draws: int = 500, limit: int = SMALL_SITE) -> Agreement:
    """Compare a fit's restarts or chains; the draws of each are one chain.

    R-hat is of independent draws for restarts, so that it is 1 where they have one mean and one spread.

    Parameters
    ----------
    fit
        Of two or more runs.
    draws
        Of each.
    limit
        Sites with more numbers are left out, if there are smaller ones.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`, and guides that start at two places:

    >>> from neuropyro.guides import Start, find_latents, make_flat_guide
    >>> from neuropyro.inference import Fit, Run
    >>> y, latents = torch.ones(9), find_latents(model, torch.ones(9), {})
    >>> guides = [make_flat_guide("normal", Start(latents, torch.tensor([x]))) for x in (0.0, 1.0)]
    >>> runs = [Run(guide, np.zeros(50), True, "") for guide in guides]
    >>> pairs = (runs[0], runs[0]), (runs[0], runs[1])
    >>> [compare_runs(Fit(model, y, pair, "normal", 0, "")).holds for pair in pairs]
    [True, False]
    """
    chains = [small_sites(fit.posterior(draws, run), limit) for run in range(len(fit.runs))]
    stacked = {site: np.stack([chain[site].reshape(draws, -1) for chain in chains]) for site in chains[0]}
    sites = {site: (("chain", "draw", f"{site}_dim"), values) for site, values in stacked.items()}
    found = arviz.rhat(xarray.Dataset(sites))
    rhat = {site: np.asarray(found[site].values) for site in sites if np.isfinite(found[site].values).any()}
    naming = naming_of(fit.model, fit.data)
    names = {site: naming.elements(site, chains[0][site].shape[1:]) for site in rhat}
    where = {site: names[site][int(np.nanargmax(values))] for site, values in rhat.items()}
    largest = {site: float(np.nanmax(values)) for site, values in rhat.items()}
    return Agreement(np.array([-run.final_loss for run in fit.runs]), largest, where)


def small_sites(draws: dict[str, NDArray[Any]], limit: int = SMALL_SITE) -> dict[str, NDArray[Any]]:
    """Keep the sites of at most ``limit`` numbers a draw: a model's globals, or all of them where there are none.

    Examples
    --------
    >>> sorted(small_sites({"mean": np.zeros(5), "effect": np.zeros((5, 3)), "speed": np.zeros((5, 300))}))
    ['effect', 'mean']
    """
    small = {site: values for site, values in draws.items() if values[0].size <= limit}
    return small or draws
