"""The zip files of ``torch.save``: a pickle that says what there is, and a file per storage."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np

from flowrs.errors import CheckpointError
from flowrs.formats.archive import Archive
from flowrs.formats.pickles import RefusedPickle, Storage, StridedTensor, load
from flowrs.formats.tensors import Array, Tensor, TensorFile, checked_size

_PICKLE = "data.pkl"
_MOST_PICKLE_BYTES = 64 << 20
_MOST_LEVELS = 32
_MOST_LEAVES = 1_000_000
_LONGEST_NAME = 4096

#: Views may repeat elements of a storage. What they come to may be this many times the file.
_MOST_REPETITION = 8


def is_torch(archive: Archive) -> bool:
    """Whether an archive is one of PyTorch's."""
    return _pickle_name(archive) is not None


def _pickle_name(archive: Archive) -> str | None:
    names = archive.names()
    return next((name for name in names if name.partition("/")[2] == _PICKLE), None)


def read(archive: Archive) -> TensorFile:
    """Reads what a file of ``torch.save`` holds, without running its pickle.

    Nested dicts and lists become names with points: ``{"model": {"weight": w}}`` has the tensor
    ``model.weight``.

    Args:
        archive: the opened file.

    Returns:
        Its tensors; whatever else it holds is left out.

    Raises:
        CheckpointError: the file is damaged, or its pickle asks for more than tensors.
    """
    name = _pickle_name(archive)
    assert name is not None
    try:
        content = load(archive.read(name, _MOST_PICKLE_BYTES))
        leaves = _leaves(content)
    except RefusedPickle as error:
        raise CheckpointError(
            f"{archive.path}: the pickle in it cannot be read: {error}; with PyTorch, save a dict "
            "of tensors such as model.state_dict()"
        ) from None
    folder = name.removesuffix(_PICKLE)
    order = _byte_order(archive, folder)
    tensors, left_out = [], []
    for path in sorted(leaves):
        leaf = leaves[path]
        if isinstance(leaf, StridedTensor):
            tensors.append(_tensor(archive, folder, order, path, leaf))
        else:
            left_out.append(path)
    _check_repetition(archive, tensors)
    return TensorFile(archive.path, "PyTorch", tensors, left_out)


def _leaves(content: object) -> dict[str, object]:
    """Everything that is no container, by its path."""
    leaves: dict[str, object] = {}
    waiting: list[tuple[str, int, object]] = [("", 0, content)]
    while waiting:
        path, level, value = waiting.pop()
        if len(path) > _LONGEST_NAME:
            raise RefusedPickle(f"the name {path!r:.80} has {len(path)} characters")
        if isinstance(value, (dict, list, tuple)):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            below = [(f"{path}.{key}" if level else str(key), level + 1, one) for key, one in items]
            waiting += below
            if level >= _MOST_LEVELS or len(leaves) + len(waiting) > _MOST_LEAVES:
                raise RefusedPickle("it is nested too deeply, or without end")
        elif path in leaves:
            raise RefusedPickle(f"two values have the name {path!r:.80}")
        else:
            leaves[path or "tensor"] = value
    return leaves


def _byte_order(archive: Archive, folder: str) -> Literal["<", ">"]:
    name = f"{folder}byteorder"
    order = archive.read(name, 16) if name in archive else b"little"
    if order not in (b"little", b"big"):
        raise CheckpointError(f"{archive.path}: {order!r:.40} is no byte order")
    return "<" if order == b"little" else ">"


def _tensor(
    archive: Archive, folder: str, order: Literal["<", ">"], name: str, view: StridedTensor
) -> Tensor:
    what = f"{archive.path}: tensor {name!r:.80}"
    member = f"{folder}data/{view.storage.key}"
    if member not in archive:
        raise CheckpointError(f"{what}: the archive has no {member!r:.80}")
    dtype = view.type.stored.newbyteorder(order)
    storage_size = _elements(view.storage, view) * dtype.itemsize
    if archive.size(member) != storage_size:
        raise CheckpointError(
            f"{what}: {member!r:.80} has {archive.size(member)} bytes and should have "
            f"{storage_size}"
        )
    if checked_size(view.shape, dtype.itemsize, what):
        last = view.offset + sum(
            (extent - 1) * stride for extent, stride in zip(view.shape, view.strides, strict=True)
        )
        if last >= _elements(view.storage, view):
            raise CheckpointError(
                f"{what}: shape {view.shape} with strides {view.strides} from {view.offset} on "
                f"ends outside of its storage of {_elements(view.storage, view)} elements"
            )
    return Tensor(name, view.type, view.shape, partial(_load, archive, member, view, dtype))


def _elements(storage: Storage, view: StridedTensor) -> int:
    """The elements of a storage; one without a type counts its bytes."""
    if storage.type is None:
        return storage.elements // view.type.stored.itemsize
    return storage.elements


def _load(archive: Archive, member: str, view: StridedTensor, dtype: np.dtype[np.generic]) -> Array:
    if 0 in view.shape:
        return np.empty(view.shape, dtype)
    # PyTorch can be told to write no checksums, and says nowhere whether it did.
    storage = archive.array(member, check=False).view(dtype)
    strides = [stride * dtype.itemsize for stride in view.strides]
    return np.lib.stride_tricks.as_strided(
        storage[view.offset :], view.shape, strides, writeable=False
    )


def _check_repetition(archive: Archive, tensors: list[Tensor]) -> None:
    stored = sum(archive.size(name) for name in archive.names())
    needed = sum(tensor.size_in_bytes for tensor in tensors)
    if needed > max(_MOST_REPETITION * stored, 1 << 26):
        raise CheckpointError(
            f"{archive.path}: its tensors come to {needed} bytes, though the archive holds only "
            f"{stored}: they repeat elements"
        )
