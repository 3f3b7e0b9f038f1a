"""Every public name says what it is, and shows it: a docstring with an example that runs as a doctest.

Public is what a package's ``__init__``, or the module of figures, has in its ``__all__``.  The examples themselves are
run by ``pytest --doctest-modules``.
"""

import doctest
import importlib
import inspect

import pytest

PACKAGES = ("data", "generators", "guides", "inference", "models", "models.corruption", "plots")


def public() -> dict[str, object]:
    """Every function and class that a user may import from a package."""
    modules = {name: importlib.import_module(f"neuropyro.{name}") for name in PACKAGES}
    found = {f"{m}.{name}": getattr(module, name) for m, module in modules.items() for name in module.__all__}
    return {name: thing for name, thing in found.items() if inspect.isclass(thing) or inspect.isroutine(thing)}


@pytest.mark.parametrize("name", sorted(public()))
def test_it_has_a_docstring_of_its_own_with_an_example(name):
    written = vars(public()[name])["__doc__"] if inspect.isclass(public()[name]) else public()[name].__doc__
    assert written
    assert doctest.DocTestParser().get_examples(written)
