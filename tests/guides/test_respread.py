"""A guide's global block moved and spread anew: what is global changes as told, what is local given it does not."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from neuropyro.guides import Start, find_latents, make_flat_guide
from neuropyro.inference.objective import choose_elbo


def grouped(y):
    """Two global numbers and three of each of four elements."""
    centre = pyro.sample("centre", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("element", len(y)):
        own = pyro.sample("own", dist.Normal(centre.sum(), torch.ones(3)).to_event(1))
        pyro.sample("y", dist.Normal(own.sum(-1), 0.5), obs=y)


@pytest.fixture
def law():
    """The law of a guide whose parameters are anything."""
    latents = find_latents(grouped, torch.arange(4.0), {})
    law = make_flat_guide("structured", Start(latents, latents.start)).law
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in law.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return law


def mixed(law, h):
    """Where mixed noise ``(D,)``, global numbers first, leads."""
    back = torch.argsort(law.whitening.order)
    with torch.no_grad():
        return law.stuck().arrow._call(h[..., back])


def test_the_global_block_mixes_what_it_is_told(law):
    generator = torch.Generator().manual_seed(1)
    h = torch.randn(50, law.loc.numel(), generator=generator)
    shift, root = torch.tensor([0.7, -1.2]), torch.tensor([[1.5, 0.0], [-0.4, 0.6]])
    other = h.clone()
    other[:, :2] = shift + h[:, :2] @ root.mT
    expected = mixed(law, other)
    law.respread(shift, root)
    torch.testing.assert_close(mixed(law, h), expected, rtol=1e-4, atol=1e-5)


def test_nothing_told_changes_nothing(law):
    before = {name: p.detach().clone() for name, p in law.named_parameters()}
    law.respread(torch.zeros(2), torch.eye(2))
    for name, p in law.named_parameters():
        torch.testing.assert_close(p.detach(), before[name].tril() if name == "shared" else before[name], msg=name)


def test_a_held_block_learns_nothing_and_the_others_do():
    data = torch.arange(4.0)
    latents = find_latents(grouped, data, {})
    guide = make_flat_guide("structured", Start(latents, latents.start))
    law, objective = guide.law, choose_elbo(grouped, data)
    before = {name: p.detach().clone() for name, p in law.named_parameters()}
    with law.global_block_held():
        adam = torch.optim.Adam(guide.parameters())
        for _ in range(3):
            adam.zero_grad()
            objective.differentiable_loss(grouped, guide, data).backward()
            adam.step()
    elsewhere = torch.ones(law.loc.numel(), dtype=torch.bool).index_fill(0, law.global_places, False)
    assert torch.equal(law.shared, before["shared"])
    for name in ("loc", "skew", "tail"):
        now = law.get_parameter(name).detach()
        assert torch.equal(now[~elsewhere], before[name][~elsewhere])
        assert (now[elsewhere] != before[name][elsewhere]).all()
    assert all((p != before[f"couplings.{i}"]).all() for i, p in enumerate(law.couplings))
    guide.zero_grad()
    objective.differentiable_loss(grouped, guide, data).backward()
    assert (law.loc.grad[law.global_places] != 0).all()
    assert (law.shared.grad.tril() != 0).any()
