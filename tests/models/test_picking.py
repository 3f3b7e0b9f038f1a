"""What labels pick, against Pyro's own indexing."""

import itertools

import pytest
import torch
from pyro.ops.indexing import Vindex

from neuropyro.models.picking import picked

N_CLUSTERS = 3
BATCHES = ((), (1,), (5, 1), (2, 5, 1))
LABELS = ((), (1,), (7,), (1, 7), (5, 1), (2, 1, 1), (7, 1, 1, 1), (5, 6), (2, 5, 1))


@pytest.mark.parametrize("event", [(), (4,), (4, 2)])
@pytest.mark.parametrize(("batch", "shape"), list(itertools.product(BATCHES, LABELS)))
def test_labels_pick_as_pyros_indexing_does_gradients_too(batch, shape, event):
    torch.manual_seed(0)
    each = torch.randn(*batch, N_CLUSTERS, *event, dtype=torch.float64, requires_grad=True)
    z = torch.randint(0, N_CLUSTERS, shape)

    picks = picked(each, z, len(event)), Vindex(each)[(..., z, *[slice(None)] * len(event))]

    assert picks[0].shape == picks[1].shape
    assert torch.equal(*picks)
    weights = torch.randn_like(picks[0])
    gradients = [torch.autograd.grad((pick * weights).sum(), each)[0] for pick in picks]
    torch.testing.assert_close(*gradients)
