"""Cohorts, meshes and simulations: what models are fitted to."""

from neuropyro.data.cohort import Cohort
from neuropyro.data.errors import CohortError
from neuropyro.data.map_space import MapSpace
from neuropyro.data.mesh import Mesh
from neuropyro.data.open_study import StudyOptions
from neuropyro.data.reference_simulation import SWEEPS, reference_sweep, simulate_reference
from neuropyro.data.simulation import simulate_cohort
from neuropyro.data.study_table import StudyTable, study_table
from neuropyro.data.surface_files import mesh_of_surfaces
from neuropyro.data.surfaces import cortex_mesh
from neuropyro.data.truth import Truth

__all__ = [
    "SWEEPS",
    "Cohort",
    "CohortError",
    "MapSpace",
    "Mesh",
    "StudyOptions",
    "StudyTable",
    "Truth",
    "cortex_mesh",
    "mesh_of_surfaces",
    "reference_sweep",
    "simulate_cohort",
    "simulate_reference",
    "study_table",
]
