"""Settings of a training run."""

from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["TrainingConfig"]

INTERVALS = ("r1_interval", "path_interval", "log_images", "sample_images", "state_images")
RATES = ("learning_rate", "discriminator_learning_rate", "r1_weight", "path_weight", "spread_weight", "code_weight")
COUNTS = ("images", "batch", "path_batch_shrink", "average_images", *INTERVALS)


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a run.

    Parameters
    ----------
    images
        How many real images to show, in all.
    batch
        Images a step, over all processes.
    learning_rate, discriminator_learning_rate
        Adam's.
    r1_weight, r1_interval
        Gamma of R1, and every how many steps it acts.
    path_weight, path_interval, path_batch_shrink
        Of the path-length penalty; it looks at batch / shrink images.  A weight of 0 turns it off.
    spread_weight, spread_images
        Of the generator's loss of diversity, :class:`neuropyro.generators.spread.SpreadLoss`, and how many real images
        its components come from.  A weight of 0 turns it off.
    code_weight
        Of the generator's squared error, mean over the pixels, where the dataset's codes are known: the z of each image
        (:class:`neuropyro.generators.codes.Codes`).
    adversarial_from
        From how many images on the discriminator learns and is listened to; before, codes alone teach the generator,
        at a quarter of the cost.
    code_resolution
        Side to which images are reduced for that squared error; None: that of the images.  Before the discriminator
        joins, what lies above it is not computed, and the larger forms, which come first anyway, are learned several
        times as fast.  After, the discriminator alone says what lies above: codes do not tell the finest detail, and
        the mean over what they do not tell, which squared error asks for, is blurred.
    momentum, discriminator_momentum
        First of Adam's betas for each network, the second being .99.
    muon
        Whether what multiplies channels (the synthesis' convolutions and the maps from w to styles, and all such
        weights of the discriminator) takes the steps of :class:`neuropyro.generators.muon.Muon`, at the same rates,
        rather than Adam's.  It learns codes several times as fast, and tells images apart which Adam, at the same
        rate, does not tell apart at all.
    noise
        Whether the generator's layers have noise inputs.  Without them all that varies is in w, where reconstruction
        can find it, and diversity cannot be had from speckle.
    style_mixing
        Probability with which an image's layers take their w from two z.
    average_images, average_rampup
        Half-life of the moving average in images, at most ``rampup`` times the images shown so far.
    mirror
        Whether half of the real images are mirrored left to right.
    augmentation
        Mean sign of real logits that adaptive augmentation aims at (.6 for few images); None turns it off.
    precision
        ``"float32"``, or ``"bfloat16"`` for the convolutions (weights, mapping and losses stay in float32).
    log_images, sample_images, state_images
        After how many images a line is logged, samples are drawn, and the state is written.
    seed
        Of everything random.

    Raises
    ------
    ValueError
        A setting is out of range, or does not go with another; it is named.

    Examples
    --------
    >>> adam = TrainingConfig(learning_rate=0.0018, path_interval=8).adam()
    >>> round(adam["generator"]["lr"], 6)  # by 8 / 9, since every 8th step is followed by one that regularises
    0.0016
    >>> TrainingConfig(batch=0)
    Traceback (most recent call last):
        ...
    ValueError: batch must be at least 1, not 0
    """

    images: int = 1_000_000
    batch: int = 32
    learning_rate: float = 0.0025
    discriminator_learning_rate: float = 0.0025
    r1_weight: float = 0.1
    r1_interval: int = 16
    path_weight: float = 2.0
    path_interval: int = 8
    path_batch_shrink: int = 2
    spread_weight: float = 0.0
    spread_images: int = 1_000
    code_weight: float = 0.0
    adversarial_from: int = 0
    code_resolution: int | None = None
    momentum: float = 0.0
    discriminator_momentum: float = 0.0
    muon: bool = False
    noise: bool = True
    style_mixing: float = 0.9
    average_images: int = 10_000
    average_rampup: float | None = 0.05
    mirror: bool = True
    augmentation: float | None = None
    precision: str = "float32"
    log_images: int = 1_600
    sample_images: int = 16_000
    state_images: int = 8_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be 'float32' or 'bfloat16', not {self.precision!r}")
        for name in COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in RATES:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        if self.code_resolution is not None and self.spread_weight > 0 and self.adversarial_from > 0:
            raise ValueError(
                "code_resolution: the loss of diversity needs whole images, so before adversarial_from spread_weight "
                "must be 0"
            )
        if not 0 <= self.style_mixing <= 1:
            raise ValueError(f"style_mixing must be a probability, not {self.style_mixing}")

    @property
    def muon_dtype(self) -> torch.dtype | None:
        """In which Muon's iteration runs; None without it."""
        return getattr(torch, self.precision) if self.muon else None

    def adam(self) -> dict[str, dict[str, Any]]:
        """Return Adam's settings for each network, corrected for lazy regularisation."""
        path_interval = self.path_interval if self.path_weight > 0 else 0
        return {
            "generator": _lazy_adam(self.learning_rate, self.momentum, path_interval),
            "discriminator": _lazy_adam(
                self.discriminator_learning_rate, self.discriminator_momentum, self.r1_interval
            ),
        }


def _lazy_adam(learning_rate: float, momentum: float, interval: int) -> dict[str, Any]:
    ratio = interval / (interval + 1) if interval else 1.0
    return {"lr": learning_rate * ratio, "betas": (momentum**ratio, 0.99**ratio), "eps": 1e-8, "fused": True}
