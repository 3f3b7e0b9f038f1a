"""How near a reconstructed image is to the truth, and what its intervals are worth.

Images are (B, C, H, W) on -1..1; every function returns one number an image, (B,).  Errors are in grey levels, 0..255.
``where`` restricts an average to the pixels that are not 0 in it, for instance the brain; it broadcasts to the image.
A ValueError tells of other shapes.

References
----------
Wang et al., *Image quality assessment: from error visibility to structural similarity*, IEEE TIP 2004, eq. 13 (SSIM);
Gneiting and Raftery, *Strictly proper scoring rules*, JASA 2007, eq. 21, and Ferro, *Fair scores for ensemble
forecasts*, QJRMS 2014 (CRPS); Zhang et al., CVPR 2018 (LPIPS).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import conv2d

__all__ = [
    "PerceptualDistance",
    "coverage",
    "crps",
    "image_metrics",
    "interval",
    "interval_width",
    "lpips",
    "mae",
    "psnr",
    "rmse",
    "ssim",
]

PEAK = 2.0
GREY_LEVELS = 255 / PEAK
WINDOW_SD, WINDOW_RADIUS = 1.5, 5  # px, of Wang et al.


class PerceptualDistance(Protocol):
    """Features of :mod:`neuropyro.generators.features`, and whatever else has their ``distance``.

    Examples
    --------
    >>> class Edges:
    ...     def distance(self, a, b):
    ...         return (a.diff(dim=3) - b.diff(dim=3)).abs().mean((1, 2, 3))
    >>> ramp = torch.linspace(-1, 1, 5).expand(1, 1, 5, 5)
    >>> lpips(ramp / 2, ramp, Edges()), lpips(ramp - 0.5, ramp, Edges())  # brightness moves no edge
    (tensor([0.2500]), tensor([0.]))
    """

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Perceptual distance (B,) of images ``a`` and ``b`` (B, C, H, W)."""


def _mean_over_image(values: Tensor, where: Tensor | None) -> Tensor:
    """Mean of ``values`` (B, C, H, W) over each image (B,), where ``where`` is not 0; NaN where it is 0 everywhere."""
    if where is None:
        return values.flatten(1).mean(dim=1)
    weights = (where != 0).to(values.dtype).expand_as(values).flatten(1)
    return (values.flatten(1) * weights).sum(dim=1) / weights.sum(dim=1)


def rmse(estimate: Tensor, truth: Tensor, where: Tensor | None = None) -> Tensor:
    """Root mean squared error (B,), grey levels.

    Examples
    --------
    >>> truth, estimate = torch.zeros(1, 1, 2, 2), torch.tensor([[[[0.0, 0.0], [0.0, 0.2]]]])
    >>> rmse(estimate, truth)  # the root of a quarter of .2 squared, in grey levels
    tensor([12.7500])
    """
    _require_pair(estimate, truth)
    return GREY_LEVELS * _mean_over_image((estimate - truth).square(), where).sqrt()


def mae(estimate: Tensor, truth: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean absolute error (B,), grey levels; over the hole of a mask, what inpainting is judged by.

    Examples
    --------
    >>> truth, estimate = torch.zeros(1, 1, 2, 2), torch.tensor([[[[0.0, 0.0], [0.0, 0.2]]]])
    >>> mae(estimate, truth), mae(estimate, truth, where=estimate)
    (tensor([6.3750]), tensor([25.5000]))
    """
    _require_pair(estimate, truth)
    return GREY_LEVELS * _mean_over_image((estimate - truth).abs(), where)


def psnr(estimate: Tensor, truth: Tensor, where: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio (B,), dB, the peak being the whole range -1..1; infinite where there is no error.

    Examples
    --------
    >>> truth, estimate = torch.zeros(1, 1, 2, 2), torch.tensor([[[[0.0, 0.0], [0.0, 0.2]]]])
    >>> psnr(estimate, truth)
    tensor([26.0206])
    """
    _require_pair(estimate, truth)
    return 10 * torch.log10(PEAK**2 / _mean_over_image((estimate - truth).square(), where))


def ssim(estimate: Tensor, truth: Tensor) -> Tensor:
    """Mean structural similarity (B,), Gaussian windows of sd 1.5 px over 11 x 11, which lie within the image.

    Raises
    ------
    ValueError
        Where the images are smaller than a window.

    Examples
    --------
    >>> truth = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> ssim(truth, truth), bool(ssim(truth.flip(3), truth) < 0.5)
    (tensor([1.]), True)
    """
    _require_pair(estimate, truth)
    if min(truth.shape[2:]) <= 2 * WINDOW_RADIUS:
        raise ValueError(f"ssim: images of at least 11 x 11 px are needed, got {truth.shape[2]} x {truth.shape[3]}")
    x, y = estimate.flatten(0, 1)[:, None], truth.flatten(0, 1)[:, None]
    means = _window_means(torch.cat([x, y, x * x, y * y, x * y], dim=1))
    mx, my, xx, yy, xy = means.unbind(dim=1)
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    luminance = (2 * mx * my + c1) / (mx * mx + my * my + c1)
    structure = (2 * (xy - mx * my) + c2) / (xx - mx * mx + yy - my * my + c2)
    return (luminance * structure).mean(dim=(1, 2)).reshape(truth.shape[:2]).mean(dim=1)


def _window_means(maps: Tensor) -> Tensor:
    """Gaussian-weighted means of ``maps`` (N, K, H, W) over every window within the image."""
    offsets = torch.arange(-WINDOW_RADIUS, WINDOW_RADIUS + 1, dtype=maps.dtype, device=maps.device)
    line = torch.exp(-0.5 * (offsets / WINDOW_SD).square())
    line = line / line.sum()
    flat = maps.flatten(0, 1)[:, None]
    flat = conv2d(conv2d(flat, line[None, None, :, None]), line[None, None, None, :])
    return flat.reshape(*maps.shape[:2], *flat.shape[2:])


def lpips(estimate: Tensor, truth: Tensor, features: PerceptualDistance) -> Tensor:
    """Perceptual distance (B,): LPIPS where ``features`` are VGG16's with LPIPS's heads.

    Examples
    --------
    >>> class Means:
    ...     def distance(self, a, b):
    ...         return (a.mean((1, 2, 3)) - b.mean((1, 2, 3))).abs()
    >>> lpips(torch.ones(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), Means())
    tensor([1.])
    """
    _require_pair(estimate, truth)
    with torch.no_grad():
        return features.distance(estimate, truth)


def crps(draws: Tensor, truth: Tensor, where: Tensor | None = None) -> Tensor:
    """Continuous ranked probability score (B,), grey levels, the mean over pixels.

    E|X - y| - E|X - X'| / 2, without bias in the number of draws; a single draw has its mean absolute error, so that
    the score of a distribution and of one image compare.

    Parameters
    ----------
    draws
        (D, B, C, H, W)

    Examples
    --------
    >>> truth = torch.zeros(1, 1, 1, 1)
    >>> crps(torch.tensor([-0.2, 0.2]).reshape(2, 1, 1, 1, 1), truth)  # .2, less half of the distance of .4
    tensor([0.])
    >>> crps(torch.tensor([0.2]).reshape(1, 1, 1, 1, 1), truth)
    tensor([25.5000])
    """
    _require_draws(draws, truth)
    count = len(draws)
    error = (draws - truth).abs().mean(dim=0)
    if count > 1:
        ranks = torch.arange(1, count + 1, dtype=draws.dtype, device=draws.device) * 2 - count - 1
        ordered = draws.sort(dim=0).values
        error = error - torch.einsum("d,d...->...", ranks, ordered) / (count * (count - 1))
    return GREY_LEVELS * _mean_over_image(error, where)


def interval(draws: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """Lower and upper ends (B, C, H, W) of the central interval of ``draws`` (D, B, C, H, W) at ``level``.

    Another draw lies within it with a probability of ``level``, or a hundredth more, however few they are: the k-th of
    D in order has a share of k / (D + 1) below it (Weibull's plotting positions).  With fewer than 2 / (1 - level) - 1
    draws it is their range, which holds less.

    Raises
    ------
    ValueError
        Where the level does not lie between 0 and 1, or there are no draws.

    Examples
    --------
    >>> draws = torch.arange(1.0, 8.0).reshape(7, 1, 1, 1, 1)
    >>> [end.item() for end in interval(draws, level=0.5)]  # 2 of 8 gaps lie below 2, and 2 above 6
    [2.0, 6.0]
    """
    if not 0 < level < 1:
        raise ValueError(f"interval: the level must lie between 0 and 1, got {level}")
    if not len(draws):
        raise ValueError("interval: there are no draws; give one or more")
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=draws.dtype, device=draws.device)
    position = (ends * (len(draws) + 1) - 1).clamp(0, len(draws) - 1)  # torch.quantile refuses large tensors
    below = position.floor().long()
    share = (position - below).reshape(-1, *[1] * (draws.ndim - 1))
    ordered = draws.sort(dim=0).values
    lower, upper = torch.lerp(ordered[below], ordered[(below + 1).clamp(max=len(draws) - 1)], share)
    return lower, upper


def coverage(draws: Tensor, truth: Tensor, level: float = 0.9, where: Tensor | None = None) -> Tensor:
    """Share (B,) of pixels whose truth lies within the central interval of ``draws`` (D, B, C, H, W).

    Examples
    --------
    >>> draws = torch.randn(200, 1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> coverage(draws[1:], draws[0]).round(decimals=2)
    tensor([0.9000])
    """
    _require_draws(draws, truth)
    lower, upper = interval(draws, level)
    return _mean_over_image(((truth >= lower) & (truth <= upper)).to(truth.dtype), where)


def interval_width(draws: Tensor, level: float = 0.9, where: Tensor | None = None) -> Tensor:
    """Mean width (B,), grey levels, of the pixels' central intervals over ``draws`` (D, B, C, H, W).

    Examples
    --------
    >>> draws = torch.linspace(-1, 1, 999).reshape(999, 1, 1, 1, 1)
    >>> interval_width(draws, level=0.5).round()  # half of the range of 255
    tensor([128.])
    """
    lower, upper = interval(draws, level)
    return GREY_LEVELS * _mean_over_image(upper - lower, where)


def image_metrics(
    estimate: Tensor,
    truth: Tensor,
    draws: Tensor | None = None,
    observed: Tensor | None = None,
    where: Tensor | None = None,
    features: PerceptualDistance | None = None,
) -> dict[str, Tensor]:
    """Every metric that applies, by its name in ``metrics.json``; each (B,).

    Parameters
    ----------
    estimate, truth
        (B, C, H, W), -1..1
    draws
        (D, B, C, H, W); with them come ``crps``, ``coverage90`` and ``width90``, over ``where``.
    observed
        1 where the image was measured: with it comes ``mae_hole``, if there is a hole in every image; and with draws
        ``coverage90_hole`` and ``width90_hole``, if there is a pixel of ``where`` in every hole.
    where
        Pixels over which the draws are judged.
    features
        With them comes ``lpips``.

    Examples
    --------
    >>> truth = torch.linspace(-1, 1, 256).reshape(1, 1, 16, 16)
    >>> image_metrics(truth + 0.1, truth).keys()
    dict_keys(['psnr', 'rmse', 'mae', 'ssim'])
    """
    found = {"psnr": psnr(estimate, truth), "rmse": rmse(estimate, truth), "mae": mae(estimate, truth)}
    hole = None if observed is None else (observed == 0).expand_as(truth)
    if min(truth.shape[2:]) > 2 * WINDOW_RADIUS:
        found["ssim"] = ssim(estimate, truth)
    if hole is not None and _in_every_image(hole):
        found["mae_hole"] = mae(estimate, truth, hole)
    if features is not None:
        found["lpips"] = lpips(estimate, truth, features)
    if draws is not None:
        found["crps"] = crps(draws, truth, where)
        found["coverage90"] = coverage(draws, truth, 0.9, where)
        found["width90"] = interval_width(draws, 0.9, where)
        judged = hole if hole is None or where is None else hole & (where != 0)
        if judged is not None and _in_every_image(judged):
            found["coverage90_hole"] = coverage(draws, truth, 0.9, judged)
            found["width90_hole"] = interval_width(draws, 0.9, judged)
    return found


def _in_every_image(pixels: Tensor) -> bool:
    """Whether any of the booleans (B, C, H, W) of each image is true."""
    return bool(pixels.flatten(1).any(dim=1).all())


def _require_pair(estimate: Tensor, truth: Tensor) -> None:
    """Raise unless both are images of one shape."""
    if truth.ndim != 4 or estimate.shape != truth.shape:
        found = f"{tuple(estimate.shape)} and {tuple(truth.shape)}"
        raise ValueError(f"metrics: estimate and truth must both be (B, C, H, W), got {found}")


def _require_draws(draws: Tensor, truth: Tensor) -> None:
    """Raise unless ``draws`` are some of images like ``truth``."""
    if len(draws) == 0 or draws.shape[1:] != truth.shape:
        raise ValueError(f"metrics: draws must be (D, *{tuple(truth.shape)}), got {tuple(draws.shape)}")
