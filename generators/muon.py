"""Muon beside Adam: steps of orthogonal matrices where a weight multiplies channels.

Adam scales every number of a weight by itself.  The gradient of a matrix, though, has a few directions that are far
longer than all others, and steps along them alone leave the others unlearned.  Muon [1]_ gives all directions of the
momentum one length: of U S V' it takes U V', by a Newton-Schulz iteration of matrix products alone.  Steps are brought
to a root mean square of the learning rate, so that one rate suits both kinds.

References
----------
.. [1] Jordan et al., *Muon: an optimizer for hidden layers in neural networks*, 2024.
.. [2] Liu et al., *Muon is scalable for LLM training*, 2025 (arXiv 2502.16982), section 2.2 (the steps' size).
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Muon", "orthogonalised"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 5
MOMENTUM = 0.95


class Muon(torch.optim.Adam):
    """Adam for ``parameters``, except those among ``matrices``, which take steps of orthogonal matrices.

    (PyTorch's own, of its later versions, takes no convolutions, and needs another optimiser for all else beside it.)
    Of Adam's moments matrices keep the first alone (with a decay of .95, looked ahead along the gradient as by
    Nesterov); their second one stays as it is, at 0, so that a run may go over from one optimiser to the other.

    Parameters
    ----------
    parameters
        All of them.
    matrices
        Those that are (out, in), or (out, in, height, width), of which each row of the matrix is one output's weights.
    dtype
        In which the iteration runs, which needs few digits.
    settings
        Adam's; the rate is that of both.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.zeros(2, 3))
    >>> weight.grad = torch.tensor([[100.0, 0, 0], [0, 2.0, 0]])
    >>> Muon([weight], [weight], dtype=torch.float32, lr=0.1).step()
    >>> (weight.abs() > 0.1).nonzero().tolist()
    [[0, 0], [1, 1]]
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        matrices: Iterable[Tensor],
        dtype: torch.dtype = torch.bfloat16,
        **settings: Any,
    ) -> None:
        super().__init__(parameters, **settings)
        self.matrices, self.dtype = list(matrices), dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Step down the gradients; those of the matrices are used up."""
        rate = self.param_groups[0]["lr"]
        for weight in self.matrices:
            if weight.grad is not None:
                weight.sub_(self._direction(weight, weight.grad), alpha=rate)
                weight.grad = None  # which Adam passes over
        return super().step(closure)

    def _direction(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """Step of a rate of 1, in the weight's shape, of a root mean square of about 1."""
        state = self.state[weight]
        if "exp_avg" not in state:
            state["step"] = torch.zeros((), device=weight.device)
            state |= {kind: torch.zeros_like(weight) for kind in ("exp_avg", "exp_avg_sq")}
        momentum: Tensor = state["exp_avg"].lerp_(gradient, 1 - MOMENTUM)
        ahead = gradient.lerp(momentum, MOMENTUM).movedim(1, -1)  # as it lies in memory where channels are last
        rows = orthogonalised(ahead.flatten(1).to(self.dtype)).to(weight.dtype)
        return rows.mul_(math.sqrt(max(rows.shape))).view(ahead.shape).movedim(-1, 1)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return about U V' of a matrix U S V', (m, n): singular values of .7 to 1.2, where they were not tiny before.

    Examples
    --------
    >>> orthogonalised(torch.diag(torch.tensor([9.0, -1.0, 0.5]))).diag().round()
    tensor([ 1., -1.,  1.])
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalised(matrix.T).T
    a, b, c = COEFFICIENTS
    x = matrix / (matrix.norm() + 1e-12)
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x  # type: ignore[no-any-return]
