"""Runners, their results, and what to make of them; they know no model."""

from neuropyro.inference.agreement import cluster_agreement
from neuropyro.inference.calibration import Calibration, calibrate
from neuropyro.inference.convergence import Schedule
from neuropyro.inference.export import save_netcdf, to_arviz
from neuropyro.inference.fit import fit
from neuropyro.inference.result import Fit, Run
from neuropyro.inference.sample import sample
from neuropyro.inference.simulation import Simulated, observe, predictive, prior_draws, simulate_prior
from neuropyro.inference.storage import FitError, load_fit
from neuropyro.inference.weights import log_weights, psis_khat

__all__ = [
    "Calibration",
    "Fit",
    "FitError",
    "Run",
    "Schedule",
    "Simulated",
    "calibrate",
    "cluster_agreement",
    "fit",
    "load_fit",
    "log_weights",
    "observe",
    "predictive",
    "prior_draws",
    "psis_khat",
    "sample",
    "save_netcdf",
    "simulate_prior",
    "to_arviz",
]
