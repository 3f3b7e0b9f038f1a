"""Cohorts, meshes and simulations: what models are fitted to."""

from neuropyro.data.cohort import Cohort
from neuropyro.data.errors import CohortError
from neuropyro.data.mesh import Mesh
from neuropyro.data.reference_simulation import SWEEPS, reference_sweep, simulate_reference
from neuropyro.data.simulation import simulate_cohort
from neuropyro.data.surfaces import cortex_mesh
from neuropyro.data.truth import Truth

__all__ = [
    "SWEEPS",
    "Cohort",
    "CohortError",
    "Mesh",
    "Truth",
    "cortex_mesh",
    "reference_sweep",
    "simulate_cohort",
    "simulate_reference",
]
