"""The command that reconstructs images."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from neuropyro.console import complain, say
from neuropyro.data.unknown_names import few
from neuropyro.reconstruct_files import files_of, folders_of, place_of, refuse_slices
from neuropyro.result_folder import check_room, keep_fits, make_room, refuse_file, unfinished

if TYPE_CHECKING:  # PyTorch takes seconds to import, and --help needs none of it
    from neuropyro.models.corruption import Corruption
    from neuropyro.reconstruct_framing import Framing
    from neuropyro.reconstruct_inputs import Job
    from neuropyro.reconstruct_outputs import Reconstruction

__all__ = ["register"]

RATES = {"map": 0.1}  # of Adam; others start where the search for the mode ended
RATE = 0.06


def register(app: App) -> None:
    """Add the command to an app.

    Examples
    --------
    >>> app = App()
    >>> register(app)
    >>> app("reconstruct brain.png --corruption superres:4 --steps 1 --out out", result_action="return_value")
    Traceback (most recent call last):
    ValueError: reconstruct: draws and steps must be 2 or more, got 64 and 1
    """
    app.command(_reconstruct)


def _reconstruct(
    *image: Path,
    out: Path,
    overwrite: bool = False,
    corruption: str,
    generator: str = "brains64",
    guide: Literal["map", "laplace", "normal", "lowrank", "mvn", "structured", "flow"] = "structured",
    draws: int = 64,
    truth: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    prior: Literal["wplus", "w", "z"] = "wplus",
    pose: bool = True,
    steps: int = 300,
    slices: Annotated[tuple[int, ...], Parameter(consume_multiple=1, negative=())] = (),
    plane: Literal["coronal", "axial", "sagittal"] = "coronal",
    intensity: Annotated[tuple[float, ...], Parameter(consume_multiple=1, negative=())] = (),
    field_of_view: float | None = None,
    vgg: Path | None = None,
    seed: int = 0,
    device: Annotated[str | None, Parameter(help="torch device; CUDA where there is one")] = None,
) -> None:
    """Find the clean images of corrupted ones, and how sure they are.

    Each file gets a folder of its name in --out: the clean image in the file's own format, draws, the sd of each pixel,
    the posterior, checks, a figure, and metrics where the truth is given.  A file that cannot be used is told and left
    out; the exit status is then 1, or 2 where no file could be used.

    Parameters
    ----------
    image
        Corrupted images: PNG, JPEG, TIFF, .npy, NIfTI (every slice, or --slices), folders of them, or k-space in .npy
        or HDF5 (fastMRI's layout).
    out
        Folder for the results.
    overwrite
        Whether results that it holds of files of these names are replaced.
    corruption
        What happened to them, as superres:8, inpaint:mask.png, kspace:4, blur:2+noise:.05; sizes are those of the
        generator's images, and noise is an sd where black is -1 and white 1. In a mask black is the hole and white was
        seen. superres is bicubic, as Pillow's resize; superres:8,kernel=area is the mean of each 8 x 8 pixels.
    generator
        A bundled name, or a checkpoint's path.
    guide
        How the posterior is approximated; "map" is the likeliest image.
    draws
        Posterior draws to keep.
    truth
        The clean images, in the order of the corrupted ones; alone, they are corrupted first.
    prior
        "wplus": a latent for each layer; "w": one for all; "z": through the mapping network.
    pose
        Find where the head lies (shift, turn and size, a little) together with the image.
    steps
        Of the optimiser.
    slices
        Which slices of volumes, from 0, as 56,57; all if not given.
    plane
        Of slices of volumes.
    intensity
        Brightness in the files that is black, and that is white, as 0,255; found if not given.
    field_of_view
        Of the generator's square: mm, for files that say how large their pixels are (brains64: 179, coronal), and
        pixels of the picture for others; found if not given, in these from how much of the picture its content fills.
    vgg
        VGG16's weights, with LPIPS's heads, for the metric LPIPS.
    seed
        Of everything random.
    """
    if not image and not truth:
        raise ValueError("reconstruct: no image; give corrupted images, or clean ones by --truth alone")
    if draws < 2 or steps < 2:
        raise ValueError(f"reconstruct: draws and steps must be 2 or more, got {draws} and {steps}")
    if intensity and len(intensity) != 2:
        raise ValueError("--intensity: give two numbers, what is black and what is white, as --intensity 0,255")
    refuse_file(out)
    clean = files_of(truth or [])
    files = files_of(image) or clean
    refuse_slices(files, slices)
    if image and clean and len(clean) != len(files):
        raise ValueError(f"reconstruct: {len(clean)} truths for {len(files)} images; give one for each, or none")
    if not overwrite:
        keep_fits(folders_of(files, out))
    framing: dict[str, Any] = {"slices": slices or "all", "plane": plane}
    framing |= {"intensity": intensity or None, "field_of_view": field_of_view}
    work = _Work.begin(generator, corruption, prior, pose, framing, guide, draws, steps, vgg, seed, device)
    failed = work.all(files, clean if image else [], out, simulate=not image)
    done = f"results: {place_of(files, out).resolve()}" if len(failed) < len(files) else ""
    say(done, out=out.resolve(), files=len(files), left_out=[str(file) for file in failed])
    if failed:
        complain(f"{len(failed)} of {len(files)} files were left out")
        sys.exit(1 if len(failed) < len(files) else 2)


@dataclass(frozen=True)
class _Work:
    """What all files have in common."""

    generator: str
    corruption: Corruption
    model: Any
    framing: Framing
    guide: str
    draws: int
    steps: int
    features: Any
    seed: int
    device: str | None

    @classmethod
    def begin(
        cls,
        generator: str,
        corruption: str,
        prior: Any,
        pose: bool,
        framing: dict[str, Any],
        guide: str,
        draws: int,
        steps: int,
        vgg: Path | None,
        seed: int,
        device: str | None,
    ) -> _Work:
        """Load the generator, once for all files."""
        import torch

        from neuropyro.generators import load_generator, load_vgg16
        from neuropyro.models import LatentReconstruction
        from neuropyro.models.corruption import parse_corruption
        from neuropyro.models.reconstruction_pose import PosePrior
        from neuropyro.reconstruct_framing import Framing

        network, operator = load_generator(generator), parse_corruption(corruption)
        model = LatentReconstruction(network, operator, prior, pose=PosePrior() if pose else None)
        z = torch.randn(16, network.z_dim, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            found = Framing.of(network, network(z), **framing)
        features = None if vgg is None else load_vgg16(vgg)
        return cls(generator, operator, model, found, guide, draws, steps, features, seed, device)

    def all(self, files: Sequence[Path], truths: Sequence[Path], out: Path, simulate: bool) -> list[Path]:
        """Reconstruct every file; returns those that could not be."""
        from tqdm.auto import tqdm

        failed, replaced, done, began = [], [], 0, time.perf_counter()
        folders, inputs = folders_of(files, out), (*files, *truths)
        _check_room(folders, inputs)
        alone = len(files) == 1  # its steps are shown, for a bar of files would stand at 0 till the end
        with tqdm(files, unit="file", desc="reconstruct", disable=alone) as bar:
            for i, file in enumerate(bar):
                try:
                    found = self.one(file, truths[i] if truths else None, simulate, alone)
                    replaced += [str(folders[i])] * self.write(found, folders[i], inputs)
                except (ValueError, OSError, FloatingPointError, RuntimeError) as error:
                    failed.append(file)
                    _make_way(bar)
                    complain(_naming(file, error))
                    continue
                if found.warnings:
                    _make_way(bar)
                for line in found.warnings:
                    print(f"neuropyro: {file}: {line}", file=sys.stderr)
                done += len(found.job.y)
                bar.set_postfix_str(f"{done / (time.perf_counter() - began):.2g} images/s")
        if replaced:
            print(f"{', '.join(few(replaced))}: the results of an earlier fit are replaced", file=sys.stderr)
        return failed

    def one(self, file: Path, truth: Path | None, simulate: bool, alone: bool) -> Reconstruction:
        """Reconstruct one file, with bars where it is alone."""
        from neuropyro.reconstruct_inputs import job_of

        job = job_of(file, truth, self.corruption, self.framing, simulate, self.seed)
        return self.fitted(job, alone or len(job.y) > 1 or sys.stderr.isatty())

    def write(self, found: Reconstruction, folder: Path, inputs: Sequence[Path]) -> bool:
        """Write one file's results; returns whether earlier ones were replaced."""
        from neuropyro.reconstruct_outputs import PRODUCTS, write_reconstruction

        replaced = make_room(folder, PRODUCTS, inputs)  # not before: a file that cannot be used leaves earlier ones
        with unfinished(folder):
            write_reconstruction(found, folder, self.generator)
        return replaced

    def fitted(self, job: Job, progress: bool) -> Reconstruction:
        """Fit the posterior of one file's images, all at once; ``progress`` shows the steps, below the files' bar."""
        from neuropyro.inference import fit
        from neuropyro.inference.convergence import CosineSchedule
        from neuropyro.reconstruct_outputs import Reconstruction

        model = self.model.with_corruption(job.corruption)
        schedule = CosineSchedule(RATES.get(self.guide, RATE), max_steps=self.steps, warm_up=self.steps // 2, window=20)
        options: dict[str, Any] = {"guide": self.guide, "schedule": schedule, "seed": self.seed, "device": self.device}
        result = fit(model, job.y, progress=progress, **options)
        return Reconstruction(job, model, result, self.draws, self.features)


def _check_room(folders: Sequence[Path], inputs: Sequence[Path]) -> None:
    from neuropyro.reconstruct_outputs import PRODUCTS

    for folder in folders:
        check_room(folder, PRODUCTS, inputs)


def _make_way(bar: Any) -> None:
    """Take the bar off a screen, or end its line in a log, so that what is said next has a line of its own."""
    if bar.disable:
        return
    if sys.stderr.isatty():
        bar.clear()
    else:
        print(file=sys.stderr)


def _naming(file: Path, error: Exception) -> str:
    """Return the error with the file's name."""
    said = str(error)
    return said if str(file) in said else f"{file}: {said}"
