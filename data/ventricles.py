"""How large the ventricles are in a slice, by how far they were dilated: what ties phantoms' dilation to what is seen.

One and the same dilated brain shows more of its ventricles in one slice than in the next: over the usual positions
their area in the template varies by a factor of two (coronal) to four (axial).  The covariate ``dilation`` is therefore
of the slice: the ventricles' area in it, relative to the template's typical one (the geometric mean over the usual
positions).  The table here holds the area for each position and flow time, and is read backwards: which flow time gives
the area that a slice is to have.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from neuropyro.data.diffeomorphisms import interpolate
from neuropyro.data.phantom_recipe import POSITIONS, Plane
from neuropyro.data.template import LATERAL_BOX, BrainTemplate

__all__ = ["VentricleTable", "measure_ventricles"]

STEP = 2.0  # mm, between the points whose ventricle fractions sum to an area
BEYOND = 24.0  # mm, how far dilated ventricles may reach out of the template's box
DEPTH_SD = 3.0  # mm: a slice is tilted and has a relief, so it shows areas about its position
TIMES = tuple(range(-10, 26, 2))  # of the flow; 0 is the template itself
BEYOND_POSITIONS = 9.0  # mm, how far the table reaches beyond the usual positions


@dataclass(frozen=True)
class VentricleTable:
    """Areas of the ventricles in slices of one plane.

    Attributes
    ----------
    positions
        Of the slices, ``(P,)`` mm MNI, evenly spaced.
    times
        Flow times of the dilation, ``(T,)``, rising.
    areas
        ``(P, T)`` mm², rising with time.
    typical
        Geometric mean area over the plane's usual positions, undilated: a dilation of 1.  mm².

    Examples
    --------
    >>> areas = torch.tensor([[100.0, 200.0], [100.0, 200.0]])
    >>> table = VentricleTable(torch.tensor([0.0, 3.0]), torch.tensor([0.0, 2.0]), areas, typical=100.0)
    >>> table.flow_time(torch.tensor([2**0.5, 2.0, 4.0]), torch.tensor([0.0, 1.0, 2.0])).round(decimals=3)
    tensor([1., 2., 4.])
    """

    positions: Tensor
    times: Tensor
    areas: Tensor
    typical: float

    def flow_time(self, dilation: Tensor, position: Tensor) -> Tensor:
        """Return for how long to flow.

        Parameters
        ----------
        dilation
            Area of the ventricles in each slice relative to the typical one, ``(B,)``.
        position
            Of the slices, ``(B,)`` mm MNI.

        Returns
        -------
        Tensor
            ``(B,)``; beyond the table it goes on as at its end.
        """
        step = self.positions[1] - self.positions[0]
        place = ((position - self.positions[0]) / step).clamp(0, len(self.positions) - 1)
        row = place.long().clamp(max=len(self.positions) - 2)
        logs = self.areas.log()
        rows = torch.lerp(logs[row], logs[row + 1], (place - row)[:, None])
        wanted = (dilation * self.typical).log()[:, None]
        i = torch.searchsorted(rows, wanted).clamp(1, len(self.times) - 1)
        before, after = rows.gather(1, i - 1), rows.gather(1, i)
        share = ((wanted - before) / (after - before))[:, 0]
        first, last = self.times[i[:, 0] - 1], self.times[i[:, 0]]
        return first + share * (last - first)


def measure_ventricles(template: BrainTemplate, plane: Plane) -> VentricleTable:
    """Measure the ventricles' area in slices of the dilated template, averaged over a few mm of depth.

    Parameters
    ----------
    template
        The brain.
    plane
        ``"coronal"`` or ``"axial"``.

    Returns
    -------
    VentricleTable
        On the template's device.

    Examples
    --------
    >>> block = torch.ones(4, 21, 120, 21)  # all ventricle, 20 mm across; at rest
    >>> at, rest, moving = torch.tensor([-10.0, -70.0, 0.0]), torch.zeros(3, 2, 2, 2), torch.zeros(2, 3)
    >>> brain = BrainTemplate(block, block[:1], block[:1], rest, moving, at, 1.0, *torch.zeros(2, 2))
    >>> round(measure_ventricles(brain, "coronal").typical)  # in mm², by points 2 mm apart
    440
    """
    device = template.tissues.device
    low, high = POSITIONS[plane]
    reach = BEYOND_POSITIONS + 2 * DEPTH_SD
    depths = torch.arange(low - reach, high + reach + 1, DEPTH_SD, device=device)
    times = torch.tensor(TIMES, dtype=torch.float32, device=device)
    points = _plane_points(plane, depths)
    starts = (template.locate(template.dilate(points, t.expand(len(depths)))) for t in times)
    sums = torch.stack([interpolate(template.tissues[3:][None], s)[0].sum((1, 2)) for s in starts], 1)
    weights = torch.exp(-(((depths[:, None] - depths) / DEPTH_SD) ** 2) / 2)
    areas = (weights @ sums / weights.sum(1, keepdim=True))[2:-2] * STEP**2
    positions = depths[2:-2]
    usual = (positions >= low) & (positions <= high)
    typical = float(areas[usual, TIMES.index(0)].log().mean().exp())
    return VentricleTable(positions, times, areas, typical)


def _plane_points(plane: Plane, depths: Tensor) -> Tensor:
    """Return points ``(P, n, m, 3)`` mm MNI of slices at ``depths``, over all that ventricles can reach."""
    x, y, z = (torch.arange(a - BEYOND, b + BEYOND, STEP, device=depths.device) for a, b in LATERAL_BOX)
    if plane == "coronal":
        grid = torch.meshgrid(depths, x, z, indexing="ij")
        return torch.stack([grid[1], grid[0], grid[2]], -1)
    grid = torch.meshgrid(depths, x, y, indexing="ij")
    return torch.stack([grid[1], grid[2], grid[0]], -1)
