r"""Maps of cortical thickness: vertexwise trajectories over the score, ageing, and what is a subject's own.

.. math::

   V_{nl} = m_l + \tau_i + f_l(s_n) - \gamma_l (\mathrm{age}_n - 70)
            + \sigma_o (B o_i)_l + \sigma_e (B e_n)_l + \sigma_w \varepsilon_{nl}

for visit n of subject i: f_l is the sigmoid of vertex l (:mod:`neuropyro.models.trajectory`), tau the subject's
``thickness_offset``, o_i a smooth deviation that lasts, e_n one of the visit, epsilon white, all standard normal
(:mod:`neuropyro.models.anatomy_fields`).  Where a map is seen, what is left of it once the rest is known is its noise,
exactly; how much of that lasts (o_i) is known only as far as visits tell.

Seen maps also tell where on its course a subject is.  Their density given scores is normal, with two kinds of
covariance, of the visits' mean and of departures from it; all it needs of a subject's maps are their products with few
vectors, since f is a spline (:mod:`neuropyro.models.anatomy_curves`).

References
----------
Marinescu et al., NeuroImage 2019 (DIVE), for the trajectories; Rasmussen & Williams, *Gaussian processes for machine
learning*, 2006, A.2 (conditioning) and A.3 (Woodbury).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from torch import Tensor

from neuropyro.data import Mesh, cortex_mesh
from neuropyro.data.parcels import network_labels
from neuropyro.data.surfaces import cortical_thickness
from neuropyro.models.anatomy_curves import Curves
from neuropyro.models.anatomy_fields import SmoothField
from neuropyro.models.anatomy_mechanism import Mechanism, Noise, Values

__all__ = ["Thickness"]

ORIGIN = 70.0  # years, at which ageing has done nothing yet
KNOTS_A_RISE = 1.5  # knots over 1 / b scores of the steepest trajectory: errors below .0001 of its change
REACH = 9.0  # times 1 / b beyond the first and last onset, where all curves are flat
# The default maps, all of them choices: onset, total change (mm) and steepness of three clusters, and scatter in them.
ONSETS, CHANGES, STEEPNESS = (-0.5, 1.5, 3.5), (-0.8, -0.2, -0.5), 1.5
ONSET_SCATTER, STEEPNESS_SCATTER = 0.3, 0.2
AGEING = 0.005  # mm a year


class _MapBasis(NamedTuple):
    """The vectors that maps are made of, and their products: Phi ``(J + 1, vertices)``, Phi Phi', Phi Q, Q and d."""

    vectors: Tensor
    gram: Tensor
    projected: Tensor
    q: Tensor
    d: Tensor

    @classmethod
    def of(cls, curves: Tensor, field: SmoothField) -> _MapBasis:
        """Take the spline's coefficients ``(J, vertices)``, and 1 for the subject's offset."""
        vectors = torch.cat([torch.ones_like(curves[:1]), curves])
        q, d, _ = field.spectrum
        return cls(vectors, vectors @ vectors.mT, vectors @ q, q, d)


@dataclass(frozen=True, eq=False)
class Thickness(Mechanism):
    """The mechanism from score and age to maps.

    Parameters
    ----------
    baseline
        m, ``(vertices,)`` mm.
    a, b, c
        Trajectories, ``(vertices,)`` each: total change (mm), steepness (per score), score at its middle.
    ageing
        gamma, ``(vertices,)`` mm a year.
    field
        B.
    subject_sd, visit_sd, white_sd
        sigma_o, sigma_e, sigma_w, mm; above 0.
    mesh
        What the vertices lie on, or None.
    labels
        Cluster of each vertex, ``(vertices,)``, or None.

    Examples
    --------
    >>> one, zero = torch.ones(2), torch.zeros(1, 1)
    >>> thickness = Thickness(2.5 * one, -0.8 * one, one, one, 0.005 * one, SmoothField(one[:, None]))
    >>> thickness.mean({"dps": zero + 1, "age": zero + 80, "thickness_offset": zero})  # 2.5 - .8 / 2 - 10 years x .005
    tensor([[[2.0500, 2.0500]]])
    """

    baseline: Tensor
    a: Tensor
    b: Tensor
    c: Tensor
    ageing: Tensor
    field: SmoothField
    subject_sd: float = 0.06
    visit_sd: float = 0.04
    white_sd: float = 0.10
    mesh: Mesh | None = None
    labels: NDArray[np.int64] | None = None

    event_dim: ClassVar[int] = 1

    def __post_init__(self) -> None:
        sizes = {len(x) for x in (self.baseline, self.a, self.b, self.c, self.ageing, self.field.basis)}
        if len(sizes) > 1:
            raise ValueError(f"thickness: baseline, trajectories, ageing and field have {sorted(sizes)} vertices")
        if min(self.subject_sd, self.visit_sd, self.white_sd) <= 0 or bool((self.b <= 0).any()):
            raise ValueError("thickness: sds and steepness b must be above 0")

    @classmethod
    def default(cls, mesh: Mesh | None = None, seed: int = 0, ageing: float = AGEING, **sds: Any) -> Thickness:
        """Return three clusters of parcels on the fsaverage5 cortex, or on another mesh with coordinates.

        Parameters
        ----------
        mesh
            The cortex; a mesh of another template starts from a flat 2.5 mm.
        seed
            Of the parcels and the vertices' scatter.
        ageing
            mm a year, everywhere.
        **sds
            ``subject_sd``, ``visit_sd``, ``white_sd``.
        """
        mesh = cortex_mesh() if mesh is None else mesh
        rng = np.random.default_rng(seed)
        labels = network_labels(mesh, len(ONSETS), rng)
        c = np.array(ONSETS)[labels] + ONSET_SCATTER * rng.standard_normal(mesh.n_vertices)
        b = STEEPNESS * np.exp(STEEPNESS_SCATTER * rng.standard_normal(mesh.n_vertices))
        bundled = mesh.template == "fsaverage5" and mesh.template_index is not None
        flat = np.full(mesh.n_vertices, 2.5)
        baseline = cortical_thickness()[mesh.template_index] if bundled else flat
        arrays = (baseline, np.array(CHANGES)[labels], b, c, np.full(mesh.n_vertices, ageing))
        tensors = [torch.as_tensor(x, dtype=torch.float32) for x in arrays]
        known: dict[str, Any] = dict(zip(("baseline", "a", "b", "c", "ageing"), tensors, strict=True))
        return cls(field=SmoothField.on_mesh(mesh), mesh=mesh, labels=labels, **known, **sds)

    def subset(self, vertices: ArrayLike) -> Thickness:
        """Return the mechanism of some of the vertices, by their numbers: its maps are those of the whole, there."""
        keep = np.asarray(vertices)
        rows = torch.from_numpy(keep)
        tensors = {name: getattr(self, name)[rows] for name in ("baseline", "a", "b", "c", "ageing")}
        mesh = None if self.mesh is None else self.mesh.subset(keep)
        labels = None if self.labels is None else self.labels[keep]
        return replace(self, **tensors, field=self.field.at(rows), mesh=mesh, labels=labels)

    @property
    def parents(self) -> tuple[str, ...]:
        """Score, age and the subject's offset."""
        return ("dps", "age", "thickness_offset")

    @property
    def size(self) -> int:
        """Number of vertices."""
        return len(self.baseline)

    @property
    def noise(self) -> Mapping[str, Noise]:
        """O of the subject, e of the visit, and white noise."""
        return {
            "subject": Noise("subject", "normal", (self.field.size,)),
            "visit": Noise("visit", "normal", (self.field.size,)),
            "white": Noise("visit", "normal", (self.size,)),
        }

    def value(self, noise: Values, parents: Values) -> Tensor:
        """Return maps ``(*, subjects, visits, vertices)`` float32, mm."""
        smooth = self.field(self.subject_sd * noise["subject"] + self.visit_sd * noise["visit"])
        return self.mean(parents) + smooth + self.white_sd * noise["white"].to(smooth)

    def mean(self, parents: Values) -> Tensor:
        """Return maps without noise, ``(*, subjects, visits, vertices)`` float32."""
        s, age, offset = (parents[name].to(self.a).unsqueeze(-1) for name in self.parents)
        course = self.a * torch.sigmoid(self.b * (s - self.c))
        return self.baseline + offset + course - self.ageing * (age - ORIGIN)

    @cached_property
    def curves(self) -> Curves:
        """F of all vertices as a spline, in float64."""
        a, b, c = (x.double().cpu().numpy() for x in (self.a, self.b, self.c))
        step = 1 / (KNOTS_A_RISE * b.max())
        low, high = (c - REACH / b).min(), (c + REACH / b).max()
        knots = np.arange(low, high + step, step)
        return Curves.through(float(low), float(step), a * expit(b * (knots[:, None] - c)))

    @cached_property
    def basis(self) -> _MapBasis:
        """What maps of all vertices are made of, in float64."""
        return _MapBasis.of(self.curves.coefficients, self.field)

    def basis_at(self, known: Tensor) -> _MapBasis:
        """Return the same of some of the vertices, ``known (vertices,)`` bool."""
        if bool(known.all()):
            return self.basis
        return _MapBasis.of(self.curves.coefficients[:, known], self.field.at(known))
