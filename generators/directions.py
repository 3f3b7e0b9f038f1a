"""Directions in w along which known covariates change, such as the ventricles' size.

Source: ridge regression with its errors on left-out cases in closed form (Hastie et al., *The elements of statistical
learning*, section 7.10); from readout to direction: Haufe et al., *On the interpretation of weight vectors of linear
models in multivariate neuroimaging*, NeuroImage 2014, equation 6.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from neuropyro.generators.latents import ImageGenerator

__all__ = ["Directions", "find_directions", "left_out_errors", "measure_effects", "sweep"]

PENALTIES = tuple(10.0**i for i in range(-4, 7))


@dataclass(frozen=True)
class Directions:
    """Directions in w along which covariates change.

    Parameters
    ----------
    names
        The covariates, K of them.
    vectors
        Change of w for one unit of each covariate, the others' readouts staying as they are, (K, w_dim).
    readouts, intercepts
        Linear readout of each covariate from w, (K, w_dim) and (K,).
    r2
        Share of each covariate's variance that its readout predicts on cases left out, (K,).
    penalties
        Ridge penalty of each readout, (K,).

    Examples
    --------
    >>> w = torch.eye(4, dtype=torch.float64)
    >>> found: Directions = find_directions(w, w[:, :1], ["first"])
    >>> found.predict(w).shape
    torch.Size([4, 1])
    """

    names: tuple[str, ...]
    vectors: Tensor
    readouts: Tensor
    intercepts: Tensor
    r2: Tensor
    penalties: Tensor

    def predict(self, w: Tensor) -> Tensor:
        """Covariates (N, K) that are read out from ``w`` (N, w_dim)."""
        return w @ self.readouts.T + self.intercepts

    def to_arrays(self) -> dict[str, Tensor]:
        """Arrays by the names under which a card keeps them; the covariates' names belong to its details."""
        fields = ("vectors", "readouts", "intercepts", "r2", "penalties")
        return {f"directions.{name}": cast(Tensor, getattr(self, name)) for name in fields}


def find_directions(
    w: Tensor, covariates: Tensor, names: Sequence[str], penalties: Sequence[float] = PENALTIES
) -> Directions:
    """Directions of covariates by ridge regression.

    Each covariate c is regressed on w with the penalty that predicts best on cases left out (in closed form).  With
    the readouts B (w_dim, K) and the covariance S of w, the directions are ``S B (B' S B)^-1``: what varies in w with
    the covariate, rather than the filter that reads it out, scaled so that one unit along a direction is one unit of
    its covariate and none of the others.

    Parameters
    ----------
    w
        Latents, one per case, (N, w_dim): of images generated, or of images projected into W.
    covariates
        Known covariates of the cases, (N, K).
    names
        Names of the covariates.
    penalties
        Ridge penalties to choose from, relative to the mean variance of w's principal components times N.

    Returns
    -------
    Directions
        In float64, on w's device.

    Raises
    ------
    ValueError
        Where the numbers of cases or names differ, or there are more names than dimensions of w, or a covariate is not
        finite or does not vary.

    Examples
    --------
    >>> w = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> found = find_directions(w, 2 * w[:, :1], ["size"])  # size is twice the first number
    >>> [round(x, 2) for x in found.vectors[0].tolist()][0], round(found.r2.item(), 2)
    (0.5, 1.0)
    """
    if w.ndim != 2 or covariates.shape != (w.shape[0], len(names)):
        raise ValueError(f"covariates must have shape ({w.shape[0]}, {len(names)}), got {tuple(covariates.shape)}")
    w, c = w.double(), covariates.to(w.device).double()
    if not bool(((c.std(dim=0) > 0) & c.isfinite().all(dim=0)).all()):
        raise ValueError("every covariate must be finite and vary over the cases")
    if len(names) > w.shape[1]:
        raise ValueError(f"{len(names)} covariates have no directions of their own in a w of {w.shape[1]} dimensions")
    w_mean, c_mean = w.mean(dim=0), c.mean(dim=0)
    u, s, vt = torch.linalg.svd(w - w_mean, full_matrices=False)
    scores, scale = u.T @ (c - c_mean), s.square().mean()
    fits = [left_out_errors(u, s, scores, c - c_mean, p * scale) for p in penalties]
    best = torch.stack([f.square().sum(dim=0) for f in fits]).argmin(dim=0)
    chosen = torch.tensor(penalties, dtype=w.dtype, device=w.device)[best] * scale
    readouts = ((s[:, None] / (s.square()[:, None] + chosen)) * scores).T @ vt
    pattern = torch.cov(w.T).view(len(w_mean), len(w_mean)) @ readouts.T
    vectors = torch.linalg.solve(readouts @ pattern, pattern.T)
    errors = torch.stack([fits[int(i)][:, k] for k, i in enumerate(best)], dim=1)
    r2 = 1 - errors.square().sum(dim=0) / (c - c_mean).square().sum(dim=0)
    return Directions(tuple(names), vectors, readouts, c_mean - readouts @ w_mean, r2, chosen)


def left_out_errors(u: Tensor, s: Tensor, scores: Tensor, c: Tensor, penalty: Tensor) -> Tensor:
    """Errors (N, K), in the covariates' units, of ridge regression on each case left out, in closed form.

    Parameters
    ----------
    u, s
        Left singular vectors (N, R) and singular values (R,) of w less its mean.
    scores
        ``u.T @ c``, (R, K).
    c
        Covariates less their means, (N, K).
    penalty
        Scalar, in the unit of s squared.

    Examples
    --------
    >>> w, c = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [1.0], [4.0]])
    >>> c = c - c.mean()
    >>> u, s, _ = torch.linalg.svd(w - w.mean(), full_matrices=False)
    >>> errors = left_out_errors(u, s, u.T @ c, c, penalty=torch.tensor(0.0))
    >>> errors.round(decimals=3).flatten().tolist()  # the line through the other two points is at -2, 2 and 2
    [2.0, -1.0, 2.0]
    """
    shrink = s.square() / (s.square() + penalty)
    leverage = (u.square() @ shrink + 1 / u.shape[0])[:, None]
    return (c - u @ (shrink[:, None] * scores)) / (1 - leverage)


@torch.no_grad()
def measure_effects(
    generator: ImageGenerator,
    directions: Directions,
    measure: Callable[[Tensor], Tensor],
    amounts: Sequence[float] = (-1.0, -0.5, 0.0, 0.5, 1.0),
    draws: int = 64,
    seed: int = 0,
) -> Tensor:
    """Effect on measured covariates of moving w along each direction.

    Parameters
    ----------
    generator
        The generator.
    directions
        K directions.
    measure
        From images (B, C, H, W) to M covariates measured in them, (B, M).
    amounts
        How far to move, in units of each direction's covariate.
    draws, seed
        Number of starting points, and their seed.

    Returns
    -------
    Tensor
        Mean slope of each measure along each direction, (K, M): 1 on the diagonal where directions do what they say
        and the measures are the covariates.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> G = load_generator("brains64")
    >>> w = G.mapping(torch.randn(8, G.z_dim, generator=torch.Generator().manual_seed(0)))
    >>> def brightness(images):
    ...     return images.mean((1, 2, 3))[:, None]
    >>> found = find_directions(w[:, 0], brightness(G.synthesis(w)), ["brightness"])
    >>> measure_effects(G, found, brightness, amounts=(-0.1, 0.1), draws=2).shape
    torch.Size([1, 1])
    """
    steps = torch.tensor(amounts, dtype=torch.float64)
    steps = steps - steps.mean()
    slopes = []
    for vector in directions.vectors:
        moved = sweep(generator, vector, measure, amounts, draws, seed)
        slopes.append(torch.einsum("a,bam->m", steps, moved) / (draws * steps.square().sum()))
    return torch.stack(slopes)


@torch.no_grad()
def sweep(
    generator: ImageGenerator,
    vector: Tensor,
    measure: Callable[[Tensor], Tensor],
    amounts: Sequence[float],
    draws: int,
    seed: int = 0,
) -> Tensor:
    """Measure images while w moves along a direction.

    Parameters
    ----------
    generator
        The generator.
    vector
        The direction, (w_dim,).
    measure
        From images (B, C, H, W) to M numbers each, (B, M).
    amounts
        How far to move, in units of ``vector``, A of them.
    draws, seed
        Number of starting points, and their seed.

    Returns
    -------
    Tensor
        (draws, A, M) float64, on the CPU.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> mapping = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Unflatten(1, (1, 2)))
    >>> G = SimpleNamespace(z_dim=2, mapping=mapping, synthesis=lambda w, noise_mode: w[:, :, None, None])  # w itself
    >>> found = sweep(G, torch.tensor([2.0, 0.0]), lambda images: images.flatten(1), amounts=(0.0, 1.0), draws=3)
    >>> (found[:, 1] - found[:, 0]).mean(dim=0).round(decimals=3).tolist()
    [2.0, 0.0]
    """
    reference = next(iter(generator.mapping.parameters()))
    z = torch.randn(draws, generator.z_dim, generator=torch.Generator().manual_seed(seed)).to(reference)
    w, vector = generator.mapping(z)[:, 0], vector.to(reference)
    moved = [measure(generator.synthesis(w + a * vector, noise_mode="const")).double().cpu() for a in amounts]
    return torch.stack(moved, dim=1)
