"""What a user may choose when a generator is trained, in groups; their names are the options of the command line."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # PyTorch takes a second to import, and --help needs none of it
    from neuropyro.generators import DiscriminatorConfig, GeneratorConfig
    from neuropyro.generators.training_config import TrainingConfig

OPTIONS = {"img_resolution": "--resolution", "channel_base": "--channel-base", "mapping_layers": "--mapping-layers"}
"""Of the command line, by the name of the setting that they give."""

__all__ = ["ImageOptions", "NetworkOptions", "TrainingOptions"]


@dataclass(frozen=True)
class ImageOptions:
    """Which images there are to learn from.

    Parameters
    ----------
    resolution
        Side of the images in pixels, a power of two.
    colours
        1 for grey, 3 for colour pictures.
    plane
        Of phantoms and of slices of volumes.
    every
        Take every so manyth slice of a volume.
    held_out
        How many images are kept from training and inverted in the end: what the generator cannot make of them goes
        into its card, which intervals of reconstructed images need.  0 for none.

    Examples
    --------
    >>> maker, critic = NetworkOptions().configs(ImageOptions(resolution=32, colours=3))
    >>> [(network.img_resolution, network.img_channels) for network in (maker, critic)]
    [(32, 3), (32, 3)]
    """

    resolution: int = 64
    colours: Literal[1, 3] = 1
    plane: Literal["coronal", "axial", "sagittal"] = "coronal"
    every: int = 1
    held_out: int = 32


@dataclass(frozen=True)
class NetworkOptions:
    """How large the networks are.

    Parameters
    ----------
    channel_base
        Width of the networks at r pixels is this divided by r, or channel-max if that is less.
    channel_max
        Largest width of the networks.
    latent
        Dimension of z and of w.
    mapping_layers
        Depth of the network from z to w.

    Examples
    --------
    >>> maker, _ = NetworkOptions(channel_base=512, channel_max=64, latent=8).configs(ImageOptions(resolution=32))
    >>> [maker.width(side) for side in (4, 8, 16, 32)], maker.w_dim
    ([64, 64, 32, 16], 8)
    """

    channel_base: int = 4096
    channel_max: int = 128
    latent: int = 128
    mapping_layers: int = 4

    def configs(self, images: ImageOptions) -> tuple[GeneratorConfig, DiscriminatorConfig]:
        """Return the settings of both networks for such images.

        Raises
        ------
        ValueError
            Naming the option whose value no network can have.
        """
        from neuropyro.generators import DiscriminatorConfig, GeneratorConfig

        sizes: dict[str, Any] = {"img_resolution": images.resolution, "img_channels": images.colours}
        sizes |= {"channel_base": self.channel_base, "channel_max": self.channel_max}
        own: dict[str, Any] = {"z_dim": self.latent, "w_dim": self.latent, "mapping_layers": self.mapping_layers}
        try:
            return GeneratorConfig(**sizes, **own), DiscriminatorConfig(**sizes)
        except ValueError as error:
            raise ValueError(_by_option(str(error))) from error


def _by_option(said: str) -> str:
    """Return an error of the networks' settings with the options' names for their own."""
    for name, option in OPTIONS.items():
        said = re.sub(rf"\b{name}\b", option, said)
    return said


@dataclass(frozen=True)
class TrainingOptions:
    """How they are trained.

    Parameters
    ----------
    images
        How many images to show, in all.
    batch
        Images a step, over all processes.
    learning_rate
        Of both networks.
    r1_weight
        Of the discriminator's gradient penalty.
    path_weight
        Of the path-length penalty; 0 turns it off.
    spread_weight
        Of the loss that asks for images as diverse as the real ones, such as 5; 0 turns it off.
    noise
        Whether the generator has noise inputs; without them all that varies can be reconstructed.
    style_mixing
        Probability with which an image's layers take their w from two z.
    average_images
        Half-life of the weights' average, in images.
    mirror
        Whether half of the images are mirrored left to right.
    augmentation
        Mean sign of real logits that adaptive augmentation aims at: .6 where there are few images.
    precision
        bfloat16 is faster where the hardware has it.
    log_images
        After how many images a line is logged.
    sample_images
        After how many images a grid of samples is drawn.
    state_images
        After how many images the state is written.
    seed
        Of everything random; on the CPU the same seed gives the same weights.

    Examples
    --------
    >>> config = TrainingOptions(batch=8, learning_rate=0.001).config()
    >>> config.batch, config.learning_rate, config.discriminator_learning_rate
    (8, 0.001, 0.001)
    """

    images: int = 1_000_000
    batch: int = 16
    learning_rate: float = 0.0025
    r1_weight: float = 0.2
    path_weight: float = 0.0
    spread_weight: float = 0.0
    noise: bool = True
    style_mixing: float = 0.9
    average_images: int = 10_000
    mirror: bool = True
    augmentation: float | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    log_images: int = 1_600
    sample_images: int = 16_000
    state_images: int = 8_000
    seed: int = 0

    def config(self) -> TrainingConfig:
        """Return the settings of a run."""
        from neuropyro.generators.training_config import TrainingConfig

        return TrainingConfig(**asdict(self), discriminator_learning_rate=self.learning_rate)
