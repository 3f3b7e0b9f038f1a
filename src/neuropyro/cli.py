"""The command line."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from pathlib import Path

from cyclopts import App, CycloptsError

from neuropyro import (
    anatomy_cli,
    evaluation_cli,
    fit_cli,
    forecast_cli,
    personalize_cli,
    reconstruct_cli,
    selection_cli,
    simulation_cli,
    verdict_cli,
)
from neuropyro.cli_examples import show_examples
from neuropyro.console import Manners, complain, say, speaking, take_manners
from neuropyro.generator_cli import generator
from neuropyro.option_errors import refuse_fractions, refuse_too_small, told
from neuropyro.option_files import options_of
from neuropyro.option_lists import split_lists
from neuropyro.version import __version__

__all__ = ["app", "main"]

EVERYWHERE = """To begin with:

neuropyro simulate cohort --out cohort.npz

neuropyro dive fit cohort.npz --clusters 3 --out fit

neuropyro simulate anatomy --subjects 20 --out study

Every command also takes: --config FILE.toml, whose tables are named as the commands are, such as
[dive.fit] with clusters = 4, and which the command line overrides; --json, for the result as one JSON object on
standard output; and --quiet (-q), for nothing but errors on standard error.

Exit status: 0 done, also where a fit did not converge, which is said; 1 some of the files were left out; 2 an error of
use or data (no file could be used, for one), told in one line; 130 stopped by Ctrl-C, which is said.

For research use only; not a medical device."""

app = App(
    name="neuropyro",
    version=__version__,
    help="A Pyro model zoo for brain imaging.",
    help_epilogue=EVERYWHERE,
    config=(split_lists, refuse_fractions, refuse_too_small),
)
dive = App(name="dive", help="Vertexwise disease progression.")
simulate = App(name="simulate", help="Simulated data with a known truth.")
app.command(dive)
app.command(simulate)
app.command(generator)
fit_cli.register(app, dive)
reconstruct_cli.register(app)
verdict_cli.register(app)
personalize_cli.register(dive)
simulation_cli.register(simulate)
anatomy_cli.register(app, simulate)
forecast_cli.register(dive)
selection_cli.register(dive)
evaluation_cli.register(dive)

STOPPED = 130  # as shells have it: 128 and the number of the signal
LOGGED_EVERY = "30"  # seconds


def main() -> None:
    """Run the command line; errors of the user's are one line on standard error and exit status 2.

    Examples
    --------
    >>> from unittest.mock import patch
    >>> try:
    ...     with patch.object(sys, "argv", ["neuropyro", "generator", "info", "brains65", "--json"]):
    ...         main()
    ... except SystemExit as end:
    ...     print("exit status", end.code)
    {
      "error": "brains65: no such generator; bundled generators: brains64"
    }
    exit status 2
    """
    # Threads that spin where they wait for each other make a fit many times slower beside another busy program.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # is read when torch is imported, which no command has done yet
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", LOGGED_EVERY)  # a bar in a log is a line each time that it moves
    try:
        manners, words = take_manners(sys.argv[1:])
    except ValueError as error:
        sys.exit(_failed(str(error)))
    with speaking(manners):
        status = _run(words, manners)
    if status:
        sys.exit(status)


def _run(words: list[str], manners: Manners) -> int:
    """Run one command; returns the exit status."""
    checks = app.config
    try:
        if manners.config is not None:
            app.config = (options_of(manners.config, app), *checks)
        app(words, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        return _failed(told(error))
    except KeyboardInterrupt:
        return _stopped(words)
    except SystemExit as end:  # which cyclopts makes of what a user stops while a command runs
        if end.code != STOPPED:
            raise
        return _stopped(words)
    except BrokenPipeError:  # who reads has enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, FloatingPointError) as error:
        return _failed(str(error))
    finally:
        app.config = checks
    return 0


def _stopped(words: list[str]) -> int:
    """Say that a user has stopped a command, and what is there of it."""
    out = next((Path(after) for word, after in pairwise([*words, ""]) if word == "--out"), None)
    out = next((Path(word.removeprefix("--out=")) for word in words if word.startswith("--out=")), out)
    if out is None:
        complain("stopped")
    elif out.exists():
        complain(f"stopped; in {out} is what was there before, and what was finished")
    else:
        complain("stopped; nothing was written")
    return STOPPED


def _failed(said: str) -> int:
    complain(said)
    say("", error=said)
    return 2


show_examples(app)
