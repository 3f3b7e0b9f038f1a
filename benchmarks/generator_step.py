"""How much of a reconstruction step is convolution.

A step is one pass forward through a frozen synthesis network and one backward to w.  It is compared, in the same run
and interleaved, with nothing but the convolutions and resampling filters that the network consists of: the same
shapes through ``conv2d`` and ``conv_transpose2d``, and their gradients with respect to the input.

What a batch gains over its images one by one is bounded by what its convolutions gain, which is printed beside it:
nothing where a single image keeps the processor busy.

Run from the repository's root: ``python benchmarks/generator_step.py``.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d

from neuropyro.generators import Generator, GeneratorConfig

SIZES = {
    64: GeneratorConfig(64, 1, z_dim=128, w_dim=128, mapping_layers=4, channel_base=4096, channel_max=128),
    256: GeneratorConfig(256, 3, channel_base=16384, channel_max=512),
}
LIMIT, BATCH_LIMIT = 1.3, 0.75


@dataclass
class Operation:
    """One convolution with its input and the gradient that arrives at its output."""

    function: Callable[[Tensor], Tensor]
    x: Tensor
    gradient: Tensor

    def step(self) -> None:
        """Forward, and backward to the input."""
        torch.autograd.grad(self.function(self.x), self.x, self.gradient)


def operation(function: Callable[[Tensor], Tensor], *shape: int) -> Operation:
    """Operation on a random input of that shape."""
    x = torch.randn(shape, requires_grad=True)
    return Operation(function, x, torch.randn_like(function(x)))


def bare_operations(config: GeneratorConfig, batch: int) -> list[Operation]:
    """Every convolution and resampling filter of the synthesis network, in its order."""
    operations, taps = [], torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8

    def filters(channels: int) -> Tensor:
        return torch.outer(taps, taps).expand(channels, 1, 4, 4).contiguous()

    for r in config.resolutions:
        width, colours = config.width(r), config.img_channels
        if r > 4:
            before = config.width(r // 2)
            up, blur, image = torch.randn(before, width, 3, 3), filters(width), filters(colours)
            operations += [
                operation(lambda x, k=up: conv_transpose2d(x, k, stride=2), batch, before, r // 2, r // 2),
                operation(lambda x, k=blur: conv2d(x, k, padding=1, groups=len(k)), batch, width, r + 1, r + 1),
                operation(
                    lambda x, k=image: conv_transpose2d(x, k, stride=2, padding=1, groups=len(k)),
                    *(batch, colours, r // 2, r // 2),
                ),
            ]
        same, out = torch.randn(width, width, 3, 3), torch.randn(colours, width, 1, 1)
        operations += [
            operation(lambda x, k=same: conv2d(x, k, padding=1), batch, width, r, r),
            operation(lambda x, k=out: conv2d(x, k), batch, width, r, r),
        ]
    return operations


def generator_step(generator: Generator, batch: int) -> Callable[[], None]:
    """One pass forward and backward to w of a whole batch."""
    w = torch.randn(batch, generator.num_ws, generator.w_dim, requires_grad=True)
    gradient = torch.randn_like(generator.synthesis(w))
    return lambda: (torch.autograd.grad(generator.synthesis(w), w, gradient), None)[1]


def interleaved(steps: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Median seconds of each step; they take turns, so that what else the machine does meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for i in range(repeats + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if i >= 2:  # the first two warm up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def least(config: GeneratorConfig, repeats: int) -> float:
    """Least that bare convolutions of batch 8 cost, in units of eight of batch 1.

    Each convolution takes the batch at once or image by image, whichever is faster: what a network can hope for whose
    single image already runs at the speed of its convolutions.
    """
    pairs = zip(bare_operations(config, 1), bare_operations(config, 8), strict=True)
    steps = {f"{i} {k}": o.step for i, pair in enumerate(pairs) for k, o in zip((1, 8), pair, strict=True)}
    seconds = interleaved(steps, repeats)
    alone = [8 * seconds[name] for name in steps if name.endswith(" 1")]
    at_once = [seconds[name] for name in steps if name.endswith(" 8")]
    return sum(map(min, alone, at_once)) / sum(alone)


def measure(resolution: int, repeats: int) -> list[tuple[str, float, float]]:
    """Name, ratio and limit of each comparison at one resolution."""
    config = SIZES[resolution]
    torch.manual_seed(0)
    generator = Generator(config).freeze()
    steps: dict[str, Callable[[], None]] = {}
    for batch in (1, 8):
        operations = bare_operations(config, batch)
        steps[f"bare {batch}"] = lambda operations=operations: [o.step() for o in operations] and None
        steps[f"step {batch}"] = generator_step(generator, batch)
    seconds = interleaved(steps, repeats)
    for name, value in seconds.items():
        print(f"{resolution} px, {name}: {1000 * value:.2f} ms")
    scaling = seconds["bare 8"] / (8 * seconds["bare 1"])
    print(f"{resolution} px: bare convolutions, batch 8 / eight of batch 1: {scaling:.2f}")
    print(f"{resolution} px: the same, each of them at once or one by one, as is faster: {least(config, repeats):.2f}")
    return [
        (f"{resolution} px, batch 1: step / bare convolutions", seconds["step 1"] / seconds["bare 1"], LIMIT),
        (f"{resolution} px, batch 8: step / bare convolutions", seconds["step 8"] / seconds["bare 8"], LIMIT),
        (f"{resolution} px: batch 8 / eight of batch 1", seconds["step 8"] / (8 * seconds["step 1"]), BATCH_LIMIT),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolutions", type=int, nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for resolution in options.resolutions:
        for name, ratio, limit in measure(resolution, options.repeats if resolution < 256 else options.repeats // 3):
            print(f"{name}: {ratio:.2f} (limit {limit}) {'holds' if ratio <= limit else 'DOES NOT HOLD'}")


if __name__ == "__main__":
    main()
