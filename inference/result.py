"""What a fit returns: losses, a verdict, posterior draws, and how to keep them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from pyro import poutine
from pyro.infer.autoguide import AutoDelta

from neuropyro.guides import FlatGuide, PointGuide

if TYPE_CHECKING:
    import xarray

__all__ = ["Fit", "Run"]

Draws = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Run:
    """One optimisation from one start.

    Parameters
    ----------
    guide
        The fitted guide.
    losses
        ``(steps,)`` negative ELBO at each step, nats; for a point guide the negative log joint density, for NUTS that
        of each draw.
    converged, verdict
        Whether the stopping rule was met, and the reason in words.
    seconds
        Wall time, starting values included.
    stats
        What else is known of each step or draw, such as ``diverging (draws,)``.

    Examples
    --------
    >>> run = Run(guide=None, losses=np.array([3.0, 2.0]), converged=True, verdict="converged")
    >>> run.final_loss
    2.5
    """

    guide: Any
    losses: NDArray[np.float64]
    converged: bool
    verdict: str
    seconds: float = 0.0
    stats: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def final_loss(self) -> float:
        """Mean loss of the last 50 steps, nats."""
        return float(self.losses[-50:].mean())


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted posterior.

    Parameters
    ----------
    model
        The Pyro program.
    data
        The data as the model's ``prepare`` left them.
    runs
        One for each restart, the best first.
    guide_name
        Name of the guide, None where an object was given.
    seed
        Seed of the fit; draws are seeded by it too.
    fingerprint
        SHA-256 of the data.
    dtype
        Of the computation.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.inference import Schedule, fit
    >>> result = fit(model, torch.ones(9), "laplace", schedule=Schedule(warm_up=50), progress=False)
    >>> result.posterior(draws=100)["mean"].shape, result.is_point
    ((100,), False)
    >>> result
    Fit(model, laplace: converged)
    """

    model: Callable[[Any], Any]
    data: Any
    runs: tuple[Run, ...]
    guide_name: str | None
    seed: int
    fingerprint: str
    dtype: torch.dtype = torch.float32

    def __repr__(self) -> str:
        """Tell model, guide and how it ended; no tensors."""
        model = getattr(self.model, "__name__", type(self.model).__name__)
        several = f", the best of {len(self.runs)} runs" if len(self.runs) > 1 and not self.is_sampled else ""
        ended = "converged" if self.converged else "NOT CONVERGED"
        return f"Fit({model}, {self.guide_name or type(self.guide).__name__}{several}: {ended})"

    @property
    def guide(self) -> Any:
        """The best run's guide."""
        return self.runs[0].guide

    @property
    def losses(self) -> NDArray[np.float64]:
        """``(steps,)`` negative ELBO of the best run, nats."""
        return self.runs[0].losses

    @property
    def elbo(self) -> float:
        """Final ELBO of the best run, nats."""
        return -self.runs[0].final_loss

    @property
    def converged(self) -> bool:
        """Whether the best run met its stopping rule."""
        return self.runs[0].converged

    @property
    def verdict(self) -> str:
        """Why the best run stopped."""
        return self.runs[0].verdict

    @property
    def seconds(self) -> float:
        """Wall time of all runs."""
        return sum(run.seconds for run in self.runs)

    @property
    def is_point(self) -> bool:
        """Whether the guide is a point, so that all draws are one."""
        return isinstance(self.guide, PointGuide | AutoDelta)

    @cached_property
    def _drawn(self) -> dict[tuple[int, int], Draws]:
        return {}

    @property
    def is_sampled(self) -> bool:
        """Whether the runs are chains of NUTS."""
        return self.guide_name == "nuts"

    def posterior(self, draws: int = 500, run: int | None = None) -> Draws:
        """Draw from the guide; arrays ``(draws, ...)`` by site, on the CPU.

        Where the model has ``identify``, draws are as it leaves them: in one gauge, with one labelling.  The same call
        gives the same draws.

        Parameters
        ----------
        draws
            Number of draws.
        run
            Which of the restarts, the best being 0, or of the chains; by default the best restart, or all chains.

        Raises
        ------
        ValueError
            Where fewer than one are asked for, or there is no such run.
        """
        if draws < 1:
            raise ValueError(f"posterior: {draws} draws; ask for 1 or more")
        if run is not None and not 0 <= run < len(self.runs):
            raise ValueError(f"posterior: there is no run {run}; there are 0 to {len(self.runs) - 1}")
        run = run if run is not None else -1 if self.is_sampled else 0
        if (draws, run) not in self._drawn:
            raw = self._draw(1 if self.is_point else draws, run)
            identified = self.model.identify(raw, self.data) if hasattr(self.model, "identify") else raw
            if self.is_point:
                identified = {name: np.broadcast_to(x, (draws, *x.shape[1:])) for name, x in identified.items()}
            self._drawn[draws, run] = identified
        return dict(self._drawn[draws, run])

    def unidentified(self, draws: int = 500) -> Draws:
        """Draw as `posterior` does, the sampled sites alone and as the program has them: in no gauge or labelling."""
        raw = self._draw(1 if self.is_point else draws, -1 if self.is_sampled else 0)
        return {name: np.broadcast_to(x, (draws, *x.shape[1:])) for name, x in raw.items()} if self.is_point else raw

    def _draw(self, draws: int, run: int) -> Draws:
        """Draw from one run, or evenly from all chains where it is -1."""
        return self._sample_guide(draws, run) if run >= 0 else self._pool_chains(draws)

    def _sample_guide(self, draws: int, run: int) -> Draws:
        guide = self.runs[run].guide
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            if isinstance(guide, FlatGuide):
                return {name: value.cpu().numpy() for name, value in guide.draw(draws).items()}
        collected: dict[str, list[NDArray[Any]]] = {}
        with pyro.settings.context(module_local_params=True), torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(self.seed)
            for _ in range(draws):
                trace = poutine.trace(guide).get_trace(self.data)
                for name, site in trace.nodes.items():
                    if site["type"] == "sample" and not site["is_observed"] and not _is_auxiliary(site):
                        collected.setdefault(name, []).append(site["value"].cpu().numpy())
        return {name: np.stack(values) for name, values in collected.items()}

    def _pool_chains(self, draws: int) -> Draws:
        """Draw evenly from all chains."""
        shares = [len(part) for part in np.array_split(np.arange(draws), len(self.runs))]
        chains = [self._sample_guide(share, run) for run, share in enumerate(shares) if share]
        return {name: np.concatenate([chain[name] for chain in chains]) for name in chains[0]}

    def log_likelihood(self, draws: int = 100) -> NDArray[np.float64]:
        """Return the pointwise log-likelihood ``(draws, units)``, nats; the model says what a unit is.

        Raises
        ------
        AttributeError
            Where the model has no ``log_likelihood``.
        """
        if not hasattr(self.model, "log_likelihood"):
            raise AttributeError("this model has no `log_likelihood(result, draws)`; write one to have it in ArviZ")
        pointwise: NDArray[np.float64] = self.model.log_likelihood(self, draws)
        return pointwise

    def predictive(self, draws: int = 100) -> Draws:
        """Draw data from the posterior predictive: arrays ``(draws, ...)`` by observed or deterministic site."""
        from neuropyro.inference.simulation import predictive

        return predictive(self, draws)

    def to_arviz(self, draws: int = 500, predictive_draws: int = 100, subjects: bool = False) -> xarray.DataTree | Any:
        """Return ArviZ's container; restarts are chains.  See :func:`~neuropyro.inference.to_arviz`."""
        from neuropyro.inference.export import to_arviz

        return to_arviz(self, draws, predictive_draws, subjects)

    def save(self, folder: str | Path, files: Sequence[str] = ()) -> None:
        """Write the fit into a folder, with the names of files of its data; `load_fit` reads it, given the data."""
        from neuropyro.inference.storage import save_fit

        save_fit(self, Path(folder), files)


def _is_auxiliary(site: dict[str, Any]) -> bool:
    """Whether a guide's site is none of the model's, such as the joint latent of a multivariate guide, or a plate."""
    return bool(site["infer"].get("is_auxiliary")) or type(site["fn"]).__name__ == "_Subsample"
