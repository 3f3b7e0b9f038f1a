"""What is given in a cohort's place is told how to become one."""

from pathlib import Path

import numpy as np
import pandas
import pytest

from neuropyro.data import Cohort, CohortError
from neuropyro.data.given_cohort import check_cohort
from neuropyro.inference import fit
from neuropyro.models import SubjectProgression, VertexClusterMixture


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a.npz", r"not str; read the file, as Cohort\.open\('a\.npz'\)"),
        (Path("a.npz"), r"Path; read the file, as Cohort\.open\('a\.npz'\)"),
        (pandas.DataFrame({"MMSE": [28]}), r"not DataFrame; make one, as Cohort\.from_dataframe\(frame, "),
        (np.zeros((3, 2)), r"not ndarray; make one, as Cohort\(values, time=\.\.\., subject=\.\.\.\)"),
    ],
)
def test_each_says_how(given, said):
    with pytest.raises(CohortError, match=f"data: a Cohort is needed, .*{said}"):
        check_cohort(given)
    for model in (VertexClusterMixture(2), SubjectProgression()):
        with pytest.raises(CohortError, match=said):
            fit(model, given, progress=False)


def test_a_cohort_passes():
    check_cohort(Cohort([[2.0]], time=[70], subject=["a"]))


def test_a_cohort_is_no_model():
    with pytest.raises(
        ValueError, match="model: of type Cohort, which is no model; give the model first, then the data"
    ):
        fit(Cohort([[2.0]], time=[70], subject=["a"]), VertexClusterMixture(2))
