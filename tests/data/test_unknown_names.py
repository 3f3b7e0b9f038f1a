"""Errors of names that are not there say which was probably meant."""

import numpy as np

from neuropyro.data import Cohort
from neuropyro.data.unknown_names import nearest, there_are, unknown_covariate


def test_the_nearest_name_is_found_in_any_case_or_not_at_all():
    assert nearest("Subject_ID", ["id", "subject_id", "subject"]) == "subject_id"
    assert nearest("height", ["id", "age"]) is None
    assert nearest("SITE", ["diagnosis", "age", "VISIT", "SEX", "APOE4"]) is None
    assert [nearest(x, ["education", "site", "apoe4"]) for x in ("eduction", "sitte", "apeo4")] == [
        "education",
        "site",
        "apoe4",
    ]


def test_long_lists_are_cut_and_still_searched():
    said = there_are("colunm15", [f"column{i}" for i in range(20)], "--biomarkers")
    assert said.endswith("column11, ...; did you mean --biomarkers column15?")


def test_a_covariate_that_was_read_as_a_biomarker_is_told():
    names = np.array(["MMSE", "apoe4"])
    cohort = Cohort(np.eye(2), [1, 2], ["a", "b"], feature_names=names, covariates={"sex": ["F", "M"]})
    said = str(unknown_covariate(cohort, "apoe", "--covariates"))
    assert said.startswith("covariate apoe: not in the cohort; there are sex; apoe4 is a biomarker in it:")
    assert said.endswith("give --covariates apoe4 and --biomarkers MMSE")
    assert "\n" not in said
    meant = str(unknown_covariate(cohort, "sexe", "--covariates"))
    assert meant.endswith("there are sex; did you mean --covariates sex?")
