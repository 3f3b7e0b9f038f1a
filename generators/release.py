"""From a finished training run to a checkpoint whose card says how good it is.

Measured against images that were not trained on: fidelity of samples, how well images can be inverted, what of them
the generator cannot make, and directions of covariates where these are known.
"""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuropyro.generators.cards import Card, save_generator
from neuropyro.generators.evaluation import measure_fidelity
from neuropyro.generators.latents import latent_statistics, project
from neuropyro.generators.readouts import CovariateReadout, covariate_directions
from neuropyro.generators.residuals import ResidualSpread, band_power
from neuropyro.generators.sample_grids import draw_samples
from neuropyro.generators.stylegan2 import Generator
from neuropyro.generators.training_state import TrainingState

__all__ = ["Findings", "directions_of", "fidelity_of", "inversions_of", "write_release"]


@dataclasses.dataclass(frozen=True)
class Findings:
    """What was measured: metrics, details and arrays for a card, to be joined with ``|``."""

    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    arrays: dict[str, Tensor] = dataclasses.field(default_factory=dict)

    def __or__(self, other: "Findings") -> "Findings":
        """Both; of two figures of one name, the other's."""
        return Findings(self.metrics | other.metrics, self.details | other.details, self.arrays | other.arrays)


def fidelity_of(generator: Generator, train: Tensor, test: Tensor) -> Findings:
    """Compare samples with as many train and held-out images (N, C, H, W); see :func:`measure_fidelity`."""
    fidelity = measure_fidelity(draw_samples(generator, len(test), seed=1), train, test)
    return Findings({name: round(value, 4) for name, value in dataclasses.asdict(fidelity).items()})


def inversions_of(generator: Generator, images: Tensor, steps: int = 500, batch: int = 32) -> Findings:
    """Invert validation images: median PSNR, the residual's power by band of frequency, and its spread.

    Parameters
    ----------
    generator
        It is frozen for this.
    images
        (N, C, H, W) in [-1, 1], not trained on.
    steps, batch
        Of the inversion into W+, noise inputs off; how many images at once.
    """
    frozen = generator.freeze()
    found = [project(frozen, part, "wplus", steps, noise_mode="none") for part in torch.split(images, batch)]
    rmse, made = torch.cat([f.rmse.cpu() for f in found]), torch.cat([f.images.cpu() for f in found])
    residuals = images.cpu() - made
    psnr = 20 * torch.log10(2 / rmse)
    by_band = [float(f"{value:.3g}") for value in band_power(residuals)]
    described = {"images": len(images), "steps": steps, "rmse": round(float(rmse.median()), 4)}
    details = {"residual": {**described, "power_by_band": by_band}}
    metrics = {"inversion_psnr": round(float(psnr.median()), 4)}
    return Findings(metrics, details, ResidualSpread.of(residuals).to_arrays())


def directions_of(
    generator: Generator, readout: CovariateReadout, images: Tensor, covariates: Tensor, draws: int = 2000
) -> Findings:
    """Directions in w of covariates, with measured effects.

    Parameters
    ----------
    generator
        It is frozen for this.
    readout
        Of the covariates, learned from other images.
    images, covariates
        On which the readout is tried, (N, C, H, W) and (N, K).
    draws
        How many images are generated.
    """
    directions, effects = covariate_directions(generator.freeze(), readout, draws)
    r2 = readout.r2(images, covariates)
    described = {
        name: {
            "readout_r2": round(float(r2[k]), 3),
            "w_r2": round(float(directions.r2[k]), 3),
            "effect": round(float(effects[k, k]), 3),
        }
        for k, name in enumerate(directions.names)
    }
    arrays = {name: array.float() for name, array in directions.to_arrays().items()}
    return Findings({}, {"directions": described}, arrays | {"directions.effects": effects.float()})


def write_release(
    state: TrainingState,
    path: Path,
    training_data: str,
    licence: str,
    findings: Findings | None = None,
    details: dict[str, Any] | None = None,
    half: bool = False,
) -> Card:
    """Save a run's averaged generator and its discriminator, with a card.

    Parameters
    ----------
    state
        Of the run.
    path
        Ends in ``.safetensors``; its stem is the generator's name.
    training_data, licence
        For the card.
    findings
        What was measured.
    details
        Of the card, beside images seen and history; such as the command.
    half
        Whether weights are stored as float16.

    Returns
    -------
    Card
        As written.
    """
    found = findings or Findings()
    seed = state.history[0]["config"]["seed"]
    said = {"images_seen": state.images, **(details or {}), **found.details, "history": state.history}
    arrays = latent_statistics(state.average).to_arrays() | found.arrays
    card = Card(path.stem, training_data, seed, found.metrics, licence, said, arrays)
    if not half:
        return save_generator(state.average, path, card, state.discriminator)
    return save_generator(copy.deepcopy(state.average).half(), path, card, copy.deepcopy(state.discriminator).half())
