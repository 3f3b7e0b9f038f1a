"""A model in a folder, and back."""

import numpy as np
import pytest
import torch

from neuropyro.models import LatentReconstruction
from neuropyro.models.corruption import CorruptionError, Downsample, Mask
from neuropyro.models.reconstruction_storage import load_reconstruction, save_reconstruction

MASK = np.random.default_rng(0).random((8, 8)) > 0.3


@pytest.mark.parametrize("settings", [{}, {"prior": "z", "sigma": 0.2, "starts": 1}, {"preset": "brgm"}])
def test_round_trip(linear_generator, residual, settings, tmp_path):
    model = LatentReconstruction(linear_generator(), Mask(MASK), residual=residual, candidates=9, **settings)
    save_reconstruction(model, tmp_path, "linear")
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1  # the arrays are for others to read, too
    again = load_reconstruction(tmp_path, linear_generator())
    assert repr(again) == repr(model)
    assert (again.starts, again.candidates) == (model.starts, 9)
    assert (again.residual is None) == (model.residual is None)
    y = torch.randn(2, 1, 8, 8)
    values = {"z": torch.randn(2, 3)} if model.prior == "z" else {"w": torch.randn(2, 2, 3)}
    values |= {} if model.preset else {"residual_scale": torch.ones(2)}
    values |= {"sigma": torch.ones(2)} if model.sigma is None and not model.preset else {}
    assert torch.equal(again.log_joint(values, y), model.log_joint(values, y))


def test_another_generator_or_a_damaged_folder_is_refused(linear_generator, tmp_path):
    save_reconstruction(LatentReconstruction(linear_generator(), Downsample(2)), tmp_path, "linear")
    with pytest.raises(CorruptionError, match="another generator than linear"):
        load_reconstruction(tmp_path, linear_generator(seed=1))
    (tmp_path / "reconstruction.json").write_text("{}")
    with pytest.raises(CorruptionError, match="damaged"):
        load_reconstruction(tmp_path, linear_generator())
    with pytest.raises(CorruptionError, match="no reconstruction"):
        load_reconstruction(tmp_path / "none")
