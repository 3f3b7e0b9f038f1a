"""The structured guide: blocks derived from the model's plates, each with a full covariance, of skewed numbers.

The global sites are jointly Normal; the sites of one element of the local plate (a subject's speed, stage and offsets)
are jointly Normal given the global ones; elements are independent of each other given those
(:mod:`neuropyro.guides.blocks`), but for a dozen directions in which they move together
(:mod:`neuropyro.guides.ties`).  The noise of which all this is made is bent number by number
(:mod:`neuropyro.guides.bent`): skewed, long- or short-tailed, where the posterior is.  Elements of more than 64
numbers (an image's latents) are Normal along the principal axes of the curvature at the mode: the 128 directions in
which the data say most, and any others across them (:mod:`neuropyro.guides.directions`); their correlations with
global sites are left out.

What the ELBO makes of the global block is too narrow, the more so the more elements there are; its mean and
covariance, and those of what elements do together, are by short Hamiltonian chains from the guide's own draws instead
(:mod:`neuropyro.inference.global_spread`), where the fit took steps enough to pay for them.

Represents: all linear correlations of a hierarchical model but those of two elements alone once the global sites are
known, and skew; one mode.  Cost: for n elements of m numbers and G global ones, G + 2 m gradients to start, and n m (G
+ m) a step; of wide elements some 400 gradients to start, and 500 n m a step.  A round of the chains takes at most as
many gradients as the steps did; there are at most eight.

Coverage: on small studies of DIVE's own prior (60 subjects, 200 vertices, four yearly visits; 50 data sets, eight draws
a step) its 90 % intervals held 88 +- 2 % of the true scores, 89 +- 2 % of the speeds, 88 +- 3 % of the clusters'
steepnesses b, and 85 +- 4 % of their onsets c; half of the data sets held 90 % of the scores, four less than 73 %, of
which one 22 %: hardly a curve of it is seen to change (docs/coverage.md).  Beside NUTS on five such data sets
(docs/beside_nuts.md) means of scores are .08 sds of NUTS apart and those of any other site .15 at most, where .08 would
be by chance, and sds are .93 to 1.06 of NUTS's, in any one data set .89 to 1.13; on a sixth, where most vertices show
no progression, NUTS did not end in a quarter of an hour.  Of 40 simulated cortices (300 subjects, 491 vertices, DIVE
with ageing and vertex effects, 400 steps along a cosine) its intervals of what an allele adds to the log speed held
that in 34 (measured before its noise was bent, scores were in units of their population, and what subjects share was by
chains).  Of reconstructed brains (32 held-out phantoms, 64 px) they held 93 % of the pixels in super-resolution, 92 %
from a quarter of k-space, 89 % where a square was missing, and 87 % of those in the square (8 phantoms): what may be
there has more courses than the one that it is about.

References
----------
Hoffman & Blei, "Structured stochastic variational inference", AISTATS 2015; Tan & Nott, "Gaussian variational
approximation with sparse precision matrices", Statistics and Computing 2018.
"""

from __future__ import annotations

from neuropyro.guides.bent import ArrowBent
from neuropyro.guides.blocks import plate_blocks
from neuropyro.guides.directions import MainDirections
from neuropyro.guides.flat import FlatGuide
from neuropyro.guides.normal import MeanField
from neuropyro.guides.start import Start

__all__ = ["structured_guide"]


def structured_guide(start: Start) -> FlatGuide:
    """Return a bent Normal whose covariance has the shape of the model's plates.

    Examples
    --------
    >>> from neuropyro.guides import find_latents
    >>> def growth(y):
    ...     mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    ...     with pyro.plate("subject", len(y)):
    ...         pyro.sample("speed", dist.Normal(mean, 1.0))
    >>> latents = find_latents(growth, torch.zeros(3), {})
    >>> start = Start(latents, torch.zeros(4), lambda x: 0.5 * (x[0] ** 2 + (x[1:] - x[0]).square().sum()))
    >>> round(float(structured_guide(start).law().log_prob(torch.ones(4))), 3)  # its own density: -1/2 - 2 log 2 pi
    -4.176
    """
    whitening = start.by_plates()
    if isinstance(whitening, MainDirections):
        return FlatGuide(start.latents, MeanField(start, whitening))
    return FlatGuide(start.latents, ArrowBent(start, plate_blocks(start.latents)))
