"""The session: the jobs that were defined, the variables they share, and their first values."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flowrs._flowrs import Variable, assign_variables
from flowrs.arrays import exported
from flowrs.errors import SessionError, UnsupportedError, VariableError
from flowrs.trace import VariableSpec, active_trace

if TYPE_CHECKING:
    from flowrs.datatype import dtype as DType
    from flowrs.job import Job


class VariableHandle:
    """A variable of the session.

    Attributes:
        name: full name.
        shape: extent of each dimension.
        dtype: element type.
    """

    __slots__ = ("dtype", "name", "native", "shape", "trainable")

    def __init__(self, spec: VariableSpec, native: Variable) -> None:
        self.name = spec.name
        self.shape = spec.shape
        self.dtype: DType = spec.dtype
        self.trainable = spec.trainable
        self.native = native

    def numpy(self, rank: int | None = None) -> npt.NDArray[Any]:
        """A copy of the value as it is now."""
        array = np.empty(self.shape, self.dtype.numpy)
        self.native.read_into(exported(array))
        return array

    def __repr__(self) -> str:
        return f"Variable({self.name}, {self.shape}, {self.dtype})"


class Session:
    """Jobs and variables; nothing runs before the first call that needs values."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.jobs: dict[str, Job] = {}
        self.variables: dict[str, VariableHandle] = {}
        self.specs: dict[str, tuple[VariableSpec, Job]] = {}
        self.running = False

    def define(self, job: Job) -> None:
        """Registers a job under its name.

        Raises:
            SessionError: the session runs already.
        """
        with self.lock:
            if self.running:
                raise SessionError(
                    f"job {job.name} cannot be defined: the session runs already, since a job was "
                    "called or variables were asked for; define all jobs first, or call "
                    "flow.clear_default_session()"
                )
            self.jobs[job.name] = job

    def start(self) -> None:
        """Traces all jobs and gives all variables their first values, once.

        Raises:
            SessionError: no job is defined, or a job's body is running.
        """
        refuse_inside_a_job("variables can only be asked for, loaded or saved")
        with self.lock:
            if self.running:
                return
            if not self.jobs:
                raise SessionError(
                    "no job is defined: decorate a function with @flow.global_function first"
                )
            try:
                for job in self.jobs.values():
                    job.trace(job.declared())
                for spec, _ in self.specs.values():
                    self.variables[spec.name] = _first_value(spec)
            except BaseException:
                self.specs.clear()
                self.variables.clear()
                for job in self.jobs.values():
                    job.forget()
                raise
            self.running = True

    def declare(self, specs: Iterable[VariableSpec], job: Job) -> None:
        """Joins a job's variables with those of the other jobs.

        Raises:
            VariableError: two jobs disagree about a variable, or a job that was traced again
                for other shapes meets a variable that is not there.
        """
        for spec in specs:
            declared = (spec, job)
            if spec.name in self.specs:
                declared = _join(self.specs[spec.name], declared)
            elif self.running:
                raise VariableError(
                    f"job {job.name} creates variable {spec.name} only for some input shapes; "
                    "a job must have the same variables for all of them"
                )
            if not self.running:
                self.specs[spec.name] = declared

    def native(self, names: Iterable[str]) -> list[Variable]:
        """The native variables with these names."""
        return [self.variables[name].native for name in names]


def _join(
    known: tuple[VariableSpec, Job], other: tuple[VariableSpec, Job]
) -> tuple[VariableSpec, Job]:
    """What counts of two jobs' words on a variable: a train job's initializer, either's seed.

    Raises:
        VariableError: they contradict each other.
    """
    (first, first_job), (second, second_job) = known, other
    name = first.name
    if (first.shape, first.dtype) != (second.shape, second.dtype):
        where = "for other input shapes" if first_job is second_job else f"in job {second_job.name}"
        raise VariableError(
            f"variable {name} is {first.dtype} of shape {first.shape} in job {first_job.name}, "
            f"but {second.dtype} of shape {second.shape} {where}"
        )
    seeds = [spec.random_seed for spec in (first, second) if spec.random_seed is not None]
    if len(set(seeds)) > 1:
        raise VariableError(
            f"variable {name} has random_seed {seeds[0]} in job {first_job.name}, "
            f"but {seeds[1]} in job {second_job.name}"
        )
    spec, job = other if second_job.is_train_job and not first_job.is_train_job else known
    return replace(spec, random_seed=seeds[0] if seeds else None), job


def _first_value(spec: VariableSpec) -> VariableHandle:
    seed = spec.random_seed
    if seed is None:
        seed = seed_of_name(spec.name)
    if seed is None:
        seed = int.from_bytes(os.urandom(4), "little")
    try:
        value = spec.initializer.draw(spec.shape, spec.dtype, seed)
    except (ArithmeticError, MemoryError, TypeError, ValueError) as error:
        raise VariableError(
            f"variable {spec.name}: {spec.initializer} cannot draw {spec.dtype} of shape "
            f"{spec.shape}: {error}"
        ) from error
    native = Variable(spec.name, spec.dtype.name, list(spec.shape))
    assign_variables([(native, exported(value))])
    return VariableHandle(spec, native)


_session = Session()
_random_seed: int | None = None


def refuse_inside_a_job(what: str) -> None:
    """Raises a SessionError where a job's body is running, in which there are no values yet."""
    trace = active_trace()
    if trace is not None:
        raise SessionError(
            f"{what} outside of jobs: the body of job {trace.job_name} only describes what is "
            "computed when the job is called"
        )


def default_session() -> Session:
    """The session that jobs are defined in."""
    return _session


def clear_default_session() -> None:
    """Forgets all jobs and variables, so that new ones can be defined.

    Raises:
        SessionError: a job's body is running.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
    """
    global _session
    refuse_inside_a_job("the session can only be cleared")
    _session = Session()


def sync_default_session() -> None:
    """Returns when all jobs that were called have finished.

    Example:
        >>> import flowrs as flow
        >>> flow.sync_default_session()
    """
    with _session.lock:
        pass


def set_random_seed(seed: int | None) -> None:
    """Sets the number that default seeds are derived from; None: each is drawn anew."""
    global _random_seed
    _random_seed = seed


def seed_of_name(name: str) -> int | None:
    """The seed (32 bits) that the session's random seed gives to a full name; None without one."""
    if _random_seed is None:
        return None
    import hashlib  # takes a while to load, and not every program needs it

    digest = hashlib.blake2b(f"{_random_seed}:{name}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def get_all_variables() -> dict[str, VariableHandle]:
    """All variables of all jobs by full name: weights, optimizer state, and steps.

    Raises:
        SessionError: no job is defined.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def job() -> None:
        ...     flow.get_variable("w", shape=(2, 3), initializer=flow.ones_initializer())
        >>> flow.get_all_variables()["w"].numpy().sum()
        np.float32(6.0)
    """
    _session.start()
    return dict(_session.variables)


def unsupported(name: str, instead: str) -> UnsupportedError:
    """The error for a part of the API that is not there."""
    return UnsupportedError(f"{name} is not supported: {instead}")
