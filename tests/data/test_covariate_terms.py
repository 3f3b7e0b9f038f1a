"""Covariates as numbers: indicators, what is missing, and what cannot be told apart."""

import numpy as np
import pytest

from neuropyro.data import CohortError
from neuropyro.data.covariate_terms import check_terms, is_missing, levels_of, terms_of

CELLS = {"sex": np.array(["M", "F", "F"]), "apoe4": np.array([0, 2, 1]), "site": np.array(["b", "c", "a"])}


def test_text_becomes_indicators_of_all_levels_but_the_first():
    levels = levels_of(CELLS)
    assert levels == ("sex=F", "sex=M", "site=a", "site=b", "site=c")
    design, terms = terms_of(CELLS, levels, "all")
    assert terms == ("sex=M", "apoe4", "site=b", "site=c")
    np.testing.assert_array_equal(design, [[1, 0, 1, 0], [0, 2, 0, 1], [0, 1, 0, 0]])


def test_levels_that_were_not_there_are_refused_and_those_that_are_absent_now_are_kept():
    few = {"sex": np.array(["M", "M"])}
    design, terms = terms_of(few, ("sex=F", "sex=M", "sex=X"), "the controls")
    assert terms == ("sex=M", "sex=X")
    np.testing.assert_array_equal(design, [[1, 0], [1, 0]])
    with pytest.raises(CohortError, match=r"covariate sex: 'M' was not among the controls \(F\)"):
        terms_of(few, ("sex=F",), "the controls")


def test_what_is_missing():
    assert is_missing(np.array(["", "F"])).tolist() == [True, False]
    assert is_missing(np.array([1.0, np.nan, np.inf])).tolist() == [False, True, True]
    assert is_missing(np.array([True, False])).tolist() == [False, False]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([[1, 1, 1, 1]], "covariates: x is the same in all subjects"),
        ([[0, 1, 0, 1], [1, 3, 1, 3]], "covariates: x, y cannot be told apart in 4 subjects"),
    ],
)
def test_terms_that_say_nothing_are_refused(columns, message):
    design = np.array(columns, float).T
    with pytest.raises(CohortError, match=message):
        check_terms(design - design.mean(0), "xy"[: len(columns)], "covariates", "subjects")
