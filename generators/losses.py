"""What a generator and a discriminator are trained to make small.

Logits D(x) are large where an image looks real.  All losses are means over the batch.

References
----------
.. [1] Goodfellow et al., *Generative adversarial nets*, NeurIPS 2014 (the non-saturating loss, section 3).
.. [2] Mescheder, Geiger and Nowozin, *Which training methods for GANs do actually converge?*, ICML 2018 (R1, eq. 9).
.. [3] Karras et al., *Analyzing and improving the image quality of StyleGAN*, CVPR 2020 (path lengths, section 3.2;
   lazy regularisation, section 3.1).
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

__all__ = [
    "discriminator_loss",
    "generator_loss",
    "path_length_penalty",
    "path_lengths",
    "r1_penalty",
]


def generator_loss(fake: Tensor) -> Tensor:
    """Non-saturating loss of the generator, mean of -log sigmoid(D(G(z))) [1]_.

    Parameters
    ----------
    fake
        Logits of generated images, (B, 1).

    Returns
    -------
    Tensor
        Scalar, nats.

    Examples
    --------
    >>> generator_loss(torch.zeros(4, 1))  # log 2: the discriminator cannot tell
    tensor(0.6931)
    """
    return softplus(-fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Logistic loss of the discriminator, mean of -log sigmoid(D(x)) and of -log(1 - sigmoid(D(G(z)))), summed [1]_.

    Parameters
    ----------
    real, fake
        Logits of real and of generated images, (B, 1).

    Returns
    -------
    Tensor
        Scalar, nats.

    Examples
    --------
    >>> discriminator_loss(torch.zeros(4, 1), torch.zeros(4, 1))  # 2 log 2: it cannot tell
    tensor(1.3863)
    """
    return softplus(-real).mean() + softplus(fake).mean()


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Mean squared norm of the discriminator's gradient at real images, differentiable [2]_.

    Parameters
    ----------
    logits
        (B, 1), computed from ``images``, each from its own.
    images
        (B, C, H, W), requiring gradients.

    Returns
    -------
    Tensor
        Scalar, to be weighted by gamma / 2.

    Examples
    --------
    >>> images = torch.randn(5, 1, 2, 2, requires_grad=True)
    >>> r1_penalty(3 * images.sum(dim=(1, 2, 3)), images).item()  # a gradient of 3 in 4 pixels
    36.0
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def path_lengths(images: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """How far a random change of the image moves w: norm of J'y, y white noise over the pixels [3]_.

    Parameters
    ----------
    images
        Generated images, (B, C, H, W).
    w
        Their latents, (B, num_ws, w_dim), from which ``images`` were computed.
    noise
        Standard normal, of the images' shape.

    Returns
    -------
    Tensor
        (B,), root of the mean over layers of the squared norm; differentiable.

    Examples
    --------
    >>> w = torch.ones(1, 1, 1, requires_grad=True)
    >>> path_lengths(3 * w[..., None], w, noise=torch.ones(1, 1, 1, 1)).tolist()  # one pixel that is 3 w
    [3.0]
    """
    scaled = noise / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * scaled).sum(), w, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


def path_length_penalty(lengths: Tensor, mean: Tensor, decay: float = 0.01) -> tuple[Tensor, Tensor]:
    """Mean squared deviation of path lengths from their running mean [3]_.

    Parameters
    ----------
    lengths
        (B,).
    mean
        Running mean so far, a scalar.
    decay
        How far the running mean moves towards that of ``lengths``.

    Returns
    -------
    penalty, mean
        Scalars; no gradient runs through the new mean.

    Examples
    --------
    >>> path_length_penalty(torch.tensor([1.0, 3.0]), mean=torch.tensor(2.0))
    (tensor(1.), tensor(2.))
    """
    moved = mean.lerp(lengths.detach().mean(), decay)
    return (lengths - moved).square().mean(), moved
