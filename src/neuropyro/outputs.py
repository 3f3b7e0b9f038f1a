"""What a DIVE fit leaves in a folder: tables, arrays, surface maps, ArviZ's file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data import Cohort
from neuropyro.inference import Fit, save_netcdf
from neuropyro.models import VertexClusterMixture, VertexMaps
from neuropyro.progress_bars import told
from neuropyro.result_columns import described_tables
from neuropyro.score_diagnosis import known_diagnoses
from neuropyro.study_memory import STUDY
from neuropyro.study_preparation import STEPS
from neuropyro.tables import write_csv

__all__ = ["PRODUCTS", "Outcome", "write_outcome"]

INTERVAL = (5, 95)  # percentiles
PRODUCTS = (
    "fit.json",
    "guides.safetensors",
    "assignments.npy",
    *(f"{name}.csv" for name in ("subjects", "stages", "trajectories", "biomarkers", "covariates")),
    *("biomarkers.json", "tables.json", STUDY, *STEPS),
    "posterior.nc",
    *(f"{side}{name}.*" for side in ("", "?h.") for name in ("clusters", "vertices")),
)
"""Names of what `write_outcome` may write, as patterns of a shell."""


@dataclass(frozen=True)
class Outcome:
    """A fit of vertex clusters and what it says, in the cohort's own unit.

    Parameters
    ----------
    model, cohort, fit
        What was fitted to what.
    draws
        Posterior draws that summaries are made of.
    notes
        What was done to the cohort before the fit, in sentences.
    files
        Names of those that the cohort is from.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> outcome = Outcome(model, None, SimpleNamespace(is_point=False))
    >>> outcome.summary(np.arange(101.0)).tolist()  # of draws from 0 to 100: median, 5th and 95th percentile
    [50.0, 5.0, 95.0]
    """

    model: VertexClusterMixture
    cohort: Cohort
    fit: Fit
    draws: int = 200
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @cached_property
    def posterior(self) -> dict[str, NDArray[Any]]:
        """Posterior draws by site."""
        return self.fit.posterior(self.draws)

    @cached_property
    def assignments(self) -> NDArray[np.float64]:
        """``(vertices, K)`` posterior of the clusters."""
        return self.model.assignments(self.fit)

    @cached_property
    def vertex_maps(self) -> VertexMaps:
        """Maps of the vertices' own trajectories; of named columns by the draws that all tables are of."""
        few = self.cohort.feature_names is not None
        return self.model.vertex_maps(self.fit, self.draws) if few else self.model.vertex_maps(self.fit)

    @property
    def each_alone(self) -> bool:
        """Whether each column has a trajectory of its own."""
        labels = self.model.labels
        return labels is not None and len(set(labels)) == self.cohort.n_vertices

    @property
    def columns(self) -> str:
        """What the cohort's columns are called: "biomarkers" where they have names, else "vertices"."""
        return "vertices" if self.cohort.feature_names is None else "biomarkers"

    @property
    def members(self) -> NDArray[np.int64]:
        """``(K,)``: how many columns that vary have this as their likeliest cluster."""
        varies = self.fit.data.is_informative.cpu().numpy()
        return np.bincount(self.assignments[varies].argmax(1), minlength=self.model.n_clusters)

    @property
    def cluster_names(self) -> list[str]:
        """What clusters are called: 1 to K, or the names of biomarkers that are each alone."""
        if self.each_alone and self.cohort.feature_names is not None:
            return [str(name) for name in self.cohort.feature_names]
        return [str(k + 1) for k in range(self.model.n_clusters)]

    @cached_property
    def left_out(self) -> int:
        """How many vertices do not vary, or were never seen, and so say nothing."""
        return int((~self.fit.data.is_informative).sum())

    @property
    def remark_on_left_out(self) -> str:
        """One sentence on them; empty where there are none."""
        if not self.left_out:
            return ""
        why = " (medial wall?)" if self.cohort.mesh is not None or self.cohort.space is not None else ""
        count = f"{self.left_out:,} of {self.cohort.n_vertices:,} {self.columns}"
        return f"{count} do not vary{why} and are left out"

    @property
    def unit_in_words(self) -> str:
        """Unit of clusters' trajectories: biomarkers of several units share a cluster as they were standardised."""
        if self.cohort.feature_names is None:
            return self.cohort.unit_in_words
        return "the biomarker's own unit" if self.each_alone else "sds, each biomarker standardised"

    @cached_property
    def unit(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """``(K,)`` each: mean location and mean scale of a cluster's vertices; 0 and 1 of biomarkers that share one."""
        if self.cohort.feature_names is not None and not self.each_alone:
            return np.zeros(self.model.n_clusters), np.ones(self.model.n_clusters)
        location, scale = (np.asarray(x.double().cpu()) for x in (self.fit.data.location, self.fit.data.scale))
        share = self.assignments / self.assignments.sum(0)
        return location @ share, scale @ share

    @cached_property
    def values(self) -> NDArray[np.floating[Any]]:
        """``(visits, vertices)`` in the unit of the clusters' trajectories, NaN where missing."""
        if self.cohort.feature_names is None or self.each_alone:
            return self.cohort.values
        location, scale = (np.asarray(x.double().cpu()) for x in (self.fit.data.location, self.fit.data.scale))
        standard: NDArray[np.floating[Any]] = (self.cohort.values - location) / scale
        return standard

    @cached_property
    def trajectories(self) -> dict[str, NDArray[Any]]:
        """Draws ``(draws, K)`` of pi, a, b, c, d, sigma and, where the model has it, ageing (a year).

        a, d, sigma and ageing are in the unit of `unit_in_words`.
        """
        location, scale = self.unit
        p = self.posterior
        own = {"a": p["a"] * scale, "b": p["b"], "c": p["c"], "d": p["d"] * scale + location}
        aged = {"ageing": p["ageing"] * scale} if self.model.ageing else {}
        return {"pi": p["pi"]} | own | {"sigma": p["sigma"] * scale} | aged

    @cached_property
    def covariates(self) -> dict[str, NDArray[Any]]:
        """Columns of a table of the covariates' effects, a row a term, per unit of the covariate.

        log_alpha is the change of the log speed, speed_ratio its exponential, beta the change of the score at a time
        between a subject's own and the cohort's mean one (:mod:`neuropyro.models.subject_place`).
        """
        effects = self.model.covariate_effects(self.fit, self.draws)
        drawn = {"log_alpha": effects.log_alpha, "speed_ratio": np.exp(effects.log_alpha), "beta": effects.beta}
        columns = self.with_intervals(drawn)
        for end in ("_5", "_95"):  # of percentiles interpolated between draws, one would not be the other's exponential
            columns[f"speed_ratio{end}"] = np.exp(columns[f"log_alpha{end}"])
        return {"term": np.array(effects.terms), "mean": effects.centre} | columns

    def with_intervals(self, draws: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return columns ``name, name_5, name_95`` of the summaries of draws ``(draws, rows)`` by name."""
        columns = {}
        for name, drawn in draws.items():
            columns[name], columns[f"{name}_5"], columns[f"{name}_95"] = self.summary(drawn)
        return columns

    def summary(self, draws: NDArray[Any]) -> NDArray[np.float64]:
        """Return median, 5th and 95th percentile over draws, ``(3, ...)``; a point guide has no interval: NaN."""
        found = np.asarray(np.percentile(draws.astype(np.float64), (50, *INTERVAL), axis=0))
        if self.fit.is_point:
            found[1:] = np.nan
        return found


def write_outcome(outcome: Outcome, folder: Path) -> None:
    """Write the fit itself and every table, array and map (the report is apart).

    Files: ``fit.json`` and ``guides.safetensors`` (:func:`~neuropyro.inference.load_fit`), ``assignments.npy``,
    ``subjects.csv`` and ``stages.csv`` (with the diagnosis, at the first visit and at each, where it is known),
    ``trajectories.csv`` (of clusters: a, d, sigma and ageing in the cohort's unit, of named biomarkers in
    standardised units, which a column says), ``biomarkers.csv`` where the columns have names (each one's cluster,
    and its own trajectory in its own unit) with ``biomarkers.json``, which says what each column is and its unit,
    ``covariates.csv`` where the model has some, ``tables.json``, which says what columns are, ``posterior.nc``, and
    maps in the cohort's own format (``lh.clusters.mgh``, ``clusters.dscalar.nii``, ``clusters.nii.gz``), or in
    GIFTI (``lh.clusters.shape.gii``) where its mesh is a template's; so are ``vertices``, each vertex's own
    baseline, change, onset, speed and years to onset, and the entropy of its cluster, with ``vertices.json``, which
    says what each of those maps is and its unit.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> cohort, model, folder = simulate_reference(6, 12, 1, seed=0), VertexClusterMixture(1), Path(tempfile.mkdtemp())
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> write_outcome(Outcome(model, cohort, fit(model, cohort, "map", schedule=short, progress=False), 2), folder)
    >>> [len((folder / f"{name}.csv").read_text().splitlines()) - 1 for name in ("subjects", "stages", "trajectories")]
    [6, 24, 1]
    """
    folder.mkdir(parents=True, exist_ok=True)
    for write in told((_write_fit, _write_tables, _write_posterior, _write_maps)):
        write(outcome, folder)


def _write_fit(outcome: Outcome, folder: Path) -> None:
    outcome.fit.save(folder, outcome.files)
    np.save(folder / "assignments.npy", outcome.assignments)


def _write_tables(outcome: Outcome, folder: Path) -> None:
    tables = {f"{name}.csv": columns(outcome) for name, columns in TABLES.items()}
    tables |= {"covariates.csv": outcome.covariates} if outcome.model.covariates else {}
    for name, columns in tables.items():
        write_csv(folder / name, columns)
    if outcome.cohort.feature_names is not None:
        _write_biomarkers(outcome, folder / "biomarkers.csv")
    _write_json(described_tables(outcome.cohort, outcome.unit_in_words, tables), folder / "tables.json")


def _write_posterior(outcome: Outcome, folder: Path) -> None:
    save_netcdf(outcome.fit.to_arviz(outcome.draws), folder / "posterior.nc")


def _subjects(outcome: Outcome) -> dict[str, NDArray[Any]]:
    columns = outcome.with_intervals({name: outcome.posterior[name] for name in ("alpha", "beta")})
    cohort = outcome.cohort
    first = np.flatnonzero(cohort.is_first_visit)
    first = first[np.argsort(cohort.subject_index[first])]
    return {"subject": cohort.subjects} | _diagnosis(cohort, first) | columns


def _stages(outcome: Outcome) -> dict[str, NDArray[Any]]:
    columns = outcome.with_intervals({"dps": outcome.posterior["dps"]})
    cohort = outcome.cohort
    own = {"subject": cohort.subject, "time": cohort.time} | _diagnosis(cohort, np.arange(cohort.n_visits))
    return own | columns


def _diagnosis(cohort: Cohort, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return a column of the diagnoses at some visits, in the cohort's own words; none where no diagnosis is known."""
    known = known_diagnoses(cohort)
    if cohort.diagnosis is None or not known:
        return {}
    words = cohort.diagnosis[rows].astype(np.str_)
    return {"diagnosis": np.where(np.isin(words, known), words, "")}


def _trajectories(outcome: Outcome) -> dict[str, NDArray[Any]]:
    numbers: dict[str, NDArray[Any]] = {"cluster": np.array(outcome.cluster_names)}
    draws = dict(outcome.trajectories)
    if outcome.each_alone:
        del draws["pi"]  # nothing is shared
    else:
        numbers |= {outcome.columns: outcome.members, "share": outcome.members / outcome.members.sum()}
    if outcome.cohort.feature_names is not None:
        numbers["unit_of_a_d_sigma"] = np.full(outcome.model.n_clusters, outcome.unit_in_words)
    return numbers | outcome.with_intervals(draws)


TABLES = {"subjects": _subjects, "stages": _stages, "trajectories": _trajectories}
"""Columns by the tables that every fit has."""


def _write_biomarkers(outcome: Outcome, path: Path) -> None:
    """Write each named column's cluster, and the trajectory that is its own, in its own unit."""
    likeliest = outcome.assignments.argmax(1)
    found: dict[str, NDArray[Any]] = {"biomarker": np.asarray(outcome.cohort.feature_names)}
    if not outcome.each_alone:
        found |= {"cluster": likeliest + 1, "probability": outcome.assignments.max(1)}
    maps = outcome.vertex_maps
    for name in maps.median:
        found |= {name: maps.median[name], f"{name}_5": maps.lower[name], f"{name}_95": maps.upper[name]}
    write_csv(path, found)
    said = _described_columns(maps, outcome.cohort.reference_in_words)
    _write_json({name: what for name, what in said.items() if name in found}, path.with_suffix(".json"))


def _described_columns(maps: VertexMaps, reference: str) -> dict[str, dict[str, str]]:
    """Return what the columns of a table are, and their units: ``onset_5`` is what a map calls ``onset 5%``."""
    own = {"cluster": "likeliest cluster, as in trajectories.csv", "probability": "posterior of that cluster"}
    of_maps = maps.described("its own unit", reference)
    columns = {name.replace(" ", "_").rstrip("%"): what for name, what in of_maps.items()}
    return {name: {"Description": what} for name, what in own.items()} | columns


def _write_maps(outcome: Outcome, folder: Path) -> None:
    """Write, in the cohort's format, the likeliest cluster, each one's posterior, and the vertices' own trajectories.

    The cluster is 1..K; 0 where there is no data.
    """
    maps = {"cluster": outcome.assignments.argmax(1) + 1}
    posterior = {f"posterior of cluster {k + 1}": column for k, column in enumerate(outcome.assignments.T)}
    outcome.cohort.write_maps(maps | posterior, folder / "clusters")
    if outcome.cohort.can_write_maps:
        outcome.cohort.write_maps(dict(outcome.vertex_maps.named()), folder / "vertices")
        said = outcome.vertex_maps.described(outcome.cohort.unit_in_words, outcome.cohort.reference_in_words)
        _write_json(said, folder / "vertices.json")


def _write_json(said: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
