"""The brain that phantoms are cut from: MNI152 tissue maps, its ventricles, and the field that dilates them.

Built from the MNI152 T1, grey- and white-matter maps at 1 mm that nilearn carries, so no network is needed.  The
ventricles are the lateral and third ones: the largest pocket of fluid that is deep in the brain.  They are dilated
along the stationary velocity field ``u = -grad(K * V)``, V the ventricles' indicator and K a mixture of two Gaussians:
it points outwards, vanishes in their middle and dies off within the white matter, so that its flow is a family of
diffeomorphisms in which larger means later.

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

from neuropyro.data.diffeomorphisms import flow_points, interpolate

TISSUES = ("gm", "wm", "csf", "ventricles")
"""Tissue maps of a template and of its slices, in order.  Ventricles are a part of the fluid (csf)."""

TEMPLATE_INTENSITY = {"gm": 0.645, "wm": 0.875, "csf": 0.26}
"""Median T1 intensity of the pure tissues of the template, where 1 is its maximum."""

VENTRICLE_BOX = ((-45.0, 45.0), (-50.0, 40.0), (-14.0, 40.0))
"""Where the lateral and third ventricles are sought: (x, y, z) ranges, mm MNI."""

MARGIN = 4
"""Empty voxels kept about the brain."""


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
    expansion
        Velocity of the ventricles' dilation, ``(3, X', Y', Z')`` mm per unit of time, on a grid of 3 mm.
    origin, spacing
        MNI coordinate of the first voxel, ``(3,)`` mm, and the voxels' size, mm.
    dilation_times, dilation_volumes
        Calibration ``(T,)``: flowing for that time multiplies the volume of the ventricles by that factor.
    atrophy_shifts, atrophy_losses
        Calibration ``(T,)``: adding that to the log odds of sulcal fluid takes that fraction of grey matter.
    """

    tissues: Tensor
    texture: Tensor
    expansion: Tensor
    origin: Tensor
    spacing: float
    dilation_times: Tensor
    dilation_volumes: Tensor
    atrophy_shifts: Tensor
    atrophy_losses: Tensor

    def to(self, device: torch.device | str) -> "BrainTemplate":
        """Return the template with its tensors on ``device``."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    def locate(self, points: Tensor) -> Tensor:
        """Turn MNI coordinates ``(..., 3)`` mm into those of :func:`interpolate`, -1 to 1 over the volume."""
        size = torch.tensor(self.texture.shape[1:], dtype=points.dtype, device=points.device) - 1
        return 2 * (points - self.origin) / (self.spacing * size) - 1

    def dilate(self, points: Tensor, time: Tensor) -> Tensor:
        """Return where the dilation that ends at ``points`` began.

        Parameters
        ----------
        points
            MNI coordinates ``(B, ..., 3)`` in the dilated brain, mm.
        time
            Flow time of each brain ``(B,)``, see :attr:`dilation_times`; negative shrinks.

        Returns
        -------
        Tensor
            MNI coordinates ``(B, ..., 3)`` in the template, mm.
        """
        extent = self.spacing * (torch.tensor(self.texture.shape[1:], device=points.device) - 1)
        start = flow_points(self.expansion * (2 / extent)[:, None, None, None], self.locate(points), -time)
        return self.origin + (start + 1) / 2 * extent

    def flow_time(self, dilation: Tensor) -> Tensor:
        """Return the flow time that multiplies the ventricles' volume by ``dilation`` ``(B,)``."""
        return _lookup(dilation.log(), self.dilation_volumes.log(), self.dilation_times)

    def fluid_shift(self, atrophy: Tensor) -> Tensor:
        """Return the log odds to add to sulcal fluid that take the fraction ``atrophy`` ``(B,)`` of grey matter."""
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
    """
    t1, gm, wm, origin = _read_mni()
    brain = t1 > 0
    maps = _tissue_maps(gm, wm, brain, crispness)
    texture = t1 - sum(TEMPLATE_INTENSITY[k] * maps[i] for i, k in enumerate(TISSUES[:3]))
    pocket = _ventricles(maps[2], origin)
    maps = np.concatenate([maps, (maps[2] * ndimage.binary_dilation(pocket, iterations=2))[None]])
    tissues, texture, spacing = _smooth(maps, texture * brain, pixel)
    expansion = torch.from_numpy(_expansion_field(maps[3])).float()
    bare = BrainTemplate(tissues, texture, expansion, torch.from_numpy(origin).float(), spacing, *torch.zeros(4, 2))
    times, volumes = _calibrate_dilation(bare)
    shifts, losses = _calibrate_atrophy(bare.tissues)
    calibrated = replace(bare, dilation_times=times, dilation_volumes=volumes)
    return replace(calibrated, atrophy_shifts=shifts, atrophy_losses=losses)


def thin_cortex(tissues: Tensor, shift: Tensor) -> Tensor:
    """Turn grey and white matter beside sulcal fluid into fluid.

    The log odds of fluid against tissue rise by ``shift`` wherever there is fluid outside the ventricles: sulci widen
    and the cortex thins from its outer surface, while deep grey matter, which borders no sulcus, stays.

    Parameters
    ----------
    tissues
        Maps of :data:`TISSUES`, channels first: ``(4, ...)``.
    shift
        Log odds, a scalar or of the maps' shape.

    Returns
    -------
    Tensor
        New maps, of the same shape and the same sum in every voxel.
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
    corner = np.argwhere(t1 > 0).min(axis=0), np.argwhere(t1 > 0).max(axis=0) + 1
    box = tuple(slice(max(low - MARGIN, 0), high + MARGIN) for low, high in zip(*corner, strict=True))
    return t1[box], gm[box], wm[box], images[0].affine[:3, 3] + [axis.start for axis in box]


def _tissue_maps(gm: np.ndarray, wm: np.ndarray, brain: np.ndarray, crispness: float) -> np.ndarray:
    """Return probabilities of grey, white and fluid in the brain ``(3, X, Y, Z)``, sharpened."""
    maps = np.stack([gm, wm, np.clip(1 - gm - wm, 0, 1)]) ** crispness * brain
    return np.asarray(maps / np.maximum(maps.sum(0), 1e-6), dtype=np.float32)


def _ventricles(csf: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Return the largest connected pocket of fluid in the middle of the brain, as a mask."""
    window = tuple(
        slice(int(low - start), int(high - start)) for (low, high), start in zip(VENTRICLE_BOX, origin, strict=True)
    )
    central = np.zeros(csf.shape, dtype=bool)
    central[window] = csf[window] > 0.5
    parts, count = ndimage.label(central)
    sizes = ndimage.sum_labels(central, parts, np.arange(1, count + 1))
    return np.asarray(parts == 1 + int(np.argmax(sizes)))


def _expansion_field(ventricles: np.ndarray, step: int = 3) -> np.ndarray:
    """Return ``-grad(K * V)`` ``(3, X', Y', Z')`` on every third voxel, the fastest point moving 1 mm per unit."""
    potential = ndimage.gaussian_filter(ventricles, 4.0) + 2 * ndimage.gaussian_filter(ventricles, 9.0)
    field = -np.stack(np.gradient(potential))
    coarse = ndimage.zoom(field, (1, *([1 / step] * 3)), order=1, grid_mode=False)
    return np.asarray(coarse / np.linalg.norm(coarse, axis=0).max())


def _smooth(maps: np.ndarray, texture: np.ndarray, pixel: float) -> tuple[Tensor, Tensor, float]:
    """Smooth maps for sampling at ``pixel`` mm; halve their grid where pixels are wide enough."""
    step = 2 if pixel >= 2.5 else 1
    sigma = 0.4 * np.sqrt(max(pixel**2 - 1, 0))
    both = [ndimage.gaussian_filter(v, sigma) if sigma else v for v in (*maps, texture)]
    volume = torch.from_numpy(np.stack([v[::step, ::step, ::step] for v in both]).astype(np.float32))
    volume *= volume[:3].sum(0) > 0.005  # The background stays pure.
    return volume[:4].contiguous(), volume[4:].contiguous(), float(step)


def _calibrate_dilation(template: BrainTemplate) -> tuple[Tensor, Tensor]:
    """Measure by what factor flowing for each of a range of times multiplies the ventricles' volume."""
    times = torch.linspace(-6, 14, 21)
    axes = [torch.arange(low - 15, high + 15, 2.0) for low, high in VENTRICLE_BOX]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(1, -1, 1, 1, 3)
    ventricles = template.tissues[3:][None]
    starts = (template.locate(template.dilate(points, t[None])) for t in times)
    volumes = torch.stack([interpolate(ventricles, start).sum() for start in starts])
    return times, volumes / volumes[times == 0]


def _calibrate_atrophy(tissues: Tensor) -> tuple[Tensor, Tensor]:
    """Measure what fraction of grey matter each of a range of log odds takes."""
    shifts = torch.linspace(-2, 5, 15)
    coarse = tissues[:, ::2, ::2, ::2]
    grey = torch.stack([thin_cortex(coarse, shift)[0].sum() for shift in shifts])
    return shifts, 1 - grey / coarse[0].sum()


def _lookup(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Interpolate the increasing table (xs, ys) linearly at ``x``, its last pieces extended beyond its ends."""
    i = torch.searchsorted(xs, x.contiguous()).clamp(1, len(xs) - 1)
    t = (x - xs[i - 1]) / (xs[i] - xs[i - 1])
    return ys[i - 1] + t * (ys[i] - ys[i - 1])
