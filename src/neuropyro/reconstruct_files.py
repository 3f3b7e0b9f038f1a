"""Which files are to be reconstructed, and what their results are called: told before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.image_files import find_images, is_picture

__all__ = ["files_of", "folders_of", "is_kspace", "name_of", "place_of", "refuse_slices"]

HDF5 = (".h5", ".hdf5")


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Files, and the images in folders, in their order; what is not there is told when its turn comes.

    Raises
    ------
    ImageFileError
        Where a folder has no image, or none of the paths is there.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b.png", "a.nii.gz", "notes.txt"):
    ...     (folder / name).touch()
    >>> [file.name for file in files_of([folder, Path("kspace.h5")])]  # a folder's images by name
    ['a.nii.gz', 'b.png', 'kspace.h5']
    """
    some = any(path.exists() for path in paths)
    alone = [path.suffix.lower() in HDF5 or (some and not path.exists()) for path in paths]
    return [file for path, one in zip(paths, alone, strict=True) for file in ([path] if one else find_images(path))]


def is_kspace(file: Path) -> bool:
    """Whether a file holds k-space: HDF5, or complex numbers, also as real and imaginary parts in a last axis of 2.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scan.npy"
    >>> np.save(path, np.zeros((8, 8), np.complex64))
    >>> is_kspace(path), is_kspace(Path("brain.png"))
    (True, False)
    >>> np.save(path, np.zeros((8, 8, 2), np.float32))
    >>> is_kspace(path)
    True
    """
    if file.suffix.lower() != ".npy":
        return file.suffix.lower() in HDF5
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False  # reading it as an image tells what is wrong
    return array.dtype.kind == "c" or (array.dtype.kind == "f" and array.ndim > 2 and array.shape[-1] == 2)


def name_of(file: Path) -> str:
    """Name without its end.

    Examples
    --------
    >>> name_of(Path("brain.nii.gz")), name_of(Path("brain"))
    ('brain', 'brain')
    """
    return file.name.removesuffix(".gz").rpartition(".")[0] or file.name


def folders_of(files: Sequence[Path], out: Path) -> list[Path]:
    """Return a folder for each file, by its name; where two files have one name, by the whole of it and a number.

    Examples
    --------
    >>> [str(folder) for folder in folders_of([Path("a/x.png"), Path("b/x.png"), Path("y.png")], Path("out"))]
    ['out/x.png_1', 'out/x.png_2', 'out/y']
    """
    names = [name_of(file) for file in files]
    unique = [
        n if names.count(n) == 1 else f"{f.name}_{i + 1}" for i, (n, f) in enumerate(zip(names, files, strict=True))
    ]
    return [out / name for name in unique]


def place_of(files: Sequence[Path], out: Path) -> Path:
    """Return the folder where results lie: of one file its own.

    Examples
    --------
    >>> str(place_of([Path("x.png")], Path("out"))), str(place_of([Path("x.png"), Path("y.png")], Path("out")))
    ('out/x', 'out')
    """
    return folders_of(files, out)[0] if len(files) == 1 else out


def refuse_slices(files: Sequence[Path], slices: Sequence[int]) -> None:
    """Refuse slices where a file is a picture, which has none: it would be reconstructed whole without a word.

    Raises
    ------
    ValueError
        Naming the picture.

    Examples
    --------
    >>> refuse_slices([Path("brain.nii")], [3])
    >>> refuse_slices([Path("brain.png")], [3])
    Traceback (most recent call last):
    ValueError: brain.png: --slices says nothing of a picture, which is one image; leave it out
    """
    pictures = [file for file in files if is_picture(file)]
    if slices and pictures:
        raise ValueError(f"{pictures[0]}: --slices says nothing of a picture, which is one image; leave it out")
