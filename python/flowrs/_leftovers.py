"""What interrupted saves leave behind, and how a whole checkpoint is removed.

A save writes into a hidden sibling of its target, called ``.NAME.tmp-PROCESS-NUMBER``; what is to
be removed is first called ``.NAME.removed-PROCESS-NUMBER``. A process that is killed leaves them
there. Nothing is removed here unless every file in it is one that a checkpoint has.
"""

from __future__ import annotations

import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from flowrs.errors import CheckpointError, CheckpointIOError, CheckpointNotFoundError

MARKER = "snapshot_done"

#: The user's metadata, at the top of a checkpoint.
METADATA = "flowrs.json"

_HIDDEN = re.compile(
    r"\.(?P<name>.+)\.(?P<work>tmp|removed)-(?P<process>\d+)-[0-9a-f]{16}", re.DOTALL
)
_FILES_OF_VARIABLES = frozenset({"out", "meta"})
_FILES_OF_CHECKPOINTS = frozenset({MARKER, METADATA})

#: The most directories of one name, such as ``a/b/c``.
_MOST_LEVELS = 32

#: A save on another computer, of which nothing but its files is seen here, writes that often.
_SECONDS_OF_SILENCE = 60.0


@dataclass(frozen=True)
class Leftover:
    """A hidden file or directory that a save or removal did not come to the end of.

    Attributes:
        path: where it is.
        name: what it was to become, or was.
        size_in_bytes: the bytes of all files in it.
        reason: why it must not be removed, or None when it may.
    """

    path: Path
    name: str
    size_in_bytes: int
    reason: str | None


def find(folder: Path) -> list[Leftover]:
    """What interrupted saves left in a folder, sorted by name.

    Args:
        folder: where checkpoints are saved.

    Returns:
        All that has a name of the form, with the reason not to remove it if there is one.

    Raises:
        CheckpointIOError: the folder cannot be listed.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise CheckpointIOError(f"cannot list {folder}: {error.strerror}") from error
    return [_look(folder / name, found) for name in names if (found := _HIDDEN.fullmatch(name))]


def _look(path: Path, hidden: re.Match[str]) -> Leftover:
    name = hidden["name"]
    try:
        content = contents(path)
    except OSError as error:
        return Leftover(path, name, 0, f"cannot be read: {error.strerror}")
    return Leftover(path, name, content.size, _reason_to_keep(path, hidden, content))


def _reason_to_keep(path: Path, hidden: re.Match[str], content: Contents) -> str | None:
    if content.foreign is not None:
        return f"holds {content.foreign}, which is no part of a save"
    if _is_running(int(hidden["process"])):
        return f"belongs to process {hidden['process']}, which is running"
    if hidden["work"] == "removed":
        return None
    if time.time() - content.changed < _SECONDS_OF_SILENCE:
        return "was written less than a minute ago"
    target = path.with_name(hidden["name"])
    if (path / MARKER).exists() and not os.path.lexists(target):
        return f"is whole while {target.name} is missing: rename it to that to get it back"
    return None


@dataclass
class Contents:
    """What is in a directory.

    Attributes:
        size: the bytes of all files.
        changed: when a file or directory was last changed, in seconds since 1970.
        foreign: the first that no checkpoint has, or None.
    """

    size: int = 0
    changed: float = 0.0
    foreign: str | None = None


def contents(path: Path) -> Contents:
    """Looks through a checkpoint or a file without following a link.

    Args:
        path: the directory or file.

    Returns:
        What is in it. The search ends at the first foreign file.

    Raises:
        OSError: a directory cannot be listed.
    """
    result = Contents()
    waiting = [(path, os.lstat(path))]
    while waiting and result.foreign is None:
        place, status = waiting.pop()
        result.changed = max(result.changed, status.st_mtime)
        if stat.S_ISDIR(status.st_mode):
            if len(place.parts) - len(path.parts) > _MOST_LEVELS:
                result.foreign = "directories nested too deeply"
                continue
            with os.scandir(place) as entries:
                waiting += [
                    (Path(entry.path), entry.stat(follow_symlinks=False)) for entry in entries
                ]
            continue
        result.size += status.st_size
        allowed = _FILES_OF_VARIABLES
        if place.parent == path:
            allowed = _FILES_OF_CHECKPOINTS | _FILES_OF_VARIABLES
        if not stat.S_ISREG(status.st_mode) or (place != path and place.name not in allowed):
            result.foreign = str(place.relative_to(path)) if place != path else "no regular file"
    return result


def _is_running(process: int) -> bool:
    if os.name != "posix":
        return True  # There, asking would end it.
    if process > 2**31 - 1:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # It belongs to somebody else.
    return True


def remove(path: Path) -> None:
    """Removes a leftover, or a checkpoint.

    A checkpoint is renamed first, so that no half of it is ever seen under its name.

    Args:
        path: the directory or file.

    Raises:
        CheckpointNotFoundError: there is nothing.
        CheckpointError: something in it is no part of a checkpoint; nothing was removed.
        CheckpointIOError: the operating system refused.
    """
    try:
        foreign = contents(path).foreign
        if foreign is not None:
            raise CheckpointError(
                f"{path} holds {foreign}, which is no part of a checkpoint, so it is not removed"
            )
        if path.is_file():
            path.unlink()
            return
        if not _HIDDEN.fullmatch(path.name):
            hidden = f".{path.name[:180]}.removed-{os.getpid()}-{os.urandom(8).hex()}"
            path = path.rename(path.with_name(hidden))
        import shutil  # loads decompressors

        shutil.rmtree(path)
    except FileNotFoundError as error:
        raise CheckpointNotFoundError(f"{path} is not there any more") from error
    except OSError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointIOError(f"cannot remove {path}: {error.strerror}") from error
