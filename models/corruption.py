"""What happened to an image before it was measured: the forward operators of image reconstruction.

Each corruption is a module with the same verbs: ``A(x)``, ``A_adjoint(y)`` where it is linear, ``observed(y)`` (which
measurements count), ``corrupt(x, seed)`` (simulate), ``adjointness_test(x)``, ``noise``, and ``text``, from which
:func:`parse_corruption` makes it again.  See :mod:`neuropyro.models.corruption_operator` for the conventions.

Examples
--------
>>> import torch
>>> scanner = Compose(Blur(1.0), Downsample(4), noise=0.05)
>>> y = scanner.corrupt(torch.zeros(1, 1, 64, 64), seed=1)
>>> y.shape, scanner.A_adjoint(y).shape
(torch.Size([1, 1, 16, 16]), torch.Size([1, 1, 64, 64]))
"""

from neuropyro.models.corruption_blur import Blur
from neuropyro.models.corruption_composition import Compose, Identity
from neuropyro.models.corruption_deepinv import DeepinvPhysics, as_corruption
from neuropyro.models.corruption_intensity import Intensity
from neuropyro.models.corruption_kspace import Undersample
from neuropyro.models.corruption_masks import Mask
from neuropyro.models.corruption_operator import Corruption, CorruptionError
from neuropyro.models.corruption_resampling import Downsample
from neuropyro.models.corruption_storage import corruption_from_settings, corruption_settings
from neuropyro.models.corruption_text import parse_corruption

__all__ = [
    "Blur",
    "Compose",
    "Corruption",
    "CorruptionError",
    "DeepinvPhysics",
    "Downsample",
    "Identity",
    "Intensity",
    "Mask",
    "Undersample",
    "as_corruption",
    "corruption_from_settings",
    "corruption_settings",
    "parse_corruption",
]
