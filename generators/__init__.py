"""Image generators: networks, checkpoints, features and training."""

from neuropyro.generators.cards import Card, save_generator
from neuropyro.generators.checkpoints import Checkpoint, bundled_generators, load_checkpoint, load_generator
from neuropyro.generators.config import DiscriminatorConfig, GeneratorConfig
from neuropyro.generators.directions import Directions, find_directions, measure_effects
from neuropyro.generators.discriminator import Discriminator
from neuropyro.generators.errors import CheckpointError
from neuropyro.generators.features import (
    DiscriminatorFeatures,
    VGGFeatures,
    load_discriminator_features,
    load_vgg16,
)
from neuropyro.generators.latents import LatentStatistics, Projection, latent_statistics, project
from neuropyro.generators.stylegan2 import Generator

__all__ = [
    "Card",
    "Checkpoint",
    "CheckpointError",
    "Directions",
    "Discriminator",
    "DiscriminatorConfig",
    "DiscriminatorFeatures",
    "Generator",
    "GeneratorConfig",
    "LatentStatistics",
    "Projection",
    "VGGFeatures",
    "bundled_generators",
    "find_directions",
    "latent_statistics",
    "load_checkpoint",
    "load_discriminator_features",
    "load_generator",
    "load_vgg16",
    "measure_effects",
    "project",
    "save_generator",
]
