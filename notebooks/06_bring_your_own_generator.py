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
# # Bring your own generator
#
# **The question.** You have a StyleGAN2 checkpoint, from NVIDIA's code, TensorFlow's, rosinality's or this library's.
# What is in it, is it safe to open, what does its latent space look like, and which way in it do ventricles widen?

# %%
# %matplotlib inline
import logging
import os
import pickle
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from neuropyro.checkpoint_description import describe
from neuropyro.data.phantoms import BrainPhantoms
from neuropyro.data.ventricle_area import TYPICAL_AREA, ventricle_area
from neuropyro.generators import (
    Card,
    CheckpointError,
    find_directions,
    latent_statistics,
    load_checkpoint,
    load_generator,
    project,
    save_generator,
)
from neuropyro.generators.directions import sweep

logging.getLogger("matplotlib").setLevel(logging.ERROR)
torch.set_grad_enabled(True)
work = Path(tempfile.mkdtemp())


def show(images, titles=None, per_row=8):
    """Draw images (N, C, H, W) on -1..1 in rows."""
    rows = -(-len(images) // per_row)
    _, axes = plt.subplots(rows, per_row, figsize=(1.15 * per_row, 1.25 * rows), layout="constrained", squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for k, (axis, image) in enumerate(zip(axes.flat, images)):
        axis.imshow(
            np.moveaxis(((image.detach().numpy() + 1) / 2).clip(0, 1), 0, 2).squeeze(), cmap="gray", vmin=0, vmax=1
        )
        if titles is not None:
            axis.set_title(titles[k], fontsize=8)


# %% [markdown]
# ## Is it safe to open?
#
# NVIDIA's `.pkl` files are pickles that carry source code, which the original loader executes. Here tensors and
# settings are read, and nothing is executed. A file of that format, with random weights:

# %%
nvidia = Path("..") / "tests" / "generators" / "fixtures" / "rgb32.pkl"
for name, value in describe(load_checkpoint(nvidia)):
    print(f"{name:22} {value}")

# %% [markdown]
# What the original network makes of some z was kept beside it. Ours makes the same:

# %%
expected = np.load(nvidia.with_suffix(".npz"))
N = load_generator(nvidia)
with torch.no_grad():
    w = N.mapping(torch.from_numpy(expected["z"]))
    images = N.synthesis(w, noise_mode="const")
print(
    f"largest difference: w {np.abs(w.numpy() - expected['w']).max():.1e}, images {np.abs(images.numpy() - expected['img_const']).max():.1e}"
)

# %% [markdown]
# And a pickle that would do harm when opened is refused by name:


# %%
class Harm:
    def __reduce__(self):
        return os.system, ("echo harm was done",)


(work / "harm.pkl").write_bytes(pickle.dumps({"G_ema": Harm()}))
try:
    load_generator(work / "harm.pkl")
except CheckpointError as error:
    print(error)

# %% [markdown]
# ## What does it make?
#
# From here on with the generator that comes with the library. Its samples, beside phantoms that it has never seen:

# %%
G = load_generator("brains64")
z = torch.randn(8, G.z_dim, generator=torch.Generator().manual_seed(1))
phantoms = BrainPhantoms(64, split="test", seed=3)
real = phantoms(range(8))
with torch.no_grad():
    samples = G(z)
show(torch.cat([samples, real.images]), ["generated"] * 8 + ["phantom"] * 8)

# %% [markdown]
# Generated slices are a trace softer. What the card says of that, from tests on held-out phantoms:

# %%
for name, value in G.card.metrics.items():
    print(f"{name:40} {value}")

# %% [markdown]
# ## The latent space
#
# Reconstruction takes w for normally distributed. The mean and covariance over 10,000 mapped z are in the card; the
# spectrum says how many directions there are that matter, and a quantile plot along some of them whether "normal" is a
# fair word.

# %%
statistics = latent_statistics(G)
values, vectors = torch.linalg.eigh(statistics.covariance.double())
share = (values.flip(0).cumsum(0) / values.sum()).numpy()
with torch.no_grad():
    w = G.mapping(torch.randn(4000, G.z_dim, generator=torch.Generator().manual_seed(2)))[:, 0]
along = ((w - statistics.mean).double() @ vectors.flip(1)[:, :4] / values.flip(0)[:4].sqrt()).numpy()

figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.2), layout="constrained")
left.plot(np.arange(1, len(share) + 1), share, color="#0072B2")
left.set(xlabel="principal directions of w", ylabel="share of its variance", ylim=(0, 1.02))
quantiles = torch.distributions.Normal(0, 1).icdf(torch.linspace(0.001, 0.999, 400)).numpy()
for k, colour in enumerate(("#0072B2", "#D55E00", "#009E73", "#CC79A7")):
    right.plot(
        quantiles, np.quantile(along[:, k], np.linspace(0.001, 0.999, 400)), color=colour, label=f"direction {k + 1}"
    )
right.plot([-3, 3], [-3, 3], "k", lw=0.8)
right.set(xlabel="normal quantiles (sd)", ylabel="quantiles of w (sd)")
right.legend(frameon=False, fontsize=8)
print(f"{(share < 0.9).sum() + 1} of {len(share)} directions hold 90 % of the variance")

# %% [markdown]
# ## Which way do ventricles widen?
#
# Measure the ventricles in generated slices, regress on w, and turn the readout into a direction along which the
# measure changes by one unit and as little else as may be. Your own measure goes in the same place.


# %%
def measured(images):
    """Logarithm of the ventricles' area relative to the typical one, (B, 1)."""
    return (ventricle_area(images) / TYPICAL_AREA).clamp_min(0.02).log()[:, None]


with torch.no_grad():
    train = G.mapping(torch.randn(1500, G.z_dim, generator=torch.Generator().manual_seed(4)))
    area = torch.cat([measured(G.synthesis(part, noise_mode="const")) for part in train.split(100)])
directions = find_directions(train[:, 0], area, ["log ventricle area"])
print(f"predicted on slices left out: R2 = {float(directions.r2[0]):.2f}")

amounts = (-1.0, -0.5, 0.0, 0.5, 1.0)
with torch.no_grad():
    one = G.mapping(z[:1])
    show(
        torch.cat([G.synthesis(one + a * directions.vectors[0].float(), noise_mode="const") for a in amounts]),
        [f"{a:+.1f}" for a in amounts],
        5,
    )

# %% [markdown]
# The ventricles widen from left to right, and the rest stays nearly as it is: in what this generator learned from, their
# size is independent of all else but what a slice's place shows of them. A direction that is learned from what varies
# together takes along what it must.
#
# Does it do what it says? Move 64 other latents along it, and measure anew: a slope of 1 is what one unit should do.

# %%
moved = sweep(G, directions.vectors[0].float(), measured, amounts, draws=64, seed=9)[..., 0].numpy()
change = moved - moved[:, 2:3]
low, high = np.quantile(change, [0.05, 0.95], axis=0)
figure, axis = plt.subplots(figsize=(4.2, 3.2), layout="constrained")
axis.fill_between(amounts, low, high, color="#0072B2", alpha=0.2, lw=0, label="90 % of 64 latents")
axis.plot(amounts, change.mean(0), "o-", color="#0072B2", ms=4, label="mean")
axis.plot([-1, 1], [-1, 1], "k", lw=0.8, label="what it says")
axis.set(xlabel="units moved along the direction", ylabel="change of log ventricle area")
axis.legend(frameon=False, fontsize=8)
print(f"mean slope {np.polyfit(amounts, change.mean(0), 1)[0]:.2f}")

# %% [markdown]
# ## Can it make *this* brain?
#
# The latent of a given image, found by descent. What is left is what the generator cannot make; reconstruction needs to
# know how large that is, or its intervals would be too narrow.

# %%
found = project(G, real.images[:4], steps=150)
print("rms difference (grey levels):", ", ".join(f"{x * 127.5:.1f}" for x in found.rmse.tolist()))
show(
    torch.cat([real.images[:4], found.images, (found.images - real.images[:4]) * 3]),
    ["phantom"] * 4 + ["found"] * 4 + ["3 x difference"] * 4,
    4,
)

# %% [markdown]
# ## Keep it
#
# As safetensors, with a card that says what it is and the SHA-256 without which nothing is read.

# %%
card = Card("my-brains", "brain phantoms", 1, {}, "MIT", arrays=statistics.to_arrays())
save_generator(G, work / "my-brains.safetensors", card)
again = load_generator(work / "my-brains.safetensors")
with torch.no_grad():
    print("the same images:", bool(torch.equal(again(z), samples)))

# %% [markdown]
# ## What could be wrong
#
# * Over all 64 latents the mean change is close to what the direction says, less so at its ends; for a single latent it
#   may be a fifth of that or two and a half times as much, as the band shows. A direction is an average.
# * The prior takes w as normal. The widest directions end sooner than a normal distribution's tails (their curves
#   flatten): the prior allows what no z makes.
# * What `project` leaves, some three grey levels here, is structure that no w makes. The residual image of
#   [notebook 5](05_reconstruct_a_brain.ipynb) stands for it; a checkpoint without a card has none, and its intervals are
#   then too narrow.
# * The samples are a trace softer than phantoms, and phantoms are not patients. `neuropyro generator train` trains on your own.
