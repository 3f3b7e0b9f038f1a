"""A guide written as a plain function: its parameters kept in a module, not in Pyro's global store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyro.nn import PyroModule, PyroParam
from pyro.poutine.messenger import Messenger

__all__ = ["FunctionGuide"]


class FunctionGuide(PyroModule):  # type: ignore[misc]
    """Runs ``function(data)`` as a guide; each ``pyro.param`` in it becomes a parameter of this module.

    Parameters
    ----------
    function
        A Pyro guide over the model's data.

    Raises
    ------
    ValueError
        When it is run, where a ``pyro.param`` in it has no starting value.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> def own(y):
    ...     pyro.sample("mean", dist.Normal(pyro.param("loc", torch.tensor(0.5)), 0.1))
    >>> with pyro.settings.context(module_local_params=True):
    ...     guide = FunctionGuide(own)
    ...     _ = guide(torch.ones(9))  # makes the parameters
    >>> [p.item() for p in guide.parameters()], len(pyro.get_param_store())
    ([0.5], 0)
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        """Run the function with its parameters looked up here."""
        with _ParametersOf(self):
            return self.function(*args)


class _ParametersOf(Messenger):  # type: ignore[misc]
    """Answers ``pyro.param`` from a module, where it makes the parameter when it is first asked for."""

    def __init__(self, module: PyroModule) -> None:
        super().__init__()
        self.module = module

    def _pyro_param(self, message: dict[str, Any]) -> None:
        if message["name"] in self.module._pyro_params:
            return  # the module itself asks for its own
        key = "param_" + message["name"].replace(".", "_")
        if not hasattr(self.module, key):
            initial = message["args"][1] if len(message["args"]) > 1 else None
            value = initial() if callable(initial) else initial
            if value is None:
                raise ValueError(f"guide: parameter {message['name']!r} has no starting value; give pyro.param one")
            names = ("constraint", "event_dim")
            setattr(self.module, key, PyroParam(value, *(message["kwargs"].get(name) for name in names)))
        message["value"] = getattr(self.module, key)
        message["done"] = True
