r"""Centring a site that a model samples in units of its population, number by number, as far as data know it.

A model may sample z ~ Normal(0, 1) where it means x = mu + sigma z: of numbers that data say little of, that is the
better coordinate, for it knows nothing of mu and sigma.  Of numbers that data know well it is the worse one: x stays
where it is, and every z has to move along whenever mu or sigma move.  Between the two lies

.. math::  y = \lambda \mu + \sigma^\lambda z,

z at \lambda = 0 and x at \lambda = 1.  With a likelihood of precision P about x, y and mu are independent given
sigma under the posterior at \lambda = 1 - 1 / (1 + \sigma^2 P), and 1 + \sigma^2 P is the curvature of the log density
in z.

References
----------
Papaspiliopoulos, Roberts & Skold, "A general framework for the parametrization of hierarchical models", Statistical
Science 2007, section 3; Gorinova, Moore & Hoffman, "Automatic reparameterisation of probabilistic programs", ICML 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Centring", "Frame", "share_known"]

Frame = Mapping[str, Tensor]


class Centring(Protocol):
    """How guides see a model's sites: ``model.centring(data)``.  The site that is centred is of the real line.

    What they see may hang on constants taken from where a guide starts, its *frame*: ``share``, lambda of each number
    of the centred site, and what else a model needs.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.guides import find_latents
    >>> from neuropyro.models import SubjectProgression
    >>> visits = SubjectProgression().prepare(simulate_reference(n_subjects=6, n_vertices=9, seed=0), "cpu")
    >>> latents = find_latents(SubjectProgression(), visits, {})
    >>> own, values = latents.centring, latents.values(latents.start)
    >>> half = own.frame(values, torch.full((6, 2), 0.5))
    >>> again, _ = own.sampled({**values, **own.centred(values, half)}, half)
    >>> own.site, bool(torch.allclose(again["place"], values["place"], atol=1e-5))  # there and back
    ('place', True)
    """

    site: str

    def frame(self, values: Mapping[str, Tensor], share: Tensor) -> Frame:
        """Return the constants, taken at sampled ``values``."""

    def centred(self, values: Mapping[str, Tensor], frame: Frame) -> Mapping[str, Tensor]:
        """Return what is seen of sampled ``values``: y ``(*, elements, ...)`` for z.

        Others may be seen in other units, but inside the same support.
        """

    def sampled(self, values: Mapping[str, Tensor], frame: Frame) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """Return the same sites as they are sampled where ``values`` are seen, and the log-volumes of that.

        Volumes are log |dz / dy| of a site's batch shape; a site of none has volume 0.
        """


def share_known(curvature: Tensor) -> Tensor:
    """Return lambda ``(*)`` of numbers ``(*)``, given the second derivative of the negative log density by z.

    It is 0 where that is undefined.

    Examples
    --------
    >>> share_known(torch.tensor([1.0, 4.0, torch.nan])).tolist()  # no more known than beforehand, well known, unknown
    [0.0, 0.75, 0.0]
    """
    return torch.nan_to_num(1 - 1 / curvature.clamp_min(1.0), nan=0.0)
