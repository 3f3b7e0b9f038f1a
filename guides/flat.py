"""Guides over the flat vector of a model's latent sites.

A family of distributions is a torch module with a method ``law()``: a distribution over the *whitened* vector y, where
x = whitening(y).  The whitening is fixed when the guide is built, from the curvature at the mode, so that y is near
standard normal under the posterior, and one learning rate suits every number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Size, Tensor, nn
from torch.distributions.transforms import AffineTransform, Transform

from neuropyro.guides.arrow import Arrow
from neuropyro.guides.directions import MainDirections, Reflections
from neuropyro.guides.latents import Latents

__all__ = ["FlatGuide", "Whitening", "sticking"]


class FlatGuide(PyroModule):  # type: ignore[misc]
    """Samples every site from one distribution over the flat vector.

    Parameters
    ----------
    latents
        The model's sites.
    law
        A module whose ``forward()`` returns the distribution of the flat vector, event ``(D,)``.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.guides import Start, find_latents, make_flat_guide
    >>> latents = find_latents(model, torch.ones(9), {})
    >>> guide: FlatGuide = make_flat_guide("normal", Start(latents, latents.start))
    >>> guide.draw(5)["mean"].shape
    torch.Size([5])
    """

    def __init__(self, latents: Latents, law: nn.Module) -> None:
        super().__init__()
        self.sites = latents
        self.law = law
        for name, constant in latents.frame.items():
            self.register_buffer(f"frame_{name}", constant)

    @property
    def latents(self) -> Latents:
        """The model's sites."""
        return replace(self.sites, frame={name: self.get_buffer(f"frame_{name}") for name in self.sites.frame})

    def forward(self, *args: Any) -> dict[str, Tensor]:
        """Sample the sites."""
        flat = pyro.sample("_flat", self.law(), infer={"is_auxiliary": True})
        return self.latents.emit(flat)

    def drawn(self, particles: Size) -> tuple[dict[str, Tensor], Tensor]:
        """Draw every site, and return the log-density of all particles together: what `forward` would tell Pyro."""
        law = self.law()
        flat = law.rsample(particles)
        values, volumes = self.latents.changed(flat)
        return values, law.log_prob(flat).sum() - sum(volume.sum() for volume in volumes.values())

    @torch.no_grad()
    def draw(self, draws: int) -> dict[str, Tensor]:
        """Draw every site at once, ``(draws, ...)``."""
        return self.latents.constrain(self.law().rsample(Size([draws])))


class Whitening(nn.Module):
    """A fixed affine map, kept as buffers, from the whitened vector to the flat one.

    Parameters
    ----------
    transform
        `Arrow`, `MainDirections`, or an affine transform with ``loc (D,)`` and ``scale (D,)``.

    Examples
    --------
    >>> whitening = Whitening(AffineTransform(torch.tensor([1.0]), torch.tensor([2.0]), event_dim=1))
    >>> whitening()(torch.tensor([3.0])).tolist(), list(whitening.state_dict())  # saved, and never learned
    ([7.0], ['loc', 'scale'])
    """

    loc: Tensor
    scale: Tensor
    order: Tensor
    shared: Tensor

    def __init__(self, transform: Arrow | MainDirections | AffineTransform) -> None:
        super().__init__()
        self.kind = type(transform)
        self._keep("loc", torch.as_tensor(transform.loc))
        self.plates = 0
        if isinstance(transform, Arrow):
            self._keep("shared", transform.shared)
            self._keep_each(couplings=transform.couplings, scales=transform.scales)
        else:
            self._keep("scale", torch.as_tensor(transform.scale))
        if isinstance(transform, MainDirections):
            turns = transform.turns
            self._keep_each(vectors=[t.vectors for t in turns], weights=[t.weights for t in turns])
        if not isinstance(transform, AffineTransform):
            self.register_buffer("order", transform.order)

    def forward(self) -> Transform:
        """Return the map as a transform that keeps its last result."""
        if self.kind is Arrow:
            return Arrow(self.order, self.loc, self.shared, self._each("couplings"), self._each("scales"))
        if self.kind is MainDirections:
            pairs = zip(self._each("vectors"), self._each("weights"), strict=True)
            return MainDirections(self.order, self.loc, self.scale, [Reflections(*pair) for pair in pairs])
        return AffineTransform(self.loc, self.scale, event_dim=1, cache_size=1)

    def _keep(self, name: str, tensor: Tensor) -> None:
        """Lay a tensor out by rows, as one read from a file will be: products in another layout round otherwise."""
        self.register_buffer(name, tensor.detach().contiguous().clone())

    def _keep_each(self, **lists: list[Tensor]) -> None:
        """Keep one tensor for each local plate."""
        for name, tensors in lists.items():
            self.plates = len(tensors)
            for i, tensor in enumerate(tensors):
                self._keep(f"{name}{i}", tensor)

    def _each(self, name: str) -> list[Tensor]:
        return [self.get_buffer(f"{name}{i}") for i in range(self.plates)]


class _Sticking(dist.TorchDistribution):  # type: ignore[misc]
    """Draws from one distribution, whose density is that of an equal one that learns nothing.

    With ``frozen`` the detached twin of ``live`` the gradient of the ELBO is that along the draw alone, and vanishes,
    noise and all, where the guide is the posterior (Roeder, Wu & Duvenaud, "Sticking the landing", NeurIPS 2017).
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as torch declares it)
    has_rsample = True

    def __init__(self, live: Any, frozen: Any) -> None:
        self.live, self.frozen = live, frozen
        super().__init__(live.batch_shape, live.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        """Support of the distribution."""
        return self.live.support

    def expand(self, batch_shape: Size, _instance: Any = None) -> _Sticking:
        """Return it with another batch shape."""
        return _Sticking(self.live.expand(batch_shape), self.frozen.expand(batch_shape))

    def rsample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 (as torch declares it)
        """Draw, differentiably."""
        drawn: Tensor = self.live.rsample(sample_shape)
        return drawn

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of the twin."""
        density: Tensor = self.frozen.log_prob(value)
        return density


def sticking(law: Callable[[Callable[[Tensor], Tensor]], Any]) -> _Sticking:
    """Return the law with live parameters, stuck to the one with detached ones.

    Parameters
    ----------
    law
        Builds the distribution, passing each of its parameters through the function that it is given.

    Examples
    --------
    Where the guide is the posterior, here Normal(0, 1), its parameters get a gradient of 0 from every single draw:

    >>> loc = torch.zeros(1, requires_grad=True)
    >>> law = sticking(lambda through: dist.Normal(through(loc), 1.0))
    >>> drawn = law.rsample()
    >>> (gradient,) = torch.autograd.grad(law.log_prob(drawn) - dist.Normal(0.0, 1.0).log_prob(drawn), loc)
    >>> abs(round(gradient.item(), 5))
    0.0
    """
    return _Sticking(law(lambda parameter: parameter), law(Tensor.detach))
