"""What a reconstruction leaves in its folder: arrays, pictures or volumes, the posterior, metrics and a figure."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from neuropyro.console import plain
from neuropyro.data.image_files import write_image
from neuropyro.data.image_frames import Frame
from neuropyro.image_baselines import baselines_for
from neuropyro.image_metrics import PerceptualDistance, image_metrics
from neuropyro.inference import Fit, save_netcdf
from neuropyro.models import LatentReconstruction
from neuropyro.models.corruption import Corruption, Mask
from neuropyro.models.corruption_resampling import downsampling
from neuropyro.models.reconstruction_storage import save_reconstruction
from neuropyro.reconstruct_inputs import Job
from neuropyro.reconstruct_places import place_warnings
from neuropyro.reconstruct_slices import by_slice, slices_of
from neuropyro.reconstruct_warnings import (
    channel_warnings,
    check_warnings,
    mask_warnings,
    missing_warnings,
    noise_warnings,
    size_warnings,
    truth_warnings,
)

__all__ = ["PRODUCTS", "Reconstruction", "write_reconstruction"]

BLACK = -0.98  # brightness above which a true pixel counts as brain
SUFFIXES = {"png": ".png", "jpeg": ".png", "tiff": ".tiff", "bmp": ".bmp", "npy": ".npy", "nifti": ".nii.gz"}


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """One file's fit and what it says.

    Parameters
    ----------
    job, model, fit
        What was fitted to what.
    draws
        Number of posterior draws.
    features
        For LPIPS; None leaves it out.

    Examples
    --------
    >>> from neuropyro.generators import Generator, GeneratorConfig
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models.corruption import Downsample
    >>> _ = torch.manual_seed(0)
    >>> G = Generator(GeneratorConfig(img_resolution=8, z_dim=4, w_dim=4, channel_base=64, channel_max=8))
    >>> model = LatentReconstruction(G, Downsample(2), prior="z", candidates=4, starts=1, search_steps=0)
    >>> truth = torch.zeros(1, 1, 8, 8)
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> result = fit(model, model.corruption.A(truth), "map", schedule=short, progress=False)
    >>> found = Reconstruction.of(result, truth, draws=4)
    >>> metrics = found.metrics()
    >>> sorted(metrics), round(metrics["bicubic"]["rmse"], 3)  # of a flat image interpolation makes no error
    (['bicubic', 'mae', 'psnr', 'rmse', 'total_variation'], 0.0)
    """

    job: Job
    model: LatentReconstruction
    fit: Fit
    draws: int = 64
    features: PerceptualDistance | None = None

    @classmethod
    def of(cls, fit: Fit, truth: Tensor | None = None, draws: int = 64) -> Reconstruction:
        """Make it of a fit that no file stands behind.

        Parameters
        ----------
        fit
            Of a :class:`~neuropyro.models.LatentReconstruction`.
        truth
            Clean images (B, C, H, W) in the generator's unit, where they are known.
        draws
            Number of posterior draws.

        Raises
        ------
        TypeError
            Where the fit is of another model.
        """
        if not isinstance(fit.model, LatentReconstruction):
            raise TypeError(f"Reconstruction.of: a fit of {type(fit.model).__name__}; give one of LatentReconstruction")
        y = fit.data.as_given(fit.data.values).cpu()
        return cls(Job("images", fit.model.corruption, y, truth), fit.model, fit, draws)

    @cached_property
    def clean(self) -> Tensor:
        """Posterior mean (or, of a point guide, the image at the point), (B, C, H, W)."""
        return torch.as_tensor(self.model.estimate(self.fit, self.draws))

    @cached_property
    def drawn(self) -> dict[str, NDArray[Any]]:
        """Posterior draws, see :meth:`~neuropyro.models.LatentReconstruction.predictive`."""
        return self.fit.predictive(self.draws)

    @cached_property
    def sd(self) -> NDArray[Any]:
        """Sd of each pixel over draws, (B, C, H, W)."""
        sd: NDArray[Any] = self.drawn["clean"].std(0)
        return sd

    @cached_property
    def corrupted(self) -> Tensor:
        """What the corruption makes of the estimate."""
        return self.model.corruption.A(self.clean)

    @cached_property
    def hole(self) -> Tensor | None:
        """1 where images were measured, (B, C, H, W); None where measurements are no pixels of the image."""
        y = self.job.y
        if y.is_complex() or y.shape != self.clean.shape:
            return None
        return self.model.corruption.observed(y).expand(y.shape)

    @cached_property
    def checks(self) -> dict[str, NDArray[np.float64]]:
        """See :meth:`~neuropyro.models.LatentReconstruction.checks`."""
        return self.model.checks(self.fit, min(self.draws, 16))

    @cached_property
    def warnings(self) -> list[str]:
        """Why not to trust some of the images."""
        job = self.job
        picture = None if job.image is None else job.image.pixels
        said = list(job.remarks) + place_warnings(job.image, self.model.generator)
        said += channel_warnings(picture, self.clean.numpy())
        if job.image is not None:
            said += missing_warnings(job.image.missing, job.image.pixels)
        if job.truth_image is not None and job.truth_image is not job.image:
            named = missing_warnings(job.truth_image.missing, job.truth_image.pixels)
            said += [f"truth {job.truth_image.path}: {line}" for line in named]
        if self.hole is not None and _has_mask_of_a_user(job.corruption):
            full = job.truth if job.image is job.truth_image and job.truth is not None else job.y
            said += mask_warnings(full.cpu().numpy(), self.hole.cpu().numpy() > 0)
        sizes = job.y.shape[-1], self.clean.shape[-1]
        if job.frame is not None and job.image is not job.truth_image and job.enlarged == 1:
            said += size_warnings(job.frame.box[2], *sizes)
        if job.truth_frame is not None:
            said += truth_warnings(job.truth_side, *sizes)
        learned = self.model.sigma is None and not self.model.preset
        kernel = None if (shrunk := downsampling(job.corruption)) is None else shrunk.kernel
        return said + noise_warnings(self.model.sigma) + check_warnings(self.checks, learned, slices_of(job), kernel)

    def metrics(self) -> dict[str, Any]:
        """Metrics against the truth at the generator's resolution, by slice too, at the file's, and of baselines."""
        truth = self.job.truth
        assert truth is not None
        common: dict[str, Any] = {"observed": self.hole, "where": truth > BLACK, "features": self.features}
        draws = None if self.fit.is_point else self._where_truth_is(torch.as_tensor(self.drawn["clean"]))
        each = image_metrics(self._where_truth_is(self.clean).clamp(-1, 1), truth, draws=draws, **common)
        found: dict[str, Any] = _means(each)
        if (slices := slices_of(self.job)) is not None:
            found["slices"] = by_slice(each, slices)
        if (image := self.job.truth_image) is not None and (frame := self.job.truth_frame) is not None:
            own = [torch.as_tensor(_normalised(p, frame)) for p in (frame.from_square(self.clean), image.pixels)]
            found["own_resolution"] = _means(image_metrics(own[0].clamp(-1, 1), own[1]))
        for name, method in baselines_for(self.model.corruption, self.job.y).items():
            estimate = method(self.model.corruption, self.job.y)
            found[name] = _means(image_metrics(estimate, truth, observed=self.hole, features=self.features))
        return found

    def _where_truth_is(self, images: Tensor) -> Tensor:
        """Return images (..., H, W) with black, as in the truth, where the square reaches beyond the clean picture."""
        if (frame := self.job.truth_frame) is None:
            return images
        known = frame.mask_to_square(np.ones((frame.height, frame.width)))
        return torch.where(known.to(images.device), images, -1.0)


def _has_mask_of_a_user(corruption: Corruption) -> bool:
    """Whether it hides what an array or a file says, which may be inverted, and no shape."""
    return any(isinstance(part, Mask) and part.mask is not None for part in corruption.modules())


def _normalised(pixels: NDArray[Any], frame: Frame) -> NDArray[Any]:
    return (pixels - frame.low) * (2 / (frame.high - frame.low)) - 1


def _means(metrics: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(values.double().mean()) for name, values in metrics.items()}


PRODUCTS = (
    *("fit.json", "guides.safetensors", "reconstruction.json", "reconstruction.safetensors", "posterior.nc"),
    *("clean.*", "clean_???.png", "clean_image.npy", "sd_image.*", "sd_image_???.png", "sd.*"),
    *("draws.npy", "corrupted.npy", "measured.npy", "checks.json", "metrics.json", "figure.png"),
)
"""Names of what `write_reconstruction` may write, as patterns of a shell."""


def write_reconstruction(found: Reconstruction, folder: Path, generator: str) -> None:
    """Write everything.

    Files: ``clean.npy`` (B, C, H, W), ``draws.npy`` (draws, B, C, H, W), ``sd.npy``, ``corrupted.npy`` and
    ``measured.npy``, in the generator's frame and unit; ``clean`` and ``sd_image`` in the format, frame and unit of the
    input, or, where the square laid in it is smaller than the generator's images, or it is no picture, in PNG (255 grey
    levels are -1 to 1, and 0 to 2 of the sd), a small picture enlarged by a whole factor; the fit,
    ``posterior.nc`` and the model (:func:`~neuropyro.models.reconstruction_storage.load_reconstruction`);
    ``checks.json``; ``metrics.json`` where the truth is known; and the figures ``figure.png`` and ``sd.png``.  A point
    has no sd: ``sd_image`` and ``sd.png`` are left out, and ``sd.npy`` is of the residual image alone.  A volume is
    written whole; which of its slices are the estimates stands as ``slices`` in ``checks.json``.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.generators import Generator, GeneratorConfig
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models.corruption import Downsample
    >>> _ = torch.manual_seed(0)
    >>> G = Generator(GeneratorConfig(img_resolution=8, z_dim=4, w_dim=4, channel_base=64, channel_max=8))
    >>> model = LatentReconstruction(G, Downsample(2), prior="z", candidates=4, starts=1, search_steps=0)
    >>> truth = torch.zeros(1, 1, 8, 8)
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> result = fit(model, model.corruption.A(truth), "map", schedule=short, progress=False)
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_reconstruction(Reconstruction.of(result, truth, draws=4), folder, "small.safetensors")
    >>> levels = (torch.from_numpy(np.load(folder / "clean.npy")).clamp(-1, 1) + 1) * 127.5
    >>> np.array_equal(levels[0, 0].round(), np.asarray(Image.open(folder / "clean.png")))  # the same in grey levels
    True
    """
    from neuropyro.reconstruct_plots import plot_reconstruction, plot_sd

    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"clean": found.clean.numpy(), "draws": found.drawn["clean"], "sd": found.sd}
    arrays |= {"corrupted": found.corrupted.numpy(), "measured": found.job.y.numpy()}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    _write_in_place(found, folder)
    found.fit.save(folder)
    save_reconstruction(found.model, folder, generator)
    save_netcdf(found.fit.to_arviz(found.draws, predictive_draws=min(found.draws, 32)), folder / "posterior.nc")
    slices = slices_of(found.job)
    checks: dict[str, Any] = {} if slices is None else {"slices": slices}
    if (frame := found.job.frame) is not None:
        box = (at / found.job.enlarged for at in frame.box)
        checks["square"] = dict(zip(("top", "left", "height", "width"), box, strict=True))
    checks |= {name: values.tolist() for name, values in found.checks.items()}
    _write_json(folder / "checks.json", checks | {"warnings": found.warnings})
    if found.job.truth is not None:
        _write_json(folder / "metrics.json", found.metrics())
    plot_reconstruction(found).savefig(folder / "figure.png", dpi=110)
    if not found.fit.is_point:
        plot_sd(found).savefig(folder / "sd.png", dpi=110)


def _write_in_place(found: Reconstruction, folder: Path) -> None:
    """Write the estimate and its sd in the frame, format and unit of the file, or in PNG where that is small."""
    image, frame = found.job.image, found.job.frame
    if image is None or frame is None or found.job.enlarged > 1 or min(frame.box[2:]) < frame.size:
        small = None if frame is None else _shown(frame, found.job.enlarged)
        _write_pictures(folder, "clean", _in_picture(found.clean, small))
        if not found.fit.is_point:
            _write_pictures(folder, "sd_image", _in_picture(torch.as_tensor(found.sd) - 1, small))  # black is no sd
        return
    end = SUFFIXES[image.kind]
    name = "clean_image" if end == ".npy" else "clean"  # clean.npy is the array in the generator's frame
    like = image if image.kind != "jpeg" else _as_png(image)
    write_image(folder / f"{name}{end}", like, frame.from_square(found.clean, image.pixels))
    if not found.fit.is_point:
        width = frame.from_square(torch.as_tensor(found.sd) - 1) - frame.low
        write_image(folder / f"sd_image{end}", like, width, others=0.0)


def _shown(frame: Frame, enlarged: int) -> Frame:
    """Frame in a small picture made larger, if it is not yet; brightness -1 to 1, channels the square's."""
    own = replace(frame, low=-1.0, high=1.0, channels=frame.square_channels)
    return own if enlarged > 1 else own.enlarged(math.ceil(frame.size / min(frame.box[2:])))


def _in_picture(images: Tensor, frame: Frame | None) -> Tensor:
    """Put the generator's images where they lie in a picture; as they are where there is none."""
    return images if frame is None else torch.as_tensor(frame.from_square(images))


def _as_png(image: Any) -> Any:
    """Let what is written beside a JPEG be lossless."""
    return type(image)(**(vars(image) | {"kind": "png"}))


def _write_pictures(folder: Path, name: str, pictures: Tensor) -> None:
    for i, picture in enumerate(pictures):
        _write_picture(folder / (f"{name}.png" if len(pictures) == 1 else f"{name}_{i:03d}.png"), picture)


def _write_picture(path: Path, picture: Tensor) -> None:
    """Write (C, H, W) on -1..1 with 8 bits."""
    levels = ((picture.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    Image.fromarray(levels[0] if len(levels) == 1 else np.moveaxis(levels, 0, 2)).save(path)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(plain(values), indent=2, allow_nan=False) + "\n")
