"""Several values of an option: commas, the option again, or both, all alike."""

import shlex

import pytest

from neuropyro.cli import app
from neuropyro.data.open_study import StudyOptions
from neuropyro.option_files import options_of

FIT = "dive fit x.npz --out o"
RECONSTRUCT = "reconstruct x.nii --corruption superres:4 --out o"


def parsed(line: str):
    """Return what a command line gives a command, by name."""
    _, bound, *_ = app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)
    return bound.arguments


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        ("dive forecast f --out o --years {}", "years", (1.0, 2.0)),
        (f"{RECONSTRUCT} --slices {{}}", "slices", (1, 2)),
        (f"{RECONSTRUCT} --intensity {{}}", "intensity", (1.0, 2.0)),
        (f"{FIT} --covariates {{}}", "covariates", ("1", "2")),
        (f"{FIT} --adjust {{}}", "adjust", ("1", "2")),
        ("dive select x.npz --clusters 2:3 --out o --covariates {}", "covariates", ("1", "2")),
    ],
)
def test_with_commas_or_one_an_option(line, name, expected):
    option = f"--{name}"
    for given in ("1,2", "1, 2", "1,2,", f"1 {option} 2"):
        words = f"'{given}'" if " --" not in given else given
        assert parsed(line.format(words))[name] == expected
    assert parsed(line.format(f"1,2 {option} 1"))[name] == (*expected, expected[0])


@pytest.mark.parametrize("name", ["hemispheres", "biomarkers", "missing"])
@pytest.mark.parametrize("command", [FIT, "dive personalize f x.csv --out o", "dive select x.csv --clusters 2 --out o"])
def test_what_says_how_to_read_a_study(command, name):
    for given in ("a,b", f"a --{name} b"):
        assert parsed(f"{command} --{name} {given}")["study"] == StudyOptions(**{name: ("a", "b")})


def test_a_space_parts_slices_as_it_did():
    assert parsed(f"{RECONSTRUCT} --slices 3 4,5 6")["slices"] == (3, 4, 5, 6)
    assert parsed(f"{RECONSTRUCT} --intensity 0 255")["intensity"] == (0.0, 255.0)


def test_what_has_commas_of_its_own_is_left_alone():
    assert parsed("counterfactual x.npz --out o --do apoe4=0 treatment=.5,treatment_start=1")["do"] == [
        "apoe4=0",
        "treatment=.5,treatment_start=1",
    ]
    assert [str(path) for path in parsed(f"{RECONSTRUCT} --truth a,b.nii")["truth"]] == ["a,b.nii"]
    assert [str(path) for path in parsed("reconstruct a,b.nii --corruption identity --out o")["image"]] == ["a,b.nii"]


def test_a_file_of_options_parts_them_too(tmp_path, monkeypatch):
    config = tmp_path / "study.toml"
    config.write_text('[dive.forecast]\nyears = "1,2"\n[dive.fit]\nadjust = ["age,sex", "icv"]\n')
    monkeypatch.setattr(app, "config", (options_of(config, app), *app.config))
    assert parsed("dive forecast f --out o")["years"] == (1.0, 2.0)
    assert parsed(FIT)["adjust"] == ("age", "sex", "icv")


@pytest.mark.parametrize("given", ["0", "0,1,2"])
def test_brightness_is_two_numbers(given):
    with pytest.raises(ValueError, match=r"--intensity: give two numbers, .* as --intensity 0,255"):
        app(shlex.split(f"{RECONSTRUCT} --intensity {given}"), exit_on_error=False, print_error=False)
