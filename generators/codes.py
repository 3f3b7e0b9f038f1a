"""Known latents of real images: what training can use where a dataset says more of its images than their pixels.

If the z of each image is known, and these z are distributed as those that the generator draws, a generator that makes
of each z its image has the images' distribution, whatever a discriminator would have noticed.
"""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, mse_loss

from neuropyro.generators.datasets import Dataset
from neuropyro.generators.evaluation import PrincipalComponents
from neuropyro.generators.mapping import MappingNetwork
from neuropyro.generators.stylegan2 import Generator

__all__ = ["Codes", "code_loss", "teach_mapping", "weigh_inputs"]

BEYOND = 0.05  # a network that is to hit the end itself leaves a haze about it


class Codes(Protocol):
    """The z of a dataset's images, distributed as z is: independent normals, on whose length nothing depends.

    Examples
    --------
    >>> class Ages:  # the first number is about the age at the visit, the second tells nothing
    ...     scales = torch.tensor([1.0, 0.0])
    ...
    ...     def __call__(self, indices):
    ...         return torch.stack([(indices % 5 - 2) / 2**0.5, torch.zeros(len(indices))], dim=1)
    >>> codes: Codes = Ages()
    >>> round(codes(torch.arange(10))[:, 0].square().mean().item(), 3)  # as of a standard normal
    1.0
    """

    @property
    def scales(self) -> Tensor:
        """About how much images vary with each coordinate, (z_dim,), in any unit."""
        ...

    def __call__(self, indices: Tensor) -> Tensor:
        """Codes (B, z_dim) of the images at ``indices`` (B,)."""
        ...


def code_loss(images: Tensor, real: Tensor, resolution: int | None = None) -> Tensor:
    """Squared error, mean over the pixels, of the images that a generator makes of real images' codes.

    Parameters
    ----------
    images, real
        (B, C, H, W), of sides that may differ.  Real ones end at -1 and 1: where they do, and sides are the same, what
        lies up to :data:`BEYOND` beyond is shown as the end, and is no error.
    resolution
        Side to which both are reduced by means, so that finer detail is left out; by default that of ``images``.

    Returns
    -------
    Tensor
        Scalar, in the images' unit squared.

    Examples
    --------
    >>> white = torch.ones(1, 1, 4, 4)
    >>> code_loss(white + 0.04, white).item(), round(code_loss(white + 0.25, white).item(), 3)  # .2 squared beyond 1.05
    (0.0, 0.04)
    """
    side = resolution or images.shape[-1]
    if images.shape == real.shape:
        real = torch.where(real <= -1, images.clamp(-1 - BEYOND, -1), real)
        real = torch.where(real >= 1, images.clamp(1, 1 + BEYOND), real)
    return mse_loss(adaptive_avg_pool2d(images, side), adaptive_avg_pool2d(real, side))


@torch.no_grad()
def weigh_inputs(generator: Generator, scales: Tensor) -> None:
    """Multiply the columns of the mapping's first layer by ``scales`` (z_dim,), brought to a mean square of 1.

    With all coordinates of one weight the few that matter are lost among the others, and learning begins slowly.

    Examples
    --------
    >>> from neuropyro.generators import GeneratorConfig
    >>> G = Generator(GeneratorConfig(8, z_dim=2, w_dim=4, channels=(4, 4)))
    >>> before = G.mapping.fc0.weight.detach().clone()
    >>> weigh_inputs(G, torch.tensor([1.0, 7.0]))
    >>> (G.mapping.fc0.weight.detach() / before)[0]  # 1 and 7 over 5, the root of their mean square
    tensor([0.2000, 1.4000])
    """
    weight = generator.mapping.get_submodule("fc0").weight
    assert isinstance(weight, Tensor)
    weight.mul_((scales / scales.square().mean().sqrt()).to(weight))


def teach_mapping(
    mapping: MappingNetwork,
    codes: Codes,
    dataset: Dataset,
    images: int = 100_000,
    components: int = 1_024,
    epochs: int = 15,
    batch: int = 128,
    rate: float = 0.1,
    seed: int = 0,
) -> float:
    """Teach the mapping network alone to lay w out so that images are about linear in it.

    Most of what is hard about the way from a code to its image is no matter of pixels, and costs a thousandth where no
    image is synthesised: the network, with a linear layer behind it that is thrown away, learns the images' principal
    components by squared error.

    Parameters
    ----------
    mapping
        Changed in place.
    codes, dataset
        z and images (B, C, H, W) of indices; the first ``images`` of them are used, ``epochs`` times.
    components
        How many principal components, those of the first images, four times as many.
    batch, rate, seed
        Of Adam, whose rate falls as a cosine, and of the order.

    Returns
    -------
    float
        The share of the components' variance that is explained in a twentieth of the images, which is kept aside.

    Examples
    --------
    >>> def circle(indices):  # z, and the two pixels of its image
    ...     return torch.stack([torch.cos(1.0 * indices), torch.sin(1.0 * indices)], dim=1)
    >>> mapping = MappingNetwork(2, 8, num_ws=1, layers=2, lr_multiplier=1.0)
    >>> share = teach_mapping(mapping, circle, lambda i: circle(i).view(-1, 1, 1, 2), images=100, epochs=4, batch=10)
    >>> 0.8 < share <= 1
    True
    """
    z, points = _pairs(codes, dataset, images, components)
    kept = max(images // 20, 2)
    rng = torch.Generator().manual_seed(seed)
    head = torch.zeros(mapping.w_dim, points.shape[1], requires_grad=True)
    # The network's weights are scaled as they are used, which the head's are not.
    groups: list[dict[str, Any]] = [{"params": list(mapping.parameters())}, {"params": [head], "lr": rate / 10}]
    optimiser = torch.optim.Adam(groups, lr=rate, betas=(0.9, 0.99), fused=True)
    steps = epochs * -(-(images - kept) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(epochs):
        for part in torch.split(kept + torch.randperm(images - kept, generator=rng), batch):
            optimiser.zero_grad()
            mse_loss(mapping.single(z[part]) @ head, points[part]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        left = mse_loss(mapping.single(z[:kept]) @ head, points[:kept])
    return 1 - float(left / points[:kept].square().mean())


def _pairs(codes: Codes, dataset: Dataset, images: int, components: int) -> tuple[Tensor, Tensor]:
    """Return z (images, z_dim), and coordinates on principal components, centred, of a mean square of 1."""
    parts = torch.split(torch.arange(images), 100)
    first = torch.cat([dataset(part) for part in torch.split(torch.arange(min(images, 4 * components)), 100)])
    frame = PrincipalComponents.of(first, min(components, len(first) - 1))
    points = torch.cat([frame(dataset(part)) for part in parts])
    points = points - points.mean(dim=0)
    return torch.cat([codes(part) for part in parts]), points / points.square().mean().sqrt()
