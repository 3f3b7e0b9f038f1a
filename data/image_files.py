"""Images from files and into files like them: PNG, JPEG, TIFF, BMP, ``.npy`` and NIfTI.

Nothing in a file is executed, and numbers keep their unit and type on the way through: a 16-bit TIFF is written as one.
Colours of 16 bits are the exception: Pillow reads them with 8.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from neuropyro.data.image_slices import ImageFileError, ImageSlices, Which, chosen_indices, finite, stored
from neuropyro.data.nifti_slices import read_nifti, write_nifti

__all__ = ["IMAGE_SUFFIXES", "find_images", "is_picture", "read_image", "write_image"]

PICTURES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".tif": "tiff", ".tiff": "tiff", ".bmp": "bmp"}
NIFTI = (".nii", ".nii.gz")
IMAGE_SUFFIXES = (*PICTURES, *NIFTI, ".npy")
"""Ends of the names of files that can be read."""
JPEG_QUALITY = 95


def _suffix_of(path: Path) -> str:
    """End of the name that says the format, in lower case: ``.nii.gz`` whole."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def is_picture(path: Path) -> bool:
    """Whether a file's name is that of one image, and not of a volume or stack, which have slices.

    Examples
    --------
    >>> is_picture(Path("brain.PNG")), is_picture(Path("brain.nii.gz"))
    (True, False)
    """
    return _suffix_of(path) in PICTURES


def find_images(path: str | Path) -> list[Path]:
    """``path`` itself, or the images in that folder, sorted by name.

    Raises
    ------
    ImageFileError
        Where there is no such file, or no image in the folder.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b.png", "a.nii.gz", "notes.txt"):
    ...     (folder / name).touch()
    >>> [path.name for path in find_images(folder)]
    ['a.nii.gz', 'b.png']
    """
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise ImageFileError(f"{path}: there is no such file or folder")
        return [path]
    found = sorted(p for p in path.iterdir() if p.is_file() and _suffix_of(p) in IMAGE_SUFFIXES)
    if not found:
        raise ImageFileError(f"{path}: the folder has no image ({', '.join(IMAGE_SUFFIXES)})")
    return found


def read_image(path: str | Path, slices: Which = "all", plane: str = "coronal") -> ImageSlices:
    """Read a picture, an array, or slices of a volume.

    Parameters
    ----------
    path
        A file.  ``.npy`` arrays are (H, W); (1 or 3, H, W) or (H, W, 3), one image; (N, H, W); or (N, C, H, W).
    slices
        Which slices of a volume or stack.
    plane
        Of a NIfTI volume: ``"coronal"``, ``"axial"`` or ``"sagittal"``.

    Raises
    ------
    ImageFileError
        Where the file is missing, damaged, of an unknown format, or holds no image; the message says what to do.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "slice.png"
    >>> Image.fromarray(np.array([[0, 255]], np.uint8)).save(path)
    >>> read_image(path).pixels.tolist()
    [[[[0.0, 255.0]]]]
    """
    path = Path(path)
    suffix = _suffix_of(path)
    if suffix not in IMAGE_SUFFIXES:
        raise ImageFileError(f"{path}: unknown format {suffix!r}; convert it to one of {', '.join(IMAGE_SUFFIXES)}")
    if not path.is_file():
        raise ImageFileError(f"{path}: there is no such file")
    if suffix in NIFTI:
        return read_nifti(path, slices, plane)
    if suffix == ".npy":
        return _read_array(path, slices)
    return _read_picture(path, PICTURES[suffix])


def write_image(path: str | Path, like: ImageSlices, pixels: NDArray[Any], others: float | None = None) -> None:
    """Write ``pixels`` (N, C, H, W) in the format, unit and number type of the file that ``like`` was read from.

    A NIfTI volume is written whole, with these slices replaced and its affine kept; its other slices stay as they are,
    or have the value ``others`` everywhere.  Whole numbers are rounded and clipped to what the type holds.

    Raises
    ------
    ImageFileError
        Where the name's end is that of another format, or the pixels have another shape.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "slice.npy"
    >>> np.save(path, np.array([[0, 1000]], np.int16))
    >>> slices = read_image(path)
    >>> write_image(path, slices, slices.pixels + 0.6)
    >>> np.load(path).tolist()  # whole numbers still
    [[[[1, 1001]]]]
    """
    path, pixels = Path(path), np.asarray(pixels)
    suffix = _suffix_of(path)
    kind = PICTURES.get(suffix, "nifti" if suffix in NIFTI else suffix.removeprefix("."))
    if kind != like.kind:
        raise ImageFileError(
            f"{path}: it would be {kind or 'nameless'}, but {like.path.name} is {like.kind}; rename it"
        )
    if pixels.ndim != 4 or pixels.shape[:2] != like.pixels.shape[:2]:
        raise ImageFileError(f"{path}: images must be {like.pixels.shape}, got {pixels.shape}")
    if kind == "nifti":
        write_nifti(path, like, pixels, others)
    elif kind == "npy":
        np.save(path, stored(pixels, like.dtype), allow_pickle=False)
    else:
        _write_picture(path, kind, stored(pixels[0], like.dtype))


def _read_array(path: Path, slices: Which) -> ImageSlices:
    """Images in a ``.npy`` file."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ImageFileError(f"{path}: damaged, or not an array of numbers ({error}); save it by numpy.save") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind == "c":
        raise ImageFileError(f"{path}: it holds complex numbers or several arrays; k-space is read by read_kspace")
    images = _as_stack(array, path)
    indices = chosen_indices(slices, len(images), path)
    pixels = finite(images[list(indices)], path)
    missing = int(np.isnan(images[list(indices)]).sum())
    return ImageSlices(pixels, path, array.dtype, "npy", indices=indices, missing=missing)


def _as_stack(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """``array`` as (N, C, H, W)."""
    if array.ndim == 2:
        return array[None, None]
    if array.ndim == 3 and array.shape[0] in (1, 3):
        return array[None]
    if array.ndim == 3 and array.shape[2] == 3:
        return np.moveaxis(array, 2, 0)[None]
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[1] in (1, 3):
        return array
    raise ImageFileError(
        f"{path}: images are (H, W), (C, H, W), (N, H, W) or (N, C, H, W), got {array.shape} of {array.dtype}; k-space "
        "must be complex, or have real and imaginary parts in a last axis of 2"
    )


def _read_picture(path: Path, kind: str) -> ImageSlices:
    """One image of a picture file."""
    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if getattr(opened, "n_frames", 1) > 1:
                raise ImageFileError(f"{path}: it has {opened.n_frames} pages; save the one that is meant")  # type: ignore[attr-defined]
            array = _pixels_of(ImageOps.exif_transpose(opened), path)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, ImageFileError):
            raise
        raise ImageFileError(f"{path}: damaged, or not a {kind} picture ({error})") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageFileError(f"{path}: too large for a picture ({error}); resample it") from error
    return ImageSlices(finite(array[None], path), path, array.dtype, kind)


def _pixels_of(image: Image.Image, path: Path) -> NDArray[Any]:
    """(C, H, W) of an image in the type in which it is stored."""
    if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        image = _opaque(image.convert("RGBA"), image.mode, path)
    if image.mode in ("1", "P", "CMYK", "YCbCr", "HSV", "LAB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    array = np.asarray(image)
    if image.mode.startswith("I;16"):
        array = array.astype(np.uint16)
    elif image.mode == "I" and array.min() >= 0 and array.max() <= np.iinfo(np.uint16).max:
        array = array.astype(np.uint16)  # how older versions of Pillow read 16 bits
    return array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)


def _opaque(image: Image.Image, mode: str, path: Path) -> Image.Image:
    """Drop the alpha channel of an image, if it hides nothing."""
    if np.asarray(image)[..., 3].min() < 255:
        raise ImageFileError(f"{path}: parts of it are transparent; save it without an alpha channel")
    return image.convert("L" if mode in ("LA", "L", "1") else "RGB")


def _write_picture(path: Path, kind: str, array: NDArray[Any]) -> None:
    """Write (C, H, W) with the type that it has."""
    image = Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(np.moveaxis(array, 0, 2)))
    options: dict[str, Any] = {"quality": JPEG_QUALITY} if kind == "jpeg" else {}
    try:
        image.save(path, format=kind.upper(), **options)
    except (OSError, ValueError) as error:
        raise ImageFileError(f"{path}: {kind} cannot hold {array.shape} of {array.dtype} ({error})") from error
