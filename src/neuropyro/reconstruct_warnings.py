"""Why not to trust a reconstruction, in words with a remedy: what its checks, and its channels, say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "channel_warnings",
    "check_warnings",
    "mask_warnings",
    "missing_warnings",
    "noise_warnings",
    "size_warnings",
    "truth_warnings",
]

SURPRISING = 1.15  # held-out phantoms are at .75 to .97 (16 to 64 px, k-space), axial slices at 1.07 to 2.1
FAR = 2.0  # latent distance; 1 or less is that of images like the training's
CONTRADICTS = 2.0  # misfit; 1 is the noise that was stated
NOISY = 0.12  # sd of the noise, of a range of 2: two sds above the median of the prior of a learned one
GREYS = 127.5  # grey levels of 255 in a unit of brightness
LARGER = 1.25  # ratio of sizes from which on a picture loses what can be seen
ENLARGED = 1.5  # likewise, from which on most pixels are made up
NEARLY_ALL = 0.9  # share of a picture that few mean to hide
EMPTY, VARIED = 0.05, 0.25  # range of brightness, as a share of the picture's, of background and of what has content
COLOURED = 0.02  # root mean square of channels' deviations from their mean, as a share of the brightness range

SHRUNK = {
    "bicubic": "if it is a mean of pixels, as by a box, give kernel=area (superres:4,kernel=area); else ",
    "area": "if it is no mean of pixels, as by bicubic resizing, leave out kernel=area; else ",
}
REMEDY = "give a --generator trained on such images"
OTHERWISE = f"{REMEDY}, or correct --corruption or --intensity"


def check_warnings(
    checks: Mapping[str, NDArray[np.float64]],
    learned_noise: bool = False,
    slices: Sequence[int] | None = None,
    kernel: str | None = None,
) -> list[str]:
    """Say which of the checks of a fit are bad, image by image.

    Parameters
    ----------
    checks
        ``(images,)`` each: see :meth:`~neuropyro.models.LatentReconstruction.checks`.
    learned_noise
        Whether the noise was learned with the image, and not stated.
    slices
        Numbers of the images in their file; from 1 on if None.
    kernel
        By which the corruption shrinks images, which may be another than the picture's; None where it does not.

    Examples
    --------
    >>> fine = {"surprise": [1.0], "latent_distance": [0.9], "misfit": [1.0], "noise": [0.03]}
    >>> fine = {name: np.array(values) for name, values in fine.items()}
    >>> check_warnings(fine), [line[:48] for line in check_warnings(fine | {"surprise": np.array([1.94])})]
    ([], ['unlike what the generator was trained on: the me'])
    """
    said = []
    count = len(checks["surprise"])
    for i, number in enumerate(range(1, count + 1) if slices is None else slices):
        where = f"slice {number}: " if count > 1 else ""
        surprise, away, misfit = (float(checks[name][i]) for name in ("surprise", "latent_distance", "misfit"))
        unlike, shrunk = [], ""
        if surprise > SURPRISING:
            shrunk = SHRUNK.get(kernel or "", "")
            unlike.append(f"the measurements are {surprise:.1f} sds from the generated image's (1 is usual)")
        if away > FAR:
            unlike.append(f"the latent is {away:.1f} sds from the mean (1 or less is usual)")
        if unlike:
            said.append(
                f"{where}unlike what the generator was trained on{' or shrunk otherwise' * bool(shrunk)}: "
                f"{' and '.join(unlike)}; intervals may be too narrow, in holes above all; {shrunk}{OTHERWISE}"
            )
        noise = float(checks["noise"][i])
        if misfit > CONTRADICTS:
            said.append(f"{where}contradicts its input: {_off_by(misfit, noise, learned_noise)}")
        elif learned_noise and noise > NOISY:
            taken = f"what the generator cannot make is taken for noise, with an sd of {GREYS * noise:.0f} grey levels"
            said.append(f"{where}{taken}; if the picture is not so noisy, {REMEDY}, or give the noise, as +noise:.02")
    return said


def _off_by(misfit: float, noise: float, learned: bool) -> str:
    """Say by how much a result is off its measurements; a noise that was learned may itself be what is wrong."""
    off = f"off by {misfit:.1f} sds of the noise"
    if not learned:
        return f"{off}; correct --corruption and its noise, or give more --steps"
    left = f"{misfit * noise:.2g}".replace("0.", ".", 1)
    too_small = f"which was learned as {noise:.2g}, too small, as happens with --guide map and with many measurements"
    return f"{off}, {too_small}; give what is left of the measurements, +noise:{left}, or correct --corruption"


def noise_warnings(stated: float | None) -> list[str]:
    """Say where the noise that was stated is so large that grey levels may have been meant.

    Parameters
    ----------
    stated
        Sd of the noise on a brightness of -1 to 1; None where it was not stated.

    Examples
    --------
    >>> noise_warnings(0.05), [line[:61] for line in noise_warnings(1.5)]
    ([], ['the noise that was stated, 1.5, is an sd of 191 grey levels o'])
    """
    if stated is None or stated <= NOISY:
        return []
    said = f"the noise that was stated, {stated:g}, is an sd of {GREYS * stated:.0f} grey levels of 255"
    return [f"{said} (brightness is -1 to 1); if the picture is not so noisy, give less, as +noise:.02"]


def channel_warnings(picture: NDArray[Any] | None, clean: NDArray[Any]) -> list[str]:
    """Say where a file's picture is in colour and the generator's images are grey, or the other way round.

    Parameters
    ----------
    picture
        ``(images, channels, height, width)`` of the file, in any unit; None where the file holds no picture.
    clean
        Likewise, the estimate.

    Examples
    --------
    >>> grey, colour = np.zeros((1, 3, 2, 2)), np.eye(3)[None, :, :, None]
    >>> channel_warnings(grey, grey), [line[:21] for line in channel_warnings(colour, grey[:, :1])]
    ([], ['the picture is in col'])
    """
    if picture is None:
        return []
    if _colour(picture) > COLOURED and clean.shape[1] == 1:
        return ["the picture is in colour and the generator grey: only the luminance is used; " + REMEDY]
    if _colour(picture) <= COLOURED < _colour(clean):
        return ["the picture is grey and the generator's images are in colour; " + REMEDY]
    return []


def missing_warnings(missing: int, pixels: NDArray[Any]) -> list[str]:
    """Say how many of a file's pixels were NaN, and what was made of them.

    Parameters
    ----------
    missing
        How many.
    pixels
        ``(images, channels, height, width)`` of the file, filled, in its own unit.

    Examples
    --------
    >>> picture = np.array([[[[0.0, 2.0], [3.0, 0.0]]]])
    >>> missing_warnings(0, picture), [line.partition(";")[0] for line in missing_warnings(1, picture)]
    ([], ['1 of 4 pixels was NaN and is taken for black, 0'])
    """
    if not missing:
        return []
    was, is_ = ("was", "is") if missing == 1 else ("were", "are")
    said = f"{missing:,} of {pixels.size:,} pixels {was} NaN and {is_} taken for black, {pixels.min() + 0.0:g}"
    return [f"{said}; if that is not so, as within a head, hide them by a mask: --corruption inpaint:MASK.png"]


def size_warnings(side: float, measured: int, whole: int) -> list[str]:
    """Say where a file's picture was shrunk to what the corruption leaves of one, or enlarged to it.

    Parameters
    ----------
    side
        Of the square that was taken from the file, in its pixels.
    measured, whole
        Side of what the corruption makes of the generator's images, and of these.

    Examples
    --------
    >>> size_warnings(16, 16, 64), size_warnings(256, 64, 64)
    ([], [])
    >>> [size_warnings(side, 16, 64)[0][:36] for side in (64, 8)]
    ['the picture of 64 px was shrunk to 1', 'the picture of 8 px was enlarged to ']
    """
    if ENLARGED * side < measured:
        made = f"the picture of {side:.0f} px was enlarged to {measured} px, of which most were not measured"
        return [f"{made}; give one of that size, or --corruption superres with the factor by which it is smaller"]
    if measured >= whole or side <= LARGER * measured:
        return []
    lost = f"the picture of {side:.0f} px was shrunk to {measured} px, which is what the corruption makes of {whole} px"
    return [f"{lost}; give one of that size or a smaller factor, or give a clean picture as --truth, to be corrupted"]


def truth_warnings(side: float, measured: int, whole: int) -> list[str]:
    """Say where the clean picture is small itself, as the corrupted one that was given for it.

    Parameters
    ----------
    side
        Of the square that was taken from the clean picture, in its pixels.
    measured, whole
        As for :func:`size_warnings`.

    Examples
    --------
    >>> truth_warnings(64, 16, 64), [line[:35] for line in truth_warnings(16, 16, 64)]
    ([], ['the truth of 16 px was enlarged to '])
    """
    if measured >= whole or ENLARGED * side >= whole:
        return []
    as_small = ", and is as small as what the corruption leaves" if side <= LARGER * measured else ""
    small = f"the truth of {side:.0f} px was enlarged to {whole} px{as_small}: metrics compare with what was not seen"
    return [f"{small}; give the clean picture, of {whole} px or more"]


def mask_warnings(picture: NDArray[Any], observed: NDArray[np.bool_]) -> list[str]:
    """Say where a mask looks inverted: it hides nearly everything, or keeps empty background and hides content.

    Parameters
    ----------
    picture
        ``(images, channels, height, width)`` with whatever the file holds in the hole, in any unit.
    observed
        Of the same shape, False in the hole.

    Examples
    --------
    >>> holed = np.arange(100.0).reshape(1, 1, 10, 10)
    >>> seen = np.ones((1, 1, 10, 10), bool)
    >>> seen[..., 4:6, 4:6] = False
    >>> mask_warnings(holed, seen), [line[:28] for line in mask_warnings(holed, ~seen)]
    ([], ['the mask hides 96 % of the p'])
    """
    invert = "in a mask black is the hole: if yours has it white, invert it, as by PIL.ImageOps.invert or 1 - mask"
    hidden = 1 - float(observed.mean())
    if hidden > NEARLY_ALL:
        return [f"the mask hides {hidden:.0%} of the picture; {invert}".replace("%", " %")]
    whole = max(float(np.ptp(picture[np.isfinite(picture)])), float(np.finfo(np.float32).tiny))
    if _range(picture[observed]) < EMPTY * whole and _range(picture[~observed]) > VARIED * whole:
        return [f"the mask keeps nothing but empty background, and hides what has content; {invert}"]
    return []


def _range(pixels: NDArray[Any]) -> float:
    """Range of all but the extreme brightnesses of pixels; 0 of none."""
    seen = pixels[np.isfinite(pixels)]
    return float(np.ptp(np.quantile(seen, [0.01, 0.99]))) if seen.size else 0.0


def _colour(pixels: NDArray[Any]) -> float:
    """How far channels differ from their mean, as a share of the range of all pixels."""
    off = pixels - pixels.mean(1, keepdims=True)
    return float(np.sqrt(np.square(off).mean()) / max(float(np.ptp(pixels)), np.finfo(np.float32).tiny))
