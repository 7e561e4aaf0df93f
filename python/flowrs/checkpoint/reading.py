"""Opening checkpoints."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from flowrs._flowrs import OpenedCheckpoint, open_checkpoint, verify_entries
from flowrs.checkpoint.blob import FileBackendVariableBlob
from flowrs.checkpoint.values import Path, check_path, check_texts
from flowrs.errors import ArgumentError, CheckpointError

#: What the name of a job's step variable begins with.
STEP_PREFIX = "System-Train-TrainStep-"

#: Longer metadata are neither saved nor read.
_MOST_METADATA = 16 << 20


@dataclass(frozen=True)
class VerifyReport:
    """What a comparison with the stored checksums found.

    Attributes:
        verified: names of the variables whose bytes are those that were saved.
        unchecked: names of the variables that have no checksum.
        damaged: what is wrong with the others, by name.
    """

    verified: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{len(self.verified)} verified"]
        if self.unchecked:
            parts.append(f"{len(self.unchecked)} without checksum")
        if self.damaged:
            parts.append(f"{len(self.damaged)} damaged")
        return ", ".join(parts)


class Checkpoint(dict[str, FileBackendVariableBlob]):
    """The variables of an opened checkpoint by name, sorted; none of their bytes has been read.

    It holds one open directory until it is closed or forgotten. Arrays that were taken from it stay
    valid, also when the checkpoint is replaced or removed by a save of flowrs. When another program
    shortens a file whose array is mapped, touching the lost part ends the process: open with
    ``io="read"`` where that can happen.

    Attributes:
        path: the path that was given.
    """

    __slots__ = ("_opened", "path")

    def __init__(self, path: str, opened: OpenedCheckpoint) -> None:
        names = opened.names
        blobs = map(FileBackendVariableBlob, itertools.repeat(opened), range(len(names)))
        super().__init__(zip(names, blobs, strict=True))
        self.path = path
        self._opened = opened

    @property
    def complete(self) -> bool:
        """Whether a finished save left its marker. Other programs never leave one."""
        return self._opened.complete

    @property
    def ignored(self) -> list[str]:
        """Paths of links, pipes and other checkpoints below, which were not looked into."""
        return [os.fspath(path) for path in self._opened.ignored]

    @property
    def metadata(self) -> dict[str, Any]:
        """What was given to ``save`` as ``metadata``; empty if nothing was.

        Raises:
            CheckpointError: the file is damaged.
        """
        text = self._opened.metadata
        if text is None:
            return {}
        where = os.path.join(self.path, "flowrs.json")
        if len(text) > _MOST_METADATA:
            raise CheckpointError(
                f"{where}: at most {_MOST_METADATA} bytes are read; shorten the file"
            )
        import json  # takes a while to load, and few checkpoints have metadata

        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{where}: expected JSON: {error}; mend or remove the file"
            ) from None
        if not isinstance(found, dict):
            raise CheckpointError(f"{where}: expected a JSON object, found {type(found).__name__}")
        return found

    @property
    def step(self) -> int | None:
        """How many steps had been trained: the greatest of the jobs' step variables, or None."""
        steps = [
            int(blob.numpy().item())
            for name, blob in self.items()
            if name.startswith(STEP_PREFIX) and blob.size_in_bytes == 8 and blob.kind == "kInt64"
        ]
        return max(steps, default=None)

    def verify(self) -> VerifyReport:
        """Reads every variable and compares it with its checksum.

        Returns:
            Which variables are whole, which have no checksum, and what is wrong with the others.
        """
        report = VerifyReport()
        results = verify_entries(list(self.values()))
        for name, (compared, error) in zip(self, results, strict=True):
            if error is not None:
                report.damaged[name] = error
            elif compared:
                report.verified.append(name)
            else:
                report.unchecked.append(name)
        return report

    def close(self) -> None:
        """Lets go of the directory. Arrays stay valid; no more can be taken."""
        self._opened.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        path = os.path.normpath(self._opened.absolute(self.path))
        return _open_again, (path, "read" if self._opened.reads else "mmap", list(self))

    def __repr__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            "  ".join(
                text.rjust(width) if column == 3 else text.ljust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([self._title(), *lines, *self._rest()])

    def _repr_html_(self) -> str:
        import html  # takes a while to load, and only notebooks need it

        head, *body = self._rows()
        cells = ["<tr>" + "".join(f"<th>{text}</th>" for text in head) + "</tr>"]
        cells += [
            "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>"
            for row in body
        ]
        rest = "".join(f"<p>{html.escape(line)}</p>" for line in self._rest())
        return f"<p>{html.escape(self._title())}</p><table>{''.join(cells)}</table>{rest}"

    def _title(self) -> str:
        total = sum(blob.size_in_bytes for blob in self.values())
        plural = "" if len(self) == 1 else "s"
        return f"Checkpoint {self.path!r}: {len(self)} variable{plural}, {size_text(total)}"

    def _rows(self) -> list[tuple[str, str, str, str]]:
        """The table: its head, and the first variables."""
        rows = [("name", "shape", "type", "size")]
        for name, blob in list(self.items())[:_SHOWN]:
            shape = "unknown" if blob.shape is None else str(blob.shape)
            rows.append((name, shape, blob.kind or "unknown", size_text(blob.size_in_bytes)))
        return rows

    def _rest(self) -> list[str]:
        return [f"and {len(self) - _SHOWN} more"] if len(self) > _SHOWN else []


#: How many variables the table of a checkpoint shows.
_SHOWN = 30


def size_text(size: int) -> str:
    """A number of bytes for people, such as ``1.5 MiB``."""
    if size < 1024:
        return f"{size} B"
    units = ("KiB", "MiB", "GiB", "TiB")
    power = min(len(units), (size.bit_length() - 1) // 10)
    return f"{size / 1024**power:.1f} {units[power - 1]}"


def get(
    path: Path,
    *,
    io: str = "auto",
    verify: bool = False,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
) -> Checkpoint | FileBackendVariableBlob:
    """Opens a checkpoint; only names, shapes and sizes are read.

    Args:
        path: the directory; or that of one variable.
        io: how bytes are read when they are asked for. ``"mmap"``: arrays look at the files; their
            pages are read when they are touched. ``"read"``: several threads read into memory.
            ``"auto"``: mmap, except on file systems of a network or of another program.
        verify: whether all bytes are read now and compared with their checksums, where they have
            some.
        include: patterns of names, as for a shell (``*`` also stands for ``/``): only variables
            that match one are opened.
        exclude: variables that match one of these patterns are not opened.

    Returns:
        The variables by name, sorted; or the one variable.

    Raises:
        CheckpointNotFoundError: there is no such directory.
        CheckpointError: it holds no variables, a file has not the size that its shape says, or
            ``verify`` found other bytes than were saved.

    Example:
        >>> import tempfile, os
        >>> import numpy as np
        >>> import flowrs as flow
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "snapshot")
        ...     flow.save({"w": np.zeros((2, 3), np.float32)}, path)
        ...     flow.checkpoint.get(path)["w"].shape
        (2, 3)
    """
    text = check_path(path, "get")
    if io not in ("auto", "mmap", "read"):
        raise ArgumentError(f'checkpoint.get: io must be "auto", "mmap" or "read", not {io!r}')
    included = None if include is None else check_texts(include, "checkpoint.get: include")
    excluded = [] if exclude is None else check_texts(exclude, "checkpoint.get: exclude")
    opened = open_checkpoint(text, io, included, excluded)
    if opened.single:
        blob = FileBackendVariableBlob(opened, 0)
        if verify:
            blob.verify()
        return blob
    found = Checkpoint(text, opened)
    if not found and not opened.complete and included is None and not excluded:
        raise CheckpointError(
            f"{text}: the directory holds no variables; a variable is a directory "
            "with a file named out"
        )
    if verify and (damaged := found.verify().damaged):
        raise CheckpointError("\n".join(damaged.values()))
    return found


def _open_again(path: str, io: str, names: list[str]) -> Checkpoint:
    """A checkpoint that was pickled."""
    found = get(path, io=io)
    assert isinstance(found, Checkpoint)
    if missing := [name for name in names if name not in found]:
        raise CheckpointError(
            f"{path}: there is no variable {missing[0]!r} any more; the checkpoint has been "
            "replaced since it was pickled, open it again"
        )
    kept = set(names)
    for name in [name for name in found if name not in kept]:
        del found[name]
    return found
