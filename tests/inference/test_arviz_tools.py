"""ArviZ's own tools run on results, whichever major version is installed."""

import warnings

import arviz
import matplotlib as mpl
import pyro
import pyro.distributions as dist
import pytest
import torch

from neuropyro.data import simulate_reference
from neuropyro.inference import Schedule, fit
from neuropyro.inference.arviz_versions import IS_TREE
from neuropyro.models import VertexClusterMixture

SHORT = Schedule(max_steps=20, warm_up=0, window=10)
BLUR = torch.tensor([[0.6, 0.4, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0], [0.0, 0.0, 0.4, 0.6]])


def linear_reconstruction(y):
    """An image of four pixels from two latent numbers, seen through a blur: the least reconstruction there is."""
    basis = torch.tensor([[1.0, 0.5, -0.5, -1.0], [1.0, -1.0, -1.0, 1.0]])
    z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    clean = pyro.deterministic("clean", z @ basis, event_dim=1)
    with pyro.plate("pixel", 3):
        pyro.sample("y", dist.Normal(clean @ BLUR.mT, 0.2), obs=y)


@pytest.fixture(scope="module", autouse=True)
def _no_screen():
    mpl.use("agg")


@pytest.fixture(scope="module")
def trees():
    cohort = simulate_reference(n_subjects=8, n_vertices=10, seed=2)
    model = VertexClusterMixture(2)
    dive = [fit(model, cohort, g, schedule=SHORT, progress=False) for g in ("normal", "lowrank")]
    y = torch.tensor([0.4, 0.1, -0.5])
    image = [fit(linear_reconstruction, y, guide, schedule=SHORT, progress=False) for guide in ("normal", "mvn")]
    return {"dive": [f.to_arviz(60, 20) for f in dive], "image": [f.to_arviz(100, 40) for f in image]}


@pytest.mark.parametrize("name", ["dive", "image"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # ArviZ: few draws, high k
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword")  # pandas, of ArviZ 0.x
def test_loo_and_compare(trees, name):
    first, second = trees[name]
    assert float(arviz.loo(first).se) > 0
    table = arviz.compare({"one": first, "two": second})
    assert list(table["rank"]) == [0, 1]


@pytest.mark.parametrize("name", ["dive", "image"])
def test_plots(trees, name, tmp_path):
    tree = trees[name][0]
    variables = {"dive": ["c", "b", "sigma"], "image": ["z"]}[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of matplotlib's and ArviZ's own
        loo = arviz.loo(tree, pointwise=True)
        arviz.plot_trace(tree, var_names=variables)
        if IS_TREE:
            arviz.plot_ppc_dist(tree, num_samples=20)
        else:
            arviz.plot_ppc(tree, num_pp_samples=20)
        arviz.plot_khat(loo)
    figures = mpl.pyplot.get_fignums()
    for number in figures:
        mpl.pyplot.figure(number).savefig(tmp_path / f"{number}.png")
    mpl.pyplot.close("all")
    assert len(figures) >= 3
