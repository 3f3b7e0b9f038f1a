"""A model's continuous latent sites as one flat vector of unconstrained numbers.

Site by site, a constrained value (a positive scale, a point of a simplex) is a bijection of as many free numbers as it
has degrees of freedom.  Guides approximate the posterior of the whole vector.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions.util import sum_rightmost
from pyro.infer.autoguide.initialization import InitMessenger
from torch import Size, Tensor
from torch.distributions import biject_to
from torch.distributions.transforms import identity_transform

from neuropyro.guides.centring import Centring, Frame

__all__ = ["Latents", "Site", "is_enumerated", "read_latents"]


@dataclass(frozen=True)
class Site:
    """One latent site's place in the flat vector.

    Parameters
    ----------
    name
        Of the site.
    shape
        Of its unconstrained value, plates to the left.
    event_dim, value_event_dim
        Event dimensions of the unconstrained and of the constrained value.
    transform
        From unconstrained to constrained.
    plates
        Frames of the plates that it is in.
    offset
        Where it begins.

    Examples
    --------
    >>> from neuropyro.guides import find_latents
    >>> (site,) = find_latents(lambda y: pyro.sample("share", dist.Dirichlet(torch.ones(3))), None, {}).sites
    >>> site.size, [round(x, 3) for x in site.transform(torch.zeros(2)).tolist()]  # three shares of two numbers
    (2, [0.333, 0.333, 0.333])
    """

    name: str
    shape: Size
    event_dim: int
    value_event_dim: int
    transform: Any
    plates: tuple[Any, ...]
    offset: int

    @property
    def size(self) -> int:
        """How many unconstrained numbers it has."""
        return self.shape.numel()

    @property
    def slice(self) -> slice:
        """Its places in the flat vector."""
        return slice(self.offset, self.offset + self.size)

    def shape_among(self, particles: Size) -> Size:
        """Return the shape of its unconstrained value with dimensions of particles to the left of the plates."""
        if not particles:
            return self.shape
        missing = len(particles) + self.event_dim - len(self.shape)
        return particles[:missing] + self.shape

    def without_particles(self, value: Tensor, draws: int) -> Tensor:
        """Return its value at ``draws`` particles, which may lie outside of plates that it is not in, as a batch."""
        batch = self.shape[: len(self.shape) - self.event_dim]
        return value.reshape(draws, *batch, *value.shape[value.dim() - self.value_event_dim :])

    def index(self) -> Tensor:
        """Return its places in the flat vector, in the shape of its unconstrained value."""
        return torch.arange(self.slice.start, self.slice.stop).reshape(self.shape)

    @property
    def is_changed(self) -> bool:
        """Whether its unconstrained value is another than its own."""
        return self.transform is not identity_transform

    def volume(self, free: Tensor, value: Tensor) -> Tensor:
        """Return the log-volume of the change from unconstrained to constrained, of the site's batch shape."""
        batch = value.shape[: value.dim() - self.value_event_dim]
        volume: Tensor = self.transform.log_abs_det_jacobian(free, value)
        summed: Tensor = sum_rightmost(volume, volume.dim() - len(batch))
        return summed.expand(batch)


@dataclass(frozen=True)
class Latents:
    """The latent sites of a model, and where each lies in the flat vector.

    Parameters
    ----------
    sites
        In the order of the model.
    start
        ``(size,)`` starting values.
    centring
        How guides see sites, one of them centred; None where they see them as they are sampled.
    frame
        The constants of that (:mod:`neuropyro.guides.centring`).

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.guides import find_latents
    >>> latents: Latents = find_latents(model, torch.ones(9), {})
    >>> latents.size, [site.name for site in latents.sites]
    (1, ['mean'])
    """

    sites: tuple[Site, ...]
    start: Tensor
    centring: Centring | None = None
    frame: Frame = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Length of the flat vector."""
        return self.start.shape[-1]

    def places(self, names: Collection[str]) -> Tensor:
        """Return which numbers of the flat vector belong to sites of these names, ``(D,)`` bool."""
        found = torch.zeros_like(self.start, dtype=torch.bool)
        for site in self.sites:
            found[site.slice] = site.name in names
        return found

    def values(self, flat: Tensor) -> dict[str, Tensor]:
        """Return every site's value at ``flat (*particles, size)``, shaped as the model is to find it."""
        return self._as_sampled(self._free_values(flat))[0]

    def changed(self, flat: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the values at ``flat``, and the log-volumes of the changes of variables, of the sites' batch shapes.

        Sites of the real line have none.
        """
        values = self._free_values(flat)
        volumes = {site.name: site.volume(x, values[site.name]) for site, x in self._split(flat) if site.is_changed}
        sampled, own = self._as_sampled(values)
        return sampled, volumes | {name: volume + volumes.get(name, 0.0) for name, volume in own.items()}

    def centred(self, share: Tensor, at: Tensor) -> Latents:
        """Return them with a site centred as far as ``share`` says, seen from ``at (size,)``, and the start moved."""
        assert self.centring is not None
        frame = self.centring.frame(self.values(at), share)
        return replace(self, frame=frame, start=self.moved(self.start, frame))

    def moved(self, flat: Tensor, frame: Frame) -> Tensor:
        """Return where ``flat (size,)`` lies in another frame."""
        assert self.centring is not None
        moved, seen = flat.clone(), self.centring.centred(self.values(flat), frame)
        for site in self.sites:
            if site.name in seen:
                moved[site.slice] = site.transform.inv(seen[site.name]).reshape(-1)
        return moved

    def seen(self, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return what guides see of sampled values, where that is another than these."""
        return {} if self.centring is None else self.centring.centred(values, self.frame)

    @property
    def centred_site(self) -> Site:
        """The site in units of its population."""
        assert self.centring is not None
        return next(site for site in self.sites if site.name == self.centring.site)

    def emit(self, flat: Tensor) -> dict[str, Tensor]:
        """Sample every site at its part of ``flat (*particles, size)``; call it inside a guide.

        The density of each site's value under the change of variables goes into the guide's density.
        """
        return self.emit_values(*self.changed(flat))

    def emit_values(self, values: dict[str, Tensor], volumes: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Sample every site at its value, of no density but that of the volumes; call it inside a guide."""
        frames = {frame.name: frame for site in self.sites for frame in site.plates}
        plates = {name: pyro.plate(name, frame.size, dim=frame.dim) for name, frame in frames.items()}
        for site in self.sites:
            density = -volumes[site.name] if volumes and site.name in volumes else 0.0
            _emit_site(site, dist.Delta(values[site.name], density, site.value_event_dim), plates)
        return values

    def constrain(self, flat: Tensor) -> dict[str, Tensor]:
        """Return every site's value at ``flat (draws, size)``, each ``(draws, ...)``."""
        nesting = max((-frame.dim for site in self.sites for frame in site.plates), default=0)
        values = self.values(flat.reshape(len(flat), *[1] * nesting, self.size))
        return {site.name: site.without_particles(values[site.name], len(flat)) for site in self.sites}

    def _free_values(self, flat: Tensor) -> dict[str, Tensor]:
        return {site.name: site.transform(free) for site, free in self._split(flat)}

    def _as_sampled(self, values: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Take the model's centring back; returns the values, and its log-volumes by site."""
        if self.centring is None or not self.frame:
            return values, {}
        sampled, volumes = self.centring.sampled(values, self.frame)
        return values | dict(sampled), dict(volumes)

    def _split(self, flat: Tensor) -> Iterator[tuple[Site, Tensor]]:
        parts = torch.split(flat, [site.size for site in self.sites], -1)
        for site, part in zip(self.sites, parts, strict=True):
            yield site, part.reshape(site.shape_among(flat.shape[:-1]))


def read_latents(model: Callable[..., Any], data: Any, init: Callable[..., Any]) -> Latents:
    """Run a model once and note its latent sites.

    Parameters
    ----------
    model
        A Pyro program; its enumerated sites are left alone.
    data
        What it is run on.
    init
        Pyro's ``init_loc_fn``: the starting value of a site.

    Raises
    ------
    ValueError
        Where a latent site is discrete and not enumerated, is in a subsampled plate, or starts outside its support.

    Examples
    --------
    >>> from pyro.infer.autoguide.initialization import init_to_mean
    >>> latents = read_latents(lambda y: pyro.sample("speed", dist.LogNormal(0.0, 1.0)), None, init_to_mean)
    >>> round(latents.start.item(), 3)  # the mean is exp(1 / 2)
    0.5
    """
    hidden = poutine.block(model, hide_fn=is_enumerated)
    with torch.no_grad(), poutine.block(), InitMessenger(init):
        trace = poutine.trace(hidden).get_trace(data)
    sites: list[Site] = []
    starts: list[Tensor] = []
    for name, node in trace.nodes.items():
        if node["type"] == "sample" and not node["is_observed"] and type(node["fn"]).__name__ != "_Subsample":
            offset = sites[-1].offset + sites[-1].size if sites else 0
            site, start = _read_site(name, node, offset)
            sites.append(site)
            starts.append(start.reshape(-1))
    if not sites:
        raise ValueError("guide: the model has no latent site to guide")
    return Latents(tuple(sites), torch.cat(starts))


def _read_site(name: str, node: dict[str, Any], offset: int) -> tuple[Site, Tensor]:
    fn, value = node["fn"], node["value"]
    if fn.support.is_discrete:
        raise ValueError(
            f'guide: site {name!r} is discrete; mark it infer={{"enumerate": "parallel"}}, to be summed out'
        )
    plates = tuple(frame for frame in node["cond_indep_stack"] if frame.vectorized)
    if any(frame.full_size is not None and frame.full_size != frame.size for frame in plates):
        raise ValueError(f"guide: site {name!r} is in a subsampled plate; latent sites need their whole plate")
    transform = biject_to(fn.support)
    start = transform.inv(value).detach()
    if not torch.isfinite(start).all():
        raise ValueError(
            f"guide: site {name!r} starts outside of its support, or at its edge; give another init_values"
        )
    grown = start.dim() - value.dim()
    return Site(name, start.shape, fn.event_dim + grown, fn.event_dim, transform, plates, offset), start


def _emit_site(site: Site, point: Any, plates: dict[str, Any]) -> None:
    with ExitStack() as stack:
        for frame in site.plates:
            stack.enter_context(plates[frame.name])
        pyro.sample(site.name, point)


def is_enumerated(site: dict[str, Any]) -> bool:
    """Whether a site is summed out, and so never guided.

    Examples
    --------
    >>> [is_enumerated({"type": "sample", "infer": infer}) for infer in ({"enumerate": "parallel"}, {})]
    [True, False]
    """
    return site["type"] == "sample" and bool(site["infer"].get("enumerate"))
