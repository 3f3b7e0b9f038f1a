"""K-space from files: ``.npy``, and HDF5 in the layout of fastMRI.

fastMRI: dataset ``kspace`` is complex (slices, coils, H, W), or (slices, H, W) of one coil; ``mask`` (W,) says which
lines were read, where the file says it; ``reconstruction_rss`` or ``reconstruction_esc`` are reference images.

Scanners' units are arbitrary, so that measurements are divided by a ``scale`` that brings the image's bright end to 1.

References
----------
Zbontar et al., *fastMRI: an open dataset and benchmarks for accelerated MRI*, arXiv 1811.08839, appendix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.data.image_slices import ImageFileError, Which, chosen_indices
from neuropyro.data.kspace_centre import axes_off_centre

__all__ = ["KSPACE_SUFFIXES", "KSpace", "read_kspace", "write_kspace"]

HDF5 = (".h5", ".hdf5")
KSPACE_SUFFIXES = (*HDF5, ".npy")
"""Ends of the names of files that can be read."""
REFERENCES = ("reconstruction_rss", "reconstruction_esc")
BRIGHT = 0.99  # quantile of the zero-filled image that becomes 1


@dataclass(frozen=True)
class KSpace:
    """Slices of k-space, zero frequency at (H // 2, W // 2).

    Attributes
    ----------
    measurements
        Complex64 (N, coils, H, W), divided by ``scale``; 0 where not sampled.
    sampled
        (H, W) booleans.
    scale
        Of the file's unit.
    indices
        The slices' places in the file.
    reference
        Magnitudes (N, h, w), divided by ``scale``, where the file has them.
    path
        Where they are from.

    Examples
    --------
    >>> y = torch.zeros(1, 1, 4, 4, dtype=torch.complex64)
    >>> y[..., 2, 2] = 4.0  # of an image that is 1 everywhere
    >>> kspace = KSpace(y, torch.ones(4, 4, dtype=torch.bool), scale=1.0, indices=(0,), path=Path("scan.npy"))
    >>> kspace.cropped(2, 2).measurements.abs()  # so is this of 2 x 2 pixels
    tensor([[[[0., 0.],
              [0., 2.]]]])
    """

    measurements: Tensor
    sampled: Tensor
    scale: float
    indices: tuple[int, ...]
    path: Path
    reference: Tensor | None = None

    def cropped(self, height: int, width: int) -> KSpace:
        """Keep the middle (height, width) of k-space: the same field of view at a lower resolution, as bright.

        Raises
        ------
        ImageFileError
            Where k-space is smaller than that.
        """
        have = tuple(self.measurements.shape[-2:])
        if height > have[0] or width > have[1]:
            raise ImageFileError(
                f"{self.path}: k-space has {have[0]} x {have[1]} points, {height} x {width} are wanted"
            )
        top, left = have[0] // 2 - height // 2, have[1] // 2 - width // 2
        middle = (..., slice(top, top + height), slice(left, left + width))
        dimmed = (height * width / (have[0] * have[1])) ** 0.5  # orthonormal transforms of another size
        return replace(self, measurements=self.measurements[middle] * dimmed, sampled=self.sampled[middle])

    def resized(self, height: int, width: int) -> KSpace:
        """Do the same, and move the image so that its pixels lie where those of a resized picture do.

        The middle of k-space alone keeps every second pixel's place where sides are halved, of a resized picture it is
        the middle of two pixels: half a pixel of the file away.

        Raises
        ------
        ImageFileError
            As :meth:`cropped`.
        """
        small = self.cropped(height, width)
        down, across = (
            _moved(have, side) for have, side in zip(self.measurements.shape[-2:], (height, width), strict=True)
        )
        return replace(small, measurements=small.measurements * (down[:, None] * across))


def _moved(have: int, side: int) -> Tensor:
    """Factors (side,) of k-space, of which the middle ``side`` of ``have`` points is left, that move its image."""
    step = have / side
    away = (0.5 * step - 0.5 - have // 2 + (side // 2) * step) / have  # of the field of view
    return torch.exp(2j * math.pi * away * (torch.arange(side) - side // 2)).to(torch.complex64)


def read_kspace(path: str | Path, slices: Which = "middle") -> KSpace:
    """Read slices of k-space.

    Parameters
    ----------
    path
        ``.npy``: complex (H, W), (coils, H, W) or (N, coils, H, W), or real with a last axis of 2 (real, imaginary).
        ``.h5``: fastMRI's layout.
    slices
        Which slices.

    Raises
    ------
    ImageFileError
        Where the file is missing, damaged, not k-space, all zeros, or has its zero frequency in the corner; the message
        says what to do.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scan.npy"
    >>> y = np.zeros((2, 8, 8), np.complex64)
    >>> y[:, 4, 4] = 24, 32  # two coils see 3 and 4 everywhere, together 5
    >>> np.save(path, y)
    >>> kspace = read_kspace(path)
    >>> round(kspace.scale, 3), tuple(kspace.measurements.shape), int(kspace.sampled.sum())
    (5.0, (1, 2, 8, 8), 1)
    """
    path = Path(path)
    if path.suffix.lower() not in KSPACE_SUFFIXES:
        raise ImageFileError(f"{path}: k-space is read from {', '.join(KSPACE_SUFFIXES)}, not {path.suffix!r}")
    if not path.is_file():
        raise ImageFileError(f"{path}: there is no such file")
    if path.suffix.lower() in HDF5:
        array, mask, reference, indices = _from_fastmri(path, slices)
    else:
        whole = _from_npy(path)
        indices = chosen_indices(slices, len(whole), path)
        array, mask, reference = whole[list(indices)], None, None
    return _scaled(path, array, mask, reference, indices)


def _scaled(
    path: Path, array: NDArray[Any], mask: NDArray[Any] | None, reference: NDArray[Any] | None, indices: tuple[int, ...]
) -> KSpace:
    """Slices with the scale that brings the bright end of the zero-filled images to 1."""
    y = torch.from_numpy(np.ascontiguousarray(array.astype(np.complex64)))
    if not bool(torch.isfinite(torch.view_as_real(y)).all()) or not bool((y != 0).any()):
        raise ImageFileError(f"{path}: k-space must be finite, and not 0 everywhere")
    _refuse_off_centre(path, array)
    sampled = (y != 0).any(dim=0).any(dim=0)
    if mask is not None:
        if mask.shape != (y.shape[-1],):
            raise ImageFileError(
                f"{path}: its mask must have one value for each of {y.shape[-1]} lines, got {mask.shape}"
            )
        sampled = torch.from_numpy(mask != 0).expand(sampled.shape).clone()
    y = y * sampled
    if not bool((y != 0).any()):
        raise ImageFileError(f"{path}: its mask leaves no measurement; it must be 1 at the lines that were read")
    images = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(y, (-2, -1)), norm="ortho"), (-2, -1))
    magnitude = images.abs().square().sum(dim=1).sqrt()
    scale = float(np.quantile(magnitude.numpy(), BRIGHT))
    if scale == 0:
        scale = float(magnitude.max())
    found = None if reference is None else torch.from_numpy(np.asarray(reference, np.float32)) / scale
    return KSpace(y / scale, sampled, scale, indices, path, found)


def _refuse_off_centre(path: Path, array: NDArray[Any]) -> None:
    """Refuse k-space whose zero frequency is not in the middle: it would make an image of stripes."""
    axes = axes_off_centre(array)
    if axes:
        where = "in the corner" if len(axes) == 2 else "at the edge"
        over = "the last two axes" if len(axes) == 2 else f"axis {axes[0]}"
        raise ImageFileError(
            f"{path}: the zero frequency of k-space is {where}, where most of the energy lies, not in the middle; "
            f"bring it there by numpy.fft.fftshift over {over}: numpy.fft.fftshift(kspace, {axes})"
        )


def _from_npy(path: Path) -> NDArray[Any]:
    """(N, coils, H, W) of a ``.npy`` file."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ImageFileError(f"{path}: damaged, or not an array of numbers ({error}); save it by numpy.save") from error
    if isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.ndim > 2 and array.shape[-1] == 2:
        array = array[..., 0] + 1j * array[..., 1]
    if not isinstance(array, np.ndarray) or array.dtype.kind != "c" or array.ndim not in (2, 3, 4):
        found = f"{getattr(array, 'shape', '')} of {getattr(array, 'dtype', type(array).__name__)}"
        raise ImageFileError(f"{path}: k-space must be complex (H, W), (coils, H, W) or (N, coils, H, W), got {found}")
    return array.reshape((1,) * (4 - array.ndim) + array.shape)


def _from_fastmri(
    path: Path, slices: Which
) -> tuple[NDArray[Any], NDArray[Any] | None, NDArray[Any] | None, tuple[int, ...]]:
    """Slices (N, coils, H, W), the mask (W,), reference images, and the slices' places, of an HDF5 file."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if "kspace" not in file:
                raise ImageFileError(f"{path}: it has no dataset 'kspace'; it has {', '.join(file) or 'none'}")
            data = file["kspace"]
            if data.dtype.kind != "c" or data.ndim not in (3, 4):
                found = f"{data.shape} of {data.dtype}"
                raise ImageFileError(
                    f"{path}: kspace must be complex (slices, coils, H, W) or (slices, H, W), got {found}"
                )
            indices = chosen_indices(slices, len(data), path)
            array = np.stack([data[i] for i in indices])
            mask = np.asarray(file["mask"]) if "mask" in file else None
            name = next((name for name in REFERENCES if name in file), None)
            if name is not None and len(file[name]) != len(data):
                raise ImageFileError(f"{path}: {name} has {len(file[name])} slices, kspace {len(data)}")
            reference = None if name is None else np.stack([file[name][i] for i in indices])
    except (OSError, RuntimeError) as error:
        raise ImageFileError(f"{path}: damaged, or not HDF5 ({error})") from error
    return array[:, None] if array.ndim == 3 else array, mask, reference, indices


def write_kspace(path: str | Path, kspace: KSpace) -> None:
    """Write the slices in the file's own unit: ``.npy`` (N, coils, H, W), or HDF5 in fastMRI's layout.

    Raises
    ------
    ImageFileError
        Where the name ends otherwise.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scan.npy"
    >>> np.save(path, np.full((8, 8), 3 + 4j))
    >>> write_kspace(path, read_kspace(path))
    >>> complex(np.load(path)[0, 0, 5, 5].round(3))  # in the file's unit, not divided by the scale
    (3+4j)
    """
    path, array = Path(path), (kspace.measurements * kspace.scale).cpu().numpy()
    if path.suffix.lower() == ".npy":
        np.save(path, array, allow_pickle=False)
    elif path.suffix.lower() in HDF5:
        import h5py

        with h5py.File(path, "w") as file:
            file["kspace"] = array
            if bool((kspace.sampled == kspace.sampled[:1]).all()):
                file["mask"] = kspace.sampled[0].cpu().numpy().astype(np.float32)
            if kspace.reference is not None:
                file["reconstruction_rss"] = (kspace.reference * kspace.scale).cpu().numpy()
    else:
        raise ImageFileError(f"{path}: k-space is written to {', '.join(KSPACE_SUFFIXES)}, not {path.suffix!r}")
