"""From files to measurements in the generator's frame, and where the result goes back to."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuropyro.data.image_files import read_image
from neuropyro.data.image_frames import Frame, foreground_centre, foreground_extent, robust_range
from neuropyro.data.image_slices import ImageFileError, ImageSlices, Which
from neuropyro.data.kspace_files import KSpace, read_kspace
from neuropyro.data.phantom_recipe import FIELD_OF_VIEW
from neuropyro.models.corruption import Corruption, CorruptionError, Undersample
from neuropyro.models.corruption_masks import Mask, reframed
from neuropyro.reconstruct_files import is_kspace, name_of

__all__ = ["Framing", "Job", "brightness", "job_of"]

FULL = 0.25  # of a whole-number type's range: pictures that use less of it are stretched by their own range
BRIGHT = 99.5  # percentile
ALIKE = 1.25  # ratio of sizes within which a head is taken to fill the image as the generator's do


@dataclass(frozen=True)
class Framing:
    """How images are brought to the generator's frame.

    Parameters
    ----------
    size, channels
        Of the generator's images.
    bright
        Bright end of its images, -1..1.
    slices, plane
        Of volumes.
    intensity
        Brightness in the file that becomes -1 and 1; see :func:`brightness` if None.
    field_of_view
        Of the generator's square, mm; the whole image if None.  It is used where the file says how large pixels are.
    head
        Side of the heads that the generator makes, as a share of its square.  Where the file does not say how large
        pixels are, and a head is clearly smaller or larger in it, the square is cut so that it fills it as much.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "brain.npy"
    >>> np.save(path, np.linspace(0, 1, 96, dtype=np.float32).reshape(8, 12))
    >>> frame = Framing(size=16, channels=1).frame(read_image(path))
    >>> frame.low, frame.high  # of numbers from 0 to 1, what becomes -1 and 1
    (0.0, 1.0)
    """

    size: int
    channels: int
    bright: float = 1.0
    slices: Which = "all"
    plane: str = "coronal"
    intensity: tuple[float, float] | None = None
    field_of_view: float | None = None
    head: float | None = None

    @classmethod
    def of(cls, generator: Any, images: Tensor, **given: Any) -> Framing:
        """Find it for a generator, of which ``images`` (N, C, H, W) are samples."""
        bright = float(np.percentile(images.numpy(), BRIGHT))
        details = getattr(getattr(generator, "card", None), "details", {})
        size, plane = generator.img_resolution, given.get("plane", "coronal")
        if given.get("field_of_view") is None and "recipe" in details and plane in FIELD_OF_VIEW:
            given["field_of_view"] = FIELD_OF_VIEW[plane] * size / (size - 1)  # between the outermost pixels' edges
            sides = [foreground_extent(image, -1.0, bright) for image in images.numpy() if (image > bright - 0.5).any()]
            given["head"] = float(np.median(sides)) / size if sides else None
        return cls(size, generator.img_channels, bright, **given)

    def frame(self, image: ImageSlices, size: int | None = None) -> Frame:
        """Find the frame of a file's images."""
        intensity = self.intensity or brightness(image, self.bright)
        frame = Frame.around(image.pixels, size or self.size, self.channels, intensity=intensity)
        if self.field_of_view is None or (image.spacing is None and self.head is None):
            return frame
        centre = foreground_centre(image.pixels, *intensity)
        if image.spacing is not None:
            return frame.with_field_of_view(self.field_of_view, image.spacing, centre)
        assert self.head is not None
        side = foreground_extent(image.pixels, *intensity) / self.head
        alike = 1 / ALIKE < side / frame.box[2] < ALIKE
        return frame if alike else frame.with_field_of_view(side, (1.0, 1.0), centre)


@dataclass(frozen=True, eq=False)
class Job:
    """One file's reconstruction.

    Attributes
    ----------
    name
        Of its folder.
    corruption
        What happened to it.
    y
        Measurements (B, ...).
    truth
        Clean images (B, C, H, W) in the generator's frame, where they are known.
    image, frame
        The file, and the generator's square in it; None for k-space.
    truth_image, truth_frame
        Those of the file that the truth is from.
    indices
        Places of the images in a file of k-space.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.models.corruption import Downsample
    >>> small = Path(tempfile.mkdtemp()) / "small.npy"
    >>> np.save(small, np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4))
    >>> job = job_of(small, None, Downsample(2), Framing(size=8, channels=1), simulate=False, seed=0)
    >>> job.y.shape, job.y.min().item(), job.y.max().item()  # black and white of the file in the generator's unit
    (torch.Size([1, 1, 4, 4]), -1.0, 1.0)
    """

    name: str
    corruption: Corruption
    y: Tensor
    truth: Tensor | None = None
    image: ImageSlices | None = None
    frame: Frame | None = None
    truth_image: ImageSlices | None = None
    truth_frame: Frame | None = None
    indices: tuple[int, ...] = ()


def job_of(file: Path, truth: Path | None, corruption: Corruption, framing: Framing, simulate: bool, seed: int) -> Job:
    """Read one file.

    Parameters
    ----------
    file
        A corrupted image or k-space; the truth itself where it is to be corrupted (``simulate``).
    truth
        File of the clean image, if known.

    Raises
    ------
    ImageFileError, CorruptionError
        Where files cannot be used, or do not fit each other or the corruption.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.models.corruption import Downsample
    >>> clean = Path(tempfile.mkdtemp()) / "brain.npy"
    >>> np.save(clean, np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8))
    >>> job = job_of(clean, None, Downsample(2), Framing(size=8, channels=1), simulate=True, seed=0)
    >>> job.name, torch.equal(job.y, job.corruption.A(job.truth))  # without noise
    ('brain', True)
    """
    corruption = copy.deepcopy(corruption)  # its mask may be resampled
    if simulate:
        return _simulated(file, corruption, framing, seed)
    if is_kspace(file):
        return _of_kspace(file, truth, corruption, framing)
    image = read_image(file, framing.slices, framing.plane)  # before what follows: of a damaged file that is no cure
    if any(isinstance(part, Undersample) for part in corruption.modules()):
        raise CorruptionError(
            f"{file}: pixels, while the corruption kspace needs complex k-space (.npy) or fastMRI's .h5; of an image, "
            "give it as --truth alone, and it is corrupted first"
        )
    frame = framing.frame(image)
    corruption = _in_frame(corruption, frame)
    shape = corruption.measurement_shape((len(image), framing.channels, framing.size, framing.size))
    if len(shape) != 4 or shape[2] != shape[3]:
        raise CorruptionError(f"{file}: the corruption makes {shape} of images; give measurements of that kind")
    y = frame.at(shape[-1]).to_square(image.pixels)
    job = Job(name_of(file), corruption, y, None, image, frame)
    return job if truth is None else _with_truth(job, truth, framing)


def _simulated(file: Path, corruption: Corruption, framing: Framing, seed: int) -> Job:
    """Corrupt a clean image."""
    image = _clean(file, framing)
    frame = framing.frame(image)
    corruption = _in_frame(corruption, frame)
    x = frame.to_square(image.pixels)
    return Job(name_of(file), corruption, corruption.corrupt(x, seed), x, image, frame, image, frame)


def _with_truth(job: Job, truth: Path, framing: Framing) -> Job:
    """Add the clean images, in the brightness and, where both are of one size, in the frame of the corrupted ones."""
    image = _clean(truth, framing)
    if len(image) != len(job.y):
        raise ImageFileError(f"{truth}: it has {len(image)} slices, the corrupted image {len(job.y)}")
    assert job.image is not None
    assert job.frame is not None
    frame = job.frame
    if image.pixels.shape != job.image.pixels.shape:
        given = Framing(**(vars(framing) | {"intensity": (frame.low, frame.high)}))
        frame = given.frame(image)
    return Job(**(vars(job) | {"truth": frame.to_square(image.pixels), "truth_image": image, "truth_frame": frame}))


def _of_kspace(file: Path, truth: Path | None, corruption: Corruption, framing: Framing) -> Job:
    """Measured k-space: its pattern, phase and coils are found from it."""
    if not isinstance(corruption, Undersample):
        raise CorruptionError(f"{file}: it holds k-space; give kspace:... as the corruption, and nothing beside it")
    kspace = read_kspace(file, framing.slices)
    y = kspace.cropped(framing.size, framing.size).measurements * ((framing.bright + 1) / 2)
    known = Undersample.from_measurement(y, noise=corruption.noise)
    job = Job(name_of(file), known, y, indices=kspace.indices)
    clean = (
        _reference_of(kspace, framing) if truth is None else _as_bright_as(y, _truth_of_kspace(truth, framing), known)
    )
    return job if clean is None else Job(**(vars(job) | {"truth": clean}))


def _reference_of(kspace: KSpace, framing: Framing) -> Tensor | None:
    """Bring a file's reference images to the generator's frame, if it has them of its k-space's own field of view."""
    if kspace.reference is None or kspace.reference.shape[-2:] != kspace.measurements.shape[-2:]:
        return None
    pixels = kspace.reference[:, None].numpy()
    high = 2 / (framing.bright + 1)  # what is 1 in the file's scale becomes the generator's bright end
    return Frame.around(pixels, framing.size, framing.channels, intensity=(0.0, high)).to_square(pixels)


def _truth_of_kspace(truth: Path, framing: Framing) -> Tensor:
    """Clean images, beside k-space."""
    image = _clean(truth, framing)
    return framing.frame(image).to_square(image.pixels)


def _as_bright_as(y: Tensor, clean: Tensor, known: Undersample) -> Tensor:
    """Return clean images in k-space's own unit of brightness, which is arbitrary, by least squares on measurements."""
    if len(clean) != len(y) or clean.shape[1] != 1:
        return clean  # which do not fit, as is told where both are used
    seen = known.linear(clean + 1)
    share = (seen.conj() * y).real.flatten(1).sum(1) / seen.abs().square().flatten(1).sum(1).clamp_min(1e-12)
    return torch.where((share > 0).reshape(-1, 1, 1, 1), share.reshape(-1, 1, 1, 1) * (clean + 1) - 1, clean)


def _clean(file: Path, framing: Framing) -> ImageSlices:
    """Read a clean image, which a mask is not."""
    image = read_image(file, framing.slices, framing.plane)
    if len(np.unique(image.pixels)) == 2:
        raise ImageFileError(f"{file}: it has two values alone, as a mask has; give the clean image")
    return image


def _in_frame(corruption: Corruption, frame: Frame) -> Corruption:
    """Resample masks that have the file's size to the generator's."""
    _refuse_other_sizes(corruption, frame)
    sizes = {tuple(b.shape[-2:]) for n, b in corruption.named_buffers() if n.endswith("mask") and b.dtype == torch.bool}
    own = (frame.height, frame.width)
    return (
        reframed(corruption, frame.mask_to_square) if own in sizes and own != (frame.size, frame.size) else corruption
    )


def _refuse_other_sizes(corruption: Corruption, frame: Frame) -> None:
    """Refuse a user's mask of another size than a picture that is not square: it is not known what lies where."""
    for mask in (part.mask for part in corruption.modules() if isinstance(part, Mask) and part.mask is not None):
        found, own = tuple(mask.shape[-2:]), (frame.height, frame.width)
        if found != own and frame.height != frame.width:
            raise CorruptionError(
                "the mask has {} x {} pixels and the picture {} x {}; give a mask of the picture's size".format(
                    *found, *own
                )
            )


def brightness(image: ImageSlices, bright: float) -> tuple[float, float]:
    """Brightness in the file of -1 and 1.

    Pictures of 8 or 16 bits: the type's whole range, if they use it.  Other numbers within -1..1 or 0..1: that range.
    Else the bright end of the image becomes ``bright``, the generator's, on -1..1.

    Examples
    --------
    >>> ramp, path = np.linspace(0, 200, 101, dtype=np.float32).reshape(1, 1, 1, 101), Path("scan")
    >>> brightness(ImageSlices(ramp, path, np.dtype(np.uint8), "png"), bright=1.0)
    (0.0, 255.0)
    >>> [round(x) for x in brightness(ImageSlices(ramp, path, np.dtype(np.int16), "nifti"), bright=0.0)]
    [1, 397]
    """
    pixels = image.pixels
    low, high = float(pixels.min()), float(pixels.max())
    if image.kind != "nifti":
        if image.dtype.kind == "u" and high >= FULL * np.iinfo(image.dtype).max:
            return 0.0, float(np.iinfo(image.dtype).max)
        if image.dtype.kind == "f" and low >= -1 and high <= 1 and high > 0.1:
            return (-1.0, 1.0) if low < -0.05 else (0.0, 1.0)
    low, high = robust_range(pixels, (100 - BRIGHT, BRIGHT))
    return low, low + (high - low) * 2 / (bright + 1)
