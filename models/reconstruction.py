r"""BRGM: what was the clean image, and how sure can we be, given a corrupted one, a generator and the corruption.

**The story.**  Nature draws a latent w, from which the generator G makes an image; what no w can make is a residual
image r.  A scanner sees the clean image G(w) + r through a known corruption A (fewer pixels, holes, missing k-space)
and adds noise.

**The maths.**  For each image of a batch, on its own:

.. math::

   w &\sim \mathrm{Normal}(\mu, \Sigma) \quad \text{(or } z \sim \mathrm{Normal}(0, I),\; w = \mathrm{mapping}(z)) \\
   r &\sim \mathrm{Normal}(0, \tau^2 S), \qquad \log \tau, \log \sigma \sim \mathrm{Normal} \\
   y &\sim \mathrm{Normal}(A(G(w) + r),\; \sigma^2).

Where a pose is asked for, G(w) is moved by it first (:mod:`neuropyro.models.reconstruction_pose`).  mu and Sigma are
mean and covariance of w over the generator's own z; under W+ every layer has a w of its own, layers being correlated
(:mod:`neuropyro.models.reconstruction_latents`).  S is in the generator's card.  r is integrated out
(:mod:`neuropyro.models.reconstruction_spread`), which needs a linear A; without a card, or with another A, there is no
r.  Measurements that a mask hides do not count.

Two factors may be added that are no densities of data, and that calibration says nothing of: *colinearity*,
:math:`\exp(-\lambda_c \sum_{i \ne j} |1 - \cos(w_i, w_j)|)` over ordered pairs of layers; and *features*, a Normal on
perceptual features of y about those of A(G(w)), which counts the data a second time: with it the posterior is a
generalised one.

Sites, in a plate ``image``: ``w (B, num_ws, w_dim)``, or ``(B, 1, w_dim)`` where all layers share one w, or
``z (B, z_dim)``; ``sigma (B,)`` where it is learned, in the measurements' unit; ``residual_scale (B,)``, tau, where
there is a residual; ``pose (B, 4)`` where it is found too; the data ``y (B, ...)``, complex ones as pairs of real
numbers; factors ``colinearity (B,)`` and ``features (B,)``.

References
----------
Marinescu, Moyer & Golland, "Bayesian image reconstruction using deep generative models", arXiv 2012.04567.  The
residual image, the full covariance and the correlation of layers are ours.
"""

from __future__ import annotations

import copy
import math
from typing import Any, ClassVar, Literal, Self

import pyro
import torch
from numpy.typing import NDArray
from pyro import poutine
from torch import Tensor

from neuropyro.generators.residual_cards import chosen_residual
from neuropyro.generators.residuals import ResidualCovariance
from neuropyro.models.corruption_deepinv import as_corruption
from neuropyro.models.priors import Pair, log_normal
from neuropyro.models.reconstruction_data import Measurements, in_reals, placed_measurements
from neuropyro.models.reconstruction_features import feature_density, feature_vectors
from neuropyro.models.reconstruction_latents import colinearity
from neuropyro.models.reconstruction_pose import PosePrior
from neuropyro.models.reconstruction_reference import reference_colinearity, reference_sigma
from neuropyro.models.reconstruction_results import OfImages
from neuropyro.models.reconstruction_simulation import simulated_images
from neuropyro.models.reconstruction_source import ImageSource, Prior
from neuropyro.models.reconstruction_spread import MeasuredNormal, MeasurementSpread
from neuropyro.models.reconstruction_start import start_values
from neuropyro.models.reconstruction_storage import digests_of_model

__all__ = ["LatentReconstruction"]

TAU_SPREAD = 0.3  # scale of tau's prior


class LatentReconstruction(OfImages):
    """Clean images from corrupted ones: a Pyro program over measurements y.

    Parameters
    ----------
    generator
        Anything with ``z_dim, w_dim, num_ws, img_resolution, img_channels, mapping`` and ``synthesis``.
    corruption
        What happened to the images: a :class:`~neuropyro.models.corruption.Corruption` or a deepinv ``Physics``.
    prior
        ``"wplus"``, ``"w"`` or ``"z"``.
    sigma
        Sd of the noise, in the measurements' unit; the corruption's own if None, and learned where it has none.
    features
        Perceptual features: from images (B, C, h, w) to vectors (B, F), as
        :class:`~neuropyro.generators.DiscriminatorFeatures`; none if None.
    feature_sigma
        Sd of each feature.
    residual
        S; ``"card"`` takes it from the generator's card, where it has one; None is no residual.
    pose
        Prior of where the head lies, found together with the latent; None leaves it where the generator puts it.
    layer_correlation
        Correlation of the latents of two layers under the W+ prior.
    colinearity
        lambda_c.
    sigma_prior, residual_prior
        LogNormal (location, scale) of sigma and of tau.  If None, tau is expected where its S says (``typical_scale``:
        1 if learned from images inverted under this prior), to 30 %, and a MAP fit takes it from there: the best
        latent alone would fit what the residual is to bear.  Mean-field guides buy themselves room by a larger tau.
    noise_mode
        Of the generator's noise inputs: ``"none"``, or ``"const"``, its own fixed buffers.
    labels
        (1 or B, label_dim) of conditional generators.
    starts, search_steps, candidates
        See :func:`~neuropyro.models.reconstruction_start.start_values`.
    preset
        ``"brgm"`` sets everything above but generator, corruption and features as the paper's implementation has it,
        so that minus the log joint density is its objective, up to a constant.

    Raises
    ------
    ValueError
        Where an argument has no meaning.

    Notes
    -----
    Under W+ a learned sigma without a residual may shrink without end in a MAP fit: hundreds of latents can fit few
    pixels.  Give sigma, or a generator whose card has a residual.

    Examples
    --------
    >>> import torch
    >>> from neuropyro.generators import load_generator
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models.corruption import Downsample
    >>> G = load_generator("brains64")
    >>> model = LatentReconstruction(G, Downsample(8, noise=0.02), prior="z", candidates=20, starts=1, search_steps=0)
    >>> truth = G(torch.zeros(1, G.z_dim)).detach()
    >>> y = model.corruption.corrupt(truth, seed=0)
    >>> result = fit(model, y, guide="map", schedule=Schedule(max_steps=2), progress=False)
    >>> result.predictive(draws=2)["clean"].shape
    (2, 1, 1, 64, 64)
    """

    default_guide: ClassVar[str] = "structured"
    scale_sites: ClassVar[tuple[str, ...]] = ("residual_scale",)
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "w": ("image", "layer", "latent"),
        "z": ("image", "latent"),
        "sigma": ("image",),
        "residual_scale": ("image",),
        "pose": ("image", "part"),
    }

    def __init__(
        self,
        generator: Any,
        corruption: Any,
        prior: Prior = "wplus",
        sigma: float | None = None,
        *,
        features: Any = None,
        feature_sigma: float = 0.02,
        residual: ResidualCovariance | Literal["card"] | None = "card",
        pose: PosePrior | None = None,
        layer_correlation: float = 0.5,
        colinearity: float = 0.0,
        sigma_prior: Pair = (-3.5, 0.7),
        residual_prior: Pair | None = None,
        noise_mode: Literal["none", "const"] = "none",
        labels: Tensor | None = None,
        starts: int = 3,
        search_steps: int = 60,
        candidates: int = 2000,
        preset: Literal["brgm"] | None = None,
    ) -> None:
        if preset not in (None, "brgm"):
            raise ValueError(f"reconstruction: there is no preset {preset!r}; there is 'brgm'")
        self.generator, self.corruption, self.features = generator, as_corruption(corruption), features
        self.prior: Prior = "wplus" if preset else prior
        self.preset, self.pose = preset, None if preset else pose
        self.given_sigma, self.given_residual, self.given_colinearity = sigma, residual, colinearity
        if not feature_sigma > 0 or not colinearity >= 0:
            raise ValueError("reconstruction: feature_sigma must be above 0, and colinearity 0 or more")
        if min(starts, candidates) < 1 or search_steps < 0:
            raise ValueError("reconstruction: starts and candidates must be 1 or more, search_steps 0 or more")
        self.feature_sigma, self.layer_correlation = feature_sigma, 0.0 if preset else layer_correlation
        self.sigma_prior, self.given_residual_prior = sigma_prior, residual_prior
        self.population_sites = ("residual_scale",) if residual_prior is None else ()  # those that MAP holds
        self.noise_mode, self.labels = noise_mode, labels
        self.starts, self.search_steps, self.candidates = starts, search_steps, candidates
        self._sources: dict[Any, ImageSource] = {}
        self._follow_corruption()
        self.prepare_source(torch.device("cpu"), torch.float32)

    def _follow_corruption(self) -> None:
        """Set what depends on the corruption."""
        self.sigma = self.corruption.noise if self.given_sigma is None else self.given_sigma
        if self.sigma is not None and not (math.isfinite(self.sigma) and self.sigma > 0):
            raise ValueError(f"reconstruction: sigma must be above 0, got {self.sigma}; without noise give a small one")
        found = chosen_residual(self.given_residual, self.generator)
        self.residual = found if self.corruption.is_linear and not self.preset else None
        typical = 1.0 if self.residual is None else self.residual.typical_scale
        self.residual_prior: Pair = self.given_residual_prior or (math.log(typical), TAU_SPREAD)
        self.colinearity = reference_colinearity(self.corruption) if self.preset else self.given_colinearity
        self._spreads: dict[Any, MeasurementSpread] = {}

    def with_corruption(self, corruption: Any) -> Self:
        """Return the model of another corruption; what is known of the generator is shared."""
        other = copy.copy(self)
        other.corruption = as_corruption(corruption)
        other._follow_corruption()
        return other

    def prepare_source(self, device: torch.device, dtype: torch.dtype) -> ImageSource:
        """Return the frozen generator and the prior on a device; made once."""
        if (device, dtype) not in self._sources:
            settings = (self.generator, self.prior, self.layer_correlation, self.noise_mode, self.labels, device, dtype)
            reference = self.preset is not None
            self._sources[device, dtype] = ImageSource.placed(*settings, isotropic=reference, pose=self.pose)
        return self._sources[device, dtype]

    def prepare(
        self,
        y: Tensor | NDArray[Any] | Measurements,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Measurements:
        """Check measurements and place them, and all that the model needs, on a device.

        Parameters
        ----------
        y
            (B, C, h, w), or whatever the corruption makes of images, complex where it does; values that do not count
            are not looked at.
        device, dtype
            The measurements' own if None; dtype is real.

        Raises
        ------
        CorruptionError
            Where they are no measurements of the generator's images.
        """
        if isinstance(y, Measurements):
            if y.is_on(device, dtype):
                return y
            y = y.as_given(y.values)
        y = placed_measurements(y, device, dtype)
        source = self.prepare_source(y.device, y.real.dtype)
        measured = Measurements.of(y, self.corruption, source, self.residual, self._spreads)
        return measured.with_features(self.features)

    def __call__(self, y: Measurements | Tensor) -> None:
        """Run the generative story, conditioned on the measurements."""
        measured = y if isinstance(y, Measurements) else self.prepare(y)
        like = measured.values
        with pyro.plate("image", len(measured), dim=-1):
            w = measured.source.w_of(measured.source.sample())
            if self.colinearity:
                pyro.factor("colinearity", -self.colinearity * colinearity(w))
            sigma = self._sample_sigma(measured)
            scale = pyro.sample("residual_scale", log_normal(self.residual_prior, like)) if measured.residual else 1.0
            expected = self.corruption.A(measured.source.images(w, measured.source.sample_pose()))
            law = MeasuredNormal(in_reals(expected), measured.spread, sigma, scale, measured.event)
            pyro.sample("y", law, obs=measured.values)
            if measured.features is not None:
                found = feature_vectors(self.features, torch.where(measured.observed, expected, 0.0))
                sd = None if self.preset else self.feature_sigma
                pyro.factor("features", feature_density(found, measured.features, sd))

    def _sample_sigma(self, measured: Measurements) -> Tensor:
        if self.sigma is not None or self.preset:
            return self.known_sigma(measured.values)
        learned: Tensor = pyro.sample("sigma", log_normal(self.sigma_prior, measured.values))
        return learned

    def known_sigma(self, like: Tensor) -> Tensor:
        """Sigma (B,) for measurements like these; the prior's median where it is learned."""
        if self.preset:
            return reference_sigma(like)
        median = math.exp(self.sigma_prior[0])
        return like.new_full((len(like),), median if self.sigma is None else self.sigma)

    def init_values(self, y: Measurements | Tensor, seed: int = 0) -> dict[str, Tensor]:
        """Return starting values: the best of some draws from the prior, improved; the mean of w for the preset."""
        measured = self.prepare(y)
        return measured.source.mean_latents(len(measured)) if self.preset else start_values(self, measured, seed)

    def log_joint(self, values: dict[str, Tensor], y: Measurements | Tensor) -> Tensor:
        """Log joint density of sites' ``values`` (*, B, ...) and the measurements, (*, B), nats."""
        measured = self.prepare(y)
        trace = poutine.trace(poutine.condition(self, values)).get_trace(measured)
        trace.compute_log_prob()
        terms = [site["log_prob"] for site in trace.nodes.values() if site["type"] == "sample" and "log_prob" in site]
        return torch.stack(torch.broadcast_tensors(*(t for t in terms if t.dim()))).sum(0)  # type: ignore[no-untyped-call]

    def simulate(self, count: int, seed: int = 0) -> dict[str, Tensor]:
        """Draw from the prior, running the same program forward.

        Returns
        -------
        The sites' values, ``clean`` (count, C, H, W), and measurements ``y`` as the corruption makes them, no factors.
        """
        return simulated_images(self, count, seed)

    def __repr__(self) -> str:
        """Name what the posterior hangs on, the same in every process."""
        numbers = (self.prior, self.sigma, self.feature_sigma, self.layer_correlation, self.colinearity)
        priors = (self.sigma_prior, self.residual_prior, self.noise_mode, self.preset, self.pose)
        return f"LatentReconstruction({digests_of_model(self)}, {numbers}, {priors})"
