"""How good a generator is: figures of its samples against real images.

All of them compare sets of images as points: their coordinates on the principal components of a reference set
(:class:`PrincipalComponents`), where Euclidean distances are those of the images themselves, less what most of the
components do not see.

References
----------
.. [1] Lopez-Paz and Oquab, *Revisiting classifier two-sample tests*, ICLR 2017 (the leave-one-out 1-NN accuracy).
.. [2] Kynkäänniemi et al., *Improved precision and recall metric for assessing generative models*, NeurIPS 2019.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from neuropyro.generators.latents import ImageGenerator, project

__all__ = [
    "Fidelity",
    "PrincipalComponents",
    "inversion_psnr",
    "measure_fidelity",
    "nearest_distances",
    "precision_recall",
    "two_sample_accuracy",
]


@dataclass(frozen=True)
class PrincipalComponents:
    """Coordinates of images on the principal components of a set.

    Attributes
    ----------
    mean
        (C H W,)
    axes
        Orthonormal, (C H W, components), those of largest variance first.

    Examples
    --------
    >>> images = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1) * torch.tensor([3.0, 4.0])
    >>> PrincipalComponents.of(images, components=1)(images).abs().round(decimals=3).flatten()  # all vary along (3, 4)
    tensor([5., 0., 5.])
    """

    mean: Tensor
    axes: Tensor

    @classmethod
    def of(cls, images: Tensor, components: int = 64) -> "PrincipalComponents":
        """Find those of ``images`` (N, C, H, W), N above ``components``."""
        points = images.flatten(1).double()
        mean = points.mean(dim=0)
        _, _, axes = torch.linalg.svd(points - mean, full_matrices=False)
        return cls(mean.float(), axes[:components].T.float().contiguous())

    def __call__(self, images: Tensor) -> Tensor:
        """Return points (N, components) of ``images`` (N, C, H, W)."""
        return (images.flatten(1) - self.mean) @ self.axes


@dataclass(frozen=True)
class Fidelity:
    """Figures of a generator's samples, beside those that real images of one split reach against another's.

    Attributes
    ----------
    two_sample_accuracy
        Of telling samples from test images by the nearest neighbour; .5 is perfect, 1 is told apart at once.
    precision
        Share of samples within the manifold of test images.
    recall
        Share of test images within the manifold of samples.
    distance_to_train, distance_to_test
        Median over samples of the distance to the nearest of as many train and test images.  Alike unless the
        generator remembers.
    train_accuracy, train_precision, train_recall
        The same figures of train images in the place of samples: what is within reach.

    Examples
    --------
    >>> train, test = torch.randn(2, 20, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    >>> found = measure_fidelity(train, train, test, components=2)  # samples as good as train images: these themselves
    >>> found.precision == found.train_precision, found.recall == found.train_recall, found.distance_to_train
    (True, True, 0.0)
    """

    two_sample_accuracy: float
    precision: float
    recall: float
    distance_to_train: float
    distance_to_test: float
    train_accuracy: float
    train_precision: float
    train_recall: float


def measure_fidelity(samples: Tensor, train: Tensor, test: Tensor, components: int = 64, k: int = 3) -> Fidelity:
    """Measure samples against held-out images.

    Parameters
    ----------
    samples, train, test
        Images (N, C, H, W), as many of each, at least 1,000 for figures worth quoting.  The principal components are
        those of ``train``.
    components, k
        Number of principal components, and of neighbours that span a manifold.

    Returns
    -------
    Fidelity

    Raises
    ------
    ValueError
        The sets differ in size, or are not larger than ``components`` and ``k``.

    Examples
    --------
    >>> train, test = torch.randn(2, 20, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    >>> found = measure_fidelity(test + 100, train, test, components=2)  # nothing like them
    >>> found.two_sample_accuracy, found.precision, found.recall
    (1.0, 0.0, 0.0)
    """
    if not len(samples) == len(train) == len(test) > max(components, k):
        raise ValueError(f"needs as many samples, train and test images, above {max(components, k)} of each")
    frame = PrincipalComponents.of(train, components)
    s, a, b = frame(samples), frame(train), frame(test)
    return Fidelity(
        two_sample_accuracy(s, b),
        *precision_recall(b, s, k),
        float(nearest_distances(s, a).median()),
        float(nearest_distances(s, b).median()),
        two_sample_accuracy(a, b),
        *precision_recall(b, a, k),
    )


def two_sample_accuracy(first: Tensor, second: Tensor) -> float:
    """Leave-one-out accuracy of the nearest neighbour at telling two sets of points (N, D) apart [1]_.

    Examples
    --------
    >>> patients, controls = torch.tensor([[0.0], [1.0]]), torch.tensor([[8.0], [9.0]])
    >>> two_sample_accuracy(patients, controls), two_sample_accuracy(patients, patients + 0.1)
    (1.0, 0.0)
    """
    points = torch.cat([first, second])
    label = torch.arange(len(points)) < len(first)
    distances = torch.cdist(points, points).fill_diagonal_(torch.inf)
    return float((label[distances.argmin(dim=1).cpu()] == label).double().mean())


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Share of ``fake`` (M, D) near ``real`` (N, D), and the other way round [2]_.

    A point is near a set where it lies within the distance of some member to its k-th nearest neighbour in the set.

    Examples
    --------
    >>> real = torch.tensor([[0.0], [1.0], [8.0], [9.0]])
    >>> precision_recall(real, fake=real[:2], k=1)  # all that is made is real, but half of what is real is not made
    (1.0, 0.5)
    """
    return _covered(fake, real, k), _covered(real, fake, k)


def nearest_distances(points: Tensor, reference: Tensor) -> Tensor:
    """Distance (N,) of each of ``points`` (N, D) to the nearest of ``reference`` (M, D).

    Examples
    --------
    >>> nearest_distances(torch.tensor([[1.0], [8.0]]), reference=torch.tensor([[0.0], [10.0]]))
    tensor([1., 2.])
    """
    return torch.cdist(points, reference).amin(dim=1)


def inversion_psnr(generator: ImageGenerator, images: Tensor, steps: int = 500) -> Tensor:
    """How well the generator can make given images: PSNR of the best W+ that descent finds.

    Parameters
    ----------
    generator
        Best frozen.
    images
        (B, C, H, W) in [-1, 1].
    steps
        Of :func:`neuropyro.generators.latents.project`, noise inputs off.

    Returns
    -------
    Tensor
        (B,) dB, for a range of 2.

    Examples
    --------
    >>> from neuropyro.generators import Generator, GeneratorConfig, latent_statistics
    >>> G = Generator(GeneratorConfig(8, z_dim=4, w_dim=4, channels=(4, 4))).freeze()
    >>> start = G.synthesis(latent_statistics(G).mean[None], noise_mode="none")
    >>> inversion_psnr(G, start + 0.2, steps=0).round(decimals=2)  # 20 log10(2 / .2), from where descent starts
    tensor([20.])
    >>> bool(inversion_psnr(G, start + 0.2, steps=3) > 20)
    True
    """
    return 20 * torch.log10(2 / project(generator, images, "wplus", steps, noise_mode="none").rmse)


def _covered(points: Tensor, reference: Tensor, k: int) -> float:
    # The nearest of a member's distances within its own set is that to itself.
    radius = torch.cdist(reference, reference).kthvalue(k + 1, dim=1).values
    return float((torch.cdist(points, reference) <= radius).any(dim=1).double().mean())
