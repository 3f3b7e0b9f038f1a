"""Pickles read as data: no global is imported and nothing is called.

A pickle is a program for a stack machine whose instructions may import any global and call it.  Here an instruction
that names a global puts a :class:`GlobalName` on the stack if the name is on an allow-list, and refuses the file
otherwise; a call of one is looked up in a table of constructors that build plain values (tensors, arrays,
dictionaries) or an inert :class:`Record`.  PyTorch writes a tensor's storage as a pickle within the pickle: it goes
through the same machine (:mod:`neuropyro.generators.torch_stream`).

The machine is the pure-Python one of the standard library: unlike the C one, it allocates nothing on a number's word.
"""

import io
import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from neuropyro.generators.errors import CheckpointError

__all__ = ["GlobalName", "Record", "SafeUnpickler", "numpy_constructors", "plain_constructors", "record"]

# Instructions that checkpoints do not need and that reach outside the stack or reserve memory unseen.
FORBIDDEN = (
    pickle.EXT1,
    pickle.EXT2,
    pickle.EXT4,
    pickle.INST,
    pickle.OBJ,
    pickle.PERSID,
    pickle.NEWOBJ_EX,
    pickle.FROZENSET,
    pickle.BYTEARRAY8,
    pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,
)
HASHABLE = (str, bytes, int, float, type(None))
DTYPE = re.compile(r"[<>|=]?(f[248]|[iu][1248]|b1)")

Constructor = Callable[..., Any]


@dataclass(frozen=True)
class GlobalName:
    """A global that a pickle names, as text: never the object of that name.

    Examples
    --------
    >>> content = io.BytesIO(pickle.dumps(print))
    >>> SafeUnpickler(content, {"builtins.print": record("builtins.print")}).load()  # allowed, and yet not imported
    GlobalName(name='builtins.print')
    """

    name: str


@dataclass(eq=False)
class Record:
    """A call, or an instance, that a pickle describes: its global's name, arguments and state; inert.

    Examples
    --------
    >>> content = io.BytesIO(pickle.dumps(complex(1, 2)))
    >>> SafeUnpickler(content, {"builtins.complex": record("builtins.complex")}).load()
    Record(name='builtins.complex', args=(1.0, 2.0), state=None)
    """

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None


def record(name: str) -> Constructor:
    """Return the constructor that keeps a call of ``name`` as a :class:`Record`.

    Examples
    --------
    >>> record("torch.device")("cuda", 0)
    Record(name='torch.device', args=('cuda', 0), state=None)
    """
    return lambda *args: Record(name, args)


class SafeUnpickler(pickle._Unpickler):
    """Reads one pickle from a stream of bytes.

    Parameters
    ----------
    stream
        Where the pickle starts; afterwards, the byte behind it.
    constructors
        What to build for a call of each allowed global, by its full name.
    stored
        Builds the value of a persistent identifier (PyTorch's storages); without it such identifiers are refused.

    Raises
    ------
    CheckpointError
        From :meth:`load`, where the pickle names another global.

    Examples
    --------
    >>> SafeUnpickler(io.BytesIO(pickle.dumps({"gain": [1.0, 2.0]})), {}).load()
    {'gain': [1.0, 2.0]}
    >>> try:
    ...     SafeUnpickler(io.BytesIO(pickle.dumps(print)), {}).load()
    ... except CheckpointError as error:
    ...     print(error)
    refused: it names the global 'builtins.print', which no generator's checkpoint needs; nothing was executed
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]

    def __init__(
        self,
        stream: io.BufferedIOBase,
        constructors: Mapping[str, Constructor],
        stored: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(stream, encoding="latin1")
        self.constructors = constructors
        self.stored = stored

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Name the global, if it is allowed."""
        name = f"{module_name}.{global_name}"
        if name not in self.constructors:
            raise CheckpointError(
                f"refused: it names the global {name!r}, which no generator's checkpoint needs; nothing was executed"
            )
        return GlobalName(name)

    def persistent_load(self, pid: Any) -> Any:
        """Build the storage of that identifier."""
        if self.stored is None:
            raise CheckpointError("refused: it refers to objects outside itself")
        return self.stored(pid)

    def _pop_mark(self) -> list[Any]:
        items: list[Any] = super().pop_mark()  # type: ignore[misc]
        return items

    def _call(self, function: Any, args: Any) -> Any:
        if not isinstance(function, GlobalName) or not isinstance(args, tuple):
            raise CheckpointError("refused: it calls what is not a global")
        return self.constructors[function.name](*args)

    def _load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    def _load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Record):
            target.state = state
        elif isinstance(target, np.ndarray):
            _fill_array(target, state)
        elif not isinstance(target, dict):  # an OrderedDict's attributes carry nothing that is read
            raise CheckpointError(f"refused: it sets the state of a {type(target).__name__}")

    def _load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set(self.stack[-1], key, value)

    def _load_setitems(self) -> None:
        items = self._pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(self.stack[-1], key, value)

    def _load_additems(self) -> None:
        items = self._pop_mark()
        self.stack[-1].update(_plain_set(items))

    def _load_dict(self) -> None:
        items = self._pop_mark()
        target: dict[Any, Any] = {}
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(target, key, value)
        self.stack.append(target)

    @staticmethod
    def _set(target: Any, key: Any, value: Any) -> None:
        if not isinstance(target, dict) or not isinstance(key, HASHABLE):
            raise CheckpointError("refused: it sets items of what is not a dictionary with plain keys")
        target[key] = value

    def _load_forbidden(self) -> None:
        raise CheckpointError("refused: its pickle uses an instruction that no generator's checkpoint needs")

    dispatch[pickle.REDUCE[0]] = dispatch[pickle.NEWOBJ[0]] = _load_reduce
    dispatch[pickle.BUILD[0]] = _load_build
    dispatch[pickle.SETITEM[0]] = _load_setitem
    dispatch[pickle.SETITEMS[0]] = _load_setitems
    dispatch[pickle.ADDITEMS[0]] = _load_additems
    dispatch[pickle.DICT[0]] = _load_dict
    dispatch.update(dict.fromkeys((code[0] for code in FORBIDDEN), _load_forbidden))


def _plain_set(items: Any = ()) -> set[Any]:
    """Build a set of plain values."""
    if not all(isinstance(item, HASHABLE) for item in items):
        raise CheckpointError("refused: a set holds what is not plain")
    return set(items)


def _plain_dict(items: Any = ()) -> dict[Any, Any]:
    """Build a dictionary from (key, value) pairs with plain keys."""
    pairs = [(key, value) for key, value in items]
    if not all(isinstance(key, HASHABLE) for key, _ in pairs):
        raise CheckpointError("refused: a dictionary has keys that are not plain")
    return dict(pairs)


def _latin1_bytes(text: str, encoding: str = "latin1") -> bytes:
    """Build bytes from the text that protocols below 3 write them as."""
    if encoding != "latin1":
        raise CheckpointError(f"refused: bytes encoded as {encoding!r}")
    return text.encode("latin1")


def plain_constructors() -> dict[str, Constructor]:
    """Constructors of containers that every format uses.

    Examples
    --------
    >>> SafeUnpickler(io.BytesIO(pickle.dumps({"visits", "sites"})), plain_constructors()).load() == {"visits", "sites"}
    True
    """
    return {
        "collections.OrderedDict": _plain_dict,
        "dnnlib.util.EasyDict": _plain_dict,
        "dnnlib.EasyDict": _plain_dict,
        "builtins.set": _plain_set,
        "__builtin__.set": _plain_set,
        "_codecs.encode": _latin1_bytes,
    }


def _numpy_dtype(described: Any) -> np.dtype[Any]:
    """Return the type of numbers that a record of ``numpy.dtype(code)``, with its byte order, describes."""
    if not isinstance(described, Record) or described.name != "numpy.dtype":
        raise CheckpointError("refused: an array without a type of numbers")
    code = str(described.args[0])
    if not DTYPE.fullmatch(code):
        raise CheckpointError(f"refused: an array of type {code!r}, which is not of numbers")
    dtype = np.dtype(code)
    return dtype.newbyteorder(">") if described.state and described.state[1] == ">" else dtype


def _numpy_scalar(described: Any, data: bytes) -> int | float | bool:
    """Build a Python number from a NumPy scalar's bytes."""
    value: int | float | bool = np.frombuffer(data, _numpy_dtype(described), count=1)[0].item()
    return value


def _empty_array(kind: Any, shape: Any, code: Any) -> np.ndarray[Any, Any]:
    """Build the array that the state to come fills (:func:`_fill_array`)."""
    if kind != GlobalName("numpy.ndarray"):
        raise CheckpointError("refused: an array of another class than numpy.ndarray")
    return np.empty(0, dtype=np.uint8)


def _fill_array(array: np.ndarray[Any, Any], state: Any) -> None:
    """Fill ``array`` in place from a pickled state (version, shape, dtype, is_fortran, bytes)."""
    _, shape, described, fortran, data = state
    dtype = _numpy_dtype(described)
    if isinstance(data, str):
        data = data.encode("latin1")
    if not isinstance(data, bytes) or len(data) != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise CheckpointError("an array's bytes do not fill its shape")
    restore: Callable[[Any], None] = array.__setstate__
    restore((1, tuple(shape), dtype, bool(fortran), data))


def numpy_constructors() -> dict[str, Constructor]:
    """Constructors of arrays and scalars, under NumPy's old and new names.

    Examples
    --------
    >>> content = pickle.dumps(np.arange(3.0), protocol=4)
    >>> SafeUnpickler(io.BytesIO(content), numpy_constructors()).load().tolist()
    [0.0, 1.0, 2.0]
    """
    table: dict[str, Constructor] = {"numpy.dtype": record("numpy.dtype"), "numpy.ndarray": record("numpy.ndarray")}
    for package in ("numpy.core.multiarray", "numpy._core.multiarray"):
        table[f"{package}.scalar"] = _numpy_scalar
        table[f"{package}._reconstruct"] = _empty_array
    return table
