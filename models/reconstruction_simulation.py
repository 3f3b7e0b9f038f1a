"""Images and measurements drawn from a reconstruction's own prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pyro import poutine
from torch import Tensor

from neuropyro.models.reconstruction_results import Drawn

if TYPE_CHECKING:
    from neuropyro.models.reconstruction import LatentReconstruction

__all__ = ["simulated_images"]

SITES, FACTORS = ("w", "z", "pose", "sigma", "residual_scale", "y"), ("colinearity", "features")


def simulated_images(model: LatentReconstruction, count: int, seed: int) -> dict[str, Tensor]:
    """Run the model's program forward; see :meth:`~neuropyro.models.LatentReconstruction.simulate`.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> from neuropyro.models import LatentReconstruction
    >>> from neuropyro.models.corruption import Downsample
    >>> model = LatentReconstruction(load_generator("brains64"), Downsample(4, noise=0.02), residual=None)
    >>> found = simulated_images(model, count=2, seed=0)
    >>> round(float((found["y"] - model.corruption.A(found["clean"])).std()), 2)
    0.02
    """
    source = model.prepare_source(torch.device("cpu"), torch.float32)
    design = model.prepare(torch.zeros_like(model.corruption.A(torch.zeros(count, *source.image_shape))))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        trace = poutine.trace(poutine.uncondition(poutine.block(model, hide=list(FACTORS)))).get_trace(design)
        values = {site: trace.nodes[site]["value"] for site in SITES if site in trace.nodes}
        measured = design.with_values(values["y"])
        at = Drawn.at(model.corruption, measured, values, model.known_sigma(design.values))
        clean = at.clean(at.generated(), torch.Generator().manual_seed(seed))
    return values | {"clean": clean, "y": measured.as_given(measured.values)}
