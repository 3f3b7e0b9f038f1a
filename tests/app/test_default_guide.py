"""Which guide the command takes where none is named."""

import numpy as np
import pytest

from neuropyro.cli import app
from neuropyro.data import Cohort
from neuropyro.default_guide import FEW_PEOPLE, default_guide
from neuropyro.models.visit_parts import ENOUGH


def cohort(people, columns):
    values = np.random.default_rng(0).standard_normal((2 * people, columns)).astype(np.float32)
    return Cohort(values, np.tile([70.0, 71.0], people), np.arange(people).astype(str).repeat(2))


@pytest.mark.parametrize(
    ("people", "columns", "spatial", "expected"),
    [
        (5, ENOUGH, False, "structured"),
        (FEW_PEOPLE, ENOUGH + 1, False, "laplace"),
        (FEW_PEOPLE + 1, ENOUGH + 1, False, "normal"),
        (5, ENOUGH + 1, True, "normal"),
    ],
)
def test_it_goes_by_the_size_of_the_study(people, columns, spatial, expected):
    assert default_guide(cohort(people, columns), spatial) == expected


@pytest.mark.parametrize(("words", "guide", "told"), [([], "laplace", True), (["--guide", "map"], "map", False)])
def test_the_command_says_which_it_took(tmp_path, monkeypatch, capsys, words, guide, told):
    asked = []

    def stopped(*_, **options):
        asked.append(options["guide"])
        raise KeyboardInterrupt

    monkeypatch.setattr("neuropyro.inference.fit", stopped)
    cohort(4, ENOUGH + 1).save(tmp_path / "cohort.npz")
    with pytest.raises(SystemExit):
        app(["dive", "fit", str(tmp_path / "cohort.npz"), "--out", str(tmp_path / "fit"), *words])
    assert asked == [guide]
    assert ("guide laplace, by the size of the study" in capsys.readouterr().err) == told
