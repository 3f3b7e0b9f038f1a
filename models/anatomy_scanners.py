"""Scanners: from the brain to what is seen of it, each a composition of corruptions with noise.

N anatomies and M scanners combine freely: neither knows the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neuropyro.models.anatomy_mechanism import Mechanism, Noise, Values
from neuropyro.models.corruption import Blur, Compose, Corruption, Identity, Intensity
from neuropyro.models.corruption_intensity import BiasField

__all__ = ["Scanners", "default_scanners"]


def default_scanners() -> dict[str, Corruption]:
    """Three scanners, by choice: a good one; one with a bias field; one that blurs and is noisier.

    Examples
    --------
    >>> {name: scanner.noise for name, scanner in default_scanners().items()}
    {'A': 0.02, 'B': 0.02, 'C': 0.03}
    """
    return {
        "A": Identity(noise=0.02),
        "B": Intensity(BiasField(0.12, seed=1), noise=0.02),
        "C": Compose(Blur(0.7), noise=0.03),
    }


@dataclass(frozen=True, eq=False)
class Scanners(Mechanism):
    """The mechanism from a slice and a site to a scan, ``(*, subjects, visits, C, h, w)``.

    Parameters
    ----------
    scanners
        Corruptions by the sites' names, whose measurements have one shape and are real.
    image
        (C, H, W) of the slices.

    Raises
    ------
    ValueError
        Where there is no scanner, or measurements of two differ in shape.

    Examples
    --------
    >>> scanners = Scanners({"A": Identity(), "B": Identity(noise=0.1)}, (1, 2, 2))
    >>> slices, noise = torch.zeros(2, 1, 1, 2, 2), torch.ones(2, 1, 1, 2, 2)
    >>> scans = scanners.value({"": noise}, {"image": slices, "site": torch.tensor([[0.0], [1.0]])})
    >>> scans.flatten(1).unique(dim=1)
    tensor([[0.0000],
            [0.1000]])
    """

    scanners: Mapping[str, Corruption]
    image: tuple[int, int, int]

    event_dim: ClassVar[int] = 3

    def __post_init__(self) -> None:
        shapes = {name: scanner.measurement_shape((1, *self.image)) for name, scanner in self.scanners.items()}
        if not shapes:
            raise ValueError("scanners: give one at least")
        first = next(iter(shapes))
        for name, shape in shapes.items():
            if len(shape) != 4 or shape != shapes[first]:
                raise ValueError(
                    f"scanners: {name} makes {tuple(shape[1:])} of {self.image}, {first} {tuple(shapes[first][1:])}; "
                    "scans of one cohort are real images of one shape"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the sites, in the order of the node's values."""
        return tuple(self.scanners)

    @property
    def parents(self) -> tuple[str, ...]:
        """The slice, and the site."""
        return ("image", "site")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a scan."""
        return tuple(next(iter(self.scanners.values())).measurement_shape((1, *self.image)))[1:]

    @property
    def noise(self) -> Mapping[str, Noise]:
        """White noise of every scan."""
        return {"": Noise("visit", "normal", self.shape)}

    def value(self, noise: Values, parents: Values) -> Tensor:
        """Return scans."""
        image = parents["image"]
        site = self.checked(parents["site"]).expand(image.shape[: image.ndim - self.event_dim])
        return self.seen(image, site) + self.sd(site, image) * noise[""].to(image)

    def checked(self, site: Tensor) -> Tensor:
        """Numbers of scanners, int.

        Raises
        ------
        ValueError
            Where there is no such scanner.
        """
        wrong = (site < 0) | (site >= len(self.scanners)) | (site != site.round())
        if bool(wrong.any()):
            raise ValueError(
                f"site: {float(site[wrong][0]):g} is no scanner; they are numbered 0 to {len(self.scanners) - 1}: "
                f"{', '.join(self.scanners)}"
            )
        return site.long()

    def seen(self, image: Tensor, site: Tensor) -> Tensor:
        """Return scans without noise of slices ``(*, C, H, W)`` by scanners ``site (*)``."""
        flat, where = image.flatten(0, -4), site.flatten()
        found = flat.new_empty(len(flat), *self.shape)
        for k, scanner in enumerate(self.scanners.values()):
            rows = where == k
            if bool(rows.any()):
                found[rows] = scanner.A(flat[rows])
        return found.reshape(*site.shape, *self.shape)

    def sd(self, site: Tensor, like: Tensor) -> Tensor:
        """Sds of the noise ``(*, 1, 1, 1)`` by scanners ``site (*)``."""
        sds = torch.tensor([scanner.noise or 0.0 for scanner in self.scanners.values()], device=like.device)
        return sds[site][..., None, None, None]
