"""Images to train a generator on, as a user names them: phantoms, a folder of pictures, or volumes."""

from pathlib import Path

from torch import Tensor

from neuropyro.data.phantom_recipe import PhantomRecipe
from neuropyro.data.phantoms import BrainPhantoms
from neuropyro.generators.datasets import Dataset, Shuffled, as_float, read_folder, read_nifti_slices

__all__ = ["open_training_data"]

PHANTOMS = "phantoms"
VOLUMES = (".nii", ".nii.gz")


def open_training_data(
    data: list[str], resolution: int, colours: int, plane: str, every: int, seed: int, held_out: int
) -> tuple[Dataset, Tensor | None, str]:
    """Open what the user names.

    Parameters
    ----------
    data
        "phantoms", or one folder of pictures or volumes, or volumes.
    resolution, colours
        Side and channels of the images.
    plane, every
        Of phantoms and of slices of volumes, of which every so manyth is taken.
    seed
        Of phantoms, and of the order in which finite data are shown.
    held_out
        How many images to keep from training.

    Returns
    -------
    dataset, held_out, description
        What to train on; images (held_out, C, H, W) in [-1, 1], or None; in words what it is.

    Raises
    ------
    ValueError
        Where the data are missing, unreadable, too few, or not of that plane or those colours; they are named.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp()) / "slices"
    >>> folder.mkdir()
    >>> for grey in (0, 128, 255):
    ...     Image.new("L", (8, 8), grey).save(folder / f"{grey:03d}.png")
    >>> train, held_out, described = open_training_data([str(folder)], 8, 1, "coronal", 1, seed=0, held_out=1)
    >>> described, held_out.unique().tolist()
    ('3 pictures of the folder slices', [1.0])
    """
    if data == [PHANTOMS]:
        return _phantoms(resolution, colours, plane, seed, held_out)
    folder = Path(data[0]) if len(data) == 1 and Path(data[0]).is_dir() else None
    volumes = sorted(p for p in folder.rglob("*") if p.name.endswith(VOLUMES)) if folder else [Path(d) for d in data]
    if folder and not volumes:
        pictures = read_folder(folder, resolution, colours)
        return *_parted(pictures, seed, held_out), f"{len(pictures)} pictures of the folder {folder.name}"
    if wrong := [str(p) for p in volumes if not p.name.endswith(VOLUMES) or not p.is_file()]:
        raise ValueError(f"{wrong[0]}: neither {PHANTOMS!r}, nor a folder, nor a volume that ends in .nii or .nii.gz")
    if colours != 1:
        raise ValueError("slices of volumes are grey: leave --colours at 1")
    slices = read_nifti_slices(volumes, resolution, plane, every)
    return *_parted(slices, seed, held_out), f"{len(slices)} {plane} slices of {len(volumes)} volumes"


def _parted(images: Tensor, seed: int, held_out: int) -> tuple[Dataset, Tensor | None]:
    """Part images (N, C, H, W) into those to train on and, at the end, those held out, which are neighbours."""
    if not 0 <= held_out < len(images):
        raise ValueError(f"--held-out {held_out}: there are {len(images)} images, and some must be left to train on")
    first = len(images) - held_out
    return Shuffled(images[:first], seed), as_float(images[first:]) if held_out else None


def _phantoms(
    resolution: int, colours: int, plane: str, seed: int, held_out: int
) -> tuple[Dataset, Tensor | None, str]:
    """Phantoms without noise, which belongs to the measurement and not to the prior."""
    if colours != 1:
        raise ValueError("phantoms are grey: leave --colours at 1")
    recipe = PhantomRecipe(noise=(0.0, 0.0))
    phantoms = BrainPhantoms(resolution, plane, "train", seed, recipe)  # type: ignore[arg-type]
    validation = phantoms.of_split("validation").images(range(held_out)) if held_out > 0 else None
    described = f"Phantoms: {plane} slices of the MNI152 brain under random diffeomorphisms, without noise"
    return phantoms.images, validation, described
