"""An encoder for training: from an image to a normal distribution of the z that could have made it.

It has the discriminator's body.  With it a generator is trained as a variational autoencoder beside the game against
the discriminator, so that it makes every kind of image that it is shown (see
:func:`neuropyro.generators.losses.autoencoding_loss`).
"""

import dataclasses

from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from neuropyro.generators.config import DiscriminatorConfig
from neuropyro.generators.discriminator import Discriminator

__all__ = ["Encoder"]


class Encoder(nn.Module):
    """Mean and sd of z given an image.

    Parameters
    ----------
    config
        Of its body; the minibatch standard deviation is left out, since each image is encoded by itself.
    z_dim
        Dimensions of z.
    """

    def __init__(self, config: DiscriminatorConfig, z_dim: int) -> None:
        super().__init__()
        self.body = Discriminator(dataclasses.replace(config, label_dim=0, stddev_channels=0), outputs=2 * z_dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the sd, (B, z_dim) each, of ``images`` (B, C, H, W); no sd is above the prior's, 1."""
        mean, narrowness = self.body(images).float().chunk(2, dim=1)
        return mean, logsigmoid(narrowness)
