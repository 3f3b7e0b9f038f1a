r"""What a subject's maps tell of its scores, and of what lasts in it.

With residuals R_n = V_n - mean of visit n, n = 1..T, whose covariance is
:math:`\sigma_o^2 B B' + \delta_{nm} (\sigma_e^2 B B' + \sigma_w^2 I)`,

.. math::

   -2 \log p = \sum_n R_n' P_e R_n + \tfrac1T (\textstyle\sum_n R_n)' (P_m - P_e) (\sum_n R_n) + \text{constant},
   \quad P_e = (\sigma_e^2 B B' + \sigma_w^2 I)^{-1}, \; P_m = ((T \sigma_o^2 + \sigma_e^2) B B' + \sigma_w^2 I)^{-1}.

The mean is linear in few numbers (:mod:`neuropyro.models.anatomy_curves`), so products of the maps with as many
vectors are all that is needed.  Given residuals, what lasts is normal, dimension by dimension of Q.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from neuropyro.models.anatomy_curves import Curves
from neuropyro.models.anatomy_thickness import ORIGIN, Thickness

__all__ = ["MapEvidence", "draw_lasting", "map_evidence"]


@dataclass(frozen=True, eq=False)
class MapEvidence:
    """Products of subjects' maps with the vectors of the mean; see the module.

    Attributes
    ----------
    curves
        From scores to x.
    seen
        ``(subjects, visits)``, 1 where there is a map.
    each, total
        Phi P_e Phi' and Phi (P_m - P_e) Phi' / T, ``(subjects, J + 1, J + 1)``.
    maps, sums
        Phi P_e V_n ``(subjects, visits, J + 1)`` and Phi (P_m - P_e) sum V / T ``(subjects, J + 1)``.
    constant
        ``(subjects, 1)`` nats.

    Examples
    --------
    >>> from neuropyro.models.anatomy_fields import SmoothField
    >>> one, zero = torch.ones(9), torch.zeros(1, 1)
    >>> thickness = Thickness(2.5 * one, -0.5 * one, one, 0 * one, 0 * one, SmoothField(one[:, None]))
    >>> maps = thickness.mean({"dps": zero + 1, "age": zero + 70, "thickness_offset": zero})
    >>> scores = torch.tensor([-1.0, 0.0, 1.0, 2.0]).reshape(4, 1, 1)
    >>> int(map_evidence(thickness, maps, zero + 70).log_density(scores, 0 * scores).argmax())  # the map's own score
    2
    """

    curves: Curves
    seen: Tensor
    each: Tensor
    total: Tensor
    maps: Tensor
    sums: Tensor
    constant: Tensor

    def log_density(self, dps: Tensor, offset: Tensor) -> Tensor:
        """Log density ``(*, subjects, 1)`` of all maps of a subject.

        Parameters
        ----------
        dps
            Scores ``(*, subjects, visits)``.
        offset
            thickness_offset ``(*, subjects, 1)``, mm.
        """
        x = torch.cat([offset.unsqueeze(-1).expand(*dps.shape, 1), self.curves.weights(dps)], -1)
        x = x * self.seen.unsqueeze(-1)
        whole = x.sum(-2)
        quadratic = ((x @ self.each) * x).sum((-2, -1)) + ((whole.unsqueeze(-2) @ self.total).squeeze(-2) * whole).sum(
            -1
        )
        linear = (x * self.maps).sum((-2, -1)) + (whole * self.sums).sum(-1)
        return self.constant + (linear - 0.5 * quadratic).unsqueeze(-1)


def map_evidence(thickness: Thickness, maps: Tensor, age: Tensor) -> MapEvidence:
    """Reduce maps to what their density needs.

    Parameters
    ----------
    maps
        ``(subjects, visits, vertices)``, NaN where missing; a vertex that one of a subject's maps lacks is left out of
        all of its maps.
    age
        ``(subjects, visits)`` years.

    Examples
    --------
    >>> from neuropyro.models.anatomy_fields import SmoothField
    >>> one, zero = torch.ones(4), torch.zeros(1, 1)
    >>> thickness = Thickness(2.5 * one, -0.5 * one, one, 0 * one, 0 * one, SmoothField(one[:, None]))
    >>> mean = thickness.mean({"dps": zero, "age": zero + 70, "thickness_offset": zero})  # (1, 1, 4)
    >>> found = map_evidence(thickness, mean + 0.1, zero + 70).log_density(zero, zero)
    >>> covariance = (0.06**2 + 0.04**2) * torch.ones(4, 4) + 0.1**2 * torch.eye(4)
    >>> exact = dist.MultivariateNormal(0 * one, covariance).log_prob(0.1 * one)
    >>> bool((found - exact).abs() < 1e-4)
    True
    """
    present = ~maps.isnan().all(-1)
    parts = []
    for person, there, years in zip(maps, present, age, strict=True):
        known = ~person[there].isnan().any(0)
        parts.append(_products(thickness, person[there][:, known], years[there], known, there))
    each, total, rows, sums, constant = (torch.stack(column) for column in zip(*parts, strict=True))
    return MapEvidence(thickness.curves, present.double(), each, total, rows, sums, constant.unsqueeze(-1))


def _products(
    thickness: Thickness, maps: Tensor, age: Tensor, known: Tensor, there: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return one subject's share of `MapEvidence`, from its maps ``(T, known vertices)``."""
    basis, noise = thickness.basis_at(known), thickness.white_sd**2
    ageing = thickness.ageing[known].double() * (age.double() - ORIGIN).unsqueeze(-1)
    y = maps.double() - thickness.baseline[known].double() + ageing
    count, variance = max(len(y), 1), basis.d.square()
    fields = (thickness.visit_sd**2, count * thickness.subject_sd**2 + thickness.visit_sd**2)
    shrink_each, shrink_mean = (f * variance / (f * variance + noise) for f in fields)
    difference = (shrink_mean - shrink_each) / count
    phi_q, y_q, whole_q = basis.projected, y @ basis.q, (y @ basis.q).sum(0, keepdim=True)
    each = (basis.gram - (phi_q * shrink_each) @ phi_q.mT) / noise
    total = -(phi_q * difference) @ phi_q.mT / noise
    rows = y.new_zeros(len(there), len(basis.vectors))
    rows[there] = (y @ basis.vectors.mT - (y_q * shrink_each) @ phi_q.mT) / noise
    sums = -((whole_q * difference) @ phi_q.mT)[0] / noise
    squares = y.square().sum() - (y_q.square() * shrink_each).sum() - (whole_q.square() * difference).sum()
    logs = [(f * variance / noise).log1p().sum() for f in fields]
    volume = y.numel() * math.log(2 * math.pi * noise) + (len(y) - 1) * logs[0] + logs[1]
    return each, total, rows, sums, -0.5 * (squares / noise + volume) * (len(y) > 0)


def draw_lasting(thickness: Thickness, residual: Tensor, fresh: Tensor) -> Tensor:
    """Draw o, what lasts of a subject, given what is left of its maps once their means are known.

    Parameters
    ----------
    residual
        ``(*, visits, vertices)``; NaN where missing.
    fresh
        ``(*, M)`` standard normal numbers.

    Returns
    -------
    ``(*, M)``, standard normal where no map was seen.

    Examples
    --------
    >>> from neuropyro.models.anatomy_fields import SmoothField
    >>> one, fresh = torch.ones(4), torch.tensor([0.3])
    >>> thickness = Thickness(2.5 * one, -0.5 * one, one, 0 * one, 0 * one, SmoothField(one[:, None]), visit_sd=0.01)
    >>> seen = 0.06 * torch.ones(400, 4)  # one sd of what lasts, at each of many visits
    >>> draw_lasting(thickness, torch.nan * seen, fresh), draw_lasting(thickness, seen, fresh).round(decimals=1)
    (tensor([0.3000], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    known = ~residual.isnan()
    there = known.any(-1)
    count = there.sum(-1).clamp_min(1)
    # A vertex that some maps lack has the mean of the others: its noise is then taken to be a little too small.
    filled = torch.where(known, residual, 0).double()
    mean = filled.sum(-2) / known.sum(-2).clamp_min(1)
    q, d, r = thickness.field.spectrum
    variance = (thickness.visit_sd**2 * d.square() + thickness.white_sd**2) / count.unsqueeze(-1)
    gain = torch.where(there.any(-1, keepdim=True), thickness.subject_sd * d, 0)
    precision = 1 + gain.square() / variance
    rotated = gain * (mean @ q) / variance / precision + fresh.double() @ r / precision.sqrt()
    return rotated @ r.mT
