"""Every public name says what it is, and shows it: a docstring with an example that runs as a doctest.

Public is what a module has in its ``__all__``.  A class may show itself in a method.  The examples themselves are run
by ``pytest --doctest-modules``.
"""

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

import neuropyro

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(neuropyro.__path__, "neuropyro.")
    if not module.name.endswith("__main__")
)


def defined_in(module: object) -> Iterator[type | object]:
    """Yield the functions and classes that the module has in its ``__all__`` and defines itself."""
    for thing in (getattr(module, name) for name in module.__all__):
        if (inspect.isclass(thing) or inspect.isroutine(thing)) and thing.__module__ == module.__name__:
            yield thing


def docstrings(thing: object) -> Iterator[str]:
    """Yield its docstring and, of a class, those of its public methods."""
    yield vars(thing)["__doc__"] or "" if inspect.isclass(thing) else inspect.getdoc(thing) or ""
    if inspect.isclass(thing):
        yield from (inspect.getdoc(member) or "" for name, member in vars(thing).items() if not name.startswith("_"))


def shown(thing: object) -> bool:
    parser = doctest.DocTestParser()
    return any(parser.get_examples(text) for text in docstrings(thing))


def test_packages_and_modules_are_found():
    assert {"neuropyro.models", "neuropyro.guides.normal", "neuropyro.cli"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_has_a_docstring_of_its_own_with_an_example(name):
    public = list(defined_in(importlib.import_module(name)))
    assert [thing.__name__ for thing in public if not next(docstrings(thing))] == []
    assert [thing.__name__ for thing in public if not shown(thing)] == []


@pytest.mark.parametrize("name", MODULES)
def test_what_is_not_public_begins_with_an_underscore(name):
    module = importlib.import_module(name)
    own = {n: x for n, x in vars(module).items() if getattr(x, "__module__", None) == name and not n.startswith("_")}
    named = [n for n, x in own.items() if inspect.isclass(x) or inspect.isroutine(x)]
    assert sorted(set(named) - set(module.__all__)) == []
