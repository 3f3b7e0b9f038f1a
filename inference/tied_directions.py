r"""Along which directions elements of a plate move together, more or less freely than a guide has them.

With the global block held, take the curvature of the negative log density in the guide's own noise, mean over some of
its draws: where the guide is right that is the identity.  Elements are independent under the guide, so what couples
them shows as eigenvalues far from 1: small where they can move together and each says little of it, large where they
are known together better than each.  Lanczos' method finds those at both ends.  A direction that is nearly all one
number's is no tie: the guide has learned that number's own width and tails, and a curvature that is nil in a long tail
would widen it by as much again.

References
----------
Golub & Van Loan, "Matrix computations", 2013, section 10.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuropyro.guides import FlatGuide
from neuropyro.guides.gaussian import ArrowGaussian
from neuropyro.guides.lanczos import leading_curvature
from neuropyro.inference.short_chains import Density, bearable

__all__ = ["tied_directions"]

MOST_DRAWS = 8
STEPS = 3  # of Lanczos' for each direction
ALONE = 0.9  # of a direction's length, in one number
LEAST, MOST = 1e-2, 1e2  # curvatures beyond count as these: single precision knows no others


def tied_directions(guide: FlatGuide, density: Density, n: int, draws: int) -> tuple[Tensor, Tensor]:
    """Return ``(D, n)`` orthonormal directions of all local numbers' noise, those farthest from the guide first.

    With them ``(n,)``, how many times as wide the posterior is along each, by its curvature.

    Parameters
    ----------
    guide
        Its law is an `ArrowGaussian` with local blocks.
    density
        Of its noise.
    n
        How many directions.  Where the curvature is not known they are some numbers of elements, as wide as they are.
    draws
        Over which to take the mean, so far as memory bears them.  Cost: 3 n gradients of the gradient of each.

    Examples
    --------
    Of two subjects, whose sum is known three times as well as a guide that has them apart can tell:

    >>> from neuropyro.guides import Start, find_latents, make_flat_guide
    >>> def growth(y):
    ...     mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    ...     with pyro.plate("subject", len(y)):
    ...         pyro.sample("speed", dist.Normal(mean, 1.0))
    >>> latents = find_latents(growth, torch.zeros(2), {})
    >>> guide = make_flat_guide("structured", Start(latents, latents.start))
    >>> directions, wider = tied_directions(
    ...     guide, lambda e: -0.5 * (e.square().sum(-1) + 4 * (e[:, 1] + e[:, 2]).square()), n=1, draws=1
    ... )
    >>> [round(abs(x), 2) for x in directions.flatten().tolist()], round(wider.item(), 3)
    ([0.0, 0.71, 0.71], 0.333)
    """
    law = guide.law
    assert isinstance(law, ArrowGaussian)
    local = law.whitening.order[len(law.shared) :]
    about = torch.randn(min(draws, MOST_DRAWS), guide.latents.size).to(guide.latents.start)
    about = about[: bearable(density, about)]

    def potential(e: Tensor) -> Tensor:
        return -density(about + e).mean()

    k = min(STEPS * n, len(local))
    found = leading_curvature(potential, torch.zeros_like(about[0]), local.unsqueeze(0), k)
    if not found.directions.isfinite().all():
        return torch.eye(len(about[0]))[:, local[:n].cpu()].to(about), torch.ones(n).to(about)
    wider = found.curvature[0].clamp(LEAST, MOST).rsqrt()
    wider = torch.where(found.directions[0].abs().amax(0).to(wider) > ALONE, torch.ones_like(wider), wider)
    far = wider.log().abs().topk(n).indices
    directions = about.new_zeros(about.shape[1], n)
    directions[local] = found.directions[0][:, far].to(directions)
    return directions, wider[far].to(directions)
