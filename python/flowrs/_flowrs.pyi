# Made by `make stubs` from the crate in rust/python: do not edit.

"""
The native part of flowrs.
"""

from _typeshed import Incomplete, SupportsGetItem
from os import PathLike
from pathlib import Path
from typing import Any, SupportsFloat, SupportsIndex, final
from typing_extensions import disjoint_base

__all__ = [
    "Call",
    "CheckpointEntry",
    "GraphBuilder",
    "Mapping",
    "OpenedCheckpoint",
    "Plan",
    "StagedVariables",
    "Variable",
    "assign_variables",
    "build_info",
    "check_entries",
    "edit_checkpoint",
    "isa",
    "load_values",
    "op_names",
    "open_checkpoint",
    "open_variable",
    "save_checkpoint",
    "set_threads",
    "threads",
    "verify_entries",
]

@final
class Call:
    """
    What the calls of a job with one signature run: a plan, its variables, and new arrays for the
    results. It takes arrays as they should be, and leaves all others to its caller.
    """
    def __new__(
        cls,
        /,
        plan: Plan,
        variables: SupportsGetItem[int, Variable],
        results: SupportsGetItem[int, tuple[Any, Any]],
        empty: Any,
        array: type,
    ) -> Call:
        """
        A call of `plan`; each of `results` has the shape and the dtype of one array.
        """
    def new_results(self, /) -> list[Any]:
        """
        New arrays of any content for the results.
        """
    def run(self, /, arguments: Any) -> list[Any] | None:
        """
        Runs the plan over a tuple of arrays and returns the results; None where one is not an array
        of its input's type and shape that can be read in place.
        """

@disjoint_base
class CheckpointEntry:
    """
    One variable of a checkpoint: names and sizes are known, the bytes are not read yet. The base of
    the class that Python shows, which adds no fields: a checkpoint may have a great many of them.
    """
    def __new__(cls, /, opened: OpenedCheckpoint, index: SupportsIndex) -> CheckpointEntry:
        """
        The variable of a number among those that were opened.
        """
    @property
    def _absolute_path(self, /) -> str:
        """
        The same, from the root.
        """
    def _map(self, /, copy_on_write: bool) -> Mapping:
        """
        Maps the file; with `copy_on_write` the memory may be written and the file stays as it is.
        """
    @property
    def _meta(self, /) -> tuple[str, list[int]] | None:
        """
        Element type (as `kFloat`) and shape; None where there is no `meta`.
        """
    @property
    def _opened_from(self, /) -> tuple[Path, bool]:
        """
        The absolute path that was opened, and whether it is the variable's own directory.
        """
    @property
    def _path(self, /) -> str:
        """
        The file that holds the elements.
        """
    def _read(self, /) -> Mapping:
        """
        Reads the file into memory of its own.
        """
    def _read_range(self, /, offset: SupportsIndex, array: Any) -> None:
        """
        Reads the bytes from `offset` on into a C-contiguous array.
        """
    @property
    def _reads(self, /) -> bool:
        """
        Whether bytes are read, and not mapped.
        """
    def _verify(self, /) -> bool:
        """
        Compares the elements with their checksum; False where there is none.
        """
    @property
    def checksum(self, /) -> str | None:
        """
        The XXH3-128 of the elements when they were saved, as 32 hexadecimal digits; None where
        ``meta`` has none.
        """
    @property
    def name(self, /) -> str:
        """
        Name of the variable.
        """
    @property
    def size_in_bytes(self, /) -> int:
        """
        Bytes of the file when the checkpoint was opened.
        """

@final
class GraphBuilder:
    """
    A graph under construction; values are known by their numbers.
    """
    def __new__(cls, /) -> GraphBuilder:
        """
        An empty graph.
        """
    def __str__(self, /) -> str: ...
    def add(
        self,
        /,
        op: str,
        inputs: SupportsGetItem[int, SupportsIndex],
        attributes: SupportsGetItem[
            int,
            tuple[
                str,
                bool
                | SupportsIndex
                | SupportsFloat
                | str
                | SupportsGetItem[int, SupportsIndex]
                | SupportsGetItem[int, SupportsFloat | SupportsIndex],
            ],
        ],
        name: str,
        origin: str,
    ) -> list[int]:
        """
        Adds an operation; returns the numbers of its outputs.
        """
    def compile(
        self,
        /,
        fuse: bool = True,
        convolution_algorithm: str = "auto",
        precision: str = "default",
        side_by_side: bool = True,
    ) -> Plan:
        """
        Plans the graph as it is now, under the settings of `flow.config`.
        """
    def constant(
        self, /, name: str, dtype: str, shape: SupportsGetItem[int, SupportsIndex], array: Any
    ) -> int:
        """
        Adds a constant with the content of a C-contiguous array.
        """
    def fetch(self, /, value: SupportsIndex) -> int:
        """
        Marks a value as one that the caller wants.
        """
    def fill(
        self,
        /,
        name: str,
        dtype: str,
        shape: SupportsGetItem[int, SupportsIndex],
        value: SupportsIndex | SupportsFloat,
    ) -> int:
        """
        Adds a constant that holds one number everywhere.
        """
    def gradients(
        self,
        /,
        losses: SupportsGetItem[int, SupportsIndex],
        wrt: SupportsGetItem[int, SupportsIndex],
    ) -> list[int | None]:
        """
        Adds the nodes that compute the gradient of the sum of all elements of all losses.
        """
    def input(self, /, name: str, dtype: str, shape: SupportsGetItem[int, SupportsIndex]) -> int:
        """
        Adds the caller's next array.
        """
    def type_of(self, /, value: SupportsIndex) -> tuple[str, list[int]]:
        """
        Dtype and shape of a value.
        """
    def variable(self, /, name: str, dtype: str, shape: SupportsGetItem[int, SupportsIndex]) -> int:
        """
        Adds the start value of a variable.
        """

@final
class Mapping:
    """
    The bytes of a file in memory, alive as long as an array looks at them.
    """
    def __len__(self, /) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class OpenedCheckpoint:
    """
    A directory of variables that is open, or a single variable.
    """
    def absolute(self, /, path: str | PathLike[str]) -> Path:
        """
        The absolute form of a path that was relative when the checkpoint was opened.
        """
    def close(self, /) -> None:
        """
        Lets go of the directory; nothing can be opened in it any more.
        """
    @property
    def complete(self, /) -> bool:
        """
        Whether a finished save left its marker.
        """
    @property
    def ignored(self, /) -> list[Path]:
        """
        Links, pipes and other checkpoints below, which were not looked into.
        """
    @property
    def metadata(self, /) -> bytes | None:
        """
        The user's metadata as they are stored.
        """
    @property
    def names(self, /) -> list[str]:
        """
        Names of the variables, in the order of their numbers.
        """
    @property
    def reads(self, /) -> bool:
        """
        Whether bytes are read, and not mapped.
        """
    @property
    def single(self, /) -> bool:
        """
        Whether it is a single variable.
        """

@final
class Plan:
    """
    What runs: steps over one arena, made for concrete shapes.
    """
    def __str__(self, /) -> str: ...
    @property
    def arena_bytes(self, /) -> int:
        """
        Bytes of the memory that all intermediate values share.
        """
    @property
    def inputs(self, /) -> list[tuple[str, list[int]]]:
        """
        Dtype and shape of each input.
        """
    @property
    def live_bytes(self, /) -> int:
        """
        The most bytes of intermediate values that are needed at one time.
        """
    @property
    def outputs(self, /) -> list[tuple[str, list[int]]]:
        """
        Dtype and shape of each fetched value.
        """
    def run(
        self,
        /,
        inputs: SupportsGetItem[int, Any],
        variables: SupportsGetItem[int, Variable],
        outputs: SupportsGetItem[int, Any],
    ) -> None:
        """
        Runs once: reads the inputs, updates the variables, writes the outputs.
        """
    @property
    def variables(self, /) -> list[tuple[str, str, list[int]]]:
        """
        Name, dtype and shape of each variable that a run needs, in the order that `run` takes.
        """

@final
class StagedVariables:
    """
    Copies of variables' values, to be saved while the variables change.
    """
    def __new__(
        cls,
        /,
        variables: SupportsGetItem[
            int,
            tuple[
                str,
                str,
                SupportsGetItem[int, SupportsIndex],
                Variable | CheckpointEntry | tuple[Any, bool],
            ],
        ],
    ) -> StagedVariables:
        """
        Copies all values at one moment.
        """
    def save(self, /, path: str | PathLike[str], options: Incomplete) -> None:
        """
        Saves the copies.
        """

@final
class Variable:
    """
    Named memory that outlives a run.
    """
    def __new__(
        cls, /, name: str, dtype: str, shape: SupportsGetItem[int, SupportsIndex]
    ) -> Variable:
        """
        A variable that holds zeros.
        """
    @property
    def dtype(self, /) -> str:
        """
        Name of the element type.
        """
    @property
    def name(self, /) -> str:
        """
        Full name.
        """
    def read_into(self, /, array: Any) -> None:
        """
        Copies the value into a C-contiguous array of the same size.
        """
    @property
    def shape(self, /) -> list[int]:
        """
        Extent of each dimension.
        """
    @property
    def version(self, /) -> int:
        """
        How often the value was changed.
        """

def assign_variables(values: SupportsGetItem[int, tuple[Variable, Any]]) -> None:
    """
    Gives variables the values of C-contiguous arrays of their sizes, in one step.
    """

def build_info() -> tuple[str, str]:
    """
    Version and kind of this build.
    """

def check_entries(entries: SupportsGetItem[int, CheckpointEntry]) -> None:
    """
    Fails if one of the files is not there any more, or has changed its size.
    """

def edit_checkpoint(
    path: str | PathLike[str],
    variables: SupportsGetItem[
        int,
        tuple[
            str,
            str,
            SupportsGetItem[int, SupportsIndex],
            Variable | CheckpointEntry | tuple[Any, bool],
        ],
    ],
    rename: dict[str, str],
    drop: set[str],
    options: Incomplete,
) -> None:
    """
    Changes a checkpoint: `variables` are added or replace others, `rename` maps old to new names,
    `drop` names those that are left out.
    """

def isa() -> str:
    """
    The instruction set that plans are made for: FLOWRS_ISA, or the best of this CPU.
    """

def load_values(
    values: SupportsGetItem[int, tuple[Variable, CheckpointEntry | Any]], adopt: bool
) -> None:
    """
    Gives variables the values of files and arrays of their sizes, in one step. Files are read into
    the variables' memory; with `adopt` their copy-on-write mapping becomes that memory.
    """

def op_names() -> list[str]:
    """
    Names of all operations that a graph can be built from.
    """

def open_checkpoint(
    path: str | PathLike[str],
    io: str,
    include: SupportsGetItem[int, str] | None,
    exclude: SupportsGetItem[int, str],
) -> OpenedCheckpoint:
    """
    Opens a path: the variables whose names match a pattern of `include`, if there are any, and none
    of `exclude`. `io` is `"auto"`, `"mmap"` or `"read"`.
    """

def open_variable(path: str | PathLike[str], name: str, single: bool, io: str) -> OpenedCheckpoint:
    """
    Opens one variable of a checkpoint, or the variable whose own directory the path is if `single`.
    The directory is not kept open.
    """

def save_checkpoint(
    path: str | PathLike[str],
    variables: SupportsGetItem[
        int,
        tuple[
            str,
            str,
            SupportsGetItem[int, SupportsIndex],
            Variable | CheckpointEntry | tuple[Any, bool],
        ],
    ],
    options: Incomplete,
) -> None:
    """
    Saves variables.
    """

def set_threads(threads: SupportsIndex) -> None:
    """
    Sets the number of threads that steps run on.
    """

def threads() -> int:
    """
    Number of threads that steps run on.
    """

def verify_entries(entries: SupportsGetItem[int, CheckpointEntry]) -> list[tuple[bool, str | None]]:
    """
    For each variable: whether it was compared with a checksum, and what is wrong with it.
    """
