"""The picture of the documentation: any generator and any corruption, with no training for either.

    python benchmarks/reconstruction_grid.py --out docs/corruptions.png

A row of three for each generator: what was measured, the clean image that was found, and its sd; a column for each
corruption.  brains64 meets a held-out phantom; a network from another family's file, of 32 px and in colour, one of its
own images.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from train_brains64 import RECIPE

from neuropyro.data.phantoms import BrainPhantoms
from neuropyro.generators import load_generator
from neuropyro.image_baselines import zero_filled
from neuropyro.inference import fit
from neuropyro.inference.convergence import CosineSchedule
from neuropyro.models import LatentReconstruction
from neuropyro.models.corruption import Corruption, Identity, parse_corruption

CORRUPTIONS = {
    "4 x fewer pixels": "superres:4+noise:.02",
    "8 x fewer pixels": "superres:8+noise:.02",
    "a hole": "inpaint:rectangle,height=.375,width=.375+noise:.02",
    "stripes lost": "inpaint:stripes+noise:.02",
    "blurred": "blur:2+noise:.02",
    "moved": "motion:9,angle=30+noise:.02",
    "k-space, 4 x": "kspace:4+noise:.02",
    "bias, 4 x fewer": "intensity:bias=.3+superres:4+noise:.02",
}
OTHER = Path("tests/generators/fixtures/rgb32.pkl")


def truths() -> dict[str, tuple[LatentReconstruction, Tensor]]:
    """Models of each generator, and one clean image (1, C, H, W)."""
    brains, other = load_generator("brains64"), load_generator(OTHER)
    phantom = BrainPhantoms(resolution=64, split="test", recipe=RECIPE)(range(5, 6)).images
    label = torch.eye(max(other.label_dim, 1))[:1] if other.label_dim else None
    z = torch.randn(1, other.z_dim, generator=torch.Generator().manual_seed(3))
    own = other.synthesis(other.mapping(z, label), noise_mode="none").detach()
    models = [
        LatentReconstruction(brains, Identity(0.02)),
        LatentReconstruction(other, Identity(0.02), "w", labels=label, residual=None),
    ]
    return {"brains64": (models[0], phantom), "a colour network": (models[1], own)}


def shown(corruption: Corruption, y: Tensor) -> Tensor:
    """Measurements (1, ...) as a picture (C, h, w)."""
    if y.is_complex():
        return zero_filled(corruption, y)[0]
    return torch.where(corruption.observed(y) != 0, y, -1.0)[0]


def column(model: LatentReconstruction, truth: Tensor, text: str, steps: int) -> list[Tensor] | None:
    """Input, estimate and sd; None where the corruption is not of such images."""
    corruption = parse_corruption(text)
    if truth.shape[1] != 1 and text.startswith("kspace"):
        return None
    y = corruption.corrupt(truth, seed=1)
    found = model.with_corruption(corruption)
    schedule = CosineSchedule(0.06, max_steps=steps, warm_up=steps // 2, window=20)
    result = fit(found, y, guide="structured", schedule=schedule, progress=False)
    drawn = torch.as_tensor(result.predictive(32)["clean"])[:, 0]
    return [shown(corruption, y), torch.as_tensor(found.estimate(result))[0], drawn.std(0).mean(0, keepdim=True)]


def as_picture(image: Tensor) -> np.ndarray:
    """(H, W) or (H, W, 3) on 0..1."""
    levels = (image.clamp(-1, 1) / 2 + 0.5).numpy()
    return levels[0] if len(levels) == 1 else np.moveaxis(levels, 0, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("docs/corruptions.png"))
    args = parser.parse_args()
    cases = truths()
    figure = Figure(figsize=(1.35 * (len(CORRUPTIONS) + 1), 1.35 * 3 * len(cases) + 0.5), layout="constrained")
    axes = figure.subplots(3 * len(cases), len(CORRUPTIONS) + 1, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for k, (model, truth) in enumerate(cases.values()):
        rows = axes[3 * k : 3 * k + 3]
        rows[1, 0].imshow(as_picture(truth[0]), cmap="grey", vmin=0, vmax=1)
        rows[1, 0].set_title("truth", fontsize=9)
        for j, text in enumerate(CORRUPTIONS.values()):
            found = column(model, truth, text, args.steps)
            if found is None:
                continue
            for row, image in zip(rows[:2], found[:2], strict=True):
                row[j + 1].imshow(as_picture(image), cmap="grey", vmin=0, vmax=1, interpolation="nearest")
            rows[2, j + 1].imshow(found[2][0].numpy() * 127.5, cmap="magma", vmin=0, vmax=40)
    for j, title in enumerate(CORRUPTIONS):
        axes[0, j + 1].set_title(title, fontsize=9)
    for k, name in enumerate(cases):
        for row, said in zip(axes[3 * k : 3 * k + 3, 0], ("measured", "", "sd, 0 to 40\ngrey levels"), strict=True):
            row.text(1.0, 0.5, said, ha="right", va="center", fontsize=9, transform=row.transAxes)
        axes[3 * k, 0].text(0.0, 1.0, name, fontsize=10, weight="bold", va="top", transform=axes[3 * k, 0].transAxes)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
