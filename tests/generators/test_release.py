import pytest
import torch

from neuropyro.generators import load_checkpoint, load_generator
from neuropyro.generators.config import DiscriminatorConfig, GeneratorConfig
from neuropyro.generators.evaluation import inversion_psnr
from neuropyro.generators.readouts import CovariateReadout
from neuropyro.generators.release import Findings, directions_of, fidelity_of, inversions_of, write_release
from neuropyro.generators.residuals import ResidualSpread, band_power
from neuropyro.generators.sample_grids import draw_samples
from neuropyro.generators.training_config import TrainingConfig
from neuropyro.generators.training_state import new_state

GENERATOR = GeneratorConfig(img_resolution=8, z_dim=8, w_dim=8, channels=(8, 8), mapping_layers=2)


@pytest.fixture
def state():
    networks = GENERATOR, DiscriminatorConfig(img_resolution=8, channels=(8, 8))
    state = new_state(*networks, TrainingConfig().adam(), 0, torch.device("cpu"))
    state.images, state.history = 7, [{"images": 0, "config": {"seed": 5}}]
    return state


def noise(count: int, seed: int = 0) -> torch.Tensor:
    return 0.3 * torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_a_release_says_everything_that_was_measured(state, tmp_path):
    path = tmp_path / "noise8.safetensors"
    images = noise(300)
    covariates = torch.stack([images.mean((1, 2, 3)), images[:, 0, 0, 0]], 1).double()
    readout = CovariateReadout.of(images, covariates, ("brightness", "corner"), components=20)
    found = (
        fidelity_of(state.average, noise(80, 1), noise(80, 2))
        | inversions_of(state.average, noise(6, 3), steps=20, batch=4)
        | directions_of(state.average, readout, images, covariates, draws=100)
    )
    card = write_release(state, path, "noise", "CC0", found, {"command": "none"})
    assert load_generator(path).card.metrics == card.metrics
    assert {"two_sample_accuracy", "precision", "recall", "distance_to_test", "inversion_psnr"} <= set(card.metrics)
    assert (card.name, card.seed, card.details["images_seen"], card.details["command"]) == ("noise8", 5, 7, "none")
    assert set(card.details["directions"]) == {"brightness", "corner"}
    assert {"readout_r2", "w_r2", "effect"} == set(card.details["directions"]["corner"])
    arrays = load_generator(path).card.arrays
    assert arrays["directions.vectors"].shape == (2, 8)
    assert arrays["directions.effects"].shape == (2, 2)
    assert ResidualSpread.from_card(load_generator(path).card).sd.shape == (1, 8, 8)


def test_inversions_are_those_of_the_images_given(state):
    images = noise(6, 3)
    found = inversions_of(state.average, images, steps=20)
    assert found.metrics["inversion_psnr"] == pytest.approx(
        float(inversion_psnr(state.average.freeze(), images, steps=20).median()), abs=1e-3
    )
    bands, total = torch.tensor(found.details["residual"]["power_by_band"]), band_power(images)
    assert len(bands) == len(total)
    assert bands[-1] == pytest.approx(float(total[-1]), rel=0.5)  # 20 steps fit none of the finest noise


def test_half_precision_halves_the_file_and_keeps_the_look(state, tmp_path):
    images = []
    for half in (False, True):
        path = tmp_path / f"{half}.safetensors"
        write_release(state, path, "noise", "CC0", half=half)
        images.append(draw_samples(load_checkpoint(path).generator, 4))
        assert next(state.average.parameters()).dtype == torch.float32
    torch.testing.assert_close(images[1], images[0], atol=0.02, rtol=0)
    assert (tmp_path / "True.safetensors").stat().st_size < 0.7 * (tmp_path / "False.safetensors").stat().st_size


def test_findings_join():
    joined = Findings({"a": 1.0}, {"x": 1}) | Findings({"b": 2.0}, {"x": 2})
    assert (joined.metrics, joined.details) == ({"a": 1.0, "b": 2.0}, {"x": 2})
