"""From a cohort to posterior draws of all the noise behind it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.data import Cohort
from neuropyro.data.counter_random import CounterRandom
from neuropyro.models.anatomy_abduction import Abduction, Seen
from neuropyro.models.anatomy_counterfactual import Exogenous
from neuropyro.models.anatomy_graph import Graph
from neuropyro.models.anatomy_image_abduction import Runner, infer_images
from neuropyro.models.anatomy_images import SliceImage
from neuropyro.models.anatomy_importance import Posterior, infer, mode_of
from neuropyro.models.anatomy_mechanism import ScalarMechanism
from neuropyro.models.anatomy_observation import Observation
from neuropyro.models.anatomy_program import site_name
from neuropyro.models.anatomy_scanners import Scanners

__all__ = ["abduct", "stage_at_mode"]


@torch.no_grad()
def abduct(
    abduction: Abduction,
    pictures: tuple[SliceImage, Scanners] | None,
    cohort: Cohort,
    draws: int,
    seed: int,
    fit: Runner | None,
) -> Exogenous:
    """Draw the noise behind a cohort.

    Parameters
    ----------
    pictures
        Mechanisms of slices and scans; None leaves scans alone.
    fit
        Infers unseen numbers, and latents of images, by some guide; None: by importance, and at the mode.

    Raises
    ------
    ValueError
        Where there are no draws, or the scanner of a scan is not known.

    Examples
    --------
    >>> from neuropyro.models.anatomy_mechanisms import Gaussian, Linear
    >>> from neuropyro.models.anatomy_observation import Measures
    >>> graph = Graph({"dps": Gaussian(0.0, 1.0, "subject"), "adas": Gaussian(Linear(10.0, dps=4.0), 3.0)})
    >>> abduction = Abduction(graph, Measures({"adas": "visit"}, 0, None, ()))
    >>> cohort = Cohort([[15.0]], [70.0], ["a"], feature_names=["adas"])
    >>> known = abduct(abduction, None, cohort, draws=5, seed=0, fit=None)
    >>> adas = 10 + 4 * known.values["dps"] + 3 * known.noise["u_adas"]  # of each draw
    >>> adas.round(decimals=6).unique().tolist()
    [15.0]
    """
    if draws < 1:
        raise ValueError(f"abduction: {draws} draws; give 1 or more")
    seen = abduction.prepare(cohort, dtype=torch.float64)
    scanned = torch.zeros(0, 2, dtype=torch.int64) if pictures is None else _scans_of(seen.observation, pictures[1])
    posterior = _fitted(abduction, cohort, seen, draws, fit) if fit is not None and seen.latents else None
    with torch.enable_grad():
        posterior = infer(abduction, seen, draws, seed) if posterior is None else posterior
    noise, values = _complete(abduction.graph, seen.observation, posterior, draws, seed)
    images = None
    if pictures is not None and len(scanned):
        assert seen.observation.scans is not None
        who, visit = scanned.unbind(1)
        site = pictures[1].checked(seen.observation.values["site"][who, 0])
        with torch.enable_grad():
            images = infer_images(*pictures, seen.observation.scans[who, visit], site, draws, seed, fit)
    return Exogenous(seen.observation, noise, values, images, scanned, posterior.effective, seed)


def stage_at_mode(abduction: Abduction, cohort: Cohort) -> NDArray[np.float64]:
    """Score at each subject's first visit, at the mode of what is unseen, ``(subjects,)``.

    Examples
    --------
    >>> from neuropyro.models.anatomy_mechanisms import Gaussian, Linear
    >>> from neuropyro.models.anatomy_observation import Measures
    >>> graph = Graph({"dps": Gaussian(0.0, 1.0, "subject"), "adas": Gaussian(Linear(10.0, dps=4.0), 3.0)})
    >>> abduction = Abduction(graph, Measures({"adas": "visit"}, 0, None, ()))
    >>> cohort = Cohort([[15.0]], [70.0], ["a"], feature_names=["adas"])
    >>> stage_at_mode(abduction, cohort).round(6).tolist()  # 4 (15 - 10) / (4^2 + 3^2)
    [0.8]
    """
    seen = abduction.prepare(cohort, dtype=torch.float64)
    _, values = _complete(abduction.graph, seen.observation, mode_of(abduction, seen), draws=1, seed=0)
    return np.asarray(values["dps"][0, :, 0].cpu())


def _fitted(abduction: Abduction, cohort: Cohort, seen: Seen, draws: int, fit: Runner) -> Posterior:
    with torch.enable_grad():
        found = fit(abduction, cohort).posterior(draws)
    noise = {
        site_name(name, ""): torch.as_tensor(found[site_name(name, "")]).to(seen.observation.years)
        for name in seen.latents
    }
    return Posterior(noise, {}, torch.ones(len(seen.observation)))


def _complete(
    graph: Graph, observation: Observation, posterior: Posterior, draws: int, seed: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Noise by site and values by node, of all nodes of numbers: seen nodes give theirs, the rest is new.

    Returns
    -------
    ``(draws, subjects, 1 or visits)`` each.
    """
    n, visits = observation.years.shape
    values: dict[str, Tensor] = {"years": observation.years.expand(draws, n, visits)}
    noise: dict[str, Tensor] = {}
    source = CounterRandom(seed)
    for name in graph.order:
        mechanism = graph.mechanisms[name]
        if not isinstance(mechanism, ScalarMechanism):
            continue
        shape = (draws, n, visits if graph.levels[name] == "visit" else 1)
        parents = {p: values[p] for p in mechanism.parents}
        own: dict[str, Tensor] = {}
        for part, law in mechanism.noise.items():
            site = site_name(name, part)
            draw = source.normal if law.kind == "normal" else source.uniform
            fresh = torch.from_numpy(draw(f"fresh {site}", np.arange(n), (draws, shape[-1]))).to(observation.years)
            own[part] = posterior.noise.get(site, fresh.movedim(1, 0))
        value = mechanism.value(own, parents).to(observation.years).expand(shape)
        known, seen = _seen(name, observation, posterior, shape)
        if known is not None:
            value = torch.where(known, seen, value)
            for part in own:
                own[part] = torch.where(known, mechanism.abduct(value, parents, own[part]), own[part])
        values[name] = value
        noise |= {site_name(name, part): u.expand(shape) for part, u in own.items()}
    return noise, values


def _seen(
    name: str, observation: Observation, posterior: Posterior, shape: tuple[int, ...]
) -> tuple[Tensor | None, Tensor]:
    """Where a node is known, or supposed, and its value there."""
    if name in posterior.discrete:
        value = posterior.discrete[name].expand(shape)
        return torch.ones_like(value, dtype=torch.bool), value
    if name not in observation.values:
        return None, observation.years
    return observation.known[name].expand(shape), observation.values[name].expand(shape)


def _scans_of(observation: Observation, scanners: Scanners) -> Tensor:
    """Return whose the scans are: ``(scans, 2)`` subject and visit.

    Raises
    ------
    ValueError
        Where the scanner of a scan is not known.
    """
    if observation.scans is None:
        return torch.zeros(0, 2, dtype=torch.int64)
    scanned = (~observation.scans.flatten(2).isnan().any(-1)).nonzero()
    known = observation.known.get("site")
    for i in sorted(set(scanned[:, 0].tolist())):
        if known is None or not bool(known[i]):
            raise ValueError(
                f"site: the scanner of subject {observation.subject[i]} is not known; give a covariate `site`, one of "
                f"{', '.join(scanners.names)}"
            )
    return scanned
