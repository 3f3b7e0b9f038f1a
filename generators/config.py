"""What a StyleGAN2 generator or discriminator is made of: frozen settings, readable and writable as JSON.

References
----------
Karras et al., *Analyzing and improving the image quality of StyleGAN*, CVPR 2020, section 4 and figure 7
(architectures); Karras et al., *Training generative adversarial networks with limited data*, NeurIPS 2020,
appendix D (channel widths, clamping, half precision).
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

__all__ = ["DiscriminatorConfig", "GeneratorConfig"]

ARCHITECTURES = ("skip", "resnet", "orig")
DEEPEST = 64  # layers of a mapping network: a card's word is not taken for more


@dataclass(frozen=True)
class _ImageNetworkConfig:
    """What both networks share: the image's frame, the width of each resolution and the number format."""

    img_resolution: int
    img_channels: int = 1
    label_dim: int = 0
    architecture: str = "skip"
    channel_base: int = 32768
    channel_max: int = 512
    channels: tuple[int, ...] = ()
    conv_clamp: float | None = None
    half_resolutions: int = 0

    kind: ClassVar[str] = "network"

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(int(c) for c in self.channels))
        if self.img_resolution not in {2**i for i in range(3, 11)}:
            raise ValueError(f"img_resolution must be a power of two from 8 to 1024, not {self.img_resolution}")
        if not 1 <= self.img_channels <= 4:
            raise ValueError(f"img_channels must be from 1 to 4, not {self.img_channels}")
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, not {self.architecture!r}")
        if self.channels and len(self.channels) != len(self.resolutions):
            raise ValueError(f"channels must name {len(self.resolutions)} widths (4 px and up), not {self.channels}")
        if self.conv_clamp is not None and not self.conv_clamp > 0:
            raise ValueError(f"conv_clamp must be positive, or None for no limit, not {self.conv_clamp}")
        if min(self.width(r) for r in self.resolutions) < 1:
            raise ValueError("every resolution needs at least one channel: raise channel_base or give channels")

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Side lengths of the blocks, 4 px up to ``img_resolution``."""
        return tuple(2**i for i in range(2, self.img_resolution.bit_length()))

    def width(self, resolution: int) -> int:
        """Channels of the feature maps at ``resolution`` px."""
        if self.channels:
            return self.channels[self.resolutions.index(resolution)]
        return min(self.channel_base // resolution, self.channel_max)

    def is_half(self, resolution: int) -> bool:
        """Whether the block of ``resolution`` px computes in float16 on a GPU (never on the CPU)."""
        return resolution > max(self.img_resolution >> self.half_resolutions, 4)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values that JSON can hold."""
        return dataclasses.asdict(self) | {"channels": list(self.channels)}

    def to_json(self) -> str:
        """Write the settings as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read settings from plain values; an unknown or missing field is a ``ValueError`` that names it."""
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown {cls.kind} settings: {', '.join(unknown)}")
        if "img_resolution" not in values:
            raise ValueError(f"the {cls.kind} settings lack img_resolution")
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read settings from JSON text, the inverse of :meth:`to_json`."""
        return cls.from_dict(json.loads(text))


@dataclass(frozen=True)
class GeneratorConfig(_ImageNetworkConfig):
    """Settings of a StyleGAN2 generator.

    Parameters
    ----------
    img_resolution
        Side length of the image in pixels: a power of two from 8 to 1024.
    img_channels
        1 to 4.
    label_dim
        Length of the label vector; 0 for an unconditional generator.
    architecture
        ``"skip"`` sums an image from every block, ``"resnet"`` and ``"orig"`` make it in the last block.
    channel_base, channel_max
        Width of a block: ``min(channel_base // resolution, channel_max)``.
    channels
        Explicit widths from 4 px up; they take precedence over ``channel_base`` and ``channel_max``.
    conv_clamp
        Largest absolute value that a layer may return; None for no limit.
    half_resolutions
        How many of the highest resolutions compute in float16 on a GPU.
    z_dim, w_dim
        Dimensions of the input latent and of the intermediate latent.
    mapping_layers, mapping_width, label_width
        Depth of the mapping network, width of its hidden layers and of the embedded label (``w_dim`` if None).
    lr_multiplier
        Learning-rate multiplier of the mapping network, part of its arithmetic.
    use_noise
        Whether layers have noise inputs.

    Raises
    ------
    ValueError
        A setting is out of range; it is named.

    Examples
    --------
    >>> config = GeneratorConfig(img_resolution=64, channel_base=2048, channel_max=128)
    >>> [config.width(r) for r in config.resolutions], config.num_ws
    ([128, 128, 128, 64, 32], 10)
    >>> GeneratorConfig.from_json(config.to_json()) == config
    True
    """

    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    mapping_width: int | None = None
    label_width: int | None = None
    lr_multiplier: float = 0.01
    use_noise: bool = True

    kind: ClassVar[str] = "generator"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.mapping_layers <= DEEPEST:
            raise ValueError(f"mapping_layers must be from 1 to {DEEPEST}, not {self.mapping_layers}")
        if min(self.z_dim, self.w_dim) < 1 or self.label_dim < 0:
            raise ValueError("z_dim and w_dim must be at least 1, label_dim at least 0")

    @property
    def num_ws(self) -> int:
        """Number of w that the synthesis network takes: one per layer."""
        return 2 * len(self.resolutions)


@dataclass(frozen=True)
class DiscriminatorConfig(_ImageNetworkConfig):
    """Settings of a StyleGAN2 discriminator.

    The fields up to ``half_resolutions`` are as in :class:`GeneratorConfig`.

    Parameters
    ----------
    label_layers, label_width, label_lr_multiplier
        Depth, output width (that of the 4-px block if None) and learning-rate multiplier of the network that maps
        a label.
    stddev_group, stddev_channels
        Images per group and channels of the minibatch standard deviation; a group of 0 means the whole batch.

    Raises
    ------
    ValueError
        A setting is out of range; it is named.

    Examples
    --------
    >>> DiscriminatorConfig(img_resolution=64, img_channels=1).architecture
    'resnet'
    """

    architecture: str = "resnet"
    label_layers: int = 8
    label_width: int | None = None
    label_lr_multiplier: float = 0.01
    stddev_group: int = 4
    stddev_channels: int = 1

    kind: ClassVar[str] = "discriminator"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.label_layers <= DEEPEST:
            raise ValueError(f"label_layers must be from 0 to {DEEPEST}, not {self.label_layers}")
