"""The library's figures, in one place: reports, commands and notebooks draw with these.

Each function takes a result and returns a :class:`matplotlib.figure.Figure`, with units on its axes and colours that
the colour-blind tell apart.  Those of traces, forests and the like are ArviZ's own (``arviz.plot_trace`` of
``result.to_arviz()``).

====================================================  ==========================================================
function                                              what it takes
====================================================  ==========================================================
plot_clusters, plot_entropy, plot_trajectories,       an :class:`~neuropyro.outputs.Outcome`: model, cohort, fit
plot_biomarkers, plot_stages, plot_recovery,
plot_reliability, plot_loss
plot_forecast                                         a forecast of one subject, and its visits so far
plot_map                                              a mesh and a number at each vertex
plot_coverage                                         posterior draws and truths, by name
plot_reconstruction, plot_sd                          a :class:`~neuropyro.reconstruct_outputs.Reconstruction`
plot_worlds                                           counterfactuals by name
plot_diagnosis, plot_comparison                       what ``diagnose`` and ``compare`` return
plot_selection                                        a :class:`~neuropyro.selection.Selection`
====================================================  ==========================================================

Examples
--------
>>> from neuropyro.data import simulate_reference
>>> from neuropyro.inference import Schedule, fit
>>> from neuropyro.models import VertexClusterMixture
>>> from neuropyro.outputs import Outcome
>>> from neuropyro.plots import plot_trajectories
>>> cohort = simulate_reference(n_subjects=15, n_vertices=30, seed=1)
>>> model = VertexClusterMixture(n_clusters=2)
>>> result = fit(model, cohort, guide="map", schedule=Schedule(max_steps=20), progress=False)
>>> figure = plot_trajectories(Outcome(model, cohort, result))
>>> figure.axes[0].get_xlabel()
'progression score (sd of controls)'
"""

from neuropyro.anatomy_course_plots import plot_courses
from neuropyro.anatomy_plots import plot_worlds
from neuropyro.biomarker_plots import plot_biomarkers
from neuropyro.calibration_plots import plot_coverage, plot_reliability
from neuropyro.cortex_plots import plot_clusters, plot_entropy, plot_map
from neuropyro.diagnosis_plots import plot_comparison, plot_diagnosis
from neuropyro.forecast_plots import plot_forecast
from neuropyro.plot_style import cluster_colours
from neuropyro.progression_plots import plot_loss, plot_recovery, plot_stages, plot_trajectories
from neuropyro.reconstruct_plots import plot_reconstruction, plot_sd
from neuropyro.selection_plots import plot_selection

__all__ = [
    "cluster_colours",
    "plot_biomarkers",
    "plot_clusters",
    "plot_comparison",
    "plot_courses",
    "plot_coverage",
    "plot_diagnosis",
    "plot_entropy",
    "plot_forecast",
    "plot_loss",
    "plot_map",
    "plot_reconstruction",
    "plot_recovery",
    "plot_reliability",
    "plot_sd",
    "plot_selection",
    "plot_stages",
    "plot_trajectories",
    "plot_worlds",
]
