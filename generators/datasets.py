"""Images for training: anything that maps indices to images, and the finite kinds that are read from files.

A dataset is a callable ``dataset(indices) -> images``: indices (B,) int64, each 0 or more, and images (B, C, H, W)
float32 in [-1, 1].  Training asks for 0, 1, 2, ..., so that how many images were seen is all that a resumed run needs
to know.  An endless source (phantoms) makes image i of i; a finite one is read through :class:`Shuffled`.
"""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel
import numpy as np
import torch
from matplotlib import image as raster
from nibabel.filebasedimages import ImageFileError
from torch import Tensor
from torch.nn.functional import interpolate, pad

__all__ = ["Dataset", "Shuffled", "as_bytes", "as_float", "read_folder", "read_nifti_slices"]

Dataset = Callable[[Tensor], Tensor]
"""From indices (B,) to images (B, C, H, W) in [-1, 1]."""

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
BYTES = 127.5


class Shuffled:
    """A finite set of images, shown epoch after epoch, each in an order of its own.

    Parameters
    ----------
    images
        (N, C, H, W), uint8 (0 to 255 for -1 to 1) or float32 in [-1, 1].
    seed
        Of the orders.

    Raises
    ------
    ValueError
        There is no image.

    Examples
    --------
    >>> data = Shuffled(torch.linspace(-1, 1, 4).reshape(4, 1, 1, 1))
    >>> sorted(data(torch.arange(4)).flatten().tolist()) == sorted(data(torch.arange(4, 8)).flatten().tolist())
    True
    """

    def __init__(self, images: Tensor, seed: int = 0) -> None:
        if len(images) == 0:
            raise ValueError("there is no image to train on")
        self.images, self.seed = images, seed
        self._orders: dict[int, Tensor] = {}

    def __call__(self, indices: Tensor) -> Tensor:
        """Images (B, C, H, W) float32 at ``indices`` (B,) of the endless stream."""
        count = len(self.images)
        places = torch.stack([self._order(int(i) // count)[int(i) % count] for i in indices])
        return as_float(self.images[places])

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            self._orders = {k: v for k, v in self._orders.items() if k == epoch - 1}
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
            self._orders[epoch] = torch.from_numpy(order)
        return self._orders[epoch]


def as_float(images: Tensor) -> Tensor:
    """Return images of any shape: bytes 0 to 255 as float32 -1 to 1, other kinds as they are.

    Examples
    --------
    >>> as_float(torch.tensor([0, 51, 255], dtype=torch.uint8)), as_float(torch.tensor([0.25]))
    (tensor([-1.0000, -0.6000,  1.0000]), tensor([0.2500]))
    """
    return images.float() / BYTES - 1 if images.dtype == torch.uint8 else images


def as_bytes(images: Tensor) -> Tensor:
    """Return images of any shape in [-1, 1] as bytes 0 to 255, the nearest ones; what lies beyond becomes 0 or 255.

    Examples
    --------
    >>> as_bytes(torch.tensor([-1.5, -1.0, -0.6, 1.0, 1.5])).tolist()
    [0, 0, 51, 255, 255]
    >>> greys = torch.arange(256, dtype=torch.uint8)
    >>> torch.equal(as_bytes(as_float(greys)), greys)  # every grey level comes back
    True
    """
    return ((images + 1) * BYTES).round().clamp(0, 255).to(torch.uint8)


def read_folder(folder: str | Path, resolution: int, channels: int = 1) -> Tensor:
    """Read all pictures of a folder and of those in it.

    Parameters
    ----------
    folder
        With files that end in .png, .jpg, .jpeg, .bmp, .tif or .tiff.
    resolution
        Side to which each picture is brought, its middle square being cut out.
    channels
        1 (grey, the mean of the colours) or 3.

    Returns
    -------
    Tensor
        (N, channels, resolution, resolution) uint8, in the order of the files' names.

    Raises
    ------
    ValueError
        The folder holds no picture, or a file cannot be read as one; it is named.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     raster.imsave(Path(folder) / "slice.png", np.full((6, 8, 3), 51, np.uint8))
    ...     images = read_folder(folder, resolution=4)
    >>> images.shape, images.unique().tolist()
    (torch.Size([1, 1, 4, 4]), [51])
    """
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in PICTURES)
    if not paths:
        raise ValueError(f"{folder}: no picture in this folder; files must end in {', '.join(PICTURES)}")
    return torch.cat([as_bytes(_fit_square(_read_picture(path, channels), resolution)) for path in paths])


def read_nifti_slices(paths: Sequence[str | Path], resolution: int, axis: str = "coronal", every: int = 1) -> Tensor:
    """Read slices of NIfTI volumes.

    Parameters
    ----------
    paths
        Volumes, three-dimensional.  They are turned to the closest canonical orientation (RAS); voxels that are not
        cubes are made so within each slice.
    resolution
        Side to which each slice is brought, padded to a square first.
    axis
        ``"coronal"``, ``"axial"`` or ``"sagittal"``.
    every
        Take every so manyth slice of those in which at least a twentieth of the pixels is above a tenth of the
        volume's range.

    Returns
    -------
    Tensor
        (N, 1, resolution, resolution) uint8; 0 and the 99.5th percentile of each volume become -1 and 1.

    Raises
    ------
    ValueError
        No path, an unknown axis, or a file that is no three-dimensional volume; it is named.

    Examples
    --------
    >>> import tempfile
    >>> volume = np.pad(np.ones((4, 4, 4), np.float32), 2)  # a cube of 4 voxels a side in one of 8
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), f"{folder}/cube.nii")
    ...     slices = read_nifti_slices([f"{folder}/cube.nii"], resolution=8)
    >>> slices.shape, (slices == 255).sum(dim=(1, 2, 3)).tolist()  # empty slices are left out
    (torch.Size([4, 1, 8, 8]), [16, 16, 16, 16])
    """
    if axis not in ("sagittal", "coronal", "axial"):
        raise ValueError(f"axis must be 'coronal', 'axial' or 'sagittal', not {axis!r}")
    if not paths:
        raise ValueError("there is no volume to read slices from")
    if every < 1:
        raise ValueError(f"every must be at least 1, not {every}")
    slices = [_volume_slices(*_read_volume(Path(p)), axis)[::every] for p in paths]
    if not (shown := [s for s in slices if len(s)]):
        raise ValueError(f"{paths[0]}: no {axis} slice with a brain in it, here or in the other volumes")
    return torch.cat([as_bytes(_fit_square(s, resolution)) for s in shown])


def _fit_square(images: Tensor, resolution: int) -> Tensor:
    """Bring images (B, C, H, W) to a square: the middle of pictures in colour range, resized without aliasing."""
    side = min(images.shape[2:])
    top, left = ((n - side) // 2 for n in images.shape[2:])
    square = images[:, :, top : top + side, left : left + side]
    resized = interpolate(square, size=(resolution, resolution), mode="bicubic", antialias=True)
    return resized.clamp(-1, 1)


def _read_picture(path: Path, channels: int) -> Tensor:
    """Read one picture as (1, channels, H, W) in [-1, 1]."""
    try:
        pixels = np.asarray(raster.imread(path))
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"{path}: cannot be read as a picture ({error}); remove it or save it again") from error
    scale = 1.0 if pixels.dtype.kind in "fb" else float(np.iinfo(pixels.dtype).max)
    colours = pixels[..., None] if pixels.ndim == 2 else pixels[..., :3] if pixels.shape[-1] > 2 else pixels[..., :1]
    image = torch.from_numpy(colours.astype(np.float32) / scale * 2 - 1).permute(2, 0, 1)
    grey = image.mean(dim=0, keepdim=True)
    return (grey if channels == 1 else image.expand(3, -1, -1))[None]


def _read_volume(path: Path) -> tuple[Tensor, tuple[float, ...]]:
    """Read one volume (X, Y, Z) in RAS order, scaled to [-1, 1], and the size of its voxels, mm."""
    try:
        volume = nibabel.as_closest_canonical(nibabel.load(path))
        values = np.nan_to_num(np.asarray(volume.dataobj, dtype=np.float32).squeeze())
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError) as error:
        raise ValueError(f"{path}: cannot be read as a NIfTI volume ({error})") from error
    if values.ndim != 3:
        raise ValueError(f"{path}: has {values.ndim} dimensions where three are needed; split it into volumes")
    top = float(np.percentile(values, 99.5))
    if not top > 0:
        raise ValueError(f"{path}: holds no positive values; intensities must be 0 in the background")
    return torch.from_numpy(np.clip(values / top, 0, 1) * 2 - 1), volume.header.get_zooms()[:3]


def _square_pixels(slices: Tensor, ratio: float) -> Tensor:
    """Stretch the coarser axis of slices (N, H, W) whose pixels are ``ratio`` times as high as they are wide."""
    if abs(ratio - 1) < 0.01 or len(slices) == 0:
        return slices
    height, width = slices.shape[1:]
    size = (round(height * ratio), width) if ratio > 1 else (height, round(width / ratio))
    return interpolate(slices[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def _volume_slices(volume: Tensor, voxel: tuple[float, ...], axis: str) -> Tensor:
    """Cut a volume into square slices (N, 1, n, n), superior or anterior up, with something in them."""
    dim = ("sagittal", "coronal", "axial").index(axis)
    slices = volume.movedim(dim, 0).transpose(1, 2).flip(1)
    slices = slices[((slices > -0.8).float().mean((1, 2)) > 0.05)]
    across, down = (size for i, size in enumerate(voxel) if i != dim)
    slices = _square_pixels(slices, down / across)
    height, width = slices.shape[1:]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return pad(slices, (left, side - width - left, top, side - height - top), value=-1.0)[:, None]
