"""Symbolic values: what the body of a job computes with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# The module is looked up when an operator is used: flow.math itself is defined on blobs.
import flowrs
from flowrs.errors import UnsupportedError

if TYPE_CHECKING:
    from flowrs.datatype import dtype as DType
    from flowrs.trace import Trace

#: What arithmetic takes beside a blob.
Scalar = int | float


class Blob:
    """A value of a job that has not been computed yet.

    Attributes:
        shape: extent of each dimension.
        dtype: element type.
        op_name: full name of the operation that makes it.
        blob_name: name of this output of the operation.
        is_dynamic: whether the shape was taken from an array that may be smaller than declared.
    """

    __slots__ = ("blob_name", "dtype", "id", "is_dynamic", "op_name", "shape", "trace")

    def __init__(
        self,
        trace: Trace,
        number: int,
        shape: tuple[int, ...],
        dtype: DType,
        op_name: str,
        blob_name: str = "out",
        is_dynamic: bool = False,
    ) -> None:
        self.trace = trace
        self.id = number
        self.shape = shape
        self.dtype = dtype
        self.op_name = op_name
        self.blob_name = blob_name
        self.is_dynamic = is_dynamic

    @property
    def logical_blob_name(self) -> str:
        """The operation's name and the output's, joined by a slash."""
        return f"{self.op_name}/{self.blob_name}"

    #: The same, by the two other names that the API has for it.
    lbi = unique_name = logical_blob_name

    @property
    def job_name(self) -> str:
        """Name of the job that the blob belongs to."""
        return self.trace.job_name

    @property
    def parallel_size(self) -> int:
        """Number of devices that hold the blob: one."""
        return 1

    @property
    def split_axis(self) -> None:
        """The axis that the blob is split along: none."""
        return None

    def with_distribute(self, distribute: object) -> Blob:
        """The blob itself: a placement hint has no effect on one device."""
        return self

    def with_gradient_distribute(self, distribute: object) -> Blob:
        """The blob itself: a placement hint has no effect on one device."""
        return self

    def __repr__(self) -> str:
        shape = ", ".join(map(str, self.shape))
        return f"Blob({self.op_name}, ({shape}), {self.dtype})"

    def __add__(self, other: Blob | Scalar) -> Blob:
        return flowrs.math.add(self, other)

    def __radd__(self, other: Scalar) -> Blob:
        return flowrs.math.add(other, self)

    def __sub__(self, other: Blob | Scalar) -> Blob:
        return flowrs.math.subtract(self, other)

    def __rsub__(self, other: Scalar) -> Blob:
        return flowrs.math.subtract(other, self)

    def __mul__(self, other: Blob | Scalar) -> Blob:
        return flowrs.math.multiply(self, other)

    def __rmul__(self, other: Scalar) -> Blob:
        return flowrs.math.multiply(other, self)

    def __truediv__(self, other: Blob | Scalar) -> Blob:
        return flowrs.math.divide(self, other)

    def __rtruediv__(self, other: Scalar) -> Blob:
        return flowrs.math.divide(other, self)

    def __mod__(self, other: Blob | Scalar) -> Blob:
        return flowrs.math.mod(self, other)

    def __rmod__(self, other: Scalar) -> Blob:
        return flowrs.math.mod(other, self)

    def __lt__(self, other: Blob | Scalar) -> Blob:
        return flowrs.math.less(self, other)

    def __le__(self, other: Blob | Scalar) -> Blob:
        return flowrs.math.less_equal(self, other)

    def __gt__(self, other: Blob | Scalar) -> Blob:
        return flowrs.math.greater(self, other)

    def __ge__(self, other: Blob | Scalar) -> Blob:
        return flowrs.math.greater_equal(self, other)

    # What no blob can be compared with is just not equal to it.
    def __eq__(self, other: object) -> Any:
        if isinstance(other, (Blob, int, float)):
            return flowrs.math.equal(self, other)
        return NotImplemented

    def __ne__(self, other: object) -> Any:
        if isinstance(other, (Blob, int, float)):
            return flowrs.math.not_equal(self, other)
        return NotImplemented

    __hash__ = object.__hash__

    def __array__(self, *_args: Any, **_options: Any) -> Any:
        raise UnsupportedError(
            f"{self!r} has no value while the job is defined: NumPy cannot compute with it; "
            "use the functions of flow.math, or return it from the job"
        )

    #: NumPy arrays leave arithmetic with blobs to the blob.
    __array_ufunc__ = None
