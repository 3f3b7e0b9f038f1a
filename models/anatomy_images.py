r"""Brain slices: a subject's own anatomy, moved along measured directions by what disease and age do.

.. math::  x = G(w + \kappa\, v_d + \delta\, v_a) + r

G is the generator, w the subject's latent and r what no latent makes, both the subject's own.  v_d and v_a are the
directions of ventricles and of atrophy (:mod:`neuropyro.models.anatomy_directions`), each of which moves its own
covariate alone; delta is the node ``atrophy``.  kappa is such that the ventricles, measured in the image, have the area
that the node ``ventricles`` says.  How far a latent has to go for that differs between anatomies by a factor of two and
more, so the response is measured for each: a few images along v_d, between which it is taken to be linear, give a first
kappa, and measuring the image there gives a second and a third (the secant method).  Atrophy opens fissures that lie
where ventricles are looked for: by how much is measured for each anatomy too, and does not count as ventricle.

A simulated subject has w = mean + psi (mapping(z) - mean), z standard normal (where codes say the ventricles and the
atrophy, these stand at the typical first), and r of a fraction of its spread in the card: both are choices.  At its
full size r would look like noise, since S is stationary and normal, and anatomy is not.  Of an observed image w is
inferred, and r is whatever is left.

References
----------
Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020 (truncation by psi).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from neuropyro.data.ventricle_area import TYPICAL_AREA, ventricle_area
from neuropyro.generators.latents import latent_statistics
from neuropyro.generators.residuals import ResidualSpread
from neuropyro.models.anatomy_directions import has_codes, image_directions, standard_latents
from neuropyro.models.anatomy_mechanism import Mechanism, Noise, Values

__all__ = ["Anatomy", "SliceImage", "amounts", "rising"]

AMOUNTS = (-4.0, -2.0, 0.0, 2.0, 4.0)  # along v_d, in typical areas, at which images are measured
FARTHEST = 6.0  # along v_d
CORRECTIONS, CLOSE = 2, 0.005  # of kappa, where the area is off by more than this share
ZERO = AMOUNTS.index(0.0)
LOSS = 0.2  # of the cortex, at which it is measured what atrophy opens
LEAST_SLOPE = 1e-2  # of measured areas along v_d
BATCH = 64  # images at once


class Anatomy(NamedTuple):
    """What N images are of, and where each stands: at ``level`` and ``atrophy`` the image is G(w).

    w ``(N, num_ws, w_dim)``; areas ``(N, amounts)`` measured along v_d, rising, relative to the typical one; level,
    atrophy ``(N,)``; other ``(N,)``, what is measured in the image that is no ventricle, as far as it is known;
    opened ``(N,)``, how much is added to that where the whole cortex is lost.

    Examples
    --------
    >>> areas = torch.tensor([[0.2, 0.6, 1.0, 1.8, 2.6]])
    >>> none = torch.zeros(1)
    >>> here = Anatomy(torch.zeros(1, 1, 2), areas, level=areas[:, 2], atrophy=none, other=none, opened=none)
    >>> there = here.at(torch.tensor([1.5]), torch.tensor([0.1]))
    >>> there.level, there.atrophy, there.areas is areas
    (tensor([1.5000]), tensor([0.1000]), True)
    """

    w: Tensor
    areas: Tensor
    level: Tensor
    atrophy: Tensor
    other: Tensor
    opened: Tensor

    def at(self, level: Tensor, atrophy: Tensor) -> Anatomy:
        """Return the same images, standing elsewhere."""
        return self._replace(level=level.to(self.areas), atrophy=atrophy.to(self.areas))


@dataclass(frozen=True, eq=False)
class SliceImage(Mechanism):
    """The mechanism from ventricles and atrophy to a slice without noise, ``(*, subjects, visits, C, H, W)`` in -1..1.

    Parameters
    ----------
    generator
        Frozen; see `of`.
    ventricles, atrophy
        v_d, for one typical area, and v_a, for the whole cortex, ``(w_dim,)``.
    mean
        Of w, ``(w_dim,)``.
    residual
        Spread of r, or None.
    psi, residual_scale
        How widely simulated subjects are spread: of the spread of w, and of r.
    measure
        From images ``(B, C, H, W)`` to areas of the ventricles, relative to the typical one, ``(B,)``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> flat = lambda w, noise_mode: w[:, 0, 0].reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4)  # as bright as w's first
    >>> generator = SimpleNamespace(img_resolution=4, img_channels=1, synthesis=flat)
    >>> ways, area = torch.eye(2), lambda images: 1 + images.mean((1, 2, 3))
    >>> image = SliceImage(generator, *ways, torch.zeros(2), residual=None, measure=area)
    >>> slices = image.render(image.chart(torch.zeros(1, 1, 2)), torch.tensor([[0.7, 1.0, 2.0]]), torch.zeros(1, 3))
    >>> slices.shape, area(slices[0]).round(decimals=1)  # right to half a percent
    (torch.Size([1, 3, 1, 4, 4]), tensor([0.7000, 1.0000, 2.0000]))
    """

    generator: Any
    ventricles: Tensor
    atrophy: Tensor
    mean: Tensor
    residual: ResidualSpread | None
    psi: float = 0.7
    residual_scale: float = 0.25
    measure: Callable[[Tensor], Tensor] = lambda images: ventricle_area(images) / TYPICAL_AREA

    event_dim: ClassVar[int] = 3

    @classmethod
    def of(cls, generator: Any, **options: Any) -> SliceImage:
        """Take directions and residual from a generator's card.

        Raises
        ------
        ValueError
            Where the card has no direction of the ventricles.
        """
        ventricles, atrophy = image_directions(generator)
        mean = latent_statistics(generator).mean.detach().cpu()
        residual = ResidualSpread.from_card(getattr(generator, "card", None))
        return cls(generator.freeze(), ventricles, atrophy, mean, residual, **options)

    @property
    def parents(self) -> tuple[str, ...]:
        """Size of the ventricles, and atrophy."""
        return ("ventricles", "atrophy")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        side = self.generator.img_resolution
        return self.generator.img_channels, side, side

    @property
    def noise(self) -> Mapping[str, Noise]:
        """Z of the subject's latent, and the white noise behind r."""
        return {
            "z": Noise("subject", "normal", (self.generator.z_dim,)),
            "residual": Noise("subject", "normal", self.shape),
        }

    def value(self, noise: Values, parents: Values) -> Tensor:
        """Slices of simulated subjects."""
        anatomy = self.simulated(noise["z"].flatten(0, -2))
        ventricles, atrophy = torch.broadcast_tensors(  # type: ignore[no-untyped-call]
            *(parents[name] for name in self.parents)
        )
        made = self.render(anatomy, *(x.reshape(len(anatomy.w), -1) for x in (ventricles, atrophy)))
        return made.reshape(*ventricles.shape, *self.shape) + self.own_residual(noise["residual"])

    @torch.no_grad()
    def latent(self, z: Tensor) -> Tensor:
        """W ``(N, num_ws, w_dim)`` of a simulated subject, from z ``(N, z_dim)``, whose ventricles the parents say."""
        found = self.generator.mapping(standard_latents(self.generator, z.float()))
        mean = self.mean.to(found)
        return mean + self.psi * (found - mean)  # type: ignore[no-any-return]

    def own_residual(self, white: Tensor) -> Tensor:
        """R of a simulated subject, from white noise ``(*, C, H, W)``."""
        white = white.float()
        return torch.zeros_like(white) if self.residual is None else self.residual_scale * self.residual.root(white)

    def chart(self, w: Tensor) -> Anatomy:
        """Measure how the ventricles of anatomies w ``(N, num_ws, w_dim)`` respond; they stand at what they show."""
        along = torch.tensor(AMOUNTS).to(w)[:, None, None, None] * self.ventricles.to(w)
        areas = rising(torch.stack([self.measure(self.images(w + step)) for step in along], -1))
        own, none = areas[:, ZERO], torch.zeros_like(areas[:, ZERO])
        opened = (self.measure(self.images(w + LOSS * self.atrophy.to(w))) - own) / LOSS
        return Anatomy(w, areas, own.clamp_min(0.05), atrophy=none, other=none, opened=opened)

    def simulated(self, z: Tensor) -> Anatomy:
        """Chart simulated subjects z ``(N, z_dim)``: of a generator with codes it is known how large ventricles are."""
        anatomy = self.chart(self.latent(z))
        if not has_codes(self.generator):
            return anatomy
        typical = torch.ones_like(anatomy.level)
        return anatomy._replace(level=typical, other=anatomy.areas[:, ZERO] - typical)

    def render(self, anatomy: Anatomy, ventricles: Tensor, atrophy: Tensor) -> Tensor:
        """Images ``(N, T, C, H, W)`` of anatomies at ventricles and atrophy ``(N, T)``, without r."""
        w, areas, other = anatomy.w, anatomy.areas, anatomy.other[:, None]
        lost = atrophy.to(w) - anatomy.atrophy[:, None]
        own = (areas[:, [ZERO]] - other) * (ventricles.to(w) / anatomy.level[:, None])
        wanted = own + other + anatomy.opened[:, None] * lost

        def made(kappa: Tensor) -> Tensor:
            moves = kappa[..., None] * self.ventricles.to(w) + lost[..., None] * self.atrophy.to(w)
            return self.images((w[:, None] + moves.unsqueeze(-2)).flatten(0, 1)).reshape(*kappa.shape, *self.shape)

        kappa = amounts(areas, wanted)
        slope = (areas[:, [-1]] - areas[:, [0]]).expand_as(kappa) / (AMOUNTS[-1] - AMOUNTS[0])
        images = made(kappa)
        found = self.measure(images.flatten(0, 1)).reshape(kappa.shape)
        for _ in range(CORRECTIONS):
            off = (found - wanted).abs() > CLOSE * wanted
            nearer = (kappa + (wanted - found) / slope.clamp_min(LEAST_SLOPE)).clamp(-FARTHEST, FARTHEST)
            nearer = torch.where(off, nearer, kappa)
            images = made(nearer)
            before, found = found, self.measure(images.flatten(0, 1)).reshape(kappa.shape)
            secant = (found - before) / (nearer - kappa)
            slope = torch.where(secant > 0, secant, slope)
            kappa = nearer
        return images

    @torch.no_grad()
    def images(self, w: Tensor) -> Tensor:
        """G(w), some at a time."""
        parts = [self.generator.synthesis(part, noise_mode="none") for part in torch.split(w, BATCH)]
        return torch.cat(parts)


def rising(areas: Tensor) -> Tensor:
    """Measured areas ``(N, amounts)`` with dips taken out, from the middle outwards, strictly rising.

    Areas are relative to the typical one, at -4, -2, 0, 2 and 4 along v_d.  Where they would not rise they do so by a
    hundredth for one unit along v_d, which is added to all.

    Examples
    --------
    >>> rising(torch.tensor([[0.5, 0.6, 1.0, 0.9, 1.4]]))  # as if 1.0, 1.0 had been measured for 1.0, 0.9
    tensor([[0.4600, 0.5800, 1.0000, 1.0200, 1.4400]])
    """
    up = areas[:, ZERO:].cummax(-1).values
    down = areas[:, : ZERO + 1].flip(-1).cummin(-1).values.flip(-1)
    return torch.cat([down[:, :-1], up], -1) + LEAST_SLOPE * torch.tensor(AMOUNTS).to(areas)


def amounts(areas: Tensor, wanted: Tensor) -> Tensor:
    """How far to go ``(N, T)`` for areas ``wanted (N, T)``, by linear interpolation; never beyond what was measured.

    ``areas (N, amounts)`` are those of :func:`rising`, measured at -4, -2, 0, 2 and 4 along v_d, the unit of the
    result.

    Examples
    --------
    >>> areas = torch.tensor([[0.25, 0.5, 1.0, 1.5, 2.5]])
    >>> amounts(areas, wanted=torch.tensor([[0.75, 1.0, 2.0, 9.0]]))  # 9 times the typical area was not measured
    tensor([[-1.,  0.,  3.,  4.]])
    """
    grid = torch.tensor(AMOUNTS).to(areas)
    place = torch.searchsorted(areas.contiguous(), wanted.contiguous()).clamp(1, len(AMOUNTS) - 1)
    before, after = areas.gather(1, place - 1), areas.gather(1, place)
    share = ((wanted - before) / (after - before).clamp_min(1e-6)).clamp(0, 1)
    return torch.lerp(grid[place - 1], grid[place], share)
