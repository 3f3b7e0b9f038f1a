"""The No-U-Turn sampler, as the reference for small data.

Pyro's NUTS runs in a space whitened by a structured variational fit, where the posterior is near standard normal
whatever the scales and correlations of the sites: few leapfrog steps a draw, and nothing left to adapt but their
length.  Enumerated sites are summed out as in `fit`.

References
----------
Hoffman & Gelman, "The No-U-Turn sampler", JMLR 2014; Hoffman et al., "NeuTra-lizing bad geometry in Hamiltonian Monte
Carlo", 2019.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyro
import torch
from pyro.infer import MCMC, NUTS
from torch import Tensor

from neuropyro.default_dtype import default_dtype
from neuropyro.guides import FlatGuide
from neuropyro.guides.recorded import Recorded
from neuropyro.inference.convergence import Schedule
from neuropyro.inference.fit import fit
from neuropyro.inference.joint_density import JointDensity
from neuropyro.inference.noise_density import NoiseDensity
from neuropyro.inference.result import Fit, Run
from neuropyro.inference.run_agreement import compare_runs

__all__ = ["sample"]

WHITENING = Schedule(max_steps=1500)
LARGE_SITE = 200  # sites with more numbers are left out of the verdict, if there are smaller ones


def sample(
    model: Callable[[Any], Any],
    data: Any,
    *,
    draws: int = 500,
    warm_up: int = 300,
    chains: int = 2,
    target_accept: float = 0.8,
    seed: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float64,
    progress: bool = True,
) -> Fit:
    """Draw from a model's posterior by NUTS.

    Parameters
    ----------
    model, data, seed, device, progress
        As in :func:`~neuropyro.inference.fit`.
    draws, warm_up
        Draws kept, and draws to find the step size, a chain.
    chains
        Chains, one after the other; each starts at a draw of the variational fit.
    target_accept
        Mean probability of acceptance that the step size is tuned for; nearer 1 where there are divergences.
    dtype
        Double precision by default: the acceptance of a draw hangs on small differences of a large sum.

    Returns
    -------
    Fit
        Its runs are the chains; ``converged`` and ``verdict`` tell of R-hat and divergences.  The seconds of the
        variational fit count with the first chain's.

    Raises
    ------
    ValueError
        Where an argument makes no sense.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> result = sample(model, torch.ones(9), draws=10, warm_up=5, chains=1, progress=False)
    >>> result.posterior(draws=10)["mean"].shape, result.is_sampled
    ((10,), True)
    """
    if draws < 4 or warm_up < 1 or chains < 1:
        raise ValueError(
            f"sample: draws ({draws}) must be 4 or more, warm_up ({warm_up}) and chains ({chains}) 1 or more"
        )
    start = fit(model, data, "structured", seed=seed, schedule=WHITENING, device=device, dtype=dtype, progress=progress)
    local = pyro.settings.context(module_local_params=True)
    with local, default_dtype(dtype), pyro.validation_enabled(False), torch.random.fork_rng():
        runs = [_chain(start, draws, warm_up, target_accept, seed + c, progress) for c in range(chains)]
    runs[0] = replace(runs[0], seconds=runs[0].seconds + start.seconds)
    result = replace(start, runs=tuple(runs), guide_name="nuts")
    return _with_verdict(result, draws)


def _chain(start: Fit, draws: int, warm_up: int, target_accept: float, seed: int, progress: bool) -> Run:
    """Run one chain."""
    torch.manual_seed(seed)
    began = time.perf_counter()
    guide: FlatGuide = start.guide
    density = NoiseDensity(JointDensity(start.model, start.data, guide.latents), guide)
    energies: list[float] = []

    def potential(position: dict[str, Tensor]) -> Tensor:
        return -density(position["e"].unsqueeze(0))[0]

    def record(kernel: Any, _: Any, stage: str, __: int) -> None:
        if stage == "Sample":
            energies.append(float(kernel._potential_energy_last))

    kernel = NUTS(potential_fn=potential, target_accept_prob=target_accept, adapt_mass_matrix=False)
    first = {"e": torch.randn_like(guide.latents.start)}
    mcmc = MCMC(kernel, draws, warmup_steps=warm_up, initial_params=first, disable_progbar=not progress, hook_fn=record)
    mcmc.run()
    with torch.no_grad():
        flat = density.flat(mcmc.get_samples()["e"])
    diverging = np.zeros(draws, bool)
    diverging[mcmc.diagnostics()["divergences"]["chain 0"]] = True
    seconds = time.perf_counter() - began
    return Run(
        FlatGuide(guide.latents, Recorded(flat)), np.array(energies), True, "", seconds, {"diverging": diverging}
    )


def _with_verdict(result: Fit, draws: int) -> Fit:
    """Say what R-hat and divergences tell of the chains."""
    diverged = int(sum(run.stats["diverging"].sum() for run in result.runs))
    total = draws * len(result.runs)
    words = [f"{diverged} of {total} draws diverged"]
    agreement = compare_runs(result, draws, LARGE_SITE) if len(result.runs) > 1 else None
    words.append(
        "one chain: no R-hat" if agreement is None else f"largest R-hat of the model's numbers {agreement.worst[1]:.3f}"
    )
    fine = diverged <= 0.01 * total and agreement is not None and agreement.holds
    verdict = f"NUTS {'converged' if fine else 'not converged'}: {', '.join(words)}"
    return replace(result, runs=tuple(replace(run, converged=fine, verdict=verdict) for run in result.runs))
