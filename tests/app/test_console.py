"""Manners that every command shares: help with examples, TOML, JSON, quiet, exit statuses."""

import json
import logging
import re
import shlex
import sys
import warnings

import pytest
from cyclopts import App
from tqdm.auto import tqdm

from neuropyro.cli import app, main
from neuropyro.cli_examples import EXAMPLES
from neuropyro.console import Manners, complain, plain, say, speaking, take_manners, warn
from neuropyro.data.missing_maps import warn_of_missing


def commands(group: App, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], App]:
    """All commands by their paths, without groups and flags."""
    found = {}
    for name in group:
        if not name.startswith("-"):
            below = commands(group[name], (*path, name))
            found |= below or {(*path, name): group[name]}
    return found


def run(monkeypatch, *words) -> int:
    """Run a command line as the shell does; returns the exit status."""
    monkeypatch.setattr(sys, "argv", ["neuropyro", *map(str, words)])
    try:
        main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_every_command_has_examples():
    assert set(commands(app)) == set(EXAMPLES)


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_examples_can_be_parsed(line, tmp_path):
    _, words = take_manners(shlex.split(line)[1:])
    command, *_ = app.parse_args(words, exit_on_error=False, print_error=False)
    path = next(p for p, lines in EXAMPLES.items() if line in lines)
    assert command.__doc__ == commands(app)[path].default_command.__doc__


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (False, "stopped; nothing was written"),
        (True, "stopped; in out is what was there before, and what was finished"),
    ],
)
@pytest.mark.parametrize("words", [("--out", "out"), ("--out=out",)])
def test_who_stops_a_command_is_told_what_is_there_of_it(monkeypatch, tmp_path, capsys, there, said, words):
    def stopped(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("neuropyro.data.simulate_reference", stopped)
    (tmp_path / "out").mkdir() if there else None
    monkeypatch.setattr("neuropyro.simulation_cli._require_npz", lambda out: None)
    assert run(monkeypatch, "simulate", "reference", *words) == 130
    assert capsys.readouterr().err == f"neuropyro: {said}\n"


def test_fonts_that_formulas_might_need_are_not_told(capsys):
    fonts = logging.getLogger("matplotlib.font_manager")
    before = fonts.level
    with speaking(Manners()):
        fonts.warning("findfont: Font family ['cmb10'] not found. Falling back to DejaVu Sans.")
    assert capsys.readouterr().err == ""
    assert fonts.level == before  # what is outside of the command line is left as it was


def test_help_shows_the_examples(monkeypatch, capsys):
    assert run(monkeypatch, "dive", "personalize", "--help") == 0
    assert EXAMPLES["dive", "personalize"][0] in capsys.readouterr().out


@pytest.mark.parametrize("group", [("dive",), ("dive", "evaluate"), ("simulate",), ("generator",)])
def test_a_groups_help_has_an_example_of_each_of_its_commands_and_of_no_other(monkeypatch, capsys, group):
    assert run(monkeypatch, *group, "--help") == 0
    said = capsys.readouterr().out
    shown = [path for path, lines in EXAMPLES.items() if lines[0] in said]
    assert shown == [path for path in EXAMPLES if path[: len(group)] == group]


SIMULATE = ("simulate", "reference", "--subjects", 5, "--vertices", 7)


def test_switches_of_select_are_told_as_those_of_fit_are():
    fit, select = (commands(app)["dive", name].default_command.__doc__ for name in ("fit", "select"))
    for switch in ("scatter", "subject_effect", "visit_effect", "vertex_effect", "ageing", "spatial", "covariates"):
        told = re.search(rf"\n    {switch}\n        .+\n", fit)
        assert told is not None
        assert told[0] in select


def test_json_is_one_object_and_all_there_is_on_standard_output(monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, *SIMULATE, "--out", tmp_path / "a.npz", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"cohort": str(tmp_path / "a.npz"), "visits": 20, "subjects": 5, "vertices": 7}


def test_an_error_in_json(monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, "dive", "fit", tmp_path / "no.npz", "--out", tmp_path, "--json", "-q") == 2
    written = capsys.readouterr()
    said = json.loads(written.out)
    assert said["error"].startswith(f"{tmp_path / 'no.npz'}: no such file")
    assert said.keys() == {"error"}
    assert written.err == f"neuropyro: {said['error']}\n"


def test_a_wrong_option_is_status_2(monkeypatch, capsys):
    assert run(monkeypatch, "simulate", "cohort", "--subject", 3, "--out", "x.npz") == 2
    assert "--subjects" in capsys.readouterr().err  # what was meant


def test_toml_gives_options_and_the_command_line_overrides(monkeypatch, tmp_path, capsys):
    config = tmp_path / "study.toml"
    config.write_text(f'[simulate.reference]\nsubjects = 6\nvertices = 9\nout = "{tmp_path / "b.npz"}"\n')
    assert run(monkeypatch, "simulate", "reference", "--config", config, "--vertices", 8, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["subjects"], said["vertices"]) == (6, 8)
    assert run(monkeypatch, *SIMULATE, "--out", tmp_path / "c.npz", "--json") == 0
    assert json.loads(capsys.readouterr().out)["vertices"] == 7  # the file is forgotten


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[simulate", "not TOML"),
        ("[simulate.reference]\nsubject = 3", "[simulate.reference] has no option subject; there are "),
        ("[simulate.referense]\nsubjects = 3", "[simulate.referense] is no command; there are "),
        ("subjects = 3", "subjects is in no command's table; write "),
        ('[simulate.reference]\nclusters = "few"', "clusters: 'few' is not a whole number; write it as clusters = 3"),
        ("[simulate.reference]\nseed = -1", "bad.toml: seed: -1 is too small; give 0 or more"),
        ('[dive.fit]\nscatter = "some"\n[simulate.reference]\nclusters = 2.5', "clusters: '2.5' is not a whole number"),
    ],
)
def test_a_bad_toml_file_is_told(monkeypatch, tmp_path, capsys, text, message):
    config = tmp_path / "bad.toml"
    config.write_text(text)
    assert run(monkeypatch, *SIMULATE, "--out", tmp_path / "d.npz", f"--config={config}") == 2
    assert message in capsys.readouterr().err


def test_a_toml_file_that_is_not_there(monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, *SIMULATE, "--out", tmp_path / "e.npz", "--config", tmp_path / "no.toml") == 2
    assert "no such file" in capsys.readouterr().err
    assert run(monkeypatch, *SIMULATE, "--config") == 2
    assert "name a TOML file" in capsys.readouterr().err


def test_quiet_leaves_errors_alone_on_standard_error(capsys):
    with speaking(Manners(quiet=True)):
        for _ in tqdm(range(3)):  # bars of fits and simulations
            print("remark", file=sys.stderr)
        complain("what went wrong")
        say("result")
    written = capsys.readouterr()
    assert written.err == "neuropyro: what went wrong\n"
    assert written.out == "result\n"


def test_a_warning_is_never_lost_and_is_no_error(capsys):
    with speaking(Manners()):
        warn("not converged")
    assert capsys.readouterr() == ("", "neuropyro: not converged\n")
    with speaking(Manners(quiet=True)):
        warn("not converged")
    assert capsys.readouterr() == ("not converged\n", "")
    with speaking(Manners(quiet=True, json=True)):
        warn("not converged")
    written = capsys.readouterr()
    assert (json.loads(written.out), written.err) == ({"warnings": ["not converged"]}, "")


def test_words_after_two_dashes_are_left_alone():
    manners, rest = take_manners(["compare", "-q", "--", "--json"])
    assert manners.quiet
    assert not manners.json
    assert rest == ["compare", "--", "--json"]


def test_plain_values_are_json():
    text = json.dumps(plain({"x": float("inf"), 3: (True, None)}), allow_nan=False)
    assert json.loads(text) == {"x": None, "3": [True, None]}


def test_what_is_warned_of_while_reading_is_said_and_stays_where_it_is_quiet(capsys):
    with speaking(Manners()):
        warn_of_missing(["lh.mgh"])
        warn_of_missing(["lh.mgh"])  # of another study: nothing is held back for having been said once
    assert capsys.readouterr().err.count("neuropyro: warning: lh.mgh: NaN throughout") == 2
    with speaking(Manners(quiet=True)):
        warn_of_missing(["lh.mgh"])
    assert "warning: lh.mgh: NaN throughout" in capsys.readouterr().out
    with pytest.warns(UserWarning, match="another"), speaking(Manners()):
        warnings.warn("another", UserWarning, stacklevel=1)
