"""Runners, their results, and what to make of them; they know no model."""

from neuropyro.inference.convergence import Schedule
from neuropyro.inference.fit import fit
from neuropyro.inference.result import Fit, Run

__all__ = ["Fit", "Run", "Schedule", "fit"]
