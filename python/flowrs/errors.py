"""Every exception that flowrs raises on purpose.

Each class has two bases: :class:`FlowrsError`, to catch whatever flowrs objects to, and the
built-in exception that fits, so that code which never heard of flowrs catches what it expects.
All of them pickle.
"""

from __future__ import annotations


class FlowrsError(Exception):
    """Base of every exception that flowrs raises on purpose."""


class ArgumentError(FlowrsError, ValueError):
    """An argument has a value that the function cannot use."""


class ArgumentTypeError(FlowrsError, TypeError):
    """An argument has the wrong Python type, or the number of arguments is wrong."""


class ShapeError(FlowrsError, ValueError):
    """Shapes do not fit: the message names the operation and all shapes concerned."""


class DTypeError(FlowrsError, TypeError):
    """A dtype is not supported here, or would lose values if it were converted."""


class RangeError(FlowrsError, ValueError):
    """A value met while a job runs is out of range, such as a label that is no class."""


class OutOfMemoryError(FlowrsError, MemoryError):
    """The system has not the memory that is needed."""


class GraphError(FlowrsError, RuntimeError):
    """The job's body cannot be turned into a graph."""


class SessionError(FlowrsError, RuntimeError):
    """The call is not possible in the session's present state."""


class VariableError(FlowrsError, ValueError):
    """Variables disagree or are used in a way that is not possible."""


class UnsupportedError(FlowrsError, NotImplementedError):
    """The API has this, flowrs does not: the message says what to use instead."""


class CheckpointError(FlowrsError, ValueError):
    """A checkpoint is damaged, incomplete, or not what the call needs."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no checkpoint at the given path."""


class CheckpointExistsError(CheckpointError, FileExistsError):
    """Saving would touch something that exists."""


class CheckpointIOError(CheckpointError, OSError):
    """The operating system refused to read or write a checkpoint."""


class LoadError(CheckpointError):
    """Variables could not be loaded; nothing was changed.

    Attributes:
        report: the :class:`flowrs.checkpoint.LoadReport` of the attempt, or None.
    """

    report: object | None

    def __init__(self, message: str, report: object | None = None) -> None:
        """Keeps the report beside the message."""
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[LoadError], tuple[str, object | None]]:
        """Pickles the report too."""
        return type(self), (str(self), self.report)


class DataError(FlowrsError, ValueError):
    """A data set's file is missing, damaged, or not of the expected form."""


class DownloadError(FlowrsError, OSError):
    """A download failed; the message names the address and the places that were searched."""


class UnknownSettingError(FlowrsError, AttributeError):
    """There is no setting of this name."""
