"""Image generators: networks, checkpoints, features and training."""

from neuropyro.generators.cards import Card, save_generator
from neuropyro.generators.checkpoints import Checkpoint, bundled_generators, load_checkpoint, load_generator
from neuropyro.generators.config import DiscriminatorConfig, GeneratorConfig
from neuropyro.generators.discriminator import Discriminator
from neuropyro.generators.errors import CheckpointError
from neuropyro.generators.stylegan2 import Generator

__all__ = [
    "Card",
    "Checkpoint",
    "CheckpointError",
    "Discriminator",
    "DiscriminatorConfig",
    "Generator",
    "GeneratorConfig",
    "bundled_generators",
    "load_checkpoint",
    "load_generator",
    "save_generator",
]
