"""Tracing: the body of a job runs once with symbolic values and leaves a graph behind."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from flowrs import datatype
from flowrs._flowrs import GraphBuilder
from flowrs.blob import Blob
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    GraphError,
    SessionError,
    VariableError,
)
from flowrs.initializers import Initializer, constant_initializer

if TYPE_CHECKING:
    from flowrs.datatype import dtype as DType
    from flowrs.optimizer import Optimizer
    from flowrs.regularizers import Regularizer

#: What an attribute of an operation may be.
Attribute = bool | int | float | str | Sequence[int] | Sequence[float]

#: The file of a checkpoint that no variable can have the name of.
MARKER = "snapshot_done"

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_state = threading.local()


@dataclass(frozen=True)
class VariableSpec:
    """What a job says of a variable."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    initializer: Initializer
    trainable: bool = True
    random_seed: int | None = None
    regularizer: Regularizer | None = None


@dataclass
class TrainingRequest:
    """What ``minimize`` was asked for."""

    optimizer: Optimizer
    losses: list[Blob]
    variables: list[str]


@dataclass
class Trace:
    """One run of a job's body: the graph so far, and the names given."""

    job_name: str
    is_train_job: bool
    default_initializer: Initializer | None = None
    graph: GraphBuilder = field(default_factory=GraphBuilder)
    namespaces: list[str] = field(default_factory=list)
    specs: dict[str, VariableSpec] = field(default_factory=dict)
    blobs: dict[str, Blob] = field(default_factory=dict)
    training: TrainingRequest | None = None
    added_losses: list[Blob] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    default_seeds: dict[str, int] = field(default_factory=dict)
    call_count: Blob | None = None

    def full_name(self, name: str | None, prefix: str) -> str:
        """The name within the namespaces; without one, ``prefix`` and a number."""
        if name is None:
            name = self.short_name(prefix)
        if not isinstance(name, str) or not name:
            raise ArgumentTypeError(f"{prefix}: the name must be text, not {name!r}")
        return "-".join([*self.namespaces, name])

    def short_name(self, prefix: str) -> str:
        """``prefix`` and the next number, for what the user gave no name."""
        number = self.counters.get(prefix, 0)
        self.counters[prefix] = number + 1
        return f"{prefix}_{number}"

    def apply(
        self,
        op: str,
        inputs: Sequence[Blob],
        attributes: Mapping[str, Attribute] | None = None,
        *,
        name: str | None = None,
        prefix: str,
    ) -> list[Blob]:
        """Adds an operation and returns its outputs."""
        return self.apply_named(op, inputs, attributes, self.full_name(name, prefix))

    def apply_named(
        self,
        op: str,
        inputs: Sequence[Blob],
        attributes: Mapping[str, Attribute] | None,
        full_name: str,
    ) -> list[Blob]:
        """Adds an operation whose full name is known."""
        for blob in inputs:
            if not isinstance(blob, Blob):
                raise GraphError(f"{op}: expected a blob, found {type(blob).__name__}: {blob!r}")
            self.check_own(blob, op)
        numbers = [blob.id for blob in inputs]
        described = list((attributes or {}).items())
        outputs = self.graph.add(op, numbers, described, full_name, users_line())
        dynamic = any(blob.is_dynamic for blob in inputs)
        return [self.blob(number, full_name, dynamic) for number in outputs]

    def check_own(self, blob: Blob, what: str) -> None:
        """Raises a GraphError where a blob was made by another body, or by an earlier run of it."""
        if blob.trace is self:
            return
        same = blob.job_name == self.job_name
        whose = "an earlier run of the body" if same else f"job {blob.job_name}"
        raise GraphError(
            f"{what}: {blob.op_name} belongs to {whose}, and job {self.job_name} can only use "
            "what its own body makes; jobs share variables, by their names"
        )

    def blob(self, number: int, op_name: str, is_dynamic: bool = False) -> Blob:
        """The blob for a value of the graph."""
        name, shape = self.graph.type_of(number)
        return Blob(
            self, number, tuple(shape), datatype.from_name(name), op_name, is_dynamic=is_dynamic
        )

    def constant(
        self, value: float | int, dtype: DType, shape: tuple[int, ...], name: str | None = None
    ) -> Blob:
        """A blob that holds one number everywhere.

        Raises:
            ArgumentError: the dtype does not hold the number.
        """
        full = self.full_name(name, "Constant")
        try:
            number = float(value) if dtype.is_floating_point else int(value)
            fits = dtype.is_floating_point or number == np.array(number, dtype.numpy)
        except (OverflowError, ValueError):
            fits = False
        if not fits:
            raise ArgumentError(f"{full}: {value!r:.60} is no value of {dtype}")
        return self.blob(self.graph.fill(full, dtype.name, list(shape), number), full)

    def variable(self, spec: VariableSpec) -> Blob:
        """The blob of a variable, which is added if the job has not used it yet.

        Raises:
            ArgumentError: a checkpoint could not hold a variable of this name.
            VariableError: the job has another variable of this name.
        """
        if spec.name in self.blobs:
            known = self.specs[spec.name]
            if (known.shape, known.dtype) != (spec.shape, spec.dtype):
                raise VariableError(
                    f"variable {spec.name} is {known.dtype} of shape {known.shape} in job "
                    f"{self.job_name} and cannot also be {spec.dtype} of shape {spec.shape}"
                )
            return self.blobs[spec.name]
        _check_storable(spec.name)
        number = self.graph.variable(spec.name, spec.dtype.name, list(spec.shape))
        blob = Blob(self, number, spec.shape, spec.dtype, spec.name)
        self.specs[spec.name] = spec
        self.blobs[spec.name] = blob
        return blob

    def step(self) -> Blob:
        """The job's step variable: how many calls have trained, before this one."""
        zeros = constant_initializer(0, datatype.int64)
        name = f"System-Train-TrainStep-{self.job_name}"
        return self.variable(VariableSpec(name, (1,), datatype.int64, zeros, trainable=False))

    def count(self) -> Blob:
        """What random values follow from: the step of a train job, or the number of the call."""
        if self.is_train_job:
            return self.step()
        if self.call_count is None:
            name = "System-CallCount"
            number = self.graph.input(name, datatype.int64.name, [1])
            self.call_count = Blob(self, number, (1,), datatype.int64, name)
        return self.call_count

    @contextmanager
    def active(self) -> Iterator[None]:
        """Makes this the trace that functions of the API add to."""
        outer = getattr(_state, "trace", None)
        _state.trace = self
        try:
            yield
        finally:
            _state.trace = outer


def _check_storable(name: str) -> None:
    """A checkpoint has a directory of each variable's name: say now, not when a run is saved."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if "/" in name or "\0" in name or name in (".", "..", MARKER) or not 0 < size <= 255:
        raise ArgumentError(
            f"variable {name!r:.300}: no checkpoint could hold it: a name has from 1 to 255 bytes "
            f"without '/' and NUL, and is not '.', '..' or {MARKER!r}"
        )


def active_trace() -> Trace | None:
    """The trace of the job whose body is running, if one is."""
    return getattr(_state, "trace", None)


def current_trace(function: str) -> Trace:
    """The trace of the job whose body is running.

    Raises:
        SessionError: no job's body is running.
    """
    trace = active_trace()
    if trace is None:
        raise SessionError(
            f"flow.{function} can only be called inside a job: "
            "a function decorated with @flow.global_function"
        )
    return trace


def users_line() -> str:
    """File and line of the caller outside flowrs."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
