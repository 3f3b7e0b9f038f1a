"""The model zoo: each file one model, or one component that several share."""

from neuropyro.models.anatomy import AnatomySimulator
from neuropyro.models.covariates import CovariateEffects
from neuropyro.models.forecasting import Forecasted
from neuropyro.models.new_subjects import Personalized
from neuropyro.models.progression import SubjectProgression
from neuropyro.models.reconstruction import LatentReconstruction
from neuropyro.models.reconstruction_storage import load_reconstruction, save_reconstruction
from neuropyro.models.scores import ScorePriors
from neuropyro.models.trajectory import OF_BIOMARKERS, TrajectoryPriors
from neuropyro.models.vertex_clusters import VertexClusterMixture
from neuropyro.models.vertex_maps import VertexMaps
from neuropyro.models.vertex_priors import VertexPriors
from neuropyro.models.visit_normal import VisitNormal

__all__ = [
    "OF_BIOMARKERS",
    "AnatomySimulator",
    "CovariateEffects",
    "Forecasted",
    "LatentReconstruction",
    "Personalized",
    "ScorePriors",
    "SubjectProgression",
    "TrajectoryPriors",
    "VertexClusterMixture",
    "VertexMaps",
    "VertexPriors",
    "VisitNormal",
    "load_reconstruction",
    "save_reconstruction",
]
