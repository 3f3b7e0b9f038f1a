"""Perceptual features of measurements: the term that counts the data a second time."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from neuropyro.models.corruption_operator import CorruptionError
from neuropyro.models.reconstruction_reference import reference_feature_sd

__all__ = ["feature_density", "feature_vectors"]


def feature_vectors(features: Any, y: Tensor) -> Tensor:
    """Features (*, B, F) of measurements (*, B, C, h, w), on their device.

    Parameters
    ----------
    features
        From images (B, C, h, w) to vectors (B, F); a module is moved to the measurements' device and dtype.

    Raises
    ------
    CorruptionError
        Where measurements are no images.

    Examples
    --------
    >>> y = torch.tensor([1.0, 3.0, 5.0, 9.0]).reshape(2, 1, 1, 2)
    >>> feature_vectors(lambda images: images.mean((2, 3)), y)  # one feature: how bright an image is
    tensor([[2.],
            [7.]])
    """
    if y.is_complex() or y.ndim < 4:
        raise CorruptionError("reconstruction: features are of images; give none for k-space")
    if isinstance(features, torch.nn.Module):
        features.to(y.device, y.dtype)
    found: Tensor = features(y.reshape(-1, *y.shape[-3:]))
    return found.reshape(*y.shape[:-3], *found.shape[1:])


def feature_density(expected: Tensor, target: Tensor, sd: float | None) -> Tensor:
    """Log-density (*, B) of features ``target`` (B, F) about ``expected`` (*, B, F); as in the paper if sd is None.

    Examples
    --------
    >>> density = feature_density(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), sd=1.0)
    >>> round(float(density), 3)  # -25 / 2 - log(2 pi)
    -14.338
    """
    sd = reference_feature_sd(target.shape[-1]) if sd is None else sd
    density: Tensor = dist.Normal(expected, sd).log_prob(target).sum(-1)
    return density
