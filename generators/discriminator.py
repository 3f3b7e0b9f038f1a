"""The discriminator of StyleGAN2: from an image (and a label) to one logit.

Source: Karras et al., CVPR 2020, figure 7; minibatch standard deviation: Karras et al., ICLR 2018, section 3;
projection on the label: Miyato and Koyama, ICLR 2018.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn

from neuropyro.generators.config import DiscriminatorConfig
from neuropyro.generators.layers import Conv, Linear, map_dtype
from neuropyro.generators.mapping import LabelMapping
from neuropyro.generators.resampling import downsample

__all__ = ["Discriminator", "minibatch_stddev"]


def minibatch_stddev(x: Tensor, group: int, channels: int = 1) -> Tensor:
    """Append the standard deviation over groups of images as feature maps.

    Parameters
    ----------
    x
        Feature maps, (B, C, H, W); C a multiple of ``channels``.
    group
        Images per group; the whole batch if 0.  Where it does not divide B, its largest divisor of B is taken.
    channels
        Number of feature maps to append.

    Returns
    -------
    Tensor
        (B, C + channels, H, W)

    Examples
    --------
    >>> minibatch_stddev(torch.tensor([0.0, 2.0]).view(2, 1, 1, 1), group=0).flatten(1)  # 0 and 2 have sd 1
    tensor([[0., 1.],
            [2., 1.]])
    """
    batch, width, height, breadth = x.shape
    wanted = min(group or batch, batch)
    size = next(n for n in range(wanted, 0, -1) if batch % n == 0)
    y = x.reshape(size, batch // size, channels, width // channels, height, breadth)
    sd = (y.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(2, 3, 4))
    maps = sd.repeat(size, 1)[:, :, None, None].expand(-1, -1, height, breadth)
    return torch.cat([x, maps.to(x.dtype)], dim=1)


class _DiscriminatorBlock(nn.Module):
    """The layers of one resolution; the feature maps that it returns have half of it."""

    def __init__(self, config: DiscriminatorConfig, resolution: int) -> None:
        super().__init__()
        self.resolution, self.architecture = resolution, config.architecture
        self.is_half = config.is_half(resolution)
        width, after = config.width(resolution), config.width(resolution // 2)
        if resolution == config.img_resolution or config.architecture == "skip":
            self.fromrgb = Conv(config.img_channels, width, kernel_size=1, clamp=config.conv_clamp)
        self.conv0 = Conv(width, width, kernel_size=3, clamp=config.conv_clamp)
        self.conv1 = Conv(width, after, kernel_size=3, resample="down", clamp=config.conv_clamp)
        if config.architecture == "resnet":
            self.skip = Conv(width, after, kernel_size=1, resample="down", activated=False)

    def forward(self, x: Tensor | None, image: Tensor) -> Tensor:
        """Feature maps (B, after, r/2, r/2) of those above (None at the top) and of the image at this resolution."""
        dtype = map_dtype(self.conv0.weight, self.is_half)
        if hasattr(self, "fromrgb"):
            seen = self.fromrgb(image.to(dtype))
            x = seen if x is None else x.to(dtype) + seen
        assert x is not None
        x = x.to(dtype)
        if self.architecture != "resnet":
            return cast(Tensor, self.conv1(self.conv0(x)))
        shortcut = self.skip(x, gain=math.sqrt(0.5))
        return cast(Tensor, shortcut + self.conv1(self.conv0(x), gain=math.sqrt(0.5)))


class _DiscriminatorEpilogue(nn.Module):
    """From the feature maps of 4 px to the logit, or to the vector that a label is compared with."""

    def __init__(self, config: DiscriminatorConfig, out_features: int) -> None:
        super().__init__()
        width = config.width(4)
        self.group, self.stddev_channels = config.stddev_group, config.stddev_channels
        if config.architecture == "skip":
            self.fromrgb = Conv(config.img_channels, width, kernel_size=1)
        self.conv = Conv(width + config.stddev_channels, width, kernel_size=3, clamp=config.conv_clamp)
        self.fc = Linear(width * 16, width, activated=True)
        self.out = Linear(width, out_features)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """Read ``x`` (B, width, 4, 4) and the image at 4 px: (B, out_features)."""
        x = x.to(self.out.weight.dtype)
        if hasattr(self, "fromrgb"):
            x = x + self.fromrgb(image)
        if self.stddev_channels:
            x = minibatch_stddev(x, self.group, self.stddev_channels)
        return cast(Tensor, self.out(self.fc(self.conv(x).flatten(1))))


class Discriminator(nn.Module):
    """How real an image looks.

    Parameters
    ----------
    config
        Architecture and widths.

    Examples
    --------
    >>> config = DiscriminatorConfig(img_resolution=16, channel_base=128, channel_max=16)
    >>> Discriminator(config)(torch.zeros(4, 1, 16, 16)).shape
    torch.Size([4, 1])
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        for resolution in reversed(config.resolutions[1:]):
            self.add_module(f"b{resolution}", _DiscriminatorBlock(config, resolution))
        width = (config.label_width or config.width(4)) if config.label_dim else 1
        options = (config.label_dim, width, config.label_layers, config.label_lr_multiplier)
        self.mapping = LabelMapping(*options) if config.label_dim else None
        self.b4 = _DiscriminatorEpilogue(config, width)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def blocks(self) -> list[_DiscriminatorBlock]:
        """The blocks, the image's resolution first."""
        return [b for b in self.children() if isinstance(b, _DiscriminatorBlock)]

    def forward(self, image: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logit of each image.

        Parameters
        ----------
        image
            (B, img_channels, img_resolution, img_resolution), about -1..1
        labels
            (B, label_dim), for conditional discriminators alone.

        Returns
        -------
        Tensor
            (B, 1); large where the image looks real

        Raises
        ------
        ValueError
            Where image or labels have another shape.
        """
        x, small = self._descend(image)[-1]
        out = self.b4(x, small)
        if self.mapping is None:
            return cast(Tensor, out)
        direction = self.mapping(labels, image.shape[0])
        return cast(Tensor, (out * direction).sum(dim=1, keepdim=True) / math.sqrt(direction.shape[1]))

    def features(self, image: Tensor) -> list[Tensor]:
        """Feature maps after each block, (B, width(r), r, r) for r from half the image's resolution down to 4."""
        return [x for x, _ in self._descend(image)]

    def _descend(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        config = self.config
        expected = (config.img_channels, config.img_resolution, config.img_resolution)
        if image.ndim != 4 or tuple(image.shape[1:]) != expected:
            raise ValueError(
                f"image must have shape (batch, {', '.join(map(str, expected))}), got {tuple(image.shape)}"
            )
        levels: list[tuple[Tensor, Tensor]] = []
        x: Tensor | None = None
        for block in self.blocks:
            x = cast(Tensor, block(x, image))
            image = downsample(image) if config.architecture == "skip" else image
            levels.append((x, image))
        return levels
