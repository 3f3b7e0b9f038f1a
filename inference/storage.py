"""A fit in a folder: guides' tensors as safetensors, everything else as JSON; nothing in it is executed.

``guides.safetensors`` holds every restart's parameters and losses; ``fit.json`` the model's name and arguments, the
guide's name, the seed, the fingerprint of the data, the verdicts, what the fit took, when it was saved, and, where they
were said, the names of its data's files.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import platform
import resource
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from safetensors.torch import load_file, save

from neuropyro.default_dtype import default_dtype
from neuropyro.guides import FlatGuide, find_latents
from neuropyro.guides.recorded import Recorded
from neuropyro.inference.fit import build_guide
from neuropyro.inference.placement import choose_device, fingerprint, prepare
from neuropyro.inference.result import Fit, Run
from neuropyro.version import __version__

__all__ = ["FitError", "load_fit", "save_fit"]

TENSORS, SETTINGS = "guides.safetensors", "fit.json"
ZOO = "neuropyro.models"


class FitError(ValueError):
    """A saved fit that cannot be used; the message names the file and the remedy.

    Examples
    --------
    >>> try:
    ...     load_fit("nowhere", data=None)
    ... except FitError as error:
    ...     print(error)
    nowhere: no such folder; give one that a fit was saved in
    """


def save_fit(fit: Fit, folder: Path, files: Sequence[str] = ()) -> None:
    """Write ``guides.safetensors`` and ``fit.json`` into ``folder``, which is made.

    ``files`` are names of those that the data are from, for readers of ``fit.json`` alone.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`, and a point in the place of a posterior:

    >>> from neuropyro.guides import make_guide
    >>> from neuropyro.inference import Fit, Run
    >>> y = torch.zeros(9)
    >>> guide = make_guide("map", model, y, {"mean": torch.tensor(5.0)})
    >>> result = Fit(model, y, (Run(guide, np.zeros(1), True, ""),), "map", 0, "")

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_fit(result, Path(folder))
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['fit.json', 'guides.safetensors']
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    for r, run in enumerate(fit.runs):
        tensors[f"{r}.losses"] = torch.as_tensor(run.losses)
        tensors |= {f"{r}.stats.{name}": torch.as_tensor(values) for name, values in run.stats.items()}
        state = run.guide.state_dict()
        tensors |= {f"{r}.guide.{name}": tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    (folder / TENSORS).write_bytes(save(tensors))  # whose file of its own only its owner could read
    settings: dict[str, Any] = {"data": list(files)} if files else {}
    settings |= {
        "when": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": _versions(),
        "model": _describe(fit.model),
        "guide": fit.guide_name,
        "seed": fit.seed,
        "dtype": str(fit.dtype).removeprefix("torch."),
        "fingerprint": fit.fingerprint,
        "converged": fit.converged,
        "verdict": fit.verdict,
        "elbo": fit.elbo,
        "seconds": fit.seconds,
        "peak_memory_bytes": _peak_memory(),
        "runs": [{"converged": run.converged, "verdict": run.verdict, "seconds": run.seconds} for run in fit.runs],
    }
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")


def _versions() -> dict[str, str]:
    own = {"python": platform.python_version(), "neuropyro": __version__}
    return own | {module.__name__: str(module.__version__) for module in (pyro, torch, np)}


def _peak_memory() -> int:
    """Largest resident memory of this process so far, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def load_fit(
    folder: str | Path,
    data: Any,
    model: Callable[[Any], Any] | None = None,
    guide: Callable[..., Any] | None = None,
    device: torch.device | str | None = None,
) -> Fit:
    """Read a fit that `save_fit` wrote; its draws are the same.

    Parameters
    ----------
    folder
        Where the fit is.
    data
        The data that it was fitted to; any other is refused.
    model
        Needed where the model is none of ``neuropyro.models``.
    guide
        Needed where the fit was made with a guide object: an untrained one of the same kind.

    Raises
    ------
    FitError
        Where files are missing or damaged, the data are others or a path to them, a model or guide is needed, or the
        fit is of a model with other sites, as an earlier version's.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> import tempfile
    >>> from neuropyro.inference import Schedule, fit
    >>> folder = tempfile.mkdtemp()
    >>> fit(model, torch.ones(9), "map", schedule=Schedule(max_steps=20), progress=False).save(folder)
    >>> load_fit(folder, torch.ones(9), model=model).guide_name
    'map'
    """
    folder = Path(folder)
    settings, tensors = _read(folder)
    if fingerprint(data) != settings["fingerprint"]:
        if isinstance(data, str | Path):
            name = str(data)
            raise FitError(f"{name}: a path, not the data; read the file first, a cohort's as Cohort.open({name!r})")
        raise FitError(f"{folder}: fitted to other data (their hashes differ); give the data of the fit")
    model = model if model is not None else _rebuild(settings["model"], folder)
    chosen = guide if guide is not None else settings["guide"]
    if chosen is None:
        raise FitError(f"{folder}: fitted with a guide of your own; give `guide=`, an untrained one of the same kind")
    dtype = {"float32": torch.float32, "float64": torch.float64}[settings["dtype"]]
    prepared = prepare(model, data, choose_device(device), dtype)
    with default_dtype(dtype):
        try:
            runs = tuple(_run(r, run, model, prepared, chosen, tensors) for r, run in enumerate(settings["runs"]))
        except RuntimeError as error:
            if "state_dict" not in str(error):
                raise
            by = settings["versions"].get("neuropyro", "unknown")
            raise FitError(
                f"{folder}: its guide is of other sites than this model's; it was saved by another version (neuropyro "
                f"{by}, {settings.get('when', 'of an unknown date')}), or of another model: fit again"
            ) from None
    return Fit(model, prepared, runs, settings["guide"], settings["seed"], settings["fingerprint"], dtype)


def _run(r: int, said: dict[str, Any], model: Any, prepared: Any, guide: Any, tensors: dict[str, torch.Tensor]) -> Run:
    state = _under(f"{r}.guide.", tensors)
    with pyro.settings.context(module_local_params=True), torch.random.fork_rng():
        built = _recorded(model, prepared, state) if guide == "nuts" else build_guide(model, prepared, guide, {})
    built.load_state_dict(state)
    losses = np.asarray(tensors[f"{r}.losses"], np.float64)
    stats = {name: tensor.numpy() for name, tensor in _under(f"{r}.stats.", tensors).items()}
    return Run(built, losses, said["converged"], said["verdict"], said["seconds"], stats)


def _recorded(model: Any, prepared: Any, state: dict[str, torch.Tensor]) -> FlatGuide:
    return FlatGuide(find_latents(model, prepared, {}), Recorded(state["law.draws"]))


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    if not folder.is_dir():
        raise FitError(f"{folder}: no such folder; give one that a fit was saved in")
    for name in (SETTINGS, TENSORS):
        if not (folder / name).is_file():
            raise FitError(f"{folder}: no {name}; give a folder that a fit was saved in")
    try:
        return json.loads((folder / SETTINGS).read_text()), load_file(folder / TENSORS)
    except Exception as error:
        raise FitError(f"{folder}: damaged ({error}); save the fit again") from None


def _describe(model: Any) -> dict[str, Any] | None:
    if dataclasses.is_dataclass(model) and not isinstance(model, type) and type(model).__module__.startswith(ZOO):
        return {"name": type(model).__name__, "arguments": dataclasses.asdict(model)}
    return None


def _rebuild(described: dict[str, Any] | None, folder: Path) -> Any:
    """Build a model of the zoo from its name and arguments; only names that the zoo exports are looked up."""
    zoo = importlib.import_module(ZOO)
    if described is None or described["name"] not in zoo.__all__:
        raise FitError(
            f"{folder}: its model is none of those in {ZOO} that settings alone make; give `model=`, which of a "
            "reconstruction is LatentReconstruction(generator, corruption)"
        )
    kind = getattr(zoo, described["name"])
    return kind(**{f.name: _argument(f.default, described["arguments"][f.name]) for f in dataclasses.fields(kind)})


def _argument(default: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        return type(default)(**{name: _argument(None, x) for name, x in value.items()})
    return tuple(value) if isinstance(value, list) else value
