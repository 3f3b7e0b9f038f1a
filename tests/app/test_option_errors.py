"""A wrong command line is one line: the option, what was given, what is expected."""

import shlex

import pytest
from cyclopts import CycloptsError

from neuropyro.cli import app
from neuropyro.option_errors import told

FIT = "dive fit x.npz --out o"
RECONSTRUCT = "reconstruct x.nii --corruption superres:4 --out o"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"{FIT} --clusters two", "--clusters: 'two' is not a whole number; give one, as --clusters 3"),
        (f"{FIT} --clusters 2.5", "--clusters: '2.5' is not a whole number; give one, as --clusters 3"),
        (f"{FIT} --fwhm=5mm", "--fwhm: '5mm' is not a number; give one, as --fwhm 0.5"),
        (
            f"{FIT} --scatter=maybe",
            "--scatter: 'maybe' is not true or false; --scatter alone is true, --no-scatter false",
        ),
        ("dive forecast f --out o --years 1,b", "--years: 'b' is not a number; give one or several, as --years 0.5,1"),
        ("dive forecast f --out o --years ,", "--years: ',' is not a number; give one or several, as --years 0.5,1"),
        ("dive forecast f --out o --years", "--years: no value; give one or several, as --years 0.5,1"),
        (
            f"{RECONSTRUCT} --slices 56:60",
            "--slices: '56:60' is not a whole number; give one or several, as --slices 3,4",
        ),
        (f"{RECONSTRUCT} --slices a", "--slices: 'a' is not a whole number; give one or several, as --slices 3,4"),
        (
            f"{RECONSTRUCT} --slices 2.5,3",
            "--slices: '2.5' is not a whole number; give one or several, as --slices 3,4",
        ),
        (f"{FIT} --seed -1", "--seed: -1 is too small; give 0 or more"),
        ("dive select x.npz --clusters 2:3 --out o --seed=-1", "--seed: -1 is too small; give 0 or more"),
        (f"{FIT} --max-steps 0", "--max-steps: 0 is too small; give 1 or more"),
        (f"{FIT} --restarts 0", "--restarts: 0 is too small; give 1 or more"),
        ("simulate anatomy --out o --subjects -3", "--subjects: -3 is too small; give 1 or more"),
        ("simulate cohort --out o.npz --visits 0", "--visits: 0 is too small; give 1 or more"),
        (f"{FIT} --seed one", "--seed: 'one' is not a whole number; give one, as --seed 0"),
        (f"{FIT} --clusters", "--clusters: no value; give a whole number, as --clusters 3"),
        (f"{FIT} --missing -4,999", "--missing: '-4,999' begins with a dash, as options do; write --missing=-4,999"),
        (f"{FIT} --spatial yes", "--spatial takes no value; leave out 'yes'"),
        (f"{FIT} more", "dive fit: 'more' is one word too many; see neuropyro dive fit --help"),
        ("dive fit", "dive fit: COHORT is needed; see neuropyro dive fit --help"),
        ("dive fit x.npz", "dive fit: --out is needed; see neuropyro dive fit --help"),
    ],
)
def test_the_option_what_was_given_and_what_is_expected(line, expected):
    with pytest.raises(CycloptsError) as raised:
        app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)
    assert told(raised.value) == expected


@pytest.mark.parametrize(("line", "part"), [(f"{FIT} --guide nomal", '"normal"?'), ("dive fitt", '"fit"?')])
def test_other_errors_are_one_line_too(line, part):
    with pytest.raises(CycloptsError) as raised:
        app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)
    assert part in told(raised.value)
    assert "\n" not in told(raised.value)
