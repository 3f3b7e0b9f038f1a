r"""Importance weights of a variational fit, and what they say of it.

The log-weight of a draw x from the guide q is :math:`\log p(x, \mathrm{data}) - \log q(x)`, enumerated sites summed
out.  Its mean is the ELBO; the spread of the weights tells how far the guide is from the posterior.  Pareto-smoothed
importance sampling fits a tail to the largest weights: with its shape k above .7, means under the guide cannot be
mended by weighting, and the guide should not be trusted far from its middle.

References
----------
Vehtari, Simpson, Gelman, Yao & Gabry, "Pareto smoothed importance sampling", JMLR 2024; Yao, Vehtari, Simpson &
Gelman, "Yes, but did it work? Evaluating variational inference", ICML 2018.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from torch import Size, Tensor

from neuropyro.default_dtype import default_dtype
from neuropyro.guides import FlatGuide
from neuropyro.inference.arviz_versions import psis
from neuropyro.inference.joint_density import JointDensity
from neuropyro.inference.objective import choose_elbo

if TYPE_CHECKING:
    from neuropyro.inference.result import Fit

__all__ = ["KHAT_LIMIT", "Weights", "log_weights", "psis_khat"]

CHUNK = 64  # draws at once
STRAY, STRAY_NATS = 30.0, 10.0  # sds below the median: too wide in one number alone, 500 draws seldom reach so far
SD_BY_MAD = 1.4826  # sd of a Normal by the median distance from its median
KHAT_LIMIT = 0.7


@dataclass(frozen=True, eq=False)
class Weights:
    """Log-weights of a guide's draws.

    Parameters
    ----------
    log_weights
        ``(draws,)`` nats.

    Examples
    --------
    >>> Weights(np.log([1.0, 1.0, 2.0])).effective_draws.__round__(2)
    2.67
    """

    log_weights: NDArray[np.float64]

    @property
    def elbo(self) -> float:
        """Mean log-weight, nats."""
        return float(self.log_weights.mean())

    @property
    def elbo_error(self) -> float:
        """Standard error of the mean log-weight."""
        return float(self.log_weights.std(ddof=1) / math.sqrt(len(self.log_weights)))

    @cached_property
    def is_stray(self) -> NDArray[np.bool_]:
        """``(draws,)``: which draws lie where the posterior is all but nil.

        Their log-weights are so far below the median (30 sds as the middle half tells them, and 10 nats at least)
        that a few of them make the mean and its standard error, whatever the others say.

        Examples
        --------
        >>> Weights(np.array([-3.0, -2.0, -1.0, 0.0, -1e6])).is_stray.tolist()
        [False, False, False, False, True]
        """
        below = np.median(self.log_weights) - self.log_weights
        return np.asarray(below > max(STRAY * SD_BY_MAD * float(np.median(np.abs(below))), STRAY_NATS))

    @property
    def without_strays(self) -> Weights:
        """Those of all other draws, whose ELBO is an upper bound of all draws' own."""
        return Weights(self.log_weights[~self.is_stray])

    @property
    def log_evidence(self) -> float:
        """Logarithm of the mean weight: between the ELBO and the log evidence, near the latter where k-hat is low."""
        largest = self.log_weights.max()
        return float(largest + np.log(np.exp(self.log_weights - largest).mean()))

    @property
    def khat(self) -> float:
        """Shape of the generalised Pareto tail of the weights; below 0.7 they can be relied on.

        Minus infinity where the weights are all one but for rounding: the guide is the posterior.
        """
        centred = self.log_weights - self.log_weights.max()
        if np.ptp(centred) < math.sqrt(np.finfo(np.float32).eps):
            return -math.inf
        return psis(centred)

    @property
    def khat_error(self) -> float:
        """Standard error of k-hat: (1 + k) / sqrt(m), of the m largest weights that the tail is fitted to.

        Vehtari et al., "Pareto smoothed importance sampling", JMLR 2024: m is the least of S / 5 and 3 sqrt(S).

        Examples
        --------
        >>> drawn = np.random.default_rng(0).standard_normal(900)
        >>> round(Weights(drawn).khat_error * 90**0.5 - 1, 6) == round(Weights(drawn).khat, 6)
        True
        """
        draws = len(self.log_weights)
        return max(1 + self.khat, 0.0) / math.sqrt(min(draws / 5, 3 * math.sqrt(draws)))

    @property
    def effective_draws(self) -> float:
        """Kish's effective number of draws, (sum w)^2 / sum w^2."""
        w = np.exp(self.log_weights - self.log_weights.max())
        return float(w.sum() ** 2 / (w * w).sum())


def psis_khat(fit: Fit, draws: int = 1000) -> float:
    """Return the Pareto k-hat of a variational fit.

    Parameters
    ----------
    fit
        Of any guide but a point.
    draws
        From the guide, some hundreds at least.

    Raises
    ------
    ValueError
        Where the fit has no density to compare with: a point, or draws of NUTS.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.inference import Schedule, fit
    >>> result = fit(model, torch.ones(9), "laplace", schedule=Schedule(warm_up=50), progress=False)
    >>> psis_khat(result, draws=50) < 0.7
    True
    """
    return log_weights(fit, draws).khat


def log_weights(fit: Fit, draws: int = 1000, run: int = 0) -> Weights:
    """Return log p(x, data) - log q(x) of draws from a guide, enumerated sites summed out.

    Draws of named guides are vectorised in chunks, with a plate of particles around model and guide; where the model
    does not bear that (or gives another density then), and for guides of the user's own, draw after draw.

    Parameters
    ----------
    fit
        Of any guide but a point.
    draws
        Number of draws, seeded by the fit's seed.
    run
        Which of the restarts.

    Raises
    ------
    ValueError
        Where the fit is a point or of NUTS, or ``draws`` is below 2.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.inference import Schedule, fit
    >>> result = fit(model, torch.ones(9), "laplace", schedule=Schedule(warm_up=50), progress=False)
    >>> weights = log_weights(result, draws=50)
    >>> weights.log_weights.shape, round(weights.effective_draws)  # its posterior is normal: all weigh alike
    ((50,), 50)
    """
    if fit.is_point or fit.is_sampled:
        kind = "a point" if fit.is_point else "draws of NUTS"
        raise ValueError(f"log_weights: the fit is {kind}, which has no density; fit a variational guide")
    if draws < 2:
        raise ValueError(f"log_weights: {draws} draws; ask for 2 or more")
    guide = fit.runs[run].guide
    quiet = pyro.settings.context(module_local_params=True), pyro.validation_enabled(False), default_dtype(fit.dtype)
    with quiet[0], quiet[1], quiet[2], torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(fit.seed)
        if isinstance(guide, FlatGuide):
            return Weights(_flat_weights(fit, guide, draws))
        elbo = choose_elbo(fit.model, fit.data)
        return Weights(np.array([-float(elbo.loss(fit.model, guide, fit.data)) for _ in range(draws)]))


def _flat_weights(fit: Fit, guide: FlatGuide, draws: int) -> NDArray[np.float64]:
    density = JointDensity(fit.model, fit.data, guide.latents)
    weights: list[Tensor] = []
    for begin in range(0, draws, CHUNK):
        law = guide.law()
        flat = law.rsample(Size([min(CHUNK, draws - begin)]))
        weights.append(density(flat).cpu() - law.log_prob(flat).double().cpu())
    return torch.cat(weights).numpy()
