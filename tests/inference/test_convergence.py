"""The stopping rule."""

import numpy as np
import pytest

from neuropyro.inference.convergence import CosineSchedule, Plateau, Schedule


def fed(losses, **settings):
    rule = Plateau(Schedule(window=50, patience=1, **settings))
    for window in losses:
        rule.update(window)
    return rule


def test_a_falling_loss_keeps_the_rate():
    falling = [np.linspace(1000 - 100 * i, 900 - 100 * i, 50) for i in range(8)]
    assert fed(falling).factor == 1


def test_a_flat_loss_lowers_the_rate_until_it_has_converged():
    rule = fed([np.full(50, 10.0)] * 6, decay=0.3, floor=0.02)
    assert rule.converged
    assert "0 nats (units of log likelihood)" in rule.verdict
    assert "of the first step size, the fit gained" in rule.verdict


def test_noise_is_not_progress_but_a_trend_beneath_it_is():
    rng = np.random.default_rng(0)
    flat = [rng.normal(0, 10, 50) + 100 for _ in range(10)]
    assert fed(flat).factor < 1
    trend = [rng.normal(0, 10, 50) + 1000 - 20 * i for i in range(10)]
    assert fed(trend).factor == 1


def test_a_cosine_has_converged_where_its_last_quarter_gained_nothing():
    schedule = CosineSchedule(max_steps=400, window=50)
    verdicts = {}
    for name, fall in (("flat", 0.0), ("falling", 5.0)):
        rule = schedule.rule()
        for window in range(8):
            rule.update(np.linspace(500 - fall * window, 500 - fall * (window + 1), 50))
            assert not rule.converged or window == 7
        verdicts[name] = rule.converged
        again = schedule.rule()
        again.restore(rule.facts())
        assert again == rule
    assert verdicts == {"flat": True, "falling": False}


@pytest.mark.parametrize(("decay", "floor"), [(0.3, 0.02), (0.1, 0.05), (0.5, 0.25)])
def test_a_bar_counts_the_plateaus_until_the_end(decay, floor):
    windows = [np.full(50, 10.0)] * 12
    lasts = [n for n in range(1, 12) if fed(windows[: n + 1], decay=decay, floor=floor).converged]
    rule = fed(windows[: lasts[0] + 1], decay=decay, floor=floor)
    assert rule.how_far == f", plateau {lasts[0]} of {lasts[0]}"
    assert fed(windows[:1], decay=decay, floor=0.0).how_far == ", until it is stopped"


def test_schedules_that_make_no_sense():
    with pytest.raises(ValueError, match="max_steps"):
        Schedule(max_steps=0)


@pytest.mark.parametrize(
    ("name", "given", "least"),
    [("max_steps", 0, "1 or more"), ("window", 1, "2 or more"), ("learning_rate", 0, "more")],
)
def test_what_of_a_schedule_is_too_small_is_told_alone(name, given, least):
    with pytest.raises(ValueError, match=f"^schedule: {name} is {given}; give {least}"):
        Schedule(**{name: given})
