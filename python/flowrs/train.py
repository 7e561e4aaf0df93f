"""Checkpoints as older scripts ask for them; ``flow.checkpoint`` has the functions behind these."""

from __future__ import annotations

import os
import sys
from datetime import datetime

from flowrs import checkpoint
from flowrs.errors import ArgumentTypeError, CheckpointIOError
from flowrs.session import get_all_variables

_OLD_FASHIONED = """\
WARNING: flow.train.CheckPoint is of older versions; variables have their first values without it
  .save(path)  is now  flow.checkpoint.save(path)
  .load(path)  is now  flow.load_variables(flow.checkpoint.get(path))
"""


class CheckPoint:
    """Saves and loads all variables of the session; it says on standard error what to use instead.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", shape=(2,), initializer=flow.ones_initializer())
        >>> check_point = flow.train.CheckPoint()
        >>> check_point.init()
        >>> check_point.save("./snapshot")
        >>> print(check_point.load("./snapshot"))
        loaded 1 of 1 variables
    """

    def __init__(self) -> None:
        print(_OLD_FASHIONED, end="", file=sys.stderr)

    def init(self) -> None:
        """Leaves the variables as they are: each has the value of its initializer already.

        Raises:
            SessionError: there is no job yet, so there are no variables.
        """
        get_all_variables()

    def save(self, path: checkpoint.Path) -> None:
        """Saves all variables, as ``flow.checkpoint.save`` does.

        Args:
            path: a directory that does not exist, or is empty.

        Raises:
            CheckpointExistsError: the path is a file or a directory that is not empty.
            CheckpointIOError: the operating system refused; nothing is left behind.
        """
        checkpoint.save(path)

    def load(self, path: checkpoint.Path) -> checkpoint.LoadReport:
        """Loads variables, as ``flow.load_variables`` does.

        Args:
            path: the directory of a checkpoint.

        Returns:
            What was loaded, and what was not.

        Raises:
            CheckpointNotFoundError: there is no such directory.
            LoadError: a shape or dtype differs; nothing was loaded.
        """
        return checkpoint.load_variables(checkpoint.get(path))


class SimpleCheckPointManager:
    """Keeps checkpoints of all variables in one folder, named by the time of their saving.

    It never removes one; ``flow.checkpoint.CheckpointManager`` does, as it is told.

    Args:
        root_path: the folder; it is made if it is not there.
        prefix: what the names of the checkpoints begin with.

    Raises:
        ArgumentTypeError: an argument is no text.
        CheckpointIOError: the folder cannot be made.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", shape=(2,), initializer=flow.ones_initializer())
        >>> manager = flow.train.SimpleCheckPointManager("./snapshots")
        >>> manager.initialize_or_restore()
        >>> manager.save()
        >>> len(manager.list_checkpoints())
        2
    """

    def __init__(self, root_path: checkpoint.Path, prefix: str = "snapshot_") -> None:
        if not isinstance(root_path, (str, os.PathLike)) or not isinstance(prefix, str):
            raise ArgumentTypeError(
                "train.SimpleCheckPointManager: expected a path and the beginning of a name, found "
                f"{root_path!r:.80} and {prefix!r:.80}"
            )
        self._root = os.fspath(root_path)
        self._prefix = prefix
        try:
            os.makedirs(self._root, exist_ok=True)
        except OSError as error:
            raise CheckpointIOError(
                f"cannot make the folder {self._root} for checkpoints: {error.strerror}"
            ) from error

    def list_checkpoints(self) -> list[str]:
        """Names of the checkpoints whose saving was finished, the oldest first."""
        try:
            found = os.listdir(self._root)
        except OSError as error:
            raise CheckpointIOError(
                f"cannot list the folder {self._root}: {error.strerror}"
            ) from error
        return sorted(
            name
            for name in found
            if name.startswith(self._prefix)
            and os.path.isfile(os.path.join(self._root, name, "snapshot_done"))
        )

    def latest_checkpoint(self, return_full_path: bool = True) -> str | None:
        """The newest checkpoint whose saving was finished.

        Args:
            return_full_path: False returns the name in the folder alone.

        Returns:
            Its path, or None if there is none.
        """
        names = self.list_checkpoints()
        if not names:
            return None
        return os.path.join(self._root, names[-1]) if return_full_path else names[-1]

    def initialize_or_restore(self) -> None:
        """Loads the newest checkpoint; if there is none, saves the first values as the first."""
        latest = self.latest_checkpoint()
        if latest is None:
            self.save()
        else:
            checkpoint.load_variables(checkpoint.get(latest))

    def save(self) -> None:
        """Saves all variables under a name of the present time."""
        name = datetime.now().strftime(f"{self._prefix}%Y%m%d_%H%M%S_%f")
        checkpoint.save(os.path.join(self._root, name))
