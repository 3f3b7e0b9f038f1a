"""Known covariates read out of images: ridge regression on pixels of images whose covariates are known.

With it, covariates of generated images can be measured, and so the directions in w along which they change
(:mod:`neuropyro.generators.directions`) and by how much.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from neuropyro.generators.directions import PENALTIES, Directions, find_directions, measure_effects
from neuropyro.generators.evaluation import PrincipalComponents
from neuropyro.generators.latents import ImageGenerator

__all__ = ["CovariateReadout", "covariate_directions"]


@dataclass(frozen=True)
class CovariateReadout:
    """Linear readout of covariates from images.

    Attributes
    ----------
    names
        The covariates, K of them.
    frame
        Principal components of the images.
    weights, intercepts
        From points on these to covariates, (K, components) and (K,).

    Examples
    --------
    >>> size = torch.linspace(-1, 1, 21)[:, None]
    >>> images = torch.cat([size, size.square()], dim=1).view(21, 1, 1, 2)
    >>> readout = CovariateReadout.of(images, size, ["size"], components=2)
    >>> [round(value, 2) for value in readout(images[[0, 15]]).flatten().tolist()]
    [-1.0, 0.5]
    """

    names: tuple[str, ...]
    frame: PrincipalComponents
    weights: Tensor
    intercepts: Tensor

    @classmethod
    def of(cls, images: Tensor, covariates: Tensor, names: Sequence[str], components: int = 256) -> "CovariateReadout":
        """Learn it from ``images`` (N, C, H, W) of known ``covariates`` (N, K); see :func:`find_directions`."""
        frame = PrincipalComponents.of(images, components)
        found = find_directions(frame(images), covariates, names, PENALTIES)
        return cls(tuple(names), frame, found.readouts, found.intercepts)

    def __call__(self, images: Tensor) -> Tensor:
        """Covariates (B, K) float64 of ``images`` (B, C, H, W)."""
        return self.frame(images).double() @ self.weights.T + self.intercepts

    def r2(self, images: Tensor, covariates: Tensor) -> Tensor:
        """Share of each covariate's variance that is read out of images that it did not learn from, (K,)."""
        errors = (self(images) - covariates).square().sum(dim=0)
        return 1 - errors / (covariates - covariates.mean(dim=0)).square().sum(dim=0)


@torch.no_grad()
def covariate_directions(
    generator: ImageGenerator, readout: CovariateReadout, draws: int = 2000, batch: int = 64, seed: int = 0
) -> tuple[Directions, Tensor]:
    """Directions in w of what ``readout`` reads, and their measured effects.

    Parameters
    ----------
    generator
        The generator.
    readout
        Of covariates from images.
    draws, batch
        Number of images generated, and how many at once.
    seed
        Of the draws.

    Returns
    -------
    directions, effects
        The directions, and the change (K, K) of each covariate measured in images, in units of the covariate that the
        direction is of, over moves of half of its standard deviation among the draws: 1 on the diagonal is perfect.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> mapping = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Unflatten(1, (1, 4)))
    >>> G = SimpleNamespace(z_dim=4, mapping=mapping, synthesis=lambda w, noise_mode: w.view(-1, 1, 2, 2))  # w itself
    >>> images = torch.randn(50, 1, 2, 2)
    >>> readout = CovariateReadout.of(images, images.mean((1, 2, 3))[:, None], ["brightness"], components=4)
    >>> round(covariate_directions(G, readout, draws=50)[1].item(), 2)  # images become as bright as it says
    1.0
    """
    reference = next(iter(generator.mapping.parameters()))
    z = torch.randn(draws, generator.z_dim, generator=torch.Generator().manual_seed(seed)).to(reference)
    w = generator.mapping(z)[:, 0]
    seen = torch.cat([readout(generator.synthesis(part, noise_mode="const")) for part in torch.split(w, batch)])
    directions = find_directions(w, seen, readout.names)
    sd = seen.std(dim=0)
    moves = replace(directions, vectors=directions.vectors * sd[:, None].to(directions.vectors))
    effects = measure_effects(generator, moves, readout, amounts=(-0.5, 0.5), seed=seed + 1)
    return directions, effects / sd[:, None].cpu()
