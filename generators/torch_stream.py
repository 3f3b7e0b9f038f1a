"""Tensors in PyTorch's two file layouts, read without PyTorch's own unpickler.

Both hold a pickle in which a storage (a flat run of numbers) is a persistent identifier.  The old layout is a stream:
magic number, version, system, pickle, the storages' keys, then for each its length and bytes.  The new one is a zip
archive with one member per storage.
"""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from neuropyro.generators.errors import CheckpointError
from neuropyro.generators.safe_pickle import (
    Constructor,
    GlobalName,
    SafeUnpickler,
    numpy_constructors,
    plain_constructors,
    record,
)

__all__ = ["MAGIC", "read_torch_file", "tensor_constructors"]

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled number that opens the old layout

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

SCRIPTED_LISTS = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """Build a tensor from its storage, a tensor of one dimension; it may not reach beyond it nor exceed it."""
    if not isinstance(storage, Tensor) or storage.ndim != 1 or len(size) != len(stride):
        raise CheckpointError("a tensor has no storage of its own kind")
    if any(not isinstance(n, int) or n < 0 for n in (offset, *size, *stride)):
        raise CheckpointError("a tensor's shape is not of whole numbers")
    count = 1
    for n in size:
        count *= n
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count > storage.numel() or (count and last >= storage.numel()):
        raise CheckpointError(f"a tensor of shape {tuple(size)} does not fit its storage of {storage.numel()} numbers")
    return storage.as_strided(tuple(size), tuple(stride), offset)


def _first_argument(value: Any, *_: Any) -> Any:
    """Return the tensor of a parameter: its flags mean nothing here."""
    return value


def tensor_constructors() -> dict[str, Constructor]:
    """Constructors of everything that a pickle of tensors names.

    Examples
    --------
    >>> rebuild = tensor_constructors()["torch._utils._rebuild_tensor_v2"]
    >>> rebuild(torch.arange(4.0), 1, (3,), (1,))
    tensor([1., 2., 3.])
    >>> rebuild(torch.arange(4.0), 2, (3,), (1,))
    Traceback (most recent call last):
        ...
    neuropyro.generators.errors.CheckpointError: a tensor of shape (3,) does not fit its storage of 4 numbers
    """
    table = plain_constructors() | numpy_constructors()
    table["torch._utils._rebuild_tensor_v2"] = _rebuild_tensor
    table["torch._utils._rebuild_tensor"] = _rebuild_tensor
    table["torch._utils._rebuild_parameter"] = _first_argument
    table["torch.storage._load_from_bytes"] = _read_storage
    for name in ("torch.Size", "torch.device", "argparse.Namespace"):
        table[name] = record(name)
    for kind in DTYPES:
        table[f"torch.{kind}"] = table[f"torch.cuda.{kind}"] = record(f"torch.{kind}")
    return table


class _ScriptedConstructors(dict[str, Constructor]):
    """Constructors that keep an instance of any class of a TorchScript archive as a record."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and name.startswith("__torch__."))

    def __missing__(self, name: str) -> Constructor:
        return record(name)


def read_torch_file(data: bytes, scripted: bool = False) -> Any:
    """Read the object in a file of either layout.

    Parameters
    ----------
    data
        The file's bytes.
    scripted
        Whether it may be a TorchScript archive, whose modules become records and whose code is not looked at.

    Returns
    -------
    object
        Dictionaries, lists, numbers, texts, CPU tensors and :class:`neuropyro.generators.safe_pickle.Record`.

    Raises
    ------
    CheckpointError
        Where the file names a global that is not allowed, or its storages do not fit its length.

    Examples
    --------
    >>> stream = io.BytesIO()
    >>> torch.save({"bias": torch.arange(3.0)}, stream)
    >>> read_torch_file(stream.getvalue())
    {'bias': tensor([0., 1., 2.])}
    """
    constructors = tensor_constructors()
    if scripted:
        constructors = _ScriptedConstructors(constructors | {f"torch.jit._pickle.{n}": list for n in SCRIPTED_LISTS})
    return _read_stream(data, constructors) if data.startswith(MAGIC) else _read_archive(data, constructors)


def _read_storage(data: bytes) -> Tensor:
    """Read the storage within a pickle of a tensor: a file of the old layout that holds a storage alone."""
    if not isinstance(data, bytes) or not data.startswith(MAGIC):
        raise CheckpointError("refused: a storage that is not a stream of PyTorch")
    storage = _read_stream(data, tensor_constructors())
    if not isinstance(storage, Tensor):
        raise CheckpointError("refused: a stream that should hold a storage holds something else")
    return storage


def _storage_dtype(kind: Any) -> torch.dtype:
    """Return the type of numbers of a storage's class."""
    name = kind.name.rpartition(".")[2] if isinstance(kind, GlobalName) else ""
    if name not in DTYPES:
        raise CheckpointError("refused: a storage of an unknown kind")
    return DTYPES[name]


def _read_stream(data: bytes, constructors: Mapping[str, Constructor]) -> Any:
    """Read the old layout; storages are made as the pickle names them and filled from what follows it."""
    storages: dict[str, Tensor] = {}
    room = len(data)

    def stored(pid: Any) -> Tensor:
        nonlocal room
        tag, kind, key, _, count, *view = pid
        if tag != "storage" or any(part is not None for part in view):
            raise CheckpointError("refused: it refers to objects outside itself")
        if key not in storages:
            dtype = _storage_dtype(kind)
            room -= count * dtype.itemsize
            if count < 0 or room < 0:
                raise CheckpointError("truncated: it names more numbers than it has bytes for")
            storages[key] = torch.zeros(count, dtype=dtype)
        return storages[key]

    stream = io.BytesIO(data)
    for _ in range(3):  # magic number, version, system
        SafeUnpickler(stream, {}).load()
    value = SafeUnpickler(stream, constructors, stored).load()
    for key in SafeUnpickler(stream, {}).load():
        storage = storages[key]
        count = int.from_bytes(stream.read(8), "little")
        if count != storage.numel():
            raise CheckpointError("truncated: a storage's length is not the one that was announced")
        _fill_storage(storage, stream.read(count * storage.element_size()))
    return value


def _read_archive(data: bytes, constructors: Mapping[str, Constructor]) -> Any:
    """Read the new layout."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(names) != 1:
        raise CheckpointError("it is an archive, but not one that PyTorch wrote")
    root = names[0].removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and _member(archive, f"{root}byteorder") != b"little":
        raise CheckpointError("its numbers are big-endian: save it again on a little-endian machine")
    storages: dict[str, Tensor] = {}
    room = len(data)

    def stored(pid: Any) -> Tensor:
        nonlocal room
        tag, kind, key, _, count = pid
        if tag != "storage":
            raise CheckpointError("refused: it refers to objects outside itself")
        if key not in storages:
            content = _member(archive, f"{root}data/{key}")
            dtype = _storage_dtype(kind)
            room -= len(content)
            if room < 0:
                raise CheckpointError("refused: its members overlap, so that they hold more than the file")
            if len(content) != count * dtype.itemsize:
                raise CheckpointError("truncated: a storage's length is not the one that was announced")
            storages[key] = _fill_storage(torch.zeros(count, dtype=dtype), content)
        return storages[key]

    return SafeUnpickler(io.BytesIO(_member(archive, names[0])), constructors, stored).load()


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Content of a member, which must lie uncompressed: so it cannot be larger than the file."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise CheckpointError("refused: its data are compressed, which PyTorch's never are")
    return archive.read(name)


def _fill_storage(storage: Tensor, content: bytes) -> Tensor:
    """Copy little-endian bytes into ``storage`` (n,) and return it."""
    if len(content) != storage.numel() * storage.element_size():
        raise CheckpointError("truncated: a storage's bytes are missing")
    if content:
        storage.copy_(torch.frombuffer(bytearray(content), dtype=storage.dtype))
    return storage
