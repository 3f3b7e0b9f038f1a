"""Of the vertices that were left out as maps were read those reasons are said that hold."""

from pathlib import Path

import numpy as np
import pytest

from neuropyro.data import Cohort, Mesh, StudyOptions
from neuropyro.data.surface_space import SurfaceSpace
from neuropyro.data.surfaces import cortex_mesh
from neuropyro.vertices_left_out import vertices_left_out

CORTEX = cortex_mesh().template_index  # of 20,484, without the 852 of the medial wall


def cohort(index, sizes=(10242, 10242), hemispheres=("lh", "rh"), template="fsaverage5"):
    values = np.ones((2, len(index)))
    edges = np.array([[0, 1]])
    mesh = Mesh(len(index), edges, template=template, template_index=index) if template else None
    return Cohort(values, [70, 71], ["a", "a"], mesh=mesh, space=SurfaceSpace(".mgh", hemispheres, sizes, index))


def why(made, path="maps", **study):
    return [line.partition(" left out: ")[2] for line in vertices_left_out(made, Path(path), StudyOptions(**study))]


def test_of_a_template_it_is_the_medial_wall_alone():
    assert vertices_left_out(cohort(CORTEX), Path("maps"), StudyOptions()) == [
        "852 of 20,484 vertices of the maps are left out: the medial wall"
    ]


def test_what_lies_elsewhere_is_counted_apart():
    assert why(cohort(CORTEX[5:])) == ["the medial wall (852), and what is 0 or missing at every visit (5)"]
    masked = "the medial wall (852), and what is outside the mask, or 0 or missing at every visit (5)"
    assert why(cohort(CORTEX[5:]), mask=Path("{hemisphere}.label")) == [masked]


@pytest.mark.parametrize("hemisphere", ["lh", "rh"])
def test_one_hemisphere_has_its_own_wall(hemisphere):
    own = CORTEX[CORTEX < 10242] if hemisphere == "lh" else CORTEX[CORTEX >= 10242] - 10242
    assert why(cohort(own, (10242,), (hemisphere,))) == ["the medial wall"]


def test_of_another_mesh_no_wall_is_known(tmp_path):
    own = cohort(np.array([0, 2, 3]), (5,), ("lh",), template=None)
    assert why(own) == ["what is 0 or missing at every visit"]
    (tmp_path / "own" / "label").mkdir(parents=True)
    by_label = "what is outside FreeSurfer's cortex label, or 0 or missing at every visit"
    assert why(own, tmp_path, space="own") == [by_label]


def test_nothing_is_said_where_nothing_is_left_out():
    assert why(cohort(np.arange(5), (5,), ("lh",), template=None)) == []
