"""Runners, their results, and what to make of them; they know no model.

>>> import pyro, torch
>>> import pyro.distributions as dist
>>> from neuropyro.inference import fit
>>> def model(y):
...     mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
...     with pyro.plate("visit", len(y)):
...         pyro.sample("y", dist.Normal(mean, 1.0), obs=y)
>>> result = fit(model, torch.ones(9), guide="map", seed=0, progress=False)
>>> round(float(result.posterior()["mean"][0]), 3)  # 9 / (9 + 1)
0.9
"""

from neuropyro.inference.agreement import cluster_agreement
from neuropyro.inference.calibration import Calibration, calibrate
from neuropyro.inference.comparison import Comparison, compare, compare_guides
from neuropyro.inference.convergence import Schedule
from neuropyro.inference.export import save_netcdf, to_arviz
from neuropyro.inference.fit import fit
from neuropyro.inference.predictive_checks import LeaveOneOut, PredictiveCheck, check_predictive, leave_one_out
from neuropyro.inference.program import observe
from neuropyro.inference.reliability import Reliability, interval_coverage, reliability
from neuropyro.inference.result import Fit, Run
from neuropyro.inference.sample import sample
from neuropyro.inference.simulation import Simulated, predictive, prior_draws, simulate_prior
from neuropyro.inference.storage import FitError, load_fit
from neuropyro.inference.verdict import Diagnosis, Finding, diagnose
from neuropyro.inference.weights import Weights, log_weights, psis_khat

__all__ = [
    "Calibration",
    "Comparison",
    "Diagnosis",
    "Finding",
    "Fit",
    "FitError",
    "LeaveOneOut",
    "PredictiveCheck",
    "Reliability",
    "Run",
    "Schedule",
    "Simulated",
    "Weights",
    "calibrate",
    "check_predictive",
    "cluster_agreement",
    "compare",
    "compare_guides",
    "diagnose",
    "fit",
    "interval_coverage",
    "leave_one_out",
    "load_fit",
    "log_weights",
    "observe",
    "predictive",
    "prior_draws",
    "psis_khat",
    "reliability",
    "sample",
    "save_netcdf",
    "simulate_prior",
    "to_arviz",
]
