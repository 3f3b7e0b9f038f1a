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
    expected, r = mixed(law, other), law.ties.directions.shape[1]
    law.respread(torch.cat([shift, torch.zeros(r)]), torch.block_diag(root, torch.eye(r)))
    torch.testing.assert_close(mixed(law, h), expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def tied(law):
    """The same, its elements moving together along directions of which most are all but one number's."""
    n_local = law.loc.numel() - 2
    local = torch.linalg.qr(torch.eye(n_local) + 0.2 * torch.ones(n_local, 1))[0]
    directions = torch.zeros(law.loc.numel(), n_local).index_put((law.whitening.order[2:],), local)
    law.tie(directions, torch.linspace(0.5, 3, n_local))
    return law.double()


@pytest.mark.parametrize("again", [1, 2])
def test_what_is_shared_mixes_what_it_is_told(tied, again):
    generator = torch.Generator().manual_seed(1)
    r = 2 + tied.ties.directions.shape[1]
    h, shift, below = (torch.randn(*n, generator=generator).double() for n in ((50, tied.loc.numel()), (r,), (r, r)))
    root = 0.3 * below.tril(-1) + torch.linspace(0.5, 1.5, r).diag()
    for _ in range(again):
        t = flat(tied, h, shift, root)
        expected = mixed(tied, t)
        tied.respread(shift, root)
        torch.testing.assert_close(mixed(tied, h), expected, rtol=1e-4, atol=1e-5)


def flat(law, h, shift, root):
    """Mixed noise ``h (*, D)``, global numbers first, whose shared part is moved as told."""
    own = h[..., torch.argsort(law.whitening.order)]
    before = law.shared_noise(own)
    change = shift + before @ root.mT - before
    moved = own + change[..., 2:] @ law.ties.directions.mT
    moved[..., law.global_places] += change[..., :2]
    return moved[..., law.whitening.order]


def test_nothing_told_changes_nothing(law):
    before = {name: p.detach().clone() for name, p in law.named_parameters()}
    r = 2 + law.ties.directions.shape[1]
    law.respread(torch.zeros(r), torch.eye(r))
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
