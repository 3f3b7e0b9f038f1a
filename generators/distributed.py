"""One process or many: what the processes of a training run tell one another.

Under ``torchrun`` each process takes its share of every batch and gradients are averaged, so that all hold the same
weights; alone, nothing is exchanged.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["World", "join_world", "leave_world"]


@dataclass(frozen=True)
class World:
    """The processes of a run, seen from one of them.

    Attributes
    ----------
    rank, size
        Which process this is, and of how many.
    device
        Where it computes.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.zeros(3))
    >>> weight.grad = torch.tensor([1.0, torch.nan, -torch.inf])
    >>> World().average_gradients([weight])  # alone: nothing to average with
    >>> weight.grad.tolist()
    [1.0, 0.0, -100000.0]
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes; NaN becomes 0, and infinities +-1e5."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.size > 1:
            flat = self.mean(torch.cat([g.flatten() for g in gradients]))
            for gradient, mean in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
                gradient.copy_(mean.view_as(gradient))
        for gradient in gradients:
            torch.nan_to_num(gradient, nan=0.0, posinf=1e5, neginf=-1e5, out=gradient)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of ``value`` over the processes."""
        if self.size > 1:
            dist.all_reduce(value)
            value = value / self.size
        return value

    def barrier(self) -> None:
        """Go on only when all processes have come here."""
        if self.size > 1:
            dist.barrier()


def join_world(device: torch.device | str = "cpu") -> World:
    """Join the processes that ``torchrun`` started; alone without it.

    Parameters
    ----------
    device
        ``"cpu"`` (gloo) or ``"cuda"`` (nccl; each process of a machine takes a GPU of its own).

    Returns
    -------
    World
        Seen from this process.

    Examples
    --------
    >>> world = join_world()  # not under torchrun
    >>> world.rank, world.size, str(world.device)
    (0, 1, 'cpu')
    """
    device, size = torch.device(device), int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World(device=device)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(dist.get_rank(), dist.get_world_size(), device)


def leave_world() -> None:
    """Part from the other processes, where there are any.

    Examples
    --------
    >>> world = join_world()
    >>> leave_world()  # alone there is nothing to part from
    >>> torch.distributed.is_initialized()
    False
    """
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
