"""Images side by side in one picture."""

from pathlib import Path

import torch
from matplotlib import image as raster
from torch import Tensor

from neuropyro.generators.stylegan2 import Generator

__all__ = ["draw_samples", "save_grid", "tile"]


@torch.no_grad()
def draw_samples(generator: Generator, count: int, seed: int = 0, batch: int = 64, psi: float = 1.0) -> Tensor:
    """Draw images, the same for a seed on every device.

    Parameters
    ----------
    generator
        The network.
    count, batch
        How many images, and how many at once.
    seed
        Of z and of the noise.
    psi
        Truncation; 1 for none.

    Returns
    -------
    Tensor
        (count, C, H, W), on the CPU.

    Examples
    --------
    >>> from neuropyro.generators import GeneratorConfig
    >>> G = Generator(GeneratorConfig(8, z_dim=4, w_dim=4, channels=(4, 4)))
    >>> torch.equal(draw_samples(G, 3, seed=1), draw_samples(G, 3, seed=1))
    True
    >>> draw_samples(G, 3, psi=0.0).std(dim=0).max().round(decimals=4)  # all are those of the mean w
    tensor(0.)
    """
    device = next(generator.parameters()).device
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed)).to(device)
    rng = torch.Generator(device).manual_seed(seed)
    parts = (generator.mapping(part, truncation_psi=psi) for part in torch.split(z, batch))
    return torch.cat([generator.synthesis(w, noise_mode="random", rng=rng).cpu() for w in parts])


def tile(images: Tensor, columns: int = 10) -> Tensor:
    """Lay images (B, C, H, W) out row by row: (C, rows H, columns W), -1 where there is none.

    Examples
    --------
    >>> tile(torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1), columns=2)
    tensor([[[ 1.,  2.],
             [ 3., -1.]]])
    """
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    padded = torch.cat([images, images.new_full((rows * columns - count, *images.shape[1:]), -1.0)])
    grid = padded.view(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)
    return grid.reshape(channels, rows * height, columns * width)


def save_grid(images: Tensor, path: Path, columns: int = 10) -> None:
    """Write images (B, C, H, W) in [-1, 1] to one PNG file: colours where C is 3 or 4, else the first channel.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_grid(torch.ones(3, 1, 2, 2), Path(folder) / "samples.png", columns=2)
    ...     print(raster.imread(Path(folder) / "samples.png")[::2, ::2, 0])  # white, and black where there is none
    [[1. 1.]
     [1. 0.]]
    """
    pixels = ((tile(images, columns).float() + 1) / 2).clamp(0, 1).cpu()
    if len(pixels) < 3:
        raster.imsave(path, pixels[0].numpy(), cmap="gray", vmin=0, vmax=1)
    else:
        raster.imsave(path, pixels[:3].permute(1, 2, 0).contiguous().numpy())
