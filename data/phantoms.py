"""Phantoms: labelled brain slices without end, of known anatomy, for training and for tests of truth.

Each slice is the MNI152 brain (:mod:`neuropyro.data.template`) seen through a random diffeomorphism of its own:

1. a plane at a known position, tilted, turned and scaled (pose);
2. bent in itself by the exponential of a random stationary velocity field at three scales, and through the plane by a
   smooth relief, so that neighbouring gyri come from different depths;
3. in a brain whose ventricles were dilated along a fixed field, until they have the area in this slice that they are to
   have (covariate ``dilation``);
4. whose sulcal fluid gained on the cortex (covariate ``atrophy``), here more, there less;
5. tissue intensities (``contrast``, ``brightness``), a bias field and noise, all in the brain: the background is -1.

A slice is a function of (seed, split, index) alone: a batch of any size, in any order, gives the same.  The splits draw
from disjoint streams of random numbers, so no slice of one is in another.

Their covariates, with units, are listed in :mod:`neuropyro.data.phantom_recipe`.
"""

import copy
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import interpolate as resize

from neuropyro.data.diffeomorphisms import exponential, identity_grid, interpolate, spline_field
from neuropyro.data.phantom_draws import FACTORS, covariates_of, draw_factors, name_factors
from neuropyro.data.phantom_recipe import (
    CENTRE,
    COVARIATES,
    FIELD_CONTROLS,
    FIELD_OF_VIEW,
    LARGEST,
    POSITIONS,
    POSITIVE,
    RELIEF_CONTROLS,
    SPLITS,
    PhantomRecipe,
    Plane,
    Split,
)
from neuropyro.data.template import TEMPLATE_INTENSITY, TISSUES, load_template, thin_cortex
from neuropyro.data.ventricles import measure_ventricles

__all__ = ["BrainPhantoms", "PhantomRecipe", "PhantomSlices", "Split"]


@dataclass(frozen=True)
class PhantomSlices:
    """A batch of phantoms.

    Attributes
    ----------
    images
        ``(B, 1, H, W)`` float32 in [-1, 1]; -1 is background.  Row 0 is superior (coronal) or anterior (axial), column
        0 is the subject's left.
    labels
        Tissue fractions of each pixel ``(B, 4, H, W)`` in [0, 1], in the order of
        :data:`~neuropyro.data.template.TISSUES`: grey matter, white matter, fluid, and the ventricles' part of it.
    covariates
        Name to values ``(B,)``, see :mod:`neuropyro.data.phantom_recipe`.
    pixel
        Size of a pixel, mm.

    Examples
    --------
    >>> labels = torch.tensor([1.0, 0.0, 0.5, 0.25]).reshape(1, 4, 1, 1).expand(1, 4, 3, 3)
    >>> PhantomSlices(torch.zeros(1, 1, 3, 3), labels, {}, pixel=2.0).area("csf")  # half of 9 pixels of 4 mm²
    tensor([18.])
    """

    images: Tensor
    labels: Tensor
    covariates: dict[str, Tensor]
    pixel: float

    def area(self, tissue: str) -> Tensor:
        """Return the area ``(B,)`` of one of :data:`~neuropyro.data.template.TISSUES` in each slice, mm².

        Another name is a ValueError.
        """
        return self.labels[:, TISSUES.index(tissue)].sum((1, 2)) * self.pixel**2


@dataclass
class BrainPhantoms:
    """A stream of phantoms, called with indices.

    Parameters
    ----------
    resolution
        Side of the slices, 16 to 512 pixels.
    plane
        ``"coronal"`` or ``"axial"``.
    split
        ``"train"``, ``"validation"`` or ``"test"``: disjoint streams.
    seed
        Any non-negative integer.
    recipe
        How slices vary.
    device
        Where slices are computed.  Random numbers are drawn on the CPU, so slices are the same on all devices to
        rounding.

    Raises
    ------
    ValueError
        Plane, split, resolution, seed or a range of the recipe is not of those above; it is named.

    Examples
    --------
    >>> phantoms = BrainPhantoms(resolution=64, seed=0)
    >>> slices = phantoms([0, 1, 2], dilation=2.0)
    >>> unscaled = slices.area("ventricles") / slices.covariates["size"] ** 2
    >>> (unscaled / phantoms.ventricles.typical).round(decimals=1)
    tensor([2., 2., 2.])
    """

    resolution: int = 64
    plane: Plane = "coronal"
    split: Split = "train"
    seed: int = 0
    recipe: PhantomRecipe = field(default_factory=PhantomRecipe)
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        self._check()
        self.pixel = FIELD_OF_VIEW[self.plane] / (self.resolution - 1)
        self.template = load_template(self.pixel).to(self.device)
        self.ventricles = measure_ventricles(self.template, self.plane)

    def __call__(self, indices: Tensor | range | list[int], **given: float | Tensor) -> PhantomSlices:
        """Make slices.

        Parameters
        ----------
        indices
            Which of the stream, ``(B,)``, each 0 or more.
        **given
            Covariates to set, one value or ``(B,)``, in place of the slices' own; all else of each slice stays, so that
            two calls differ by that intervention alone.

        Returns
        -------
        PhantomSlices
            ``B`` slices, on :attr:`device`.

        Raises
        ------
        ValueError
            A name in ``given`` is no covariate, or a value none that it can have; no index, or a negative one.
        """
        return self._slices(self._draws(indices), given)

    def _draws(self, indices: Tensor | range | list[int]) -> dict[str, Tensor]:
        which = [int(i) for i in indices]
        if not which or min(which) < 0:
            raise ValueError(f"indices: give one or more, each 0 or more, not {which}")
        draws = draw_factors(self.seed, self.split, which, self.resolution)
        return {name: values.to(self.device) for name, values in draws.items()}

    def _slices(self, draws: dict[str, Tensor], given: dict[str, float | Tensor]) -> PhantomSlices:
        covariates = covariates_of(draws["covariates"], self.ranges(), given)
        points = self._points(draws, covariates)
        tissues, texture = self._anatomy(points, draws["patches"], covariates)
        images = self._intensities(tissues, texture, draws, covariates)
        return PhantomSlices(images, tissues.movedim(0, 1).clamp(0, 1), covariates, self.pixel)

    def images(self, indices: Tensor | range | list[int]) -> Tensor:
        """Return the images alone, ``(B, 1, H, W)``: what training wants to be called with."""
        return self(indices).images

    def of_split(self, split: Split) -> "BrainPhantoms":
        """Return another split of the stream, on the same template, which takes seconds to build; or ValueError."""
        other = copy.copy(self)
        other.split = split
        other._check()
        return other

    def factors(self, indices: Tensor | range | list[int]) -> Tensor:
        """Return the standard normals ``(B, factors)``, independent, of which slices without their noise are made.

        The first are those of the covariates, in the order of :data:`~neuropyro.data.phantom_recipe.COVARIATES`.
        """
        draws = self._draws(indices)
        return torch.cat([draws[name].flatten(1) for name in FACTORS], dim=1)

    def of_factors(self, factors: Tensor) -> Tensor:
        """Return the images ``(B, 1, H, W)`` of factors ``(B, factors)``, without noise: differentiable."""
        return self._slices(name_factors(factors) | {"noise": factors.new_zeros(())}, {}).images

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Return the range of every covariate, in the units of :mod:`neuropyro.data.phantom_recipe`."""
        ranges = {name: getattr(self.recipe, name) for name in COVARIATES}
        return ranges | {"position": self.recipe.position or POSITIONS[self.plane]}

    def _check(self) -> None:
        if self.plane not in FIELD_OF_VIEW:
            raise ValueError(f"plane must be 'coronal' or 'axial', not {self.plane!r}")
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {self.split!r}")
        if not 16 <= self.resolution <= 512:
            raise ValueError(f"resolution must be from 16 to 512 pixels, not {self.resolution}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, not {self.seed}")
        for name, (low, high) in self.ranges().items():
            if not (low <= high <= LARGEST.get(name, math.inf)) or (name in POSITIVE and low <= 0):
                raise ValueError(f"recipe: {name} ranges from {low} to {high}")

    def _points(self, draws: dict[str, Tensor], covariates: dict[str, Tensor]) -> Tensor:
        """Return where in the template each pixel comes from, ``(B, H, W, 3)`` mm MNI."""
        half = FIELD_OF_VIEW[self.plane] / 2
        across, down = (self._bent_grid(draws) * half).unbind(-1)
        depth = sum(
            size * spline_field(draws[f"relief{n}"], self.resolution)[:, 0]
            for n, size in zip(RELIEF_CONTROLS, self.recipe.relief, strict=True)
        )
        local = torch.stack([across, down, torch.as_tensor(depth)], -1)
        posed = local @ self._pose(draws["pose"], covariates)[:, None]
        posed = posed + self.recipe.shift * torch.nn.functional.pad(draws["pose"][:, 2:4], (0, 1))[:, None, None]
        placed = self._place(posed, covariates)
        return self.template.dilate(placed, self._flow_time(placed, covariates))

    def _flow_time(self, points: Tensor, covariates: dict[str, Tensor]) -> Tensor:
        """Return for how long ventricles flow to have the size that they are to have in this very slice, ``(B,)``.

        The table knows slices that are neither bent nor tilted; by how much it misses is measured, and made good.
        """
        wanted, position = covariates["dilation"], covariates["position"]
        step = max(1, self.resolution // 64)
        inner = points[:, self._middle(2 / 3, step), self._middle(2 / 3, step)]
        starts = self.template.dilate(inner, self.ventricles.flow_time(wanted, position))
        seen = interpolate(self.template.tissues[3:][None], self.template.locate(starts))[0].sum((1, 2))
        area = seen * (step * self.pixel / covariates["size"]) ** 2
        missed = (wanted * self.ventricles.typical / area).clamp(0.5, 2)
        return self.ventricles.flow_time(wanted * missed, position)

    def _middle(self, share: float, step: int) -> slice:
        """Every so manyth pixel of the middle of an axis."""
        margin = int(self.resolution * (1 - share) / 2)
        return slice(margin, self.resolution - margin, step)

    def _bent_grid(self, draws: dict[str, Tensor]) -> Tensor:
        """Return the grid under each slice's diffeomorphism, ``(B, H, W, 2)``, -1 to 1 over the slice."""
        samples = min(self.resolution, 64)
        unit = 2 / FIELD_OF_VIEW[self.plane]
        velocity = sum(
            size * unit * spline_field(draws[f"warp{n}"], samples)
            for n, size in zip(FIELD_CONTROLS, self.recipe.warp, strict=True)
        )
        bent = exponential(torch.as_tensor(velocity))
        if samples < self.resolution:
            bent = resize(bent, size=(self.resolution,) * 2, mode="bicubic", align_corners=True)
        return identity_grid(self.resolution, device=self.device) + bent.permute(0, 2, 3, 1)

    def _pose(self, normals: Tensor, covariates: dict[str, Tensor]) -> Tensor:
        """Return the linear map ``(B, 3, 3)``, applied from the right to (across, down, depth)."""
        turn = covariates["rotation"].deg2rad()
        tilts = (normals[:, :2] * self.recipe.tilt).deg2rad()
        aspect = torch.exp(normals[:, 4] * self.recipe.aspect / 2)
        scale = torch.stack([aspect, 1 / aspect, torch.ones_like(aspect)], -1) / covariates["size"][:, None]
        turned = _rotation(turn, 0, 1) @ _rotation(tilts[:, 0], 0, 2) @ _rotation(tilts[:, 1], 1, 2)
        return turned * scale[:, None]

    def _place(self, local: Tensor, covariates: dict[str, Tensor]) -> Tensor:
        """Turn (across, down, depth) mm into MNI coordinates: down is inferior, or posterior."""
        across, down, depth = local.unbind(-1)
        depth = depth + covariates["position"][:, None, None]
        x, y, z = CENTRE[self.plane]
        if self.plane == "coronal":
            return torch.stack([across + x, depth + y, z - down], -1)
        return torch.stack([across + x, y - down, depth + z], -1)

    def _anatomy(self, points: Tensor, patches: Tensor, covariates: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Sample the tissues ``(4, B, H, W)`` and texture ``(B, H, W)``; take the cortex that atrophy takes."""
        template = self.template
        volumes = torch.cat([template.tissues, template.texture, template.cortical])[None]
        maps = interpolate(volumes, template.locate(points))
        local = self.recipe.patchiness * spline_field(patches[:, None], self.resolution)[:, 0]
        shift = template.fluid_shift(covariates["atrophy"])[:, None, None] + local
        return thin_cortex(maps[:4], shift * maps[5]), maps[4]

    def _intensities(
        self, tissues: Tensor, texture: Tensor, draws: dict[str, Tensor], covariates: dict[str, Tensor]
    ) -> Tensor:
        """Return images ``(B, 1, H, W)`` in [-1, 1]."""
        white = covariates["brightness"][:, None, None]
        gain = white / TEMPLATE_INTENSITY["wm"]
        grey = white * covariates["contrast"][:, None, None]
        image = grey * tissues[0] + white * tissues[1] + gain * (TEMPLATE_INTENSITY["csf"] * tissues[2] + texture)
        bias = spline_field(draws["bias"][:, None], self.resolution)[:, 0] * covariates["bias"][:, None, None]
        brain = tissues[:3].sum(0)
        noise = brain * covariates["noise"][:, None, None] * draws["noise"]
        return ((image * torch.exp(bias) + noise) * 2 - 1).clamp(-1, 1)[:, None]


def _rotation(angle: Tensor, i: int, j: int) -> Tensor:
    """Return the rotation ``(B, 3, 3)`` by ``angle`` radians in the plane of axes i and j."""
    matrix = torch.eye(3, device=angle.device).repeat(len(angle), 1, 1)
    matrix[:, i, i] = matrix[:, j, j] = angle.cos()
    matrix[:, i, j], matrix[:, j, i] = angle.sin(), -angle.sin()
    return matrix
