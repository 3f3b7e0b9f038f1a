"""The brain that phantoms are cut from: MNI152 tissue maps, its ventricles, and the field that dilates them.

Built from the MNI152 T1, grey- and white-matter maps at 1 mm that nilearn carries, so no network is needed.  The
ventricles are the lateral and third ones: the largest pockets of fluid deep in the brain and in its very middle.  They
are dilated along the stationary velocity field ``u = -grad(K * V)``, V the ventricles' indicator and K a mixture of two
Gaussians: it points outwards, vanishes in their middle and dies off within the white matter, so that its flow is a
family of diffeomorphisms in which larger means later.

References
----------
.. [1] Fonov et al., "Unbiased average age-appropriate atlases for pediatric studies", NeuroImage 54 (2011).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from nilearn import datasets
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import interpolate as resize

from neuropyro.data.diffeomorphisms import flow_points

__all__ = ["LATERAL_BOX", "TEMPLATE_INTENSITY", "TISSUES", "BrainTemplate", "load_template", "thin_cortex"]

TISSUES = ("gm", "wm", "csf", "ventricles")
"""Tissue maps of a template and of its slices, in order.  Ventricles are a part of the fluid (csf)."""

TEMPLATE_INTENSITY = {"gm": 0.645, "wm": 0.875, "csf": 0.26}
"""Median T1 intensity of the pure tissues of the template, where 1 is its maximum."""

_Box = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

LATERAL_BOX: _Box = ((-45.0, 45.0), (-50.0, 40.0), (-14.0, 40.0))
_THIRD_BOX: _Box = ((-6.0, 6.0), (-24.0, 4.0), (-10.0, 6.0))
"""Where the lateral ventricles, and the third one, are the largest pocket of fluid: (x, y, z) ranges, mm MNI."""

_MARGIN = 4
"""Empty voxels kept about the brain."""

_DEEP = 10
"""How far about the ventricles atrophy takes nothing, mm."""


@dataclass(frozen=True)
class BrainTemplate:
    """A labelled brain on a regular grid.

    Attributes
    ----------
    tissues
        Probabilities of :data:`TISSUES`, ``(4, X, Y, Z)`` float32; grey, white and fluid sum to 1 in the brain, 0
        outside it.
    texture
        T1 intensity less what the tissues explain, ``(1, X, Y, Z)`` float32.
    cortical
        1 where atrophy acts, falling to 0 about the ventricles, ``(1, X, Y, Z)``: clefts deep in the brain stay, so
        that atrophy and dilation do not pass for one another.
    expansion
        Velocity of the ventricles' dilation, ``(3, X', Y', Z')`` mm per unit of time, on a grid of 3 mm.
    moving
        Lowest and highest MNI coordinates of where that velocity is not 0, ``(2, 3)`` mm.
    origin, spacing
        MNI coordinate of the first voxel, ``(3,)`` mm, and the voxels' size, mm.
    atrophy_shifts, atrophy_losses
        Calibration ``(T,)``: adding that to the log odds of sulcal fluid takes that fraction of grey matter.

    Examples
    --------
    Of 8 mm a side, and dilated along x by 1 mm per unit of time:

    >>> maps = torch.zeros(4, 5, 5, 5)
    >>> along_x = torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1, 1).expand(3, 2, 2, 2)
    >>> corner, calibration = torch.full((3,), -4.0), (torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 0.1, 0.3]))
    >>> moving = torch.stack([corner, -corner])
    >>> template = BrainTemplate(maps, maps[:1], maps[:1], along_x, moving, corner, 2.0, *calibration)
    >>> template.locate(torch.tensor([-4.0, 0.0, 2.0]))
    tensor([-1.0000,  0.0000,  0.5000])
    >>> template.dilate(torch.zeros(1, 3), torch.tensor([2.0]))
    tensor([[-2.,  0.,  0.]])
    >>> template.fluid_shift(torch.tensor([0.05, 0.2]))
    tensor([0.5000, 1.5000])
    """

    tissues: Tensor
    texture: Tensor
    cortical: Tensor
    expansion: Tensor
    moving: Tensor
    origin: Tensor
    spacing: float
    atrophy_shifts: Tensor
    atrophy_losses: Tensor

    def to(self, device: torch.device | str) -> "BrainTemplate":
        """Return the template with its tensors on ``device``."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    def locate(self, points: Tensor) -> Tensor:
        """Turn MNI coordinates ``(..., 3)`` mm into those that run from -1 to 1 over the volume, for interpolation."""
        size = torch.tensor(self.texture.shape[1:], dtype=points.dtype, device=points.device) - 1
        return 2 * (points - self.origin) / (self.spacing * size) - 1

    def dilate(self, points: Tensor, time: Tensor) -> Tensor:
        """Return where the dilation that ends at ``points`` began.

        Parameters
        ----------
        points
            MNI coordinates ``(B, ..., 3)`` in the dilated brain, mm.
        time
            Flow time of each brain ``(B,)``; negative shrinks.

        Returns
        -------
        Tensor
            MNI coordinates ``(B, ..., 3)`` in the template, mm.
        """
        extent = self.spacing * (torch.tensor(self.texture.shape[1:], device=points.device) - 1)
        velocity = self.expansion * (2 / extent)[:, None, None, None]
        moving = ((points > self.moving[0]) & (points < self.moving[1])).all(-1)
        times = time.reshape(-1, *[1] * (moving.dim() - 1)).expand_as(moving)[moving]
        start = flow_points(velocity, self.locate(points[moving]), -times)
        return points.masked_scatter(moving[..., None], self.origin + (start + 1) / 2 * extent)

    def fluid_shift(self, atrophy: Tensor) -> Tensor:
        """Return the log odds ``(B,)`` to add to sulcal fluid to take the share ``atrophy`` ``(B,)`` of grey matter."""
        return _lookup(atrophy, self.atrophy_losses, self.atrophy_shifts)


def load_template(pixel: float = 1.0, crispness: float = 2.0) -> BrainTemplate:
    """Build the template for slices of a given pixel size.

    Parameters
    ----------
    pixel
        Size of the slices' pixels, mm: the maps are smoothed so that sampling them so far apart does not alias.
    crispness
        Power to which tissue probabilities are raised: an average brain is blurred, one brain is not.  1 leaves it.

    Returns
    -------
    BrainTemplate
        On the CPU, float32.

    Examples
    --------
    >>> template = load_template(pixel=4.0)
    >>> litres = template.tissues.sum((1, 2, 3)) * template.spacing**3 / 1e6
    >>> dict(zip(TISSUES, [round(float(v), 2) for v in litres]))
    {'gm': 1.06, 'wm': 0.65, 'csf': 0.18, 'ventricles': 0.02}
    """
    t1, gm, wm, origin = _read_mni()
    brain = t1 > 0
    maps = _tissue_maps(gm, wm, brain, crispness)
    texture = t1 - sum(TEMPLATE_INTENSITY[k] * maps[i] for i, k in enumerate(TISSUES[:3]))
    pocket = _pocket(maps[2], origin, LATERAL_BOX) | _pocket(maps[2], origin, _THIRD_BOX)
    maps = np.concatenate([maps, (maps[2] * ndimage.binary_dilation(pocket, iterations=2))[None]])
    cortical = 1 - ndimage.gaussian_filter(ndimage.binary_dilation(pocket, iterations=_DEEP).astype(np.float32), 2.0)
    tissues, texture, cortex, spacing = _smooth(maps, texture * brain, cortical, pixel)
    expansion, moving = _expansion_field(maps[3], origin)
    start = torch.from_numpy(origin).float()
    bare = BrainTemplate(tissues, texture, cortex, expansion, moving, start, spacing, *torch.zeros(2, 2))
    shifts, losses = _calibrate_atrophy(bare)
    return replace(bare, atrophy_shifts=shifts, atrophy_losses=losses)


def thin_cortex(tissues: Tensor, shift: Tensor) -> Tensor:
    """Turn grey and white matter beside sulcal fluid into fluid.

    The log odds of fluid against tissue rise by ``shift`` wherever there is fluid outside the ventricles: sulci widen
    and the cortex thins from its outer surface, while deep grey matter, which borders no sulcus, stays.

    Parameters
    ----------
    tissues
        Maps of :data:`TISSUES`, channels first: ``(4, ...)``.
    shift
        Log odds, a scalar or ``(...)``.

    Returns
    -------
    Tensor
        New maps ``(4, ...)``, of the same sum in every voxel.

    Raises
    ------
    ValueError
        There are not four maps.

    Examples
    --------
    In the sulcus, odds of 1 become 3 and half of the grey matter goes (.02 of fluid count as none); deep grey stays.

    >>> sulcus, deep = [0.49, 0.0, 0.51, 0.0], [1.0, 0.0, 0.0, 0.0]
    >>> thin_cortex(torch.tensor([sulcus, deep]).T, torch.tensor(3.0).log()).T.round(decimals=3)
    tensor([[0.2450, 0.0000, 0.7550, 0.0000],
            [1.0000, 0.0000, 0.0000, 0.0000]])
    """
    gm, wm, csf, ventricles = tissues
    solid = gm + wm
    sulcal = (csf - ventricles - 0.02).clamp(min=0)
    grown = (sulcal + solid) * torch.sigmoid(torch.logit(sulcal / (sulcal + solid + 1e-6), 1e-6) + shift)
    keep = (sulcal + solid - grown) / (solid + 1e-6)
    return torch.stack([gm * keep, wm * keep, csf + solid * (1 - keep), ventricles])


def _read_mni() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read T1, grey and white matter, float32 in [0, 1], about the brain, and the coordinate of their first voxel."""
    images = (
        datasets.load_mni152_template(resolution=1),
        datasets.load_mni152_gm_template(resolution=1),
        datasets.load_mni152_wm_template(resolution=1),
    )
    t1, gm, wm = (np.asarray(image.dataobj, dtype=np.float32) for image in images)
    brain = ndimage.find_objects((t1 > 0).astype(np.int8))[0]
    box = tuple(slice(max(axis.start - _MARGIN, 0), axis.stop + _MARGIN) for axis in brain)
    return t1[box], gm[box], wm[box], images[0].affine[:3, 3] + [axis.start for axis in box]


def _tissue_maps(gm: np.ndarray, wm: np.ndarray, brain: np.ndarray, crispness: float) -> np.ndarray:
    """Return probabilities of grey, white and fluid in the brain ``(3, X, Y, Z)``, sharpened."""
    maps = np.stack([gm, wm, np.clip(1 - gm - wm, 0, 1)]) ** crispness * brain
    return np.asarray(maps / np.maximum(maps.sum(0), 1e-6), dtype=np.float32)


def _pocket(csf: np.ndarray, origin: np.ndarray, box: _Box) -> np.ndarray:
    """Return the largest connected pocket of fluid in a box, as a mask."""
    window = tuple(slice(int(low - start), int(high - start)) for (low, high), start in zip(box, origin, strict=True))
    inside = np.zeros(csf.shape, dtype=bool)
    inside[window] = csf[window] > 0.5
    parts, count = ndimage.label(inside)
    sizes = ndimage.sum_labels(inside, parts, np.arange(1, count + 1))
    return np.asarray(parts == 1 + int(np.argmax(sizes)))


def _expansion_field(ventricles: np.ndarray, origin: np.ndarray, step: int = 3) -> tuple[Tensor, Tensor]:
    """Return ``-grad(K * V)`` ``(3, X', Y', Z')`` on every third voxel, and the corners of where it is not 0.

    The fastest point moves 1 mm per unit; what is slower than 1/50 of that rests.
    """
    potential = ndimage.gaussian_filter(ventricles, 4.0) + 2 * ndimage.gaussian_filter(ventricles, 9.0)
    field = torch.from_numpy(-np.stack(np.gradient(potential)))
    size = [round(side / step) for side in ventricles.shape]
    coarse = resize(field[None], size=size, mode="trilinear", align_corners=True)[0].numpy()
    speed = np.linalg.norm(coarse, axis=0)
    coarse = coarse / speed.max() * np.clip(speed / speed.max() * 50 - 1, 0, 1)
    cells = np.argwhere(coarse.any(axis=0))
    voxels = (np.array(ventricles.shape) - 1) / (np.array(coarse.shape[1:]) - 1)
    corners = origin + np.stack([cells.min(0) - 1, cells.max(0) + 1]) * voxels
    return torch.from_numpy(coarse).float(), torch.from_numpy(corners).float()


def _smooth(
    maps: np.ndarray, texture: np.ndarray, cortical: np.ndarray, pixel: float
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Smooth maps for sampling at ``pixel`` mm; halve their grid where pixels are wide enough."""
    step = 2 if pixel >= 2.5 else 1
    sigma = 0.4 * np.sqrt(max(pixel**2 - 1, 0))
    smooth = [ndimage.gaussian_filter(v, sigma) if sigma else v for v in (*maps, texture, cortical)]
    volume = torch.from_numpy(np.stack([v[::step, ::step, ::step] for v in smooth]).astype(np.float32))
    volume[:5] *= volume[:3].sum(0) > 0.005  # The background stays pure.
    return volume[:4].contiguous(), volume[4:5].contiguous(), volume[5:].contiguous(), float(step)


def _calibrate_atrophy(template: BrainTemplate) -> tuple[Tensor, Tensor]:
    """Measure what fraction of grey matter each of a range of log odds takes."""
    shifts = torch.linspace(-2, 5, 15)
    tissues, cortical = template.tissues[:, ::2, ::2, ::2], template.cortical[0, ::2, ::2, ::2]
    grey = torch.stack([thin_cortex(tissues, shift * cortical)[0].sum() for shift in shifts])
    return shifts, 1 - grey / tissues[0].sum()


def _lookup(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Interpolate the increasing table (xs, ys) linearly at ``x``, its last pieces extended beyond its ends."""
    i = torch.searchsorted(xs, x.contiguous()).clamp(1, len(xs) - 1)
    t = (x - xs[i - 1]) / (xs[i] - xs[i - 1])
    return ys[i - 1] + t * (ys[i] - ys[i - 1])
