"""How far visits tell speeds, where the posterior is known in closed form."""

from types import SimpleNamespace

import numpy as np
import pytest

from neuropyro.known_speeds import remark_on_speeds, share_known

N_SUBJECTS, N_DRAWS = 4000, 400


def drawn(noise):
    """Draw log speeds of sd 1 from their posterior given a measurement each, and a common shift of each draw."""
    rng = np.random.default_rng(0)
    seen = rng.standard_normal(N_SUBJECTS) * np.hypot(1, noise)
    known = 1 / (1 + noise**2)
    draws = known * seen + np.sqrt(1 - known) * rng.standard_normal((N_DRAWS, N_SUBJECTS))
    return draws + 3 * rng.standard_normal((N_DRAWS, 1))


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_the_share_is_the_reliability_of_a_measurement(noise):
    # Relative standard error of a variance over 4,000 subjects is sqrt(2 / 4000) = .022.
    assert share_known(drawn(noise)) == pytest.approx(1 / (1 + noise**2), abs=0.03)


@pytest.mark.parametrize(("noise", "is_point", "told"), [(0.3, False, False), (3.0, False, True), (3.0, True, False)])
def test_hardly_known_speeds_are_told_of_draws_alone(noise, is_point, told):
    outcome = SimpleNamespace(fit=SimpleNamespace(is_point=is_point), posterior={"alpha": np.exp(drawn(noise))})
    said = remark_on_speeds(outcome)
    assert bool(said) is told
    assert not told or "visits tell 10 % of what speeds differ by" in said
