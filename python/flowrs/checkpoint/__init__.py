"""Checkpoints: variables on a disk, in the directory format of OneFlow.

``save`` writes a directory whole or not at all, ``get`` opens one without reading it, and
``load_variables`` gives the values to the session's variables, all or none of them. ``update``,
``rename`` and ``drop`` change a checkpoint in one step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowrs.checkpoint.blob import FileBackendVariableBlob
from flowrs.checkpoint.loading import LoadReport, Mismatch, load_variables, reset_step
from flowrs.checkpoint.reading import Checkpoint, VerifyReport, get
from flowrs.checkpoint.saving import PendingSave, drop, rename, save, update
from flowrs.checkpoint.values import Path, Value

if TYPE_CHECKING:
    from flowrs.checkpoint.manager import CheckpointManager, SavedCheckpoint


def __getattr__(name: str) -> Any:
    """Imports the manager when it is first asked for: jobs do not need it."""
    if name in ("CheckpointManager", "SavedCheckpoint"):
        from flowrs.checkpoint import manager

        return getattr(manager, name)
    raise AttributeError(f"module 'flowrs.checkpoint' has no attribute {name!r}")


__all__ = [
    "Checkpoint",
    "CheckpointManager",
    "FileBackendVariableBlob",
    "LoadReport",
    "Mismatch",
    "Path",
    "PendingSave",
    "SavedCheckpoint",
    "Value",
    "VerifyReport",
    "drop",
    "get",
    "load_variables",
    "rename",
    "reset_step",
    "save",
    "update",
]
