"""Runners, their results, and what to make of them; they know no model."""

from neuropyro.inference.agreement import cluster_agreement
from neuropyro.inference.convergence import Schedule
from neuropyro.inference.export import save_netcdf, to_arviz
from neuropyro.inference.fit import fit
from neuropyro.inference.result import Fit, Run
from neuropyro.inference.storage import FitError, load_fit

__all__ = ["Fit", "FitError", "Run", "Schedule", "cluster_agreement", "fit", "load_fit", "save_netcdf", "to_arviz"]
