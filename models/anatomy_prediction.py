"""Prediction of maps, slices and scans from predicted numbers: what is a subject's own stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from neuropyro.models.anatomy_counterfactual import Exogenous, Grid, fresh_noise, is_same
from neuropyro.models.anatomy_images import Anatomy, SliceImage
from neuropyro.models.anatomy_map_evidence import draw_lasting
from neuropyro.models.anatomy_scanners import Scanners
from neuropyro.models.anatomy_thickness import Thickness

__all__ = ["predict_images", "predict_maps"]

Values = Mapping[str, Tensor]


@torch.no_grad()
def predict_maps(thickness: Thickness, exogenous: Exogenous, grid: Grid, values: Values) -> Tensor:
    """Return maps ``(draws, subjects, times, vertices)`` float32, mm.

    At a visit whose map was seen it is that map plus what the mean changes by.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from neuropyro.models.anatomy_counterfactual import visits_at
    >>> from neuropyro.models.anatomy_fields import SmoothField
    >>> from neuropyro.models.anatomy_observation import Observation
    >>> one, zero = torch.ones(2), torch.zeros(1, 1)
    >>> thickness = Thickness(2.5 * one, -0.5 * one, one, 0 * one, 0 * one, SmoothField(one[:, None]))
    >>> seen = Observation(["a"], zero, zero == 0, {"entry_age": zero + 70}, {}, maps=torch.tensor([[[2.1, 2.3]]]))
    >>> values = dict.fromkeys(("years", *thickness.parents), zero[None])
    >>> known, thicker = SimpleNamespace(observation=seen, values=values, draws=1, seed=0), zero[None] + 0.1  # mm
    >>> predict_maps(thickness, known, visits_at(seen, None, {}, ()), values | {"thickness_offset": thicker})
    tensor([[[[2.2000, 2.4000]]]])
    """
    seen = exogenous.observation.maps
    n, times = grid.design.shape
    maps = (
        seen if seen is not None else torch.full((n, exogenous.observation.years.shape[1], thickness.size), torch.nan)
    )
    maps = maps.to(thickness.baseline)
    new = {
        part: fresh_noise(f"u_thickness_{part}", law, exogenous, (n, times)) for part, law in thickness.noise.items()
    }
    rows = torch.arange(n, device=maps.device).unsqueeze(-1)
    at_visit = (grid.seen & ~maps.isnan().all(-1)[rows, grid.nearest]).unsqueeze(-1)
    found = []
    for d in range(exogenous.draws):
        before = {name: exogenous.values[name][d] for name in thickness.parents}
        after = {name: values[name][d] for name in thickness.parents}
        mean = thickness.mean(before)
        lasting = draw_lasting(thickness, maps - mean, new["subject"][d, :, 0]).unsqueeze(-2)
        noise = {"subject": lasting, "visit": new["visit"][d], "white": new["white"][d]}
        moved = maps[rows, grid.nearest] + (thickness.mean(after) - mean[rows, grid.nearest])
        found.append(torch.where(at_visit, moved, thickness.value(noise, after)))
    return torch.stack(found)


@torch.no_grad()
def predict_images(
    image: SliceImage, scanners: Scanners, exogenous: Exogenous, grid: Grid, values: Values
) -> tuple[Tensor, Tensor]:
    """Slices and scans ``(draws, subjects, times, C, H, W)``.

    A time's anatomy is that of the subject's scan nearest to it; a subject without any has one of the prior's.  At a
    visit whose slice and scanner are as they were, the scan is the one that was seen.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models import AnatomySimulator
    >>> from neuropyro.models.anatomy_counterfactual import visits_at
    >>> flat = lambda w, noise_mode: w[:, 0, 0].reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    >>> network = {"z_dim": 2, "mapping": lambda z: z[:, None], "synthesis": flat}
    >>> generator = SimpleNamespace(img_resolution=4, img_channels=1, **network)
    >>> area = lambda images: 1 + images.mean((1, 2, 3))
    >>> image = SliceImage(generator, *torch.eye(2), torch.zeros(2), residual=None, psi=0.1, measure=area)
    >>> sim, cohort = AnatomySimulator(image), Cohort([[14.0], [16.0]], [70.0, 71.0], ["a"] * 2, feature_names=["adas"])
    >>> known = sim.infer_exogenous(cohort, draws=1)  # no scan was seen
    >>> wanted = {**known.values, "ventricles": torch.tensor([[[1.0, 2.0]]])}
    >>> slices, scans = predict_images(image, sim.parts.scan, known, visits_at(known.observation, None, {}, ()), wanted)
    >>> area(slices[0, 0]).round(decimals=1)
    tensor([1., 2.])
    """
    behind = _Behind(image, scanners, exogenous, grid)
    each = [behind.subject(i, values) for i in range(len(exogenous.observation))]
    slices, scans = zip(*each, strict=True)
    return torch.stack(slices, 1), torch.stack(scans, 1)


@dataclass(frozen=True, eq=False)
class _Behind:
    """What is behind every subject's scans."""

    image: SliceImage
    scanners: Scanners
    exogenous: Exogenous
    grid: Grid

    def subject(self, i: int, values: Values) -> tuple[Tensor, Tensor]:
        """Slices and scans ``(draws, times, C, H, W)`` of one subject."""
        which = self.nearest_scan(i)
        ventricles, atrophy = (self.row(values[name], i) for name in self.image.parents)
        made = ventricles.new_empty(*ventricles.shape, *self.image.shape, dtype=torch.float32)
        for scan in sorted(set(which.tolist())):
            at = which == scan
            anatomy, residual = self.anatomy(i, scan)
            made[:, at] = self.image.render(anatomy, ventricles[:, at], atrophy[:, at]) + residual.unsqueeze(1)
        return made, self.scans(i, which, made, values)

    def row(self, node: Tensor, i: int) -> Tensor:
        """Return a node of one subject at the times, ``(draws, times)``."""
        return node[:, i].expand(-1, self.grid.design.shape[1])

    def nearest_scan(self, i: int) -> Tensor:
        """Return number of the scan nearest in time, ``(times,)``; -1 where the subject has none."""
        own = (self.exogenous.scanned[:, 0] == i).nonzero().squeeze(-1)
        years = self.grid.design.years[i]
        if not len(own):
            return torch.full(years.shape, -1, device=years.device)
        taken = self.exogenous.observation.years[i, self.exogenous.scanned[own, 1]]
        return own[(years.unsqueeze(-1) - taken).abs().argmin(-1)]

    def anatomy(self, i: int, scan: int) -> tuple[Anatomy, Tensor]:
        """Draws of the anatomy behind a scan, and of its residual ``(draws, C, H, W)``."""
        if scan < 0:
            return self.unseen(i)
        images = self.exogenous.images
        assert images is not None
        visit = int(self.exogenous.scanned[scan, 1])
        w = images.w[:, scan]
        alike = self.exogenous.draws > 1 and bool((w == w[:1]).all())
        anatomy = self.image.chart(w[:1] if alike else w)
        if alike:
            anatomy = Anatomy(*(x.expand(len(w), *x.shape[1:]) for x in anatomy))
        level, atrophy = (self.exogenous.values[name][:, i, visit] for name in self.image.parents)
        return anatomy.at(level, atrophy), images.residual[:, scan]

    def unseen(self, i: int) -> tuple[Anatomy, Tensor]:
        """Draws from the prior."""
        n = len(self.exogenous.observation)
        laws = self.image.noise
        z, white = (fresh_noise(f"u_image_{p}", laws[p], self.exogenous, (n, 1))[:, i, 0] for p in ("z", "residual"))
        return self.image.simulated(z), self.image.own_residual(white)

    def scans(self, i: int, which: Tensor, made: Tensor, values: Values) -> Tensor:
        """Return scans of slices ``(draws, times, C, H, W)``."""
        site = self.scanners.checked(self.row(values["site"], i))
        law, shape = self.scanners.noise[""], self.grid.design.shape
        fresh = fresh_noise("u_scan", law, self.exogenous, shape)[:, i].to(made)
        found = self.scanners.seen(made, site) + self.scanners.sd(site, made) * fresh
        images, observation = self.exogenous.images, self.exogenous.observation
        for t in range(shape[1]):
            scan, visit = int(which[t]), int(self.grid.visit[i, t])
            if images is None or scan < 0 or int(self.exogenous.scanned[scan, 1]) != visit:
                continue
            before = self.scanners.checked(self.exogenous.values["site"][:, i, 0])
            ratio = self.scanners.sd(site[:, t], made) / self.scanners.sd(before, made).clamp_min(1e-6)
            moved = self.scanners.seen(made[:, t], site[:, t]) + ratio * images.left[:, scan]
            same = site[:, t] == before
            for name in self.image.parents:
                same = same & is_same(self.row(values[name], i)[:, t], self.exogenous.values[name][:, i, visit])
            assert observation.scans is not None
            found[:, t] = torch.where(same[:, None, None, None], observation.scans[i, visit], moved)
        return found
