# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Reconstruct a brain
#
# **The question.** A scan came out with a sixteenth of its pixels, or with a hole, or with a quarter of its k-space.
# What was the brain like, and which parts of the answer are known from the scan and which are a guess?
#
# **The model** (BRGM). Nature draws a latent $w$, a generator makes an image of it, a known corruption $A$ and noise
# make the measurements:
#
# $$w \sim \mathrm{Normal}(\mu, \Sigma),\quad r \sim \mathrm{Normal}(0, S),\quad y \sim \mathrm{Normal}(A(G(w) + r),\ \sigma^2)$$
#
# where $r$ is what the generator cannot make. One generator serves every corruption: nothing is trained for a task.
#
# The images are coronal slices of simulated brains (phantoms) that the generator has not seen, on a scale from -1
# (black) to 1; errors are given in grey levels of 255.

# %%
# %matplotlib inline
import logging

import matplotlib.pyplot as plt
import numpy as np
import torch

from neuropyro import plots
from neuropyro.data.phantoms import BrainPhantoms
from neuropyro.generators import load_generator
from neuropyro.image_baselines import bicubic, biharmonic, zero_filled
from neuropyro.inference import fit
from neuropyro.inference.convergence import CosineSchedule
from neuropyro.models import LatentReconstruction
from neuropyro.models.corruption import Downsample, Mask, Undersample
from neuropyro.models.corruption_mask_shapes import Rectangle
from neuropyro.reconstruct_outputs import Reconstruction

logging.getLogger("matplotlib").setLevel(logging.ERROR)

G = load_generator("brains64")
truth = BrainPhantoms(64, split="test", seed=7)([0, 2]).images  # (2, 1, 64, 64)
schedule = CosineSchedule(0.06, max_steps=100, warm_up=60, window=10)
kept = {}


def reconstruct(corruption, guide="structured"):
    """Corrupt the truth, and find it again."""
    model = LatentReconstruction(G, corruption, candidates=400, starts=1, search_steps=30)
    y = corruption.corrupt(truth, seed=1)
    result = fit(model, y, guide=guide, schedule=schedule, seed=0, progress=False)
    return Reconstruction.of(result, truth, draws=32)


def rms(images, where=None):
    """Root mean square error, grey levels of 255."""
    square = ((torch.as_tensor(images) - truth) * 127.5).square()
    return float((square if where is None else square[where.expand_as(square)]).mean().sqrt())


# %% [markdown]
# ## Super-resolution: 16 x 16 pixels to 64 x 64
#
# From left to right: what was measured, the posterior mean, three draws from the posterior, the posterior's sd, the
# truth, and the error of the mean.

# %%
coarse = kept["super-resolution"] = reconstruct(Downsample(4, noise=0.02))
print(coarse.fit.verdict)
print(
    f"rms error (grey levels): posterior mean {rms(coarse.clean):.1f}, bicubic {rms(bicubic(coarse.model.corruption, coarse.job.y)):.1f}"
)
figure = plots.plot_reconstruction(coarse)
figure.savefig("../docs/reconstruction.png", dpi=90)
figure

# %% [markdown]
# The mean is far nearer to the truth than the interpolation. A draw looks a little rougher than a brain: beside what the
# generator makes it has a draw of what no generator's image has, small things that sixteen pixels a side do not show.
#
# The sd is largest where edges are many, of which sixteen pixels a side leave most open: in the folds of the cortex and
# along the midline. It is smaller in the white matter, and none to speak of outside of the head. Is it as large as the
# errors are? On the line of the right panel it would be, and near the line it is: in super-resolution the sd can be read
# as the size of the error, pixel by pixel.

# %%
plots.plot_sd(coarse)

# %% [markdown]
# ## Inpainting: a hole
#
# Inside the hole nothing was measured; what is drawn there is what the generator has there, given what is around it.

# %%
holed = kept["inpainting"] = reconstruct(Mask(Rectangle(0.28, 0.28), noise=0.02))
hole = holed.hole == 0
print(
    f"rms error in the hole (grey levels): posterior mean {rms(holed.clean, hole):.1f}, biharmonic {rms(biharmonic(holed.model.corruption, holed.job.y), hole):.1f}"
)
inside = float(holed.sd[hole.numpy()].mean() * 127.5)
outside = float(holed.sd[~hole.numpy()].mean() * 127.5)
print(f"posterior sd: {inside:.1f} in the hole, {outside:.1f} outside")
plots.plot_reconstruction(holed)

# %% [markdown]
# The sd knows where the hole is: it is six times as large inside, and about as large as the error there, printed above.
# The ventricles, of which the hole leaves a part, are continued as they are, to a pixel or two of their edges, and there
# draws differ most.
#
# ## A quarter of k-space
#
# Of 64 lines of k-space a quarter was sampled, the middle ones all; the image has a smooth phase, which is known.

# %%
spectral = kept["k-space x 4"] = reconstruct(Undersample(4, noise=0.01))
print(
    f"rms error (grey levels): posterior mean {rms(spectral.clean):.1f}, zero-filled {rms(zero_filled(spectral.model.corruption, spectral.job.y)):.1f}"
)
plots.plot_reconstruction(spectral)

# %% [markdown]
# ## The likeliest image, or draws?
#
# `guide="map"` finds the single likeliest latent. It is quick, and it is *one* answer, which looks the same whether much
# or nothing was measured. A number read from the image, such as the mean brightness of the hole (large ventricles make
# it dark), needs draws to have an interval.

# %%
likeliest = reconstruct(Mask(Rectangle(0.28, 0.28), noise=0.02), guide="map")
drawn = torch.as_tensor(holed.drawn["clean"])
figure, axes = plt.subplots(1, 5, figsize=(8.5, 2.1), layout="constrained")
panels = {
    "measured": torch.where(hole, -1.0, holed.job.y),
    "likeliest": likeliest.clean,
    "draw 1": drawn[0],
    "draw 2": drawn[1],
    "truth": truth,
}
for axis, (title, image) in zip(axes, panels.items()):
    axis.imshow(image[0, 0], cmap="gray", vmin=-1, vmax=1)
    axis.set_title(title, fontsize=9)
    axis.axis("off")
print(
    f"rms error in the hole: likeliest {rms(likeliest.clean, hole):.1f}, posterior mean {rms(holed.clean, hole):.1f}, "
    f"one draw {np.mean([rms(one, hole) for one in drawn]):.1f} on average"
)

# %%
brightness = {
    name: ((torch.as_tensor(x) + 1) * 127.5 * hole).sum((-1, -2, -3)) / hole.sum((-1, -2, -3))
    for name, x in (("draws", drawn), ("map", likeliest.clean), ("truth", truth))
}
low, high = np.quantile(brightness["draws"], [0.05, 0.95], axis=0)
figure, axis = plt.subplots(figsize=(4.5, 2.6), layout="constrained")
axis.vlines(range(2), low, high, color="#0072B2", lw=3, label="draws, 90 %")
axis.plot(range(2), brightness["map"], "s", color="#D55E00", ms=5, label="likeliest")
axis.plot(range(2), brightness["truth"], "k_", ms=16, label="truth")
axis.set(
    xticks=range(2),
    xlim=(-0.5, 1.5),
    xticklabels=["brain 1", "brain 2"],
    ylabel="mean brightness\nin the hole (grey levels)",
)
_ = axis.legend(frameon=False, fontsize=8, loc="upper center")

# %% [markdown]
# A draw is further from the truth than the mean of draws, as it must be; it looks like a brain, where a mean is smooth.
# The likeliest image errs by a little more than the mean, and nothing about it says by how much.
#
# ## What could be wrong
#
# * **Where little was measured, intervals are a little too narrow.** In a hole of 24 x 24 pixels 90 % intervals hold 87 %
#   of them (eight phantoms). Draws show what the guide has found, not all that is possible; more `starts` find more, and no
#   guide finds a brain that the generator cannot make.
# * The generator knows phantoms, not patients. A tumour, another contrast or another plane is unlike all it has seen;
#   `neuropyro reconstruct` says so (`checks.json`), and such images should not be believed.
# * The corruption was known exactly: the blur of the pixels, the noise's sd, the phase. In a real scan they are estimates.
#
# From the shell: `neuropyro reconstruct --truth brain.nii.gz --corruption superres:4+noise:.02 --out out/`.
