"""The mapping network: from z (and a label) to the intermediate latent w.

Source: Karras et al., *A style-based generator architecture for GANs*, CVPR 2019, sections 2 and 3 (truncation:
appendix B); labels as in Karras et al., NeurIPS 2020.
"""

import torch
from torch import Tensor, nn

from neuropyro.generators.layers import Linear, normalise_second_moment

__all__ = ["LabelMapping", "MappingNetwork"]


def _embed_label(embed: Linear, labels: Tensor | None, batch: int) -> Tensor:
    """Embed and normalise ``labels`` (batch, label_dim); a ``ValueError`` where they are missing or misshapen."""
    expected = (batch, embed.weight.shape[1])
    if labels is None or tuple(labels.shape) != expected:
        got = "none" if labels is None else tuple(labels.shape)
        raise ValueError(f"this network is conditional: labels must have shape {expected}, got {got}")
    return normalise_second_moment(embed(labels.to(embed.weight)))


class MappingNetwork(nn.Module):
    """Fully connected network from z (B, z_dim) to w, repeated for every layer of the synthesis network.

    Parameters
    ----------
    z_dim, w_dim, num_ws
        Dimensions of z and w, and number of copies of w.
    label_dim, label_width
        Length of the label vector (0: unconditional) and of its embedding.
    layers, width
        Depth, and width of the hidden layers.
    lr_multiplier
        See :class:`neuropyro.generators.layers.Linear`.

    Examples
    --------
    >>> mapping, z = MappingNetwork(z_dim=4, w_dim=3, num_ws=6), torch.randn(2, 4)
    >>> torch.allclose(mapping(z), mapping(9 * z), atol=1e-5)  # z counts by its direction alone
    True
    >>> torch.equal(mapping(z, truncation_psi=0.0), mapping.w_avg.expand(2, 6, 3))
    True
    """

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        w_dim: int,
        num_ws: int,
        label_dim: int = 0,
        label_width: int | None = None,
        layers: int = 8,
        width: int | None = None,
        lr_multiplier: float = 0.01,
    ) -> None:
        super().__init__()
        self.z_dim, self.w_dim, self.num_ws, self.label_dim = z_dim, w_dim, num_ws, label_dim
        embedding = (label_width or w_dim) if label_dim else 0
        self.embed = Linear(label_dim, embedding) if label_dim else None
        sizes = [z_dim + embedding, *[width or w_dim] * (layers - 1), w_dim]
        self.depth = layers
        for i in range(layers):
            layer = Linear(sizes[i], sizes[i + 1], lr_multiplier=lr_multiplier, activated=True)
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self,
        z: Tensor,
        labels: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """Latent w of each z.

        Parameters
        ----------
        z
            Standard normal latents, (B, z_dim).
        labels
            Label vectors (B, label_dim), one-hot for classes; for conditional generators alone.
        truncation_psi
            w is drawn towards its mean: ``w_avg + psi (w - w_avg)``.
        truncation_cutoff
            How many of the first layers are truncated; all if None.

        Returns
        -------
        Tensor
            (B, num_ws, w_dim)

        Raises
        ------
        ValueError
            Where z or the labels have another shape.
        """
        w = self.single(z, labels).unsqueeze(1).expand(-1, self.num_ws, -1)
        if truncation_psi == 1.0:
            return w.contiguous()
        cutoff = self.num_ws if truncation_cutoff is None else truncation_cutoff
        return torch.cat([self.w_avg.lerp(w[:, :cutoff], truncation_psi), w[:, cutoff:]], dim=1)

    def single(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """One w for each z, before repetition and truncation: (B, w_dim)."""
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"z must have shape (batch, {self.z_dim}), got {tuple(z.shape)}")
        x = normalise_second_moment(z.to(self.w_avg))
        if self.embed is not None:
            x = torch.cat([x, _embed_label(self.embed, labels, z.shape[0])], dim=1)
        for i in range(self.depth):
            x = self.get_submodule(f"fc{i}")(x)
        return x

    @torch.no_grad()
    def update_average(self, w: Tensor, decay: float = 0.995) -> None:
        """Move ``w_avg`` towards the mean of ``w`` (B, ..., w_dim), keeping the part ``decay`` of it."""
        mean = w.detach().reshape(-1, self.w_dim).mean(dim=0)
        self.w_avg.copy_(mean.to(self.w_avg).lerp(self.w_avg, decay))


class LabelMapping(nn.Module):
    """Network from a label (B, label_dim) to the direction (B, width) in which a discriminator is read.

    Examples
    --------
    >>> mapping = LabelMapping(label_dim=3, width=4)
    >>> mapping(torch.eye(3), batch=3).shape
    torch.Size([3, 4])
    >>> mapping(None, batch=3)
    Traceback (most recent call last):
        ...
    ValueError: this network is conditional: labels must have shape (3, 3), got none
    """

    def __init__(self, label_dim: int, width: int, layers: int = 8, lr_multiplier: float = 0.01) -> None:
        super().__init__()
        self.embed = Linear(label_dim, width)
        self.depth = layers
        for i in range(layers):
            self.add_module(f"fc{i}", Linear(width, width, lr_multiplier=lr_multiplier, activated=True))

    def forward(self, labels: Tensor | None, batch: int) -> Tensor:
        """Direction (batch, width) of each of ``labels``; a ``ValueError`` where they are missing or misshapen."""
        x = _embed_label(self.embed, labels, batch)
        for i in range(self.depth):
            x = self.get_submodule(f"fc{i}")(x)
        return x
