"""Steps told from deep inside are shown to whoever watches, and to nobody else."""

import time
from contextlib import redirect_stderr
from io import StringIO

import numpy as np

from neuropyro.data import cortex_mesh, simulate_cohort
from neuropyro.inference import Schedule, fit
from neuropyro.models import VertexClusterMixture
from neuropyro.progress_bars import tell, told, watching


def shown(work):
    with redirect_stderr(StringIO()) as kept:
        work()
    return [line.strip() for line in kept.getvalue().replace("\r", "\n").splitlines() if line.strip()]


def watched(steps, **options):
    with watching("work", **options):
        assert list(told(steps)) == list(steps)


def test_each_step_that_takes_long_is_counted_and_the_last():
    def work(seconds):
        with watching("work"):
            for _ in told("abc"):
                time.sleep(seconds)

    counts = [line.partition(" [")[0] for line in shown(lambda: work(0.15))]
    assert [line for line in counts if line != "work: 00:00"][:3] == [f"work: {n} of 3" for n in (1, 2, 3)]
    assert "work: 2 of 3" not in [line.partition(" [")[0] for line in shown(lambda: work(0.0))]


def test_a_limit_is_said_to_be_one_and_may_be_missed():
    def work():
        with watching("work", at_most=True):
            tell(2, 6)

    assert shown(work)[-1] == "work: 2 of at most 6 [00:00]"


def test_work_that_tells_nothing_is_a_clock():
    def work():
        with watching("work"):
            pass

    assert shown(work) == ["work: 00:00"] * 2


def test_nothing_is_shown_where_nobody_watches_or_wants_to_see():
    assert shown(lambda: list(told("abc"))) == []
    assert shown(lambda: watched("abc", shown=False)) == []

    def hidden_in_another():
        with watching("outer"):
            watched("abc", shown=False)

    assert not [line for line in shown(hidden_in_another) if "of 3" in line]


def test_what_watched_before_watches_again_even_after_an_error():
    def work():
        with watching("outer"):
            try:
                with watching("inner"):
                    raise ValueError
            except ValueError:
                tell(1, 2)

    assert shown(work)[-1] == "outer: 1 of 2 [00:00]"


def test_a_laplace_fit_shows_its_starts_and_its_curvatures():
    cohort = simulate_cohort(12, 3, 2, mesh=cortex_mesh(("left",)), seed=0)
    few = cohort.subset(vertices=np.arange(0, cohort.n_vertices, 80))
    model = VertexClusterMixture(2, visit_effect=True)
    schedule = Schedule(warm_up=50)
    lines = shown(lambda: fit(model, few, "laplace", seed=0, schedule=schedule))
    titles = [line.partition(": ")[0] for line in lines]
    first = titles.index
    assert first("restart 1 of 1, starting values") < first("restart 1 of 1, mode, descent")
    assert first("restart 1 of 1, mode, descent") < first("restart 1 of 1, mode, curvature 1 of at most 4")
    last = [line for line in lines if "curvature of all" in line][-1]
    done, _, total = last.partition(" [")[0].rpartition(": ")[2].partition(" of ")
    assert done == total
    assert [line for line in lines if "starting values" in line and "of at most 6" in line]
