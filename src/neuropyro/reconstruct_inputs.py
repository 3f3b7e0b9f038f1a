"""From files to measurements in the generator's frame, and where the result goes back to."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.data.image_files import read_image
from neuropyro.data.image_frames import Frame
from neuropyro.data.image_slices import ImageFileError, ImageSlices
from neuropyro.data.kspace_files import KSpace, read_kspace
from neuropyro.models.corruption import Corruption, CorruptionError, Undersample
from neuropyro.models.corruption_masks import Mask, reframed
from neuropyro.models.corruption_resampling import downsampling
from neuropyro.reconstruct_files import is_kspace, name_of
from neuropyro.reconstruct_framing import Framing
from neuropyro.reconstruct_small import enlargement, window_of

__all__ = ["Job", "job_of"]


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
        The file, and the generator's square in it; in it enlarged by a whole factor, where it is as small as what the
        corruption leaves; None for k-space.
    truth_image, truth_frame
        Those of the file that the truth is from, which is resampled to a multiple of a small picture.
    truth_side
        Of the square in that file as it is, px.
    indices
        Places of the images in a file of k-space.
    remarks
        Where its content lies otherwise than in the generator's images; see
        :meth:`~neuropyro.reconstruct_framing.Framing.remarks`.

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
    truth_side: float = 0.0
    indices: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def enlarged(self) -> int:
        """By how much the picture is enlarged in which ``frame`` lies; 1 where it is not."""
        return 1 if self.image is None or self.frame is None else self.frame.height // self.image.pixels.shape[-2]


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
    times = enlargement(image, corruption, framing.size)
    frame = framing.frame(image, times)
    corruption = _in_frame(corruption, frame)
    y = _measured(corruption, frame, image, framing.channels) if times == 1 else window_of(corruption, image, frame)
    job = Job(name_of(file), corruption, y, None, image, frame, remarks=tuple(framing.remarks(image, frame)))
    return job if truth is None else _with_truth(job, truth, framing)


def _simulated(file: Path, corruption: Corruption, framing: Framing, seed: int) -> Job:
    """Corrupt a clean image."""
    image = _clean(file, framing)
    frame = framing.frame(image)
    corruption = _of_any_side(_in_frame(corruption, frame), frame.size)
    x, said = frame.to_square(image.pixels), tuple(framing.remarks(image, frame))
    y, of_truth = corruption.corrupt(x, seed), (image, frame, frame.box[2])
    return Job(name_of(file), corruption, y, x, image, frame, *of_truth, remarks=said)


def _with_truth(job: Job, truth: Path, framing: Framing) -> Job:
    """Add the clean images, in the brightness of the corrupted ones and, where both are of one shape, their frame."""
    image = _clean(truth, framing)
    if len(image) != len(job.y):
        raise ImageFileError(f"{truth}: it has {len(image)} slices, the corrupted image {len(job.y)}")
    assert job.image is not None
    assert job.frame is not None
    width, known = image.pixels.shape[-1], image.spacing is not None or job.image.spacing is not None
    if image.pixels.shape[-2:] == job.image.pixels.shape[-2:] and job.enlarged == 1:
        frame = job.frame
    elif known or not _of_one_shape(image.pixels, job.image.pixels):
        frame = Framing(**(vars(framing) | {"intensity": (job.frame.low, job.frame.high)})).frame(image)
    else:
        times = max(round(width / job.frame.width), 1)  # so that no box has to be rounded
        frame = job.frame.enlarged(times)
        image = image.resized(frame.height, frame.width)
    frame = replace(frame, channels=image.pixels.shape[1])
    clean, side = frame.to_square(image.pixels), frame.box[2] * width / frame.width
    return replace(job, truth=clean, truth_image=image, truth_frame=frame, truth_side=side)


def _of_one_shape(one: NDArray[np.floating], other: NDArray[np.floating]) -> bool:
    """Whether pictures' sides have one ratio, but for a pixel."""
    (h, w), (height, width) = one.shape[-2:], other.shape[-2:]
    return bool(abs(h - w * height / width) <= 1)


def _of_kspace(file: Path, truth: Path | None, corruption: Corruption, framing: Framing) -> Job:
    """Measured k-space: its pattern, phase and coils are found from it."""
    if not isinstance(corruption, Undersample):
        raise CorruptionError(f"{file}: it holds k-space; give kspace:... as the corruption, and nothing beside it")
    kspace = read_kspace(file, framing.slices)
    y = kspace.resized(framing.size, framing.size).measurements * ((framing.bright + 1) / 2)
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


def _measured(corruption: Corruption, frame: Frame, image: ImageSlices, channels: int) -> Tensor:
    """Bring a picture to what the corruption leaves of the generator's images."""
    shape = _of_any_side(corruption, frame.size).measurement_shape((len(image), channels, frame.size, frame.size))
    if len(shape) != 4 or shape[2] != shape[3]:
        raise CorruptionError(f"{image.path}: the corruption makes {shape} of images; give measurements of that kind")
    return frame.at(shape[-1]).to_square(image.pixels)


def _of_any_side(corruption: Corruption, size: int) -> Corruption:
    """Let images be of ``size`` px where the factor by which they shrink does not divide that."""
    found = downsampling(corruption)
    if found is not None and size % found.factor:
        found.seeing(size, found.factor, found.window)
    return corruption


def _in_frame(corruption: Corruption, frame: Frame) -> Corruption:
    """Resample masks that have the file's size to the generator's, where its square is not just that file."""
    _refuse_other_sizes(corruption, frame)
    sizes = {tuple(b.shape[-2:]) for n, b in corruption.named_buffers() if n.endswith("mask") and b.dtype == torch.bool}
    own, whole = (frame.height, frame.width), frame.box == (0, 0, frame.size, frame.size)
    return reframed(corruption, frame.mask_to_square) if own in sizes and not whole else corruption


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
