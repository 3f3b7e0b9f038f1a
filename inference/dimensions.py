"""Names of the axes of a model's sites: the model's own, or else those of its plates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray
from numpy.typing import NDArray

from neuropyro.inference.program import sample_sites

__all__ = ["Naming", "naming_of"]

Dims = tuple[str, ...]


@dataclass(frozen=True)
class Naming:
    """How axes are called.

    Parameters
    ----------
    dims
        Names by site, leftmost axis first.
    coords
        Labels by name of an axis.
    units
        By site, where it has some.
    """

    dims: Mapping[str, Dims] = field(default_factory=dict)
    coords: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    def dataset(
        self, arrays: Mapping[str, NDArray[Any]], lead: Dims, others: Mapping[str, Dims] | None = None
    ) -> xarray.Dataset:
        """Return arrays ``(*lead, ...)`` by site with their axes named, and their ``units`` as an attribute.

        Parameters
        ----------
        arrays
            By site.
        lead
            Names of the leading axes.
        others
            Names for what is none of the model's sites.
        """
        variables = {}
        for site, array in arrays.items():
            own = (others or {}).get(site, self.dims.get(site, ()))[: array.ndim - len(lead)]
            missing = range(len(own), array.ndim - len(lead))
            attributes = {"units": self.units[site]} if site in self.units else {}
            variables[site] = (lead + own + tuple(f"{site}_dim_{i}" for i in missing), array, attributes)
        sizes = {d: n for dims, array, _ in variables.values() for d, n in zip(dims, array.shape, strict=True)}
        labels = {d: self.coords.get(d, np.arange(n)) for d, n in sizes.items()}
        return xarray.Dataset(variables, {d: x for d, x in labels.items() if len(x) == sizes[d] and d not in variables})

    def elements(self, site: str, shape: tuple[int, ...]) -> list[str]:
        """Return what each number of a site is called, in order: by the labels of its axes, else by its place from 0.

        Examples
        --------
        >>> naming = Naming({"effect": ("covariate",)}, {"covariate": np.array(["age", "sex"])})
        >>> naming.elements("effect", (2,)), naming.elements("sd", ()), naming.elements("a", (2,))
        (['effect[age]', 'effect[sex]'], ['sd'], ['a[0]', 'a[1]'])
        """
        if not shape:
            return [site]
        known = [self.coords.get(dim, np.empty(0)) for dim in self.dims.get(site, ())]
        known += [np.empty(0)] * (len(shape) - len(known))
        labels = [x if len(x) == n else np.arange(n) for x, n in zip(known, shape, strict=False)]
        places = np.ndindex(shape)
        return [f"{site}[{', '.join(str(x[i]) for x, i in zip(labels, place, strict=True))}]" for place in places]


def naming_of(model: Any, data: Any) -> Naming:
    """Return a model's own names of its axes, by ``dims`` and ``coords(data)``, or else its plates'; and its ``units``.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> naming_of(model, torch.ones(9)).elements("y", (2,)), naming_of(model, torch.ones(9)).dims
    (['y[0]', 'y[1]'], {'mean': (), 'y': ('visit',)})
    """
    own = getattr(model, "coords", None)
    coords = {} if own is None else dict(own(data))
    return Naming(_plates(model, data) | dict(getattr(model, "dims", {})), coords, dict(getattr(model, "units", {})))


def _plates(model: Callable[[Any], Any], data: Any) -> dict[str, Dims]:
    """Return the plates of each site as names of its batch axes, where every such axis is a plate's."""
    sites = sample_sites(model, data)
    named = {}
    for name, site in sites.items():
        batch = site["value"].shape[: site["value"].dim() - site["fn"].event_dim]
        frames = {f.dim: f for f in site["cond_indep_stack"] if f.vectorized}
        found = [frames.get(dim - len(batch)) for dim in range(len(batch))]
        if all(f is not None and f.size == n for f, n in zip(found, batch, strict=True)):
            names = [f.name for f in found if f is not None]
            named[name] = tuple(f"{plate}_plate" if plate in sites else plate for plate in names)
    return named
