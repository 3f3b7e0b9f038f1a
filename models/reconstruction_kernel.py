r"""K = L S L', by which what the generator cannot make spreads measurements, diagonalised once.

S is the covariance of the residual image and L the corruption's linear part.  Up to :data:`DENSE_LIMIT` measurements K
is formed and K = U diag(k) U' found.  Of more, which one corruption makes of no more pixels than that, as several coils
do, K has no more directions than there are pixels: with R R' = S and B = L R, B' B = V diag(k) V', and U is what is
left of B V when its columns are made orthonormal.  Where pixels are more, too, or many images have a corruption each,
only K's diagonal is kept, which takes the residuals of different measurements to be independent.  Without a residual k
is 0.
"""

from __future__ import annotations

import torch
from torch import Size, Tensor

from neuropyro.generators.residuals import ResidualCovariance
from neuropyro.models.corruption_operator import Corruption, as_measurements, flat_reals
from neuropyro.models.reconstruction_spread import MeasurementSpread

__all__ = ["spread_of"]

DENSE_LIMIT = 4096  # measurements or pixels, real numbers
MATRICES = 8  # dense ones at most, where each image has a corruption of its own
MOST_NUMBERS = 2**26  # of U
CHUNK = 256  # columns of K at once
DIAGONAL_DRAWS = 1000  # each variance is then known to 4.5 %
DOUBLE_LIMIT = 2048  # up to so many the eigenvectors are found in double precision


def spread_of(
    corruption: Corruption, residual: ResidualCovariance | None, observed: Tensor, y: Tensor
) -> MeasurementSpread:
    """Diagonalise K.

    Parameters
    ----------
    corruption
        Linear, where there is a residual.
    residual
        S; None is 0.
    observed
        (B, n) booleans: which measurements count.
    y
        Measurements (B, ...), of which shape, dtype and device matter.

    Examples
    --------
    >>> from neuropyro.generators.residuals import ResidualSpread
    >>> from neuropyro.models.corruption import Downsample
    >>> white = ResidualSpread(torch.full((1, 4, 4), 0.2), torch.ones(16))
    >>> y, seen = torch.zeros(1, 1, 2, 2), torch.tensor([[True, True, False, True]])
    >>> spread_of(Downsample(2, "area"), white, seen, y).variance  # of means of four pixels
    tensor([[0.0100, 0.0100, 0.0100]])
    """
    image = corruption.image_shape(tuple(y.shape))
    own = not _is_shared(corruption, observed, torch.zeros((1, *image[1:]), dtype=y.real.dtype, device=y.device))
    places, seen = _places(observed if own else observed[:1])
    counts = seen.to(y.real.dtype)
    if residual is None:
        return MeasurementSpread(places, counts, torch.zeros_like(counts))
    g, m = places.shape
    pixels = torch.Size(image[1:])
    if g == 1 and m > DENSE_LIMIT >= pixels.numel() and m * pixels.numel() <= MOST_NUMBERS:
        return MeasurementSpread(places, counts, *_factored(corruption, residual, places[0], y, pixels))
    if m > DENSE_LIMIT or g > MATRICES:
        diagonal = _diagonal(corruption, residual, torch.zeros((g, *image[1:]), dtype=y.real.dtype, device=y.device))
        return MeasurementSpread(places, counts, diagonal.gather(-1, places) * counts)
    kernel = _kernel(corruption, residual, places, y)
    kernel = kernel * counts.unsqueeze(-1) * counts.unsqueeze(-2) - torch.diag_embed(1 - counts)  # padding comes last
    return MeasurementSpread(places, counts, *_eigen(kernel))


def _is_shared(corruption: Corruption, observed: Tensor, black: Tensor) -> bool:
    """Whether the corruption does the same to every image; one with parameters of each makes several of one image."""
    return len(observed) == 1 or (len(corruption.A(black)) == 1 and bool((observed == observed[:1]).all()))


def _places(seen: Tensor) -> tuple[Tensor, Tensor]:
    """Find the indices (g, m) of what is True in ``seen`` (g, n), and (g, m) booleans, False where padded."""
    m = int(seen.sum(-1).max())
    order = (~seen).to(torch.int8).argsort(dim=-1, stable=True)[:, :m]
    counts = seen.gather(-1, order)
    return torch.where(counts, order, 0), counts


def _kernel(corruption: Corruption, residual: ResidualCovariance, places: Tensor, y: Tensor) -> Tensor:
    """K (g, m, m), a few columns at a time."""
    g, m = places.shape
    n = flat_reals(y[:1], y.ndim - 1).shape[-1]
    columns = []
    for part in torch.split(torch.arange(m, device=y.device), CHUNK):
        unit = torch.zeros(len(part), g, n, dtype=y.real.dtype, device=y.device)
        unit.scatter_(-1, places[:, part].mT.unsqueeze(-1), 1.0)
        unit = as_measurements(unit if g > 1 else unit[:, 0], y)  # one corruption: units are images of a batch
        found = flat_reals(corruption.linear(residual.multiply(corruption.A_adjoint(unit))), y.ndim - 1)
        found = found.reshape(len(part), g, n).gather(-1, places.expand(len(part), g, m))
        columns.append(found.movedim(0, -1))
    kernel = torch.cat(columns, -1)
    return (kernel + kernel.mT) / 2


def _factored(
    corruption: Corruption, residual: ResidualCovariance, places: Tensor, y: Tensor, pixels: Size
) -> tuple[Tensor, Tensor]:
    """Return k (1, p) and U (1, m, p) of K = B B' for the images' p pixels, B = L R found some columns at a time."""
    columns = []
    for part in torch.split(torch.eye(pixels.numel(), dtype=y.real.dtype, device=y.device), CHUNK):
        seen = corruption.linear(residual.root(part.reshape(-1, *pixels)))
        columns.append(flat_reals(seen, y.ndim - 1)[:, places])
    B = torch.cat(columns).mT
    variance, V = _eigen(B.mT @ B)
    return variance.unsqueeze(0), torch.linalg.qr(B @ V).Q.unsqueeze(0)


def _eigen(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues, none below 0 and the largest first, and eigenvectors."""
    variance, basis = torch.linalg.eigh(kernel.double() if kernel.shape[-1] <= DOUBLE_LIMIT else kernel)
    return variance.flip(-1).clamp_min(0).to(kernel), basis.flip(-1).to(kernel)


def _diagonal(corruption: Corruption, residual: ResidualCovariance, like: Tensor) -> Tensor:
    """Estimate K's diagonal (g, n) by residual images drawn from S, which are shaped ``like``."""
    source = torch.Generator().manual_seed(0)
    total: Tensor | float = 0.0
    for _ in range(DIAGONAL_DRAWS):
        y = corruption.linear(residual.root(torch.randn(like.shape, generator=source).to(like)))
        total = total + flat_reals(y, y.ndim - 1).square()
    return torch.as_tensor(total) / DIAGONAL_DRAWS
