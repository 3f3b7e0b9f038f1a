r"""BRGM: what was the clean image, and how sure can we be, given a corrupted one, a generator and the corruption.

**The story.**  Nature draws a latent w, from which the generator G makes an image; what no w can make is a residual
image r.  A scanner sees the clean image G(w) + r through a known corruption A (fewer pixels, holes, missing k-space)
and adds noise.

**The maths.**  For each image of a batch, on its own:

.. math::

   w &\sim \mathrm{Normal}(\mu, \Sigma) \quad \text{(or } z \sim \mathrm{Normal}(0, I),\; w = \mathrm{mapping}(z)) \\
   r &\sim \mathrm{Normal}(0, \tau^2 S), \qquad \log \tau, \log \sigma \sim \mathrm{Normal} \\
   y &\sim \mathrm{Normal}(A(G(w) + r),\; \sigma^2).

mu and Sigma are mean and covariance of w over the generator's own z; under W+ every layer has a w of its own, layers
being correlated (:mod:`neuropyro.models.reconstruction_latents`).  S is in the generator's card.  r is integrated out
(:mod:`neuropyro.models.reconstruction_spread`), which needs a linear A; without a card, or with another A, there is no
r.  Measurements that a mask hides do not count.

Two factors may be added that are no densities of data, and that calibration says nothing of: *colinearity*,
:math:`\exp(-\lambda_c \sum_{i \ne j} |1 - \cos(w_i, w_j)|)` over ordered pairs of layers; and *features*, a Normal on
perceptual features of y about those of A(G(w)), which counts the data a second time: with it the posterior is a
generalised one.

Sites, in a plate ``image``: ``w (B, num_ws, w_dim)``, or ``(B, 1, w_dim)`` where one w is shared by all layers, or
``z (B, z_dim)``; ``sigma (B,)`` where it is learned, in the measurements' unit; ``residual_scale (B,)``, tau, where
there is a residual; the data ``y (B, ...)``, complex ones as pairs of real numbers; factors ``colinearity (B,)`` and
``features (B,)``.

References
----------
Marinescu, Moyer & Golland, "Bayesian image reconstruction using deep generative models", arXiv 2012.04567.  The
residual image, the full covariance and the correlation of layers are ours.
"""

from __future__ import annotations

import copy
import math
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from numpy.typing import NDArray
from pyro import poutine
from torch import Tensor

from neuropyro.generators.residuals import ResidualSpread
from neuropyro.models.corruption_deepinv import as_corruption
from neuropyro.models.corruption_operator import CorruptionError
from neuropyro.models.priors import Pair, log_normal
from neuropyro.models.reconstruction_data import (
    Measurements,
    check_measurements,
    in_reals,
    in_reals_mask,
    placed_measurements,
)
from neuropyro.models.reconstruction_latents import colinearity
from neuropyro.models.reconstruction_results import Drawn, OfImages
from neuropyro.models.reconstruction_source import ImageSource, Prior
from neuropyro.models.reconstruction_spread import MeasuredNormal, MeasurementSpread, spread_of
from neuropyro.models.reconstruction_start import start_values
from neuropyro.models.reconstruction_storage import digest_of_corruption, digest_of_network

__all__ = ["LatentReconstruction"]

PIXEL_WEIGHT, FEATURE_WEIGHT = 1e-3, 1e7  # of the reference's mean squares, on 0..255
SITES, FACTORS = ("w", "z", "sigma", "residual_scale", "y"), ("colinearity", "features")
LARGE_FACTOR = 16  # above it the reference's colinearity counts tenfold


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
    layer_correlation
        Correlation of the latents of two layers under the W+ prior.
    colinearity
        lambda_c.
    sigma_prior, residual_prior
        LogNormal (location, scale) of sigma and of tau.  tau is expected near 1.4: a card's residuals are of whole
        images, inverted without a prior, which fits them better than a latent found from few measurements can.  Its
        prior is narrow: a mean-field guide would buy itself room by a larger residual, and its intervals be too wide.
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

    default_guide: ClassVar[str] = "normal"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "w": ("image", "layer", "latent"),
        "z": ("image", "latent"),
        "sigma": ("image",),
        "residual_scale": ("image",),
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
        residual: ResidualSpread | Literal["card"] | None = "card",
        layer_correlation: float = 0.5,
        colinearity: float = 0.0,
        sigma_prior: Pair = (-3.5, 0.7),
        residual_prior: Pair = (0.35, 0.01),
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
        self.preset = preset
        self.sigma = self.corruption.noise if sigma is None else sigma
        if self.sigma is not None and not (math.isfinite(self.sigma) and self.sigma > 0):
            raise ValueError(f"reconstruction: sigma must be above 0, got {self.sigma}; without noise give a small one")
        if not feature_sigma > 0 or not colinearity >= 0:
            raise ValueError("reconstruction: feature_sigma must be above 0, and colinearity 0 or more")
        if min(starts, candidates) < 1 or search_steps < 0:
            raise ValueError("reconstruction: starts and candidates must be 1 or more, search_steps 0 or more")
        self.feature_sigma = feature_sigma
        self.residual = None if preset else self._find_residual(residual)
        self.layer_correlation = 0.0 if preset else layer_correlation
        self.colinearity = self._reference_colinearity() if preset else colinearity
        self.sigma_prior, self.residual_prior = sigma_prior, residual_prior
        self.noise_mode, self.labels = noise_mode, labels
        self.starts, self.search_steps, self.candidates = starts, search_steps, candidates
        self._sources: dict[Any, ImageSource] = {}
        self._spreads: dict[Any, MeasurementSpread] = {}
        self.prepare_source(torch.device("cpu"), torch.float32)

    def _find_residual(self, residual: ResidualSpread | str | None) -> ResidualSpread | None:
        if isinstance(residual, str):
            if residual != "card":
                raise ValueError(f"reconstruction: the residual is a ResidualSpread, 'card' or None, got {residual!r}")
            residual = ResidualSpread.from_card(getattr(self.generator, "card", None))
        return residual if self.corruption.is_linear else None

    def _reference_colinearity(self) -> float:
        large = any(getattr(part, "factor", 1) > LARGE_FACTOR for part in self.corruption.modules())
        return 1.0 if large else 0.1

    def with_corruption(self, corruption: Any) -> Self:
        """Return the same model of another corruption; what is known of the generator is shared."""
        other = copy.copy(self)
        other.corruption = as_corruption(corruption)
        other.sigma = self.sigma if other.corruption.noise is None else other.corruption.noise
        other.residual = self.residual if other.corruption.is_linear else None
        other.colinearity = other._reference_colinearity() if self.preset else self.colinearity
        other._spreads = {}
        return other

    def prepare_source(self, device: torch.device, dtype: torch.dtype) -> ImageSource:
        """Return the frozen generator and the prior on a device; made once."""
        if (device, dtype) not in self._sources:
            settings = (self.generator, self.prior, self.layer_correlation, self.noise_mode, self.labels, device, dtype)
            self._sources[device, dtype] = ImageSource.placed(*settings, isotropic=self.preset is not None)
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
            values = y.as_given(y.values)
            if values.device == torch.device(device or values.device) and y.values.dtype == (dtype or y.values.dtype):
                return y
            y = values
        y = placed_measurements(y, device, dtype)
        source = self.prepare_source(y.device, y.real.dtype)
        observed = self.corruption.observed(y)
        check_measurements(y, observed, self.corruption, source)
        seen = in_reals_mask(observed, y)
        values = torch.where(seen, in_reals(y), 0.0)
        residual = self._placed_residual(y)
        spread = self._spread(y, seen, residual)
        measured = Measurements(values, seen, y.is_complex(), source, spread, residual)
        if self.features is None:
            return measured
        return Measurements(**(vars(measured) | {"features": self._features(measured.as_given(values))}))

    def _placed_residual(self, y: Tensor) -> ResidualSpread | None:
        if self.residual is None:
            return None
        return ResidualSpread(*(t.to(y.device, y.real.dtype) for t in (self.residual.sd, self.residual.power)))

    def _spread(self, y: Tensor, seen: Tensor, residual: ResidualSpread | None) -> MeasurementSpread:
        """Diagonalise once for measurements of one shape, where all images share the corruption."""
        place = (y.device, y.dtype)
        for key in ((*place, y.shape[1:]), (*place, y.shape)):
            if key in self._spreads:
                return self._spreads[key]
        spread = spread_of(self.corruption, residual, seen.flatten(1), y)
        self._spreads[(*place, y.shape[1:] if len(spread.places) == 1 else y.shape)] = spread
        return spread

    def _features(self, y: Tensor) -> Tensor:
        """Perceptual features (*, B, F) of measurements (*, B, C, h, w), on their device."""
        if y.is_complex() or y.ndim < 4:
            raise CorruptionError("reconstruction: features are of images; give none for k-space")
        if isinstance(self.features, torch.nn.Module):
            self.features.to(y.device, y.dtype)
        found: Tensor = self.features(y.reshape(-1, *y.shape[-3:]))
        return found.reshape(*y.shape[:-3], *found.shape[1:])

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
            expected = self.corruption.A(measured.source.images(w))
            law = MeasuredNormal(in_reals(expected), measured.spread, sigma, scale, measured.event)
            pyro.sample("y", law, obs=measured.values)
            if measured.features is not None:
                pyro.factor("features", self._feature_density(expected, measured))

    def _sample_sigma(self, measured: Measurements) -> Tensor:
        if self.sigma is not None or self.preset:
            return self.given_sigma(measured.values)
        learned: Tensor = pyro.sample("sigma", log_normal(self.sigma_prior, measured.values))
        return learned

    def given_sigma(self, like: Tensor) -> Tensor:
        """Sigma (B,) for measurements like these; the prior's median where it is learned."""
        if self.preset:
            return like.new_full((len(like),), math.sqrt(like[0].numel() / (2 * PIXEL_WEIGHT)) * 2 / 255)
        median = math.exp(self.sigma_prior[0])
        return like.new_full((len(like),), median if self.sigma is None else self.sigma)

    def _feature_density(self, expected: Tensor, measured: Measurements) -> Tensor:
        assert measured.features is not None
        expected = torch.where(measured.observed, expected, 0.0)
        sd = math.sqrt(measured.features.shape[-1] / (2 * FEATURE_WEIGHT)) if self.preset else self.feature_sigma
        density: Tensor = dist.Normal(self._features(expected), sd).log_prob(measured.features).sum(-1)
        return density

    def init_values(self, y: Measurements | Tensor, seed: int = 0) -> dict[str, Tensor]:
        """Return starting values: the best of some draws from the prior, improved; the mean of w for the preset."""
        measured = self.prepare(y)
        if self.preset:
            law = measured.source.law
            assert law is not None
            return {"w": law.affine.loc.expand(len(measured), *law.event_shape).contiguous()}
        return start_values(self, measured, seed)

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
        The sites' values, ``clean`` (count, C, H, W), and the measurements ``y`` as the corruption makes them.  The
        factors, being no densities of data, are left out.
        """
        source = self.prepare_source(torch.device("cpu"), torch.float32)
        design = self.prepare(torch.zeros_like(self.corruption.A(torch.zeros(count, *source.image_shape))))
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(seed)
            trace = poutine.trace(poutine.uncondition(poutine.block(self, hide=list(FACTORS)))).get_trace(design)
            values = {site: trace.nodes[site]["value"] for site in SITES if site in trace.nodes}
            sigma = values.get("sigma", self.given_sigma(design.values))
            scale = values.get("residual_scale", torch.ones_like(sigma))
            measured = design.with_values(values["y"])
            at = Drawn(self.corruption, measured, values[source.site], sigma, scale)
            clean = at.clean(at.generated(), torch.Generator().manual_seed(seed))
        return values | {"clean": clean, "y": measured.as_given(measured.values)}

    def observe(self, measured: Measurements, values: dict[str, NDArray[Any]]) -> Measurements:
        """Return prepared data with other measurements."""
        other = measured.with_values(torch.tensor(np.asarray(values["y"])))
        if self.features is None:
            return other
        return Measurements(**(vars(other) | {"features": self._features(other.as_given(other.values))}))

    def observed_values(self, measured: Measurements) -> dict[str, NDArray[Any]]:
        """Return the measurements (B, ...), NaN where they do not count."""
        return {"y": torch.where(measured.observed, measured.values, math.nan).cpu().numpy()}

    def __repr__(self) -> str:
        """Name what the posterior hangs on, the same in every process."""
        card = getattr(self.generator, "card", None)
        numbers = (self.prior, self.sigma, self.feature_sigma, self.layer_correlation, self.colinearity)
        priors = (self.sigma_prior, self.residual_prior, self.noise_mode, self.preset)
        network = getattr(card, "sha256", "") or digest_of_network(self.generator)
        features = None if self.features is None else digest_of_network(self.features)
        what = (network, digest_of_corruption(self.corruption), features)
        return f"LatentReconstruction({what}, {numbers}, {priors})"
