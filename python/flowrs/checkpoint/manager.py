"""Keeps the checkpoints of a training run in one folder, and removes those that are superfluous."""

from __future__ import annotations

import json
import math
import operator
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

from flowrs import _leftovers
from flowrs.checkpoint.loading import load_variables
from flowrs.checkpoint.reading import get
from flowrs.checkpoint.saving import PendingSave, save, save_in_background, save_options
from flowrs.checkpoint.values import Value, check_path
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    CheckpointError,
    CheckpointIOError,
    CheckpointNotFoundError,
)

#: Under which key of a checkpoint's metadata the manager keeps what it must know again.
_RECORD = "checkpoint_manager"

_MOST_METADATA = 16 << 20
_DIGITS = 8
_MOST_STEPS = 10**18


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint that a manager has saved.

    Attributes:
        step: the step that was given to ``save``.
        path: its directory.
        metrics: the metrics that were given to ``save``.
        saved: when it was saved, in seconds since 1970.
    """

    step: int
    path: str
    metrics: dict[str, float]
    saved: float


#: Names, since a method of the manager has that of the type.
SavedCheckpoints = list[SavedCheckpoint]
Paths = list[str]


class CheckpointManager:
    """Saves all variables after some steps, and keeps the checkpoints that are asked for.

    What the manager must know again is kept in each checkpoint, so that another one, in another
    process, goes on where this one stopped. A checkpoint is removed only when a newer one is safe
    on the disk, and only if a manager with the same prefix has saved it and nobody has put other
    files into it. The newest one is always kept.

    Args:
        root: the folder of the checkpoints; saving makes it.
        keep_last: how many of the newest to keep.
        keep_best: a metric, "min" or "max", and perhaps how many of the best to keep (1): such as
            ``("loss", "min")`` or ``("accuracy", "max", 3)``. NaN is never the best; of the same
            values, that of the earlier step is better.
        keep_every: keep those whose step is a multiple of this.
        prefix: what the names of the checkpoints begin with; the step follows.

    Without any of ``keep_last``, ``keep_best`` and ``keep_every``, nothing is ever removed; with
    several, a checkpoint is kept if one of them asks for it.

    Raises:
        ArgumentError: an argument has a value that makes no sense.
        ArgumentTypeError: an argument has the wrong type.

    Example:
        >>> import tempfile
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", shape=(2,), initializer=flow.ones_initializer())
        >>> with tempfile.TemporaryDirectory() as root:
        ...     manager = flow.checkpoint.CheckpointManager(
        ...         root, keep_last=1, keep_best=("loss", "min")
        ...     )
        ...     first = manager.restore_or_init()
        ...     for step, loss in enumerate([0.5, 0.2, 0.4, 0.3], first + 1):
        ...         path = manager.save(step, {"loss": loss})
        ...     [saved.step for saved in manager.list()]
        [2, 4]
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        keep_last: int | None = None,
        keep_best: tuple[str, str] | tuple[str, str, int] | None = None,
        keep_every: int | None = None,
        prefix: str = "step_",
    ) -> None:
        self._root = Path(check_path(root, "CheckpointManager"))
        self._keep_last = _count(keep_last, "keep_last")
        self._keep_every = _count(keep_every, "keep_every")
        self._best = _Best.of(keep_best)
        if not isinstance(prefix, str):
            raise ArgumentTypeError(f"CheckpointManager: prefix must be text, not {prefix!r:.80}")
        if not prefix or prefix.startswith(".") or "/" in prefix or "\0" in prefix:
            raise ArgumentError(
                f"CheckpointManager: prefix {prefix!r:.80} cannot begin the name of a directory; "
                'choose something like "step_"'
            )
        self._prefix = prefix
        self._name = re.compile(re.escape(prefix) + r"(\d+)")

    @overload
    def save(
        self,
        step: int,
        metrics: Mapping[str, float] | None = None,
        var_dict: Mapping[str, Value] | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        background: Literal[False] = False,
    ) -> str: ...

    @overload
    def save(
        self,
        step: int,
        metrics: Mapping[str, float] | None = None,
        var_dict: Mapping[str, Value] | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        background: Literal[True],
    ) -> PendingSave: ...

    def save(
        self,
        step: int,
        metrics: Mapping[str, float] | None = None,
        var_dict: Mapping[str, Value] | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        background: bool = False,
    ) -> str | PendingSave:
        """Saves a checkpoint; when it is durable, removes what is superfluous.

        Args:
            step: how many steps have been trained.
            metrics: numbers by name, among them that of ``keep_best``.
            var_dict: what to save, as for ``flow.checkpoint.save``; all variables by default.
            metadata: as for ``flow.checkpoint.save``.
            overwrite: whether to replace the checkpoint of this step, if there is one.
            background: whether the values are only copied now, and the rest is done while the
                program goes on.

        Returns:
            The path of the checkpoint; with ``background``, the save that is going on.

        Raises:
            ArgumentError: the metric of ``keep_best`` is missing, or the step is negative.
            CheckpointExistsError: there is a checkpoint of this step.
            CheckpointIOError: the operating system refused; nothing was removed.
        """
        number = _step(step)
        measured = _metrics(metrics)
        if self._best is not None and self._best.metric not in measured:
            raise ArgumentError(
                f"CheckpointManager.save: keep_best needs the metric {self._best.metric!r}; "
                f"given are {', '.join(measured) or 'none'}"
            )
        record = {
            "prefix": self._prefix,
            "step": number,
            # JSON has no NaN and no infinity.
            "metrics": {
                name: value if math.isfinite(value) else repr(value)
                for name, value in measured.items()
            },
        }
        path = os.fspath(self._root / f"{self._prefix}{number:0{_DIGITS}d}")
        for other in self.list():
            # Its name may have other digits.
            if other.step == number and overwrite:
                path = other.path
        noted = {**(metadata or {}), _RECORD: record}
        if background:
            options = save_options(overwrite=overwrite, metadata=noted)
            return save_in_background(path, var_dict, options, then=self.prune)
        save(path, var_dict, metadata=noted, overwrite=overwrite)
        self.prune()
        return path

    def list(self) -> SavedCheckpoints:
        """The checkpoints that managers with this prefix have saved here, by their steps.

        The folder is looked at anew each time.

        Raises:
            CheckpointIOError: the folder cannot be listed.
        """
        try:
            names = os.listdir(self._root)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointIOError(f"cannot list {self._root}: {error.strerror}") from error
        found = [self._saved(name) for name in names if self._name.fullmatch(name)]
        return sorted(
            (saved for saved in found if saved is not None), key=operator.attrgetter("step", "path")
        )

    def latest(self) -> str | None:
        """The path of the checkpoint with the greatest step, or None if there is none."""
        saved = self.list()
        return saved[-1].path if saved else None

    def best(self) -> str | None:
        """The path of the best checkpoint that is there, or None if none has the metric.

        Raises:
            ArgumentError: the manager does not know what is best, for want of ``keep_best``.
        """
        if self._best is None:
            raise ArgumentError(
                "CheckpointManager.best: which is the best is unknown; make the manager with "
                'keep_best=("loss", "min") or the like'
            )
        ranked = self._best.ranked(self.list())
        return ranked[0].path if ranked else None

    def restore_or_init(self, *, strict: bool = True) -> int:
        """Loads the newest checkpoint; if there is none, variables have their first values.

        Args:
            strict: whether every variable must have a value in the checkpoint, and the other way
                round. Training on with some variables new is seldom what is wanted.

        Returns:
            The step of the checkpoint, or 0 if there is none.

        Raises:
            LoadError: the checkpoint does not fit the variables; nothing was loaded.
            CheckpointError: the checkpoint is damaged.
        """
        saved = self.list()
        if not saved:
            return 0
        load_variables(get(saved[-1].path), strict=strict)
        return saved[-1].step

    def prune(self, *, dry_run: bool = False) -> SavedCheckpoints:
        """Removes the checkpoints that nothing asks to keep; ``save`` does so itself.

        Args:
            dry_run: whether to leave them where they are.

        Returns:
            What was removed, or would be.

        Raises:
            CheckpointIOError: the operating system refused.
        """
        superfluous = self._superfluous()
        if dry_run:
            return superfluous
        removed = []
        for saved in superfluous:
            try:
                _leftovers.remove(Path(saved.path))
            except CheckpointNotFoundError:
                pass  # Another process was quicker.
            except CheckpointIOError:
                raise
            except CheckpointError as error:
                # It is not worth ending a training run.
                warnings.warn(f"a checkpoint is kept: {error}", stacklevel=3)
                continue
            removed.append(saved)
        return removed

    def clean(self) -> Paths:
        """Removes what saves with this prefix left here when their processes were killed.

        Nothing is removed that may still be needed; ``flowrs clean`` tells the reasons.

        Returns:
            The paths of what was removed.

        Raises:
            CheckpointIOError: the operating system refused.
        """
        if not self._root.is_dir():
            return []
        removed = []
        for one in _leftovers.find(self._root):
            if self._name.fullmatch(one.name) and one.reason is None:
                _leftovers.remove(one.path)
                removed.append(os.fspath(one.path))
        return removed

    def _superfluous(self) -> SavedCheckpoints:
        if self._keep_last is None and self._best is None and self._keep_every is None:
            return []
        saved = self.list()
        kept = saved[-(self._keep_last or 1) :]
        if self._best is not None:
            kept = [*kept, *self._best.ranked(saved)[: self._best.count]]
        if self._keep_every is not None:
            kept = [*kept, *(one for one in saved if one.step % self._keep_every == 0)]
        paths = {one.path for one in kept}
        return [one for one in saved if one.path not in paths]

    def _saved(self, name: str) -> SavedCheckpoint | None:
        """The checkpoint of a name, if a manager with this prefix has finished saving it."""
        path = self._root / name
        record = saved_record(path)
        if record is None or record.get("prefix") != self._prefix:
            return None
        step, metrics = record.get("step"), record.get("metrics")
        if type(step) is not int or not isinstance(metrics, dict) or step != self._number(name):
            return None
        try:
            numbers = {str(key): float(value) for key, value in metrics.items()}
            changed = (path / _leftovers.MARKER).stat().st_mtime
        except (OSError, TypeError, ValueError, OverflowError):
            return None
        return SavedCheckpoint(step, os.fspath(path), numbers, changed)

    def _number(self, name: str) -> int | None:
        found = self._name.fullmatch(name)
        return int(found[1]) if found and len(found[1]) <= len(str(_MOST_STEPS)) else None

    def __repr__(self) -> str:
        rules = {
            "keep_last": self._keep_last,
            "keep_best": None if self._best is None else self._best.rule(),
            "keep_every": self._keep_every,
        }
        asked = "".join(f", {name}={value!r}" for name, value in rules.items() if value is not None)
        return f"CheckpointManager({os.fspath(self._root)!r}{asked}, prefix={self._prefix!r})"


def saved_record(path: Path) -> dict[str, Any] | None:
    """What a manager noted in a checkpoint, or None where no manager has saved one."""
    try:
        if not (path / _leftovers.MARKER).is_file() or path.is_symlink():
            return None
        # Non-blocking, since opening a pipe would wait for its other end.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(path / _leftovers.METADATA, flags), "rb") as file:
            metadata = json.loads(file.read(_MOST_METADATA))
    except (OSError, ValueError, RecursionError):
        return None
    record = metadata.get(_RECORD) if isinstance(metadata, dict) else None
    return record if isinstance(record, dict) else None


@dataclass(frozen=True)
class _Best:
    """What makes a checkpoint better than others, and how many of the best to keep."""

    metric: str
    mode: str
    count: int

    @staticmethod
    def of(rule: object) -> _Best | None:
        if rule is None:
            return None
        if not isinstance(rule, (tuple, list)) or len(rule) not in (2, 3):
            raise ArgumentTypeError(
                "CheckpointManager: keep_best must be a metric and a mode such as "
                f'("loss", "min"), not {rule!r:.80}'
            )
        metric, mode, count = rule if len(rule) == 3 else (*rule, 1)
        if not isinstance(metric, str) or mode not in ("min", "max"):
            raise ArgumentError(
                f"CheckpointManager: keep_best={rule!r:.80}: the first is the name of a metric, "
                'the second "min" or "max"'
            )
        number = _count(count, "keep_best")
        assert number is not None
        return _Best(metric, mode, number)

    def ranked(self, saved: SavedCheckpoints) -> SavedCheckpoints:
        """Those that have the metric, the best first."""
        sign = 1 if self.mode == "min" else -1
        usable = [one for one in saved if not math.isnan(one.metrics.get(self.metric, math.nan))]
        return sorted(usable, key=lambda one: (sign * one.metrics[self.metric], one.step))

    def rule(self) -> tuple[str, str] | tuple[str, str, int]:
        """As it was given."""
        pair = (self.metric, self.mode)
        return pair if self.count == 1 else (*pair, self.count)


def _count(value: object, name: str) -> int | None:
    if value is None:
        return None
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ArgumentTypeError(
            f"CheckpointManager: {name} must be a whole number, not {value!r:.80}"
        ) from None
    if number < 1:
        raise ArgumentError(f"CheckpointManager: {name} must be at least 1, not {number}")
    return number


def _step(step: object) -> int:
    try:
        number = operator.index(step)  # type: ignore[arg-type]
    except TypeError:
        raise ArgumentTypeError(
            f"CheckpointManager.save: the step must be a whole number, not {step!r:.80}"
        ) from None
    if not 0 <= number <= _MOST_STEPS:
        raise ArgumentError(f"CheckpointManager.save: {number} is no number of steps")
    return number


def _metrics(metrics: object) -> dict[str, float]:
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping) or not all(isinstance(name, str) for name in metrics):
        raise ArgumentTypeError(
            f"CheckpointManager.save: metrics must be numbers by name, not {metrics!r:.80}"
        )
    found = {}
    for name, value in metrics.items():
        try:
            found[name] = float(value)
        except (TypeError, ValueError, OverflowError):
            raise ArgumentTypeError(
                f"CheckpointManager.save: the metric {name!r:.80} must be one number, not "
                f"{value!r:.80}"
            ) from None
    return found
