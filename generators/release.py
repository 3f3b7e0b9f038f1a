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
    """What was measured: metrics, details and arrays for a card, to be joined with ``|``.

    Examples
    --------
    >>> both = Findings({"psnr": 30.0}) | Findings({"psnr": 31.0, "recall": 0.9}, {"images": 40})
    >>> both.metrics, both.details
    ({'psnr': 31.0, 'recall': 0.9}, {'images': 40})
    """

    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    arrays: dict[str, Tensor] = dataclasses.field(default_factory=dict)

    def __or__(self, other: "Findings") -> "Findings":
        """Both; of two figures of one name, the other's."""
        return Findings(self.metrics | other.metrics, self.details | other.details, self.arrays | other.arrays)


def fidelity_of(generator: Generator, train: Tensor, test: Tensor) -> Findings:
    """Compare samples with as many train and held-out images (N, C, H, W), above 64; see :func:`measure_fidelity`.

    Examples
    --------
    >>> from neuropyro.generators import GeneratorConfig
    >>> G = Generator(GeneratorConfig(8, z_dim=4, w_dim=4, channels=(4, 4)))
    >>> own = draw_samples(G, 65, seed=1)
    >>> found = fidelity_of(G, train=own, test=own)  # no images are as good as its own
    >>> found.metrics["precision"], found.metrics["recall"]
    (1.0, 1.0)
    """
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

    Returns
    -------
    Findings
        PSNR, dB, for a range of 2; the residual's root mean square and power, in the images' unit and its square.

    Examples
    --------
    >>> from neuropyro.generators import GeneratorConfig
    >>> G = Generator(GeneratorConfig(8, z_dim=4, w_dim=4, channels=(4, 4)))
    >>> start = G.synthesis(latent_statistics(G).mean[None], noise_mode="none").detach()
    >>> found = inversions_of(G, start + 0.2, steps=0)  # .2 off everywhere; 20 log10(2 / .2) dB
    >>> round(found.metrics["inversion_psnr"], 2), found.details["residual"]["rmse"]
    (20.0, 0.2)
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

    Returns
    -------
    Findings
        Of each covariate: R2 of readouts from images and from w, and the effect, 1 where directions do what they say.

    Examples
    --------
    >>> from neuropyro.generators import GeneratorConfig
    >>> G = Generator(GeneratorConfig(8, z_dim=4, w_dim=4, channels=(4, 4)))
    >>> images = draw_samples(G, 40)
    >>> brightness = images.mean((1, 2, 3))[:, None].double()
    >>> readout = CovariateReadout.of(images, brightness, ["brightness"], components=39)
    >>> found = directions_of(G, readout, images, brightness, draws=40)
    >>> found.details["directions"]["brightness"]["readout_r2"]  # linear in the pixels
    1.0
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

    Raises
    ------
    CheckpointError
        As by :func:`neuropyro.generators.cards.save_generator`.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.generators import DiscriminatorConfig, GeneratorConfig, load_generator
    >>> from neuropyro.generators.training_config import TrainingConfig
    >>> from neuropyro.generators.training_state import new_state
    >>> networks = GeneratorConfig(8, z_dim=4, w_dim=4, channels=(4, 4)), DiscriminatorConfig(8, channels=(4, 4))
    >>> state = new_state(*networks, TrainingConfig().adam(), seed=5, device=torch.device("cpu"))
    >>> state.history = [{"images": 0, "config": {"seed": 5}}]  # as a run leaves it
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "phantoms8.safetensors"
    ...     card = write_release(state, path, "phantoms", "MIT")
    ...     print(load_generator(path).card.sha256 == card.sha256, card.name, card.seed)
    True phantoms8 5
    """
    found = findings or Findings()
    seed = state.history[0]["config"]["seed"]
    said = {"images_seen": state.images, **(details or {}), **found.details, "history": state.history}
    arrays = latent_statistics(state.average).to_arrays() | found.arrays
    card = Card(path.stem, training_data, seed, found.metrics, licence, said, arrays)
    if not half:
        return save_generator(state.average, path, card, state.discriminator)
    return save_generator(copy.deepcopy(state.average).half(), path, card, copy.deepcopy(state.discriminator).half())
