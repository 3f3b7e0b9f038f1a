"""Codes of phantoms: the few numbers that nearly determine a slice, distributed as a generator's latents are.

A phantom is a function of about a thousand independent standard normals u (:meth:`BrainPhantoms.factors`), most of
which move it little.  With J the derivative of the image by u, the eigenvectors of E[J'J] of largest eigenvalue are the
directions in u to which images are most sensitive (the active subspace).  A code is u along the covariates and along
the leading ones of these directions: independent standard normals again, so that generated images have the phantoms'
distribution if a generator learns to make of each code its phantom.

StyleGAN2 normalises its latent z, which thus is uniform on a sphere of radius sqrt(n).  Dividing a normal vector by its
length would lose the length, 6 % of every coordinate where n = 128; here normals are mapped to the sphere one to one
instead.  Of a point on a sphere in m dimensions, of radius 1, each coordinate t has (t + 1) / 2 ~ Beta((m - 1) / 2,
(m - 1) / 2), and the others are uniform on the sphere of radius sqrt(1 - t^2) in m - 1 dimensions [2]_: coordinate by
coordinate, quantiles of the normal become those of t.  Early ones hardly change.

References
----------
.. [1] Constantine, Dow and Wang, *Active subspace methods in theory and practice*, SIAM J. Sci. Comput. 2014.
.. [2] Fang, Kotz and Ng, *Symmetric multivariate and related distributions*, 1990, chapter 3 (the uniform on a sphere).
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from scipy.special import betaincinv, ndtr
from torch import Tensor

from neuropyro.data.phantom_recipe import COVARIATES
from neuropyro.data.phantoms import BrainPhantoms

__all__ = ["PhantomCodes", "normals_to_sphere", "sensitivities"]

BATCH = 100


@dataclass(frozen=True)
class PhantomCodes:
    """Codes of the slices of a stream, called with indices as the stream is.

    Attributes
    ----------
    phantoms
        The stream.
    axes
        Orthonormal directions in the factors, (factors, n): the acting covariates first, in the order of
        :data:`~neuropyro.data.phantom_recipe.COVARIATES`, then those of largest sensitivity.
    sensitivity
        Expected squared change of the image by a unit along each axis, (n,), at most the images' own variance.

    Examples
    --------
    >>> codes = PhantomCodes.of(BrainPhantoms(resolution=16), 32, images=40)
    >>> z = codes([0, 1, 2])
    >>> z.shape, z.square().mean(dim=1)
    (torch.Size([3, 32]), tensor([1.0000, 1.0000, 1.0000]))
    """

    phantoms: BrainPhantoms
    axes: Tensor
    sensitivity: Tensor

    @classmethod
    def of(cls, phantoms: BrainPhantoms, count: int, images: int = 1000) -> "PhantomCodes":
        """Find ``count`` axes from the derivatives of so many ``images``, which takes about 10 ms an image.

        Raises
        ------
        ValueError
            Where there are not more axes than acting covariates, or more than factors.
        """
        gram, variance = sensitivities(phantoms, images)
        acting = [i for i in range(len(COVARIATES)) if gram[i, i] > 0]
        if not len(acting) < count <= len(gram):
            raise ValueError(f"count must be above {len(acting)}, the number of covariates, and at most {len(gram)}")
        rest = [i for i in range(len(gram)) if i not in acting]
        _, vectors = torch.linalg.eigh(gram[rest][:, rest])
        axes = gram.new_zeros(len(gram), count)
        axes[acting, range(len(acting))] = 1.0
        axes[rest, len(acting) :] = vectors.flip(1)[:, : count - len(acting)]
        return cls(phantoms, axes, (axes * (gram @ axes)).sum(0).clamp(max=variance))

    def save(self, path: Path) -> None:
        """Write the axes to a safetensors file, for codes are the same only along the same ones."""
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_bytes(save({"axes": self.axes.contiguous(), "sensitivity": self.sensitivity}))
        partial.replace(path)

    @classmethod
    def load(cls, phantoms: BrainPhantoms, path: Path) -> "PhantomCodes":
        """Codes of ``phantoms`` along the axes of a file that :meth:`save` wrote."""
        return cls(phantoms, **load_file(path))

    @property
    def scales(self) -> Tensor:
        """Root of the sensitivity, (n,)."""
        return self.sensitivity.sqrt()

    def __call__(self, indices: Tensor | range | list[int]) -> Tensor:
        """Codes (B, n) of slices, float32, each of length sqrt(n)."""
        normals = self.phantoms.factors(indices).double() @ self.axes
        return torch.from_numpy(normals_to_sphere(normals.numpy())).float()


def sensitivities(phantoms: BrainPhantoms, images: int) -> tuple[Tensor, float]:
    """E[J'J] over the first ``images`` of a stream, (factors, factors), and the total variance of these images.

    With y white noise over the pixels, E[J'y y'J] = E[J'J]: one backward pass gives one vector J'y for each image.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> pixels = lambda factors: factors * torch.tensor([3.0, 0.0])  # the first factor thrice, the second not at all
    >>> stream = SimpleNamespace(factors=lambda indices: torch.ones(len(indices), 2), of_factors=pixels)
    >>> sensitivities(stream, images=10_000)[0].round()
    tensor([[9., 0.],
            [0., 0.]], dtype=torch.float64)
    """
    rng, gram, seen = torch.Generator().manual_seed(0), torch.zeros(()).double(), []
    for first in range(0, images, BATCH):
        factors = phantoms.factors(range(first, min(first + BATCH, images))).requires_grad_()
        made = phantoms.of_factors(factors)
        noise = torch.randn(made.shape, generator=rng)
        (pulled,) = torch.autograd.grad((made * noise).sum(), factors)
        gram = gram + pulled.double().T @ pulled.double()
        seen.append(made.detach().flatten(1))
    return gram / images, float(torch.cat(seen).var(dim=0).sum())


def normals_to_sphere(normals: np.ndarray) -> np.ndarray:
    """Map independent standard normals (B, n) one to one to the sphere of radius sqrt(n), uniformly.

    The last is mapped to a sign, all that is left to know: of n normals n - 1 are kept, and a half-space of the n-th.

    Examples
    --------
    >>> points = normals_to_sphere(np.array([[0.3, -1.2, 0.5], [2.0, 0.1, -0.4]]))
    >>> (points**2).sum(1).round(6).tolist(), np.sign(points[:, -1]).tolist()
    ([3.0, 3.0], [1.0, -1.0])
    """
    count = normals.shape[1]
    points, left = np.empty_like(normals), np.ones(len(normals))
    for i in range(count - 1):
        shape = (count - i - 1) / 2
        t = 2 * betaincinv(shape, shape, ndtr(normals[:, i])) - 1
        points[:, i] = t * np.sqrt(left)
        left *= 1 - t * t
    points[:, -1] = np.copysign(np.sqrt(left), normals[:, -1])
    points *= np.sqrt(count)
    return points
