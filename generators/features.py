"""Perceptual features: images near in them look alike.

VGG16 comes from a file that the user gives, since its weights are not ours to bundle; without one, the features of a
bundled discriminator take its place.  Every network here maps images to vectors whose squared distance is the
perceptual distance, so that a Normal on them is a likelihood of looks.

References
----------
Zhang et al., *The unreasonable effectiveness of deep features as a perceptual metric*, CVPR 2018 (LPIPS), equation 1;
Simonyan and Zisserman, ICLR 2015 (VGG16).
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, max_pool2d

from neuropyro.generators.checkpoints import load_checkpoint
from neuropyro.generators.discriminator import Discriminator
from neuropyro.generators.errors import CheckpointError
from neuropyro.generators.safe_pickle import Record
from neuropyro.generators.torch_stream import read_torch_file

__all__ = ["DiscriminatorFeatures", "VGGFeatures", "load_discriminator_features", "load_vgg16"]

STAGES = (2, 2, 3, 3, 3)  # convolutions between poolings
WIDTHS = (64, 128, 256, 512, 512)
MEAN, SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, on 0..1
REFERENCE_SIZE = 256


def _embed(maps: Sequence[Tensor], heads: Sequence[Tensor] | None = None) -> Tensor:
    """Vectors (B, D) of feature maps (B, C_l, H_l, W_l), whose squared distance is that of LPIPS.

    Maps are normalised over channels at each pixel; the distance is the mean over pixels, weighted by ``heads``
    (C_l,) over channels (unweighted: mean over channels), and summed over layers.
    """
    parts = []
    for i, x in enumerate(maps):
        x = x * torch.rsqrt(x.square().sum(dim=1, keepdim=True) + 1e-10)
        weight = x.new_full((x.shape[1],), 1 / x.shape[1]) if heads is None else heads[i].to(x)
        parts.append((x * (weight.sqrt()[:, None, None] / math.sqrt(x.shape[2] * x.shape[3]))).flatten(1))
    return torch.cat(parts, dim=1)


def _squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """Squared distance (B,) of vectors (B, D)."""
    return (a - b).square().sum(dim=1)


def _resized(image: Tensor, size: int) -> Tensor:
    """``image`` (B, C, H, W) at ``size`` px: means over areas where it shrinks, bilinear where it grows."""
    if image.shape[-1] > size:
        return interpolate(image, size=(size, size), mode="area")
    if image.shape[-1] < size:
        return interpolate(image, size=(size, size), mode="bilinear", align_corners=False)
    return image


class VGGFeatures(nn.Module):
    """Features of VGG16 after the last rectifier of each stage.

    Parameters
    ----------
    weights, biases
        Of the 13 convolutions, (out, in, 3, 3) and (out,).
    heads
        LPIPS's weight of each channel, (C_l,) for each of the five stages; without them channels count alike.
    reference_size
        Whether images are brought to 256 px first, as the reference implementation does whatever their size.

    Examples
    --------
    >>> channels = [(3, 8), (8, 8)] + [(8, 8)] * 11  # those of VGG16 are wider
    >>> features = VGGFeatures([torch.ones(b, a, 3, 3) for a, b in channels], [torch.zeros(b) for _, b in channels])
    >>> len(features.maps(torch.zeros(1, 1, 32, 32)))
    5
    """

    mean: Tensor
    sd: Tensor

    def __init__(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        heads: Sequence[Tensor] | None = None,
        reference_size: bool = False,
    ) -> None:
        super().__init__()
        self.reference_size, self.weighted = reference_size, heads is not None
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            self.register_buffer(f"weight{i}", weight.to(memory_format=torch.channels_last))
            self.register_buffer(f"bias{i}", bias)
        for i, head in enumerate(heads or ()):
            self.register_buffer(f"head{i}", head)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("sd", torch.tensor(SD)[:, None, None])

    def maps(self, image: Tensor) -> list[Tensor]:
        """Feature maps (B, C_l, H_l, W_l) of ``image``; stages for which it is too small are left out.

        Parameters
        ----------
        image
            (B, 1 or 3, H, W), -1..1

        Raises
        ------
        ValueError
            The image has another shape.
        """
        if image.ndim != 4 or image.shape[1] not in (1, 3):
            raise ValueError(f"VGG16 reads grey or colour images (B, 1 or 3, H, W), got {tuple(image.shape)}")
        image = _resized(image, REFERENCE_SIZE) if self.reference_size else image
        x = ((image + 1) / 2 - self.mean) / self.sd  # a grey image becomes three equal channels
        maps, layer = [], 0
        for stage, count in enumerate(STAGES):
            if stage:
                if min(x.shape[2:]) < 2:
                    break
                x = max_pool2d(x, 2)
            for _ in range(count):
                weight, bias = self.get_buffer(f"weight{layer}"), self.get_buffer(f"bias{layer}")
                x = conv2d(x, weight, bias, padding=1).relu()
                layer += 1
            maps.append(x)
        return maps

    def forward(self, image: Tensor) -> Tensor:
        """Vectors (B, D) of ``image`` (B, 1 or 3, H, W), -1..1, whose squared distance is the perceptual one."""
        heads = [self.get_buffer(f"head{i}") for i in range(len(STAGES))] if self.weighted else None
        return _embed(self.maps(image), heads)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Perceptual distance (B,) of images ``a`` and ``b``: LPIPS where its heads were given."""
        return _squared_distance(self(a), self(b))


class DiscriminatorFeatures(nn.Module):
    """Features of a discriminator after each of its blocks.

    Parameters
    ----------
    discriminator
        It is frozen; images of another size are brought to its own.

    Examples
    --------
    >>> features: DiscriminatorFeatures = load_discriminator_features("brains64")
    >>> black, grey = torch.full((1, 1, 64, 64), -1.0), torch.zeros(1, 1, 64, 64)
    >>> bool(features.distance(black, grey) > features.distance(black, black))
    True
    """

    def __init__(self, discriminator: Discriminator) -> None:
        super().__init__()
        self.discriminator = discriminator.eval().requires_grad_(False)

    def maps(self, image: Tensor) -> list[Tensor]:
        """Feature maps (B, C_l, H_l, W_l) of ``image`` (B, C, H, W), -1..1."""
        return self.discriminator.features(_resized(image, self.discriminator.config.img_resolution))

    def forward(self, image: Tensor) -> Tensor:
        """Vectors (B, D) of ``image``, whose squared distance is the perceptual one."""
        return _embed(self.maps(image))

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Perceptual distance (B,) of images ``a`` and ``b``."""
        return _squared_distance(self(a), self(b))


def load_discriminator_features(name_or_path: str | Path) -> DiscriminatorFeatures:
    """Features of the discriminator in a bundled or given checkpoint; a ``CheckpointError`` where it has none.

    Examples
    --------
    >>> features = load_discriminator_features("brains64")
    >>> features(torch.zeros(2, 1, 64, 64)).shape[0]
    2
    """
    checkpoint = load_checkpoint(name_or_path)
    if checkpoint.discriminator is None:
        raise CheckpointError(f"{checkpoint.path}: it holds no discriminator, whose features were asked for")
    return DiscriminatorFeatures(checkpoint.discriminator)


def load_vgg16(path: str | Path, heads: str | Path | None = None, reference_size: bool = False) -> VGGFeatures:
    """Read VGG16, without executing anything in its file.

    Parameters
    ----------
    path
        NVIDIA's ``vgg16.pt`` (a TorchScript archive, of which the tensors alone are read) or torchvision's state
        dictionary ``vgg16-*.pth``.
    heads
        LPIPS's linear heads, the state dictionary ``vgg.pth`` with ``lin0.model.1.weight`` and so on; those in the
        first file if None, where it has them.
    reference_size
        See :class:`VGGFeatures`.

    Raises
    ------
    CheckpointError
        Where a file is missing, damaged, or of another network.

    Examples
    --------
    >>> try:
    ...     load_vgg16("vgg16.pth")
    ... except (CheckpointError, OSError) as error:
    ...     print("vgg16.pth" in str(error))
    True
    """
    tensors = _read_tensors(Path(path))
    weights, biases = _convolutions(tensors, Path(path))
    found = _linear_heads(tensors if heads is None else _read_tensors(Path(heads)))
    if heads is not None and found is None:
        raise CheckpointError(f"{heads}: it holds no linear heads of LPIPS for VGG16 (lin0.model.1.weight, ...)")
    return VGGFeatures(weights, biases, found, reference_size).eval()


def _convolutions(tensors: Mapping[str, Tensor], path: Path) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases of the 13 convolutions, under NVIDIA's names or torchvision's."""
    indices = [i for i in range(29) if f"features.{i}.weight" in tensors]
    names = [f"features.{i}" for i in indices] if indices else [f"layers.conv{i + 1}" for i in range(sum(STAGES))]
    outs = [width for width, count in zip(WIDTHS, STAGES, strict=True) for _ in range(count)]
    shapes = [(out, into, 3, 3) for out, into in zip(outs, [3, *outs], strict=False)]
    weights = [tensors[f"{name}.weight"] for name in names if f"{name}.weight" in tensors]
    biases = [tensors[f"{name}.bias"] for name in names if f"{name}.bias" in tensors]
    if [tuple(w.shape) for w in weights] != shapes or [tuple(b.shape) for b in biases] != [(o,) for o in outs]:
        raise CheckpointError(f"{path}: it is not VGG16: neither layers.conv1 to conv13 nor torchvision's features.N")
    return [w.float() for w in weights], [b.float() for b in biases]


def _linear_heads(tensors: Mapping[str, Tensor]) -> list[Tensor] | None:
    """Weights of LPIPS's heads, (C_l,) each, where ``tensors`` have them for every stage."""
    found: dict[int, Tensor] = {}
    for name, value in tensors.items():
        if match := re.fullmatch(r"(?:lpips\.)?lin(\d)(?:\.model\.1)?\.weight", name):
            found[int(match[1])] = value.float().reshape(-1)
    fits = all(i in found and len(found[i]) == width for i, width in enumerate(WIDTHS))
    return [found[i].clamp(min=0) for i in range(len(WIDTHS))] if fits else None


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by dotted name in a PyTorch or TorchScript file."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        value = read_torch_file(path.read_bytes(), scripted=True)
        return dict(_named_tensors(value))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # whatever a damaged file provokes in a parser
        cause = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path}: damaged, or not a PyTorch file ({cause})") from error


def _named_tensors(value: Any, prefix: str = "") -> list[tuple[str, Tensor]]:
    """Tensors within dictionaries and modules' records, under dotted names."""
    if isinstance(value, Tensor):
        return [(prefix, value)]
    value = value.state if isinstance(value, Record) else value
    if not isinstance(value, Mapping):
        return []
    return [pair for k, v in value.items() for pair in _named_tensors(v, f"{prefix}.{k}" if prefix else str(k))]
