"""What a model of a study has where nothing else is asked for: clusters by the kind of its columns, and offsets."""

from __future__ import annotations

from typing import Any

from neuropyro.data import Cohort

__all__ = ["clusters_of", "each_alone", "kind_of_columns", "remark_on_clusters"]

MOST_ALONE = 30  # biomarkers, each with a trajectory of its own
OF_MAPS = 3  # clusters


def each_alone(cohort: Cohort, clusters: int | None) -> bool:
    """Whether a few biomarkers, of which no number of clusters is asked for, have a trajectory each.

    Examples
    --------
    >>> two = Cohort([[2.0, 5.0]] * 2, time=[70, 71], subject=["a", "b"], feature_names=["MMSE", "volume"])
    >>> each_alone(two, None), each_alone(two, 2)
    (True, False)
    """
    return clusters is None and cohort.feature_names is not None and cohort.n_vertices <= MOST_ALONE


def clusters_of(cohort: Cohort, clusters: int | None) -> dict[str, Any]:
    """Return a model's clusters: as many as given, or else a few biomarkers each alone, and three of the rest.

    A handful of biomarkers are no sample of a few kinds: some rise and some fall, each at its own time and over its own
    range, and two that had to share a trajectory would both be off it.

    Examples
    --------
    >>> two = Cohort([[2.0, 5.0]] * 2, time=[70, 71], subject=["a", "b"], feature_names=["MMSE", "volume"])
    >>> clusters_of(two, None), clusters_of(two, 1)
    ({'n_clusters': 2, 'labels': (0, 1), 'scatter': False}, {'n_clusters': 1})
    """
    count = cohort.n_vertices
    if each_alone(cohort, clusters):
        return {"n_clusters": count, "labels": tuple(range(count)), "scatter": False}
    return {"n_clusters": OF_MAPS if clusters is None else clusters}


def remark_on_clusters(cohort: Cohort, clusters: int | None) -> list[str]:
    """Say of maps how many clusters they are given, where no number is asked for: it is not learned from them.

    Examples
    --------
    >>> table = Cohort([[2.0] * 3] * 2, time=[70, 71], subject=["a", "b"])
    >>> remark_on_clusters(table, None), remark_on_clusters(table, 4)
    (['3 clusters, of whatever maps; --clusters gives another number, and `neuropyro dive select` compares some'], [])
    """
    if clusters is not None or each_alone(cohort, None):
        return []
    compared = "--clusters gives another number, and `neuropyro dive select` compares some"
    return [f"{OF_MAPS} clusters, of whatever maps; {compared}"]


def kind_of_columns(cohort: Cohort, visit_effect: bool | None, vertex_effect: bool | None) -> dict[str, Any]:
    """Return a model's switches for maps on a mesh, each as given or else on where there is one, or biomarkers' priors.

    Examples
    --------
    >>> table = Cohort([[2.0] * 3] * 2, time=[70, 71], subject=["a", "b"])  # no mesh, and no names
    >>> kind_of_columns(table, None, True)
    {'visit_effect': False, 'vertex_effect': True}
    """
    from neuropyro.models.trajectory import OF_BIOMARKERS  # takes seconds, for which no error of use should wait

    on_mesh = cohort.mesh is not None
    given = {"visit_effect": visit_effect, "vertex_effect": vertex_effect}
    priors = {} if cohort.feature_names is None else {"trajectory_priors": OF_BIOMARKERS}
    return {name: on_mesh if switch is None else switch for name, switch in given.items()} | priors
