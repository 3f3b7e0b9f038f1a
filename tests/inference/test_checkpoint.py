"""Fits that are killed and taken up again."""

import multiprocessing
import os
import signal
import subprocess
import sys

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from neuropyro.inference import Schedule, fit
from neuropyro.inference.checkpoint import CheckpointError
from neuropyro.inference.convergence import CosineSchedule

Y = torch.tensor([0.3, 1.2, -0.4, 2.0, 0.9])
SCHEDULE = Schedule(max_steps=120, warm_up=80, window=20, floor=1e-9)


def model(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    with pyro.plate("visit", len(y)):
        pyro.sample("y", dist.Normal(mean, scale), obs=y)


def run(folder, callbacks=(), schedule=SCHEDULE, guide="normal", every=0.0):
    return fit(
        model,
        Y,
        guide,
        seed=3,
        restarts=2 if isinstance(guide, str) else 1,
        schedule=schedule,
        checkpoint=folder,
        checkpoint_every=every,
        callbacks=callbacks,
        progress=False,
    )


def killed(folder, stage, step, schedule, guide):
    def kill(progress):
        if progress.stage == stage and progress.step >= step:
            os.kill(os.getpid(), signal.SIGKILL)

    run(folder, [kill], schedule, guide)


@pytest.mark.parametrize(
    ("stage", "guide", "schedule"),
    [
        ("restart 1 of 2, mode", "normal", SCHEDULE),
        ("restart 1 of 2", "flow", SCHEDULE),
        pytest.param("restart 2 of 2", "lowrank", SCHEDULE, marks=pytest.mark.slow),
        ("restart 2 of 2", "map", CosineSchedule(max_steps=120, window=20)),
    ],
)
def test_a_fit_killed_half_way_goes_on_bit_by_bit(tmp_path, stage, guide, schedule):
    process = multiprocessing.get_context("fork").Process(
        target=killed, args=(tmp_path / "killed", stage, 40, schedule, guide)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (tmp_path / "plain").touch()
    assert {path.stat().st_mode for path in (tmp_path / "killed").iterdir()} == {(tmp_path / "plain").stat().st_mode}
    resumed = run(tmp_path / "killed", schedule=schedule, guide=guide)
    alone = fit(model, Y, guide, seed=3, restarts=2, schedule=schedule, progress=False)
    for left, right in zip(resumed.runs, alone.runs, strict=True):
        np.testing.assert_array_equal(left.losses, right.losses)
        assert left.verdict == right.verdict
    for site, draws in alone.posterior(20).items():
        np.testing.assert_array_equal(resumed.posterior(20)[site], draws)


SCRIPT = """
import os, signal, sys
import pyro, torch
import pyro.distributions as dist
from neuropyro.inference import Schedule, fit

def model(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("visit", len(y)):
        pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

class Growth:
    def __call__(self, y):
        return model(y)

def kill(progress):
    if progress.step >= 100 and sys.argv[2] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(1)
y = torch.tensor([0.3, 1.2, -0.4])
junk = [object() for _ in range(int(sys.argv[3]))]  # so that addresses differ
for name, program in (("function", model), ("object", Growth())):
    if sys.argv[2] in ("resume", name, "kill"):
        result = fit(program, y, "map", schedule=Schedule(max_steps=200, warm_up=50, window=25, floor=1e-9),
                     checkpoint=sys.argv[1] + "/" + name, checkpoint_every=0.0, callbacks=[kill], progress=False)
        print(len(result.losses), repr(float(result.losses[-1])))
"""


@pytest.mark.slow
def test_a_function_killed_is_known_again_in_another_process(tmp_path):
    """A model's place in memory is another one there."""

    def call(word, junk):
        command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path), word, str(junk)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert call("kill", 0).returncode == -signal.SIGKILL
    assert (tmp_path / "function").is_dir()
    resumed = call("resume", 10_000)
    assert resumed.returncode == 0, resumed.stderr
    first, second = resumed.stdout.split("\n")[:2]
    assert first == second
    assert first.startswith("200 ")


def test_a_finished_fit_is_read_and_not_run_again(tmp_path):
    first = run(tmp_path)
    steps = []
    again = run(tmp_path, [lambda progress: steps.append(progress.step)])
    assert steps == []
    np.testing.assert_array_equal(again.losses, first.losses)


def test_the_checkpoint_of_another_fit_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(CheckpointError, match="another fit"):
        run(tmp_path, schedule=Schedule(max_steps=10))


def test_a_damaged_checkpoint_is_named(tmp_path):
    run(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="remove it to begin anew"):
        run(tmp_path)


def test_a_callback_ends_a_fit():
    result = fit(model, Y, "map", callbacks=[lambda progress: progress.step >= 100], progress=False)
    assert len(result.losses) == 100
    assert "a callback stopped it after 100 steps" in result.verdict
