"""What users are told of a fit: terms explained once, inner names left out, and what is not known headed so."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from neuropyro.diagnosis_plots import plot_diagnosis
from neuropyro.inference import Diagnosis, Finding, Schedule, Weights
from neuropyro.inference.predictive_checks import LeaveOneOut
from neuropyro.inference.verdict import ESTIMATES
from neuropyro.plain_words import diagnosis_in_words, explained, more_steps, plain_verdict

CHAINS = "its global block, by 46 short chains, 1.34 times as wide as by the ELBO"
FEW = "12% of short chains' paths were accepted, too few to widen its global block by"


def diagnosed(*findings, loo=None):
    run = SimpleNamespace(losses=np.array([3.0, 2.0, 1.0]))
    fit = SimpleNamespace(is_point=False, is_sampled=False, runs=(run,))
    return Diagnosis(fit, findings, None, None, (), loo)


@pytest.mark.parametrize("clause", [CHAINS, FEW])
def test_what_was_done_to_the_guide_is_no_part_of_the_verdict(clause):
    assert plain_verdict(f"converged after 9 steps: 1.5 nats; {clause}") == "converged after 9 steps: 1.5 nats"
    assert plain_verdict(f"Converged after 9 steps; {clause}.") == "Converged after 9 steps."
    assert plain_verdict("not converged: it stopped; still improving") == "not converged: it stopped; still improving"


@pytest.mark.parametrize("verdict", ["converged after 9 steps: 1.5 nats", "Converged after 9 steps"])
def test_widths_that_were_still_changing_are_said_in_plain_words(verdict):
    said = plain_verdict(f"{verdict}; {CHAINS}, and not settled")
    assert said.startswith(f"{verdict}; how wide the intervals of curves are had not settled")
    assert "take them as approximate" in said
    assert "another --seed" in said
    assert "short chains" not in said
    assert plain_verdict(f"{verdict}; {CHAINS}, and not settled.") == f"{said}."


def test_what_leave_one_out_does_not_tell_says_nothing_against_scores():
    asked = Finding("Can each biomarker be left out in turn?", "not known", f"{ESTIMATES} are not touched by that.")
    assert "scores and curves are not touched by that." in diagnosis_in_words(diagnosed(asked))


def test_the_axis_of_log_weights_is_where_the_draws_are():
    inner = np.random.default_rng(0).normal(-2085.0, 7.5, 490)
    weights = Weights(np.concatenate([inner, -2085 - np.geomspace(1e3, 1.75e6, 10)]))
    axis = plot_diagnosis(replace(diagnosed(), weights=weights)).axes[1]
    assert axis.get_xlim()[0] > -60
    assert "\n10 of the draws beyond, down to −1,7" in axis.get_xlabel()


def test_a_term_is_explained_once_and_only_where_it_is_not_already():
    said = explained("ELBO 3 nats. Pareto k-hat 0.5. ELBO 4 nats. Pareto k 0.8.")
    assert said.count("higher is better") == said.count("less is nearer") == said.count("units of log likelihood") == 1
    assert said.startswith("ELBO (how well the model explains the data")
    assert said.count("Pareto k (how much") == 1
    twice = "a gain of 3 nats (units of log likelihood); within 2 nats"
    assert explained(twice) == twice


def test_what_is_not_known_is_not_called_no():
    left_out = Finding("Can each vertex be left out in turn?", "not known", "not known for 100 % of them.")
    made = Finding("Does the model make data like the data?", "no", "sd of the data (V) 2, larger in 0.5 % of them.")
    once = Finding("Do restarts agree?", "not asked", "There is one run only.", "--restarts 4")
    lines = diagnosis_in_words(diagnosed(made, once, left_out)).splitlines()
    assert lines == [
        "Use with care; answered with no: does the model make data like the data; "
        "not known: can each vertex be left out in turn.",
        "       no  Does the model make data like the data? sd of values as standardised 2, larger in 0.5 % of them.",
        "not asked  Do restarts agree? There is one run only.",
        "           try: --restarts 4",
        "not known  Can each vertex be left out in turn? not known for 100 % of them.",
    ]


def test_the_page_has_no_empty_panel_and_names_few_biomarkers():
    names = np.array(["MMSE", "volume"])
    loo = LeaveOneOut(-12.0, 2.0, np.array([0.1, 0.9]), np.array([-5.0, -7.0]), "biomarker", names)
    axes = plot_diagnosis(diagnosed(loo=loo)).axes
    assert len(axes) == 3  # losses, leave-one-out, words
    assert [label.get_text() for label in axes[1].get_xticklabels()] == names.tolist()


@pytest.mark.parametrize("steps", [20, 3000, 6000, 50000])
def test_more_steps_are_more_than_the_default_and_than_were_not_enough(steps):
    assert more_steps(steps) > max(steps, Schedule.max_steps)
