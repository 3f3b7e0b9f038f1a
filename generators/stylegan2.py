"""StyleGAN2 generator: a mapping network from z to w and a synthesis network from w to an image.

Source: Karras et al., *Analyzing and improving the image quality of StyleGAN*, CVPR 2020 (arXiv 1912.04958).
"""

import copy
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from neuropyro.generators.config import GeneratorConfig
from neuropyro.generators.mapping import MappingNetwork
from neuropyro.generators.synthesis import SynthesisNetwork

__all__ = ["Generator"]


class Generator(nn.Module):
    """From z (B, z_dim), or w (B, num_ws, w_dim), to images (B, img_channels, img_resolution, img_resolution).

    Parameters
    ----------
    config
        Architecture and widths.

    Attributes
    ----------
    z_dim, w_dim, num_ws, img_resolution, img_channels, label_dim
        Dimensions.
    card
        What the weights are (:class:`neuropyro.generators.cards.Card`) where their file says so, else None.
    mapping
        :class:`neuropyro.generators.mapping.MappingNetwork`, ``mapping(z, labels, truncation_psi, truncation_cutoff)``.
    synthesis
        :class:`neuropyro.generators.synthesis.SynthesisNetwork`, ``synthesis(w, noise_mode)``.

    Examples
    --------
    >>> import torch
    >>> G = Generator(GeneratorConfig(img_resolution=16, z_dim=8, w_dim=8, channel_base=128, channel_max=16))
    >>> w = G.mapping(torch.randn(2, G.z_dim))
    >>> w.shape, G.synthesis(w).shape
    (torch.Size([2, 6, 8]), torch.Size([2, 1, 16, 16]))
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.z_dim, self.w_dim, self.num_ws = config.z_dim, config.w_dim, config.num_ws
        self.img_resolution, self.img_channels = config.img_resolution, config.img_channels
        self.label_dim = config.label_dim
        self.mapping = MappingNetwork(
            config.z_dim,
            config.w_dim,
            config.num_ws,
            label_dim=config.label_dim,
            label_width=config.label_width,
            layers=config.mapping_layers,
            width=config.mapping_width,
            lr_multiplier=config.lr_multiplier,
        )
        self.synthesis = SynthesisNetwork(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.card: Any = None

    def forward(
        self,
        z: Tensor,
        labels: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: str = "const",
    ) -> Tensor:
        """Image of each z: ``synthesis(mapping(z, ...), noise_mode)``."""
        w = self.mapping(z, labels, truncation_psi, truncation_cutoff)
        return cast(Tensor, self.synthesis(w, noise_mode))

    def freeze(self) -> Self:
        """Copy for reconstruction: weights without gradients, in evaluation mode, what they alone decide computed once.

        The copy's weights must not be changed, since what it keeps would no longer be theirs.
        """
        frozen = copy.deepcopy(self).eval().requires_grad_(False)
        for block in frozen.synthesis.blocks:
            block.freeze()
        return frozen
