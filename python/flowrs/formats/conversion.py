"""From one format into another, piece by piece."""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np

from flowrs import checkpoint
from flowrs.errors import (
    ArgumentError,
    CheckpointError,
    CheckpointExistsError,
    CheckpointIOError,
)
from flowrs.formats import npz, safetensors
from flowrs.formats.opening import open_tensors
from flowrs.formats.tensors import (
    BFLOAT16,
    FLOAT32,
    UNKNOWN,
    Array,
    ElementType,
    Tensor,
    TensorFile,
    numbers,
    pieces,
    spilled,
)

#: Formats by the ending of the target's name; anything else is the directory of a checkpoint.
_ENDINGS = {".safetensors": "safetensors", ".npz": "npz"}
_NOT_WRITTEN = (".pt", ".pth", ".bin", ".ckpt", ".h5", ".hdf5", ".gguf", ".npy", ".zip", ".pkl")


@dataclass(frozen=True)
class Conversion:
    """What ``convert`` did.

    Attributes:
        source: where the tensors come from.
        target: where they are now.
        source_format: its format.
        target_format: its format.
        names: the tensors that were converted.
        size_in_bytes: the bytes of their elements at the source.
        widened: those of bfloat16 that are float32 now, since the target has no bfloat16.
        left_out: what else the source holds, that is no tensor.
    """

    source: str
    target: str
    source_format: str
    target_format: str
    names: list[str]
    size_in_bytes: int
    widened: list[str]
    left_out: list[str]


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    strip: str = "",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Writes the tensors of a file or checkpoint in another format.

    The target appears whole or not at all. Memory does not grow with the size of the source.

    Args:
        source: a checkpoint directory, or a file of safetensors, npz or ``torch.save``.
        target: ``NAME.safetensors``, ``NAME.npz``, or the directory of a new checkpoint.
        include: patterns such as ``"dense*"``; only tensors that match one are converted.
        exclude: patterns; tensors that match one are not converted.
        strip: what is taken off the beginning of names that begin with it.
        overwrite: whether a file or checkpoint of the target's name is replaced.
        progress: called with the bytes that are done and all bytes; a checkpoint is done at once.

    Returns:
        What was converted.

    Raises:
        CheckpointExistsError: there is something at the target.
        CheckpointError: the source is damaged, or the target's format lacks a type or name.
        ArgumentError: there is nothing to convert, or two names become the same.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> from flowrs.formats import convert
        >>> flow.save({"w": np.arange(3, dtype=np.float32)}, "./snapshot")
        >>> convert("./snapshot", "weights.npz").names
        ['w']
        >>> np.load("weights.npz")["w"]
        array([0., 1., 2.], dtype=float32)
    """
    place = os.fspath(target)
    target_format = format_of_target(place)
    _check_room(place, overwrite)
    opened = open_tensors(source)
    tensors = [_storable(one, opened) for one in _selected(opened, include, exclude, strip)]
    done, total = 0, sum(tensor.size_in_bytes for tensor in tensors)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    widened: list[str] = []
    if target_format == "checkpoint":
        widened = [one.name for one in tensors if one.type is BFLOAT16 and one.blob is None]
        values = values_for_checkpoint(tensors)
        checkpoint.save(place, values, overwrite=overwrite, metadata=opened.metadata or None)
        advance(total)
    else:
        with _new_file(place, overwrite) as file:
            if target_format == "npz":
                widened = [one.name for one in tensors if npz.stored_type(one.type) is not one.type]
                npz.write(file, tensors, advance)
            else:
                safetensors.write(file, tensors, _text_metadata(opened), advance)
    names = [tensor.name for tensor in tensors]
    return Conversion(
        opened.path, place, opened.format, target_format, names, total, widened, opened.left_out
    )


def format_of_target(target: str) -> str:
    """The format that a target's name asks for.

    Raises:
        ArgumentError: it asks for one that is not written.
    """
    ending = os.path.splitext(target)[1].lower()
    if ending in _NOT_WRITTEN:
        raise ArgumentError(
            f"{target}: files of this kind are not written; name the target NAME.safetensors or "
            "NAME.npz, or give the name of a directory without such an ending"
        )
    return _ENDINGS.get(ending, "checkpoint")


def _check_room(target: str, overwrite: bool) -> None:
    """Refuses early what the writing would refuse at its end."""
    if not os.path.lexists(target) or (overwrite and os.path.isfile(target)):
        return
    if os.path.isdir(target) and format_of_target(target) == "checkpoint":
        return  # Saving says whether it is empty, or may be replaced.
    hint = "" if os.path.isdir(target) else ", or replace the file with overwrite"
    raise CheckpointExistsError(f"{target} exists already; choose another name{hint}")


def _selected(
    file: TensorFile, include: Sequence[str], exclude: Sequence[str], strip: str
) -> list[Tensor]:
    chosen: dict[str, Tensor] = {}
    for tensor in select(file.tensors, include, exclude):
        name = tensor.name.removeprefix(strip)
        if name in chosen:
            raise ArgumentError(f"{name!r:.80} would be the name of two tensors without {strip!r}")
        chosen[name] = replace(tensor, name=name)
    if not chosen:
        few = f"no tensor of {len(file.tensors)} is included" if file.tensors else "no tensors"
        raise ArgumentError(f"{file.path}: there is nothing to convert ({few})")
    return [chosen[name] for name in sorted(chosen)]


def select(
    tensors: Sequence[Tensor], include: Sequence[str], exclude: Sequence[str]
) -> list[Tensor]:
    """The tensors whose names match a pattern of ``include``, if there are any, and no other."""

    def chosen(name: str) -> bool:
        if include and not any(fnmatch.fnmatchcase(name, pattern) for pattern in include):
            return False
        return not any(fnmatch.fnmatchcase(name, pattern) for pattern in exclude)

    return [tensor for tensor in tensors if chosen(tensor.name)]


def _storable(tensor: Tensor, file: TensorFile) -> Tensor:
    if tensor.type is UNKNOWN:
        raise CheckpointError(
            f"{file.path}: variable {tensor.name!r:.80} has no meta file, so that its type and "
            "shape are unknown; load it with flow.load_variables and save it again, or exclude it"
        )
    return tensor


def values_for_checkpoint(tensors: Sequence[Tensor]) -> dict[str, checkpoint.Value]:
    """What to give ``flow.checkpoint.save`` or ``update`` to store tensors.

    bfloat16 of other files becomes float32.

    Raises:
        CheckpointError: a checkpoint has not the type of one of them.
    """
    lacking = [f"{one.name} ({one.type.name})" for one in tensors if not _type_in_checkpoint(one)]
    if lacking:
        more = f" and {len(lacking) - 6} more" if len(lacking) > 6 else ""
        raise CheckpointError(
            f"a checkpoint has no type for {', '.join(lacking[:6])}{more}; exclude what you do not "
            "need"
        )
    values: dict[str, checkpoint.Value] = {}
    for tensor in tensors:
        values[tensor.name] = _in_order(tensor) if tensor.blob is None else tensor.blob
    return values


def _type_in_checkpoint(tensor: Tensor) -> ElementType | None:
    if tensor.blob is not None:
        return tensor.type
    if tensor.type is BFLOAT16:
        return FLOAT32
    return tensor.type if tensor.type.kind and tensor.type.name != "bool" else None


def _in_order(tensor: Tensor) -> Array:
    """The elements as a checkpoint has them: as they lie in the file, or in a temporary one."""
    array = tensor.load()
    element_type = _type_in_checkpoint(tensor)
    assert element_type is not None
    if array.flags.c_contiguous and array.dtype == element_type.stored:
        return array
    parts = (
        np.ascontiguousarray(numbers(piece, tensor.type)).data.cast("B")
        for piece in pieces(array, tensor.type)
    )
    size = tensor.elements * element_type.stored.itemsize
    return spilled(parts, size, tensor.name).view(element_type.stored).reshape(tensor.shape)


def _text_metadata(file: TensorFile) -> dict[str, str]:
    import json

    return {
        str(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in file.metadata.items()
    }


@contextlib.contextmanager
def _new_file(path: str, overwrite: bool) -> Iterator[BinaryIO]:
    """A file that appears under its name, durably, when all of it has been written."""
    folder, name = os.path.split(path)
    # The form of the names of unfinished checkpoints, so that they are cleared away alike.
    hidden = f".{name[:180]}.tmp-{os.getpid()}-{os.urandom(8).hex()}"
    temporary = os.path.join(folder, hidden)
    try:
        with open(temporary, "xb") as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                _put_into_place(temporary, path, overwrite)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
        _make_durable(folder or ".")
    except OSError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointIOError(f"cannot write {path}: {error.strerror}") from error


def _put_into_place(temporary: str, path: str, overwrite: bool) -> None:
    if overwrite:
        os.replace(temporary, path)
        return
    try:
        # Unlike renaming, linking never replaces what another program has put there meanwhile.
        os.link(temporary, path)
    except FileExistsError:
        raise CheckpointExistsError(f"{path} has appeared meanwhile; choose another name") from None
    except OSError:
        if os.path.lexists(path):
            raise
        os.rename(temporary, path)
    else:
        os.unlink(temporary)


def _make_durable(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
