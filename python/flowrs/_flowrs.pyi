# Made by `make stubs` from the crate in rust/python: do not edit.

"""
The native part of flowrs.
"""

from _typeshed import SupportsGetItem
from os import PathLike
from pathlib import Path
from typing import Any, SupportsFloat, SupportsIndex, final

__all__ = [
    "CheckpointEntry",
    "GraphBuilder",
    "Mapping",
    "Plan",
    "Variable",
    "assign_variables",
    "build_info",
    "isa",
    "op_names",
    "open_checkpoint",
    "save_checkpoint",
    "set_threads",
    "threads",
]

@final
class CheckpointEntry:
    """
    One variable of a checkpoint: names and sizes are known, the bytes are not read yet.
    """
    @property
    def file_path(self, /) -> Path:
        """
        The file that holds the elements.
        """
    def map(self, /, copy_on_write: bool) -> Mapping:
        """
        Maps the file; with `copy_on_write` the memory may be written and the file stays as it is.
        """
    @property
    def meta(self, /) -> tuple[str, list[int]] | None:
        """
        Element type (as `kFloat`) and shape; None where there is no `meta`.
        """
    @property
    def name(self, /) -> str:
        """
        Name of the variable.
        """
    def read_into(self, /, array: Any) -> None:
        """
        Reads the file into a C-contiguous array of its size.
        """
    @property
    def size(self, /) -> int:
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
    def compile(self, /, fuse: bool = True) -> Plan:
        """
        Plans the graph as it is now.
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

def isa() -> str:
    """
    The instruction set that plans are made for: FLOWRS_ISA, or the best of this CPU.
    """

def op_names() -> list[str]:
    """
    Names of all operations that a graph can be built from.
    """

def open_checkpoint(path: str | PathLike[str]) -> tuple[list[CheckpointEntry], bool, bool]:
    """
    Opens a path: its variables, whether a finished save left its marker, and whether the path is
    the directory of one variable.
    """

def save_checkpoint(
    path: str | PathLike[str],
    variables: SupportsGetItem[
        int, tuple[str, str, SupportsGetItem[int, SupportsIndex], Variable | Any]
    ],
) -> None:
    """
    Saves variables, given as name, element type (as `kFloat`), shape and a `Variable` or a
    C-contiguous little-endian array, sorted by name.
    """

def set_threads(threads: SupportsIndex) -> None:
    """
    Sets the number of threads that steps run on.
    """

def threads() -> int:
    """
    Number of threads that steps run on.
    """
