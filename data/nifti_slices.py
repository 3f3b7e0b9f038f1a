"""Slices of NIfTI volumes, seen the same way up whatever their orientation, and put back where they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError as NibabelError
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from numpy.typing import NDArray

from neuropyro.data.image_slices import ImageFileError, ImageSlices, Which, chosen_indices, finite, stored

__all__ = ["PLANES", "read_nifti", "write_nifti"]

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
"""Axis of RAS+ volumes that each plane is at right angles to."""
RAS = axcodes2ornt(("R", "A", "S"))
SHARED = (2, 3, 4)  # codes of spaces aligned to another image, Talairach's and MNI's; a scanner's origin lies anywhere


def read_nifti(path: Path, slices: Which = "middle", plane: str = "coronal") -> ImageSlices:
    """Slices of the three-dimensional volume at ``path``; see :class:`ImageSlices` for their orientation.

    Raises
    ------
    ImageFileError
        Where the file is missing, damaged, or no volume of three dimensions, or has no such slice or plane.

    Examples
    --------
    >>> import tempfile
    >>> path, volume = Path(tempfile.mkdtemp()) / "t1.nii", np.zeros((3, 4, 5))
    >>> volume[0, 1, 4] = 1.0  # left, behind the middle, at the top
    >>> nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)
    >>> pixels = read_nifti(path, slices=1).pixels
    >>> pixels.shape, np.argwhere(pixels[0, 0]).tolist()
    ((1, 1, 5, 3), [[0, 0]])
    """
    volume, image = _loaded(path)
    axis = _axis_of(plane, path)
    ras = np.moveaxis(apply_orientation(volume, ornt_transform(io_orientation(image.affine), RAS)), axis, 0)
    indices = chosen_indices(slices, len(ras), path)
    pixels = np.stack([np.flipud(ras[i].T) for i in indices])[:, None]
    canonical = _canonical_affine(image, volume.shape)
    sizes = np.delete(voxel_sizes(canonical), axis)
    return ImageSlices(
        pixels=finite(pixels, path),
        path=path,
        dtype=image.get_data_dtype(),
        kind="nifti",
        plane=plane,
        indices=indices,
        spacing=(float(sizes[1]), float(sizes[0])),
        affine=np.asarray(image.affine, np.float64),
        positions=_positions(canonical, axis, indices, pixels.shape) if _space_code(image) in SHARED else None,
        missing=int(np.isnan(pixels).sum()),
    )


def write_nifti(path: Path, like: ImageSlices, pixels: NDArray[Any], others: float | None = None) -> None:
    """Write the volume that ``like`` was read from to ``path``, its slices replaced by ``pixels`` (N, 1, H, W).

    Affine, header, orientation, the numbers' type and scale stay, and so do the other slices, to the last bit.  Where
    ``others`` is the value that they are to have everywhere, the scale is that of the new values.

    Raises
    ------
    ImageFileError
        Where the pixels are of another shape, or the volume is no longer there.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "t1.nii"
    >>> nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4)), path)
    >>> coronal = read_nifti(path, slices=1)
    >>> write_nifti(path, coronal, coronal.pixels + 2)
    >>> nibabel.load(path).get_fdata().sum((0, 2)).tolist()  # 3 x 5 voxels of one slice are 2 now
    [0.0, 30.0, 0.0, 0.0]
    """
    volume, image = _loaded(like.path)
    assert like.plane is not None
    slope, inter = (image.dataobj.slope, image.dataobj.inter) if others is None else (1.0, 0.0)
    own = image.dataobj.get_unscaled().reshape(volume.shape) if others is None else np.full_like(volume, others)
    ras = np.array(apply_orientation(own, ornt_transform(io_orientation(image.affine), RAS)))
    slices = np.moveaxis(ras, _axis_of(like.plane, path), 0)  # a view
    if slices.shape[1:] != (pixels.shape[3], pixels.shape[2]) or pixels.shape[:2] != (len(like), 1):
        raise ImageFileError(f"{path}: slices must be {like.pixels.shape}, got {pixels.shape}")
    for i, slice_ in zip(like.indices, pixels[:, 0], strict=True):
        slices[i] = stored((np.flipud(slice_).T - inter) / slope, ras.dtype)
    back = apply_orientation(ras, ornt_transform(RAS, io_orientation(image.affine))).reshape(image.shape)
    scaled = (image.dataobj.slope, image.dataobj.inter) != (1, 0)
    kind = image.get_data_dtype()
    made = type(image)(back if scaled else stored(back, kind), image.affine, image.header)
    made.set_data_dtype(kind)
    if scaled and others is None:
        made.header.set_slope_inter(slope, inter)  # else nibabel finds a scale anew, and all slices are rounded to it
    nibabel.save(made, path)


def _loaded(path: Path) -> tuple[NDArray[np.float64], Any]:
    """Read the volume (X, Y, Z) as stored, in its unit, and nibabel's image."""
    try:
        image: Any = nibabel.load(path)
        volume = np.asarray(image.get_fdata(dtype=np.float64, caching="unchanged"))
    except FileNotFoundError as error:
        raise ImageFileError(f"{path}: there is no such file") from error
    except (NibabelError, OSError, EOFError, ValueError) as error:
        raise ImageFileError(f"{path}: damaged, or not a NIfTI volume ({error})") from error
    if volume.ndim == 4 and volume.shape[3] == 1:
        volume = volume[..., 0]
    if volume.ndim != 3:
        remedy = "take one volume of it, for instance by nilearn.image.index_img"
        raise ImageFileError(f"{path}: a volume of three dimensions is needed, it is {volume.shape}; {remedy}")
    return volume, image


def _canonical_affine(image: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Affine of the volume once its axes run R, A, S."""
    orientation = io_orientation(image.affine)
    turned: NDArray[np.float64] = image.affine @ inv_ornt_aff(orientation, shape)
    return turned


def _space_code(image: Any) -> int:
    """Return NIfTI's code of the space of the affine that is used: the sform's, or the qform's where that has none."""
    return int(image.header["sform_code"]) or int(image.header["qform_code"])


def _positions(
    canonical: NDArray[np.float64], axis: int, indices: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[float, ...]:
    """Places, mm along the axis, of the middles of slices whose pixels are of ``shape`` (N, 1, H, W)."""
    middle = np.insert([(shape[3] - 1) / 2, (shape[2] - 1) / 2, 1.0], axis, 0.0)
    return tuple(float(canonical[axis] @ (middle + i * np.eye(4)[axis])) for i in indices)


def _axis_of(plane: str, path: Path) -> int:
    """Axis that ``plane`` is at right angles to."""
    if plane not in PLANES:
        raise ImageFileError(f"{path}: the plane must be one of {', '.join(PLANES)}, got {plane!r}")
    return PLANES[plane]
