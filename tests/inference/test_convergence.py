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


def test_schedules_that_make_no_sense():
    with pytest.raises(ValueError, match="max_steps"):
        Schedule(max_steps=0)
