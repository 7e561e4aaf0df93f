"""Jobs: functions that are traced once for each signature and then run natively."""

from __future__ import annotations

import functools
import inspect
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from flowrs import arrays, datatype, results
from flowrs._flowrs import Call
from flowrs._settings import Planning, planning
from flowrs.blob import Blob
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    FlowrsError,
    GraphError,
    SessionError,
    UnsupportedError,
)
from flowrs.function_config import FunctionConfig
from flowrs.optimizer.base import trainable_variables
from flowrs.session import Session, default_session, refuse_inside_a_job
from flowrs.trace import Trace, TrainingRequest, active_trace
from flowrs.typing import Annotation, Placeholder, parse_parameter, parse_return

Array = npt.NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., Any])

#: Concrete shape of each array that a call passes.
Signature = tuple[tuple[int, ...], ...]


class Compiled:
    """A job for one signature and one choice of settings: its plan, variables and result."""

    def __init__(
        self, trace: Trace, form: results.Form, session: Session, settings: Planning
    ) -> None:
        self.graph = trace.graph
        self.plan = trace.graph.compile(
            convolution_algorithm=settings.convolution_algorithm, precision=settings.precision
        )
        self.variables = session.native(name for name, _, _ in self.plan.variables)
        self.form = form
        self.counts_calls = trace.call_count is not None
        self.settings = settings
        outputs = [
            (tuple(shape), datatype.from_name(name).numpy) for name, shape in self.plan.outputs
        ]
        call = Call(self.plan, self.variables, outputs, np.empty, np.ndarray)
        self.call, self.new_results = call.run, call.new_results
        #: Whether ``call`` can do everything: scalars and the number of the call need more.
        self.is_direct = not self.counts_calls and all(shape for shape, _ in outputs)

    def run(self, inputs: list[Array]) -> list[Array]:
        """Runs the plan once."""
        outputs = self.new_results()
        self.plan.run(
            [arrays.exported(array) for array in inputs],
            self.variables,
            [arrays.exported(array) for array in outputs],
        )
        return outputs


class Job:
    """A function of the user's under ``@flow.global_function``."""

    def __init__(
        self,
        function: Callable[..., Any],
        is_train_job: bool,
        config: FunctionConfig,
        names: Mapping[str, Any],
    ) -> None:
        self.function = function
        self.name = function.__name__
        self.is_train_job = is_train_job
        self.config = config
        self.session = default_session()
        signature = _signature(function, names)
        self.parameters = [
            (name, _parameter(parameter, f"job {self.name}, parameter {name}"))
            for name, parameter in signature.parameters.items()
        ]
        self.returns: Annotation | None = None
        if signature.return_annotation is not inspect.Signature.empty:
            self.returns = parse_return(signature.return_annotation, f"job {self.name}")
        self.leaves: list[tuple[str, Placeholder]] = [
            (name, leaf.placeholder)
            for name, annotation in self.parameters
            for leaf in annotation.leaves()
            if leaf.placeholder is not None
        ]
        self.takes_arrays = all(annotation.kind == "Numpy" for _, annotation in self.parameters)
        self.calls = 0
        self.default_seeds: dict[str, int] = {}
        self.traced: dict[Signature, tuple[Trace, results.Form]] = {}
        self.compiled: dict[tuple[Signature, Planning], Compiled] = {}
        #: What the last call ran, if another one may run it without any of the checks again.
        self.latest: Compiled | None = None

    def forget(self) -> None:
        """Drops what was traced."""
        self.latest = None
        self.traced.clear()
        self.compiled.clear()

    def declared(self) -> Signature:
        """The declared shapes, in which a dimension that may differ counts as 1."""
        return tuple(
            tuple(1 if extent is None else extent for extent in placeholder.shape)
            for _, placeholder in self.leaves
        )

    def plan(self) -> str:
        """What a call with the declared shapes runs, as text.

        First the variables; then one line for each step with its name, what it does, and where its
        inputs and outputs lie; which small steps run side by side, a lane each behind a bar; what
        was fused, and which fusions were declined, why; and last how much memory the intermediate
        values take, compared with what is alive at one time.
        """
        self._check_usable()
        settings = planning()
        compiled = self.compiled.get((self.declared(), settings))
        return str((compiled or self._compile(self.declared(), settings)).plan)

    def trace(self, signature: Signature) -> tuple[Trace, results.Form]:
        """Runs the body for arrays of the given shapes."""
        trace = Trace(
            self.name,
            self.is_train_job,
            self.config.initializer,
            default_seeds=self.default_seeds,
        )
        with trace.active():
            returned = self.function(*self._parameters(trace, signature))
            form = results.describe(returned, self.returns, f"job {self.name}")
            if trace.training is None and trace.added_losses:
                optimizer = self.config.train.optimizer(self.name)
                names = trainable_variables()
                trace.training = TrainingRequest(optimizer, trace.added_losses, names)
            if trace.training is not None:
                for loss in trace.training.losses:
                    trace.check_own(loss, f"job {self.name}, minimize")
                trace.training.optimizer.build(trace, trace.training)
            elif self.is_train_job:
                raise GraphError(
                    f"job {self.name} is a train job, but its body never calls minimize; "
                    'call it on an optimizer, or define the job with type="predict"'
                )
            for blob in form.blobs:
                trace.check_own(blob, f"job {self.name}, result")
                trace.graph.fetch(blob.id)
        self.session.declare(trace.specs.values(), self)
        self.traced[signature] = (trace, form)
        return trace, form

    def __call__(self, *arguments: Any) -> Any:
        """Feeds the arrays, runs, and gives the result in the annotated form."""
        latest = self.latest
        if (
            latest is not None
            and latest.settings is planning()
            and self.session is default_session()
            and active_trace() is None
        ):
            found = latest.call(arguments)
            if found is not None:
                return latest.form.build(found)
        return self._call(arguments)

    def _call(self, arguments: tuple[Any, ...]) -> Any:
        """A call with all checks, which may trace and plan."""
        self._check_usable()
        inputs = self._inputs(arguments)
        signature = tuple([array.shape for array in inputs])
        settings = planning()
        compiled = self.compiled.get((signature, settings))
        if compiled is None:
            compiled = self._compile(signature, settings)
        if compiled.counts_calls:
            inputs.append(np.array([self.calls], np.int64))
            self.calls += 1
        self.latest = compiled if self.takes_arrays and compiled.is_direct else None
        return compiled.form.build(compiled.run(inputs))

    def _check_usable(self) -> None:
        """Starts the session, if this job is one that can run in it."""
        refuse_inside_a_job(f"job {self.name} can only be called")
        session = self.session
        if session is not default_session():
            raise SessionError(
                f"job {self.name} belongs to a session that was cleared: define it again"
            )
        if session.jobs[self.name] is not self:
            raise SessionError(
                f"job {self.name} was replaced by another that was defined under its name: give "
                "one of the two functions another name"
            )
        if not session.running:
            session.start()

    def _compile(self, signature: Signature, settings: Planning) -> Compiled:
        with self.session.lock:
            traced = self.traced.get(signature) or self._trace_again(signature)
            compiled = Compiled(*traced, self.session, settings)
            self.compiled[signature, settings] = compiled
            return compiled

    def _trace_again(self, signature: Signature) -> tuple[Trace, results.Form]:
        """Traces for other shapes; what the body draws from ``random`` is drawn from a copy."""
        state = random.getstate()
        try:
            return self.trace(signature)
        finally:
            random.setstate(state)

    def _parameters(self, trace: Trace, signature: Signature) -> list[Any]:
        shapes = iter(signature)

        def blobs(annotation: Annotation) -> Any:
            if annotation.placeholder is None:
                return tuple(blobs(item) for item in annotation.items)
            placeholder = annotation.placeholder
            name, shape = trace.full_name(None, "Input"), next(shapes)
            number = trace.graph.input(name, placeholder.dtype.name, list(shape))
            dynamic = annotation.kind == "ListNumpy"
            return Blob(trace, number, shape, placeholder.dtype, name, is_dynamic=dynamic)

        return [blobs(annotation) for _, annotation in self.parameters]

    def _inputs(self, arguments: Sequence[Any]) -> list[Array]:
        if len(arguments) != len(self.parameters):
            names = ", ".join(name for name, _ in self.parameters) or "none"
            raise ArgumentTypeError(
                f"job {self.name} takes {len(self.parameters)} arguments ({names}), "
                f"found {len(arguments)}"
            )
        inputs: list[Array] = []
        for (name, annotation), argument in zip(self.parameters, arguments, strict=True):
            self._flatten(annotation, argument, name, inputs)
        return inputs

    def _flatten(
        self, annotation: Annotation, argument: Any, name: str, inputs: list[Array]
    ) -> None:
        placeholder = annotation.placeholder
        if annotation.kind == "Numpy" and placeholder is not None:
            if arrays.fits_as_it_is(argument, placeholder):
                inputs.append(argument)
                return
        where = f"job {self.name}, argument {name}"
        if annotation.kind == "Tuple":
            if not isinstance(argument, (list, tuple)) or len(argument) != len(annotation.items):
                raise ArgumentTypeError(
                    f"{where}: expected a tuple of {len(annotation.items)}, found {argument!r:.80}"
                )
            for number, (item, value) in enumerate(zip(annotation.items, argument, strict=True)):
                self._flatten(item, value, f"{name}[{number}]", inputs)
        elif placeholder is None:
            raise ArgumentError(f"{where}: nothing can be passed here")
        elif annotation.kind == "ListNumpy":
            if not isinstance(argument, (list, tuple)) or len(argument) != 1:
                raise ArgumentTypeError(
                    f"{where}: expected a list of one array, since the job runs on one device"
                )
            inputs.append(arrays.up_to_shape(argument[0], placeholder, f"{where}[0]"))
        else:
            inputs.append(arrays.of_shape(argument, placeholder, where))


def _signature(function: Callable[..., Any], names: Mapping[str, Any]) -> inspect.Signature:
    """The signature, in which annotations given as text are evaluated."""
    try:
        return inspect.signature(function, eval_str=True, locals=dict(names))
    except FlowrsError:
        raise
    except Exception as error:
        raise ArgumentError(
            f"job {function.__name__}: an annotation cannot be read: {error}; annotations given as "
            "text can use names of the module, and of the function that defines the job"
        ) from error


def _names_around(function: Callable[..., Any], frame: FrameType) -> Mapping[str, Any]:
    """The local names of the function that defines another, where ``frame`` is that of it."""
    around = f"{frame.f_code.co_qualname}.<locals>."
    return frame.f_locals if function.__qualname__ == around + function.__name__ else {}


def _parameter(parameter: inspect.Parameter, where: str) -> Annotation:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise ArgumentTypeError(f"{where}: a job cannot take *args or **kwargs")
    if parameter.kind == parameter.KEYWORD_ONLY:
        raise ArgumentTypeError(f"{where}: jobs are called with positional arguments only")
    if parameter.annotation is inspect.Parameter.empty:
        raise UnsupportedError(
            f"{where}: all parameters of a job should be annotated, "
            "as in tp.Numpy.Placeholder((100, 10))"
        )
    return parse_parameter(parameter.annotation, where)


def global_function(
    type: str | FunctionConfig = "predict",  # noqa: A002 - the name is OneFlow's
    function_config: FunctionConfig | None = None,
) -> Callable[[Function], Function]:
    """Makes a job of a function: traced once, then run natively at each call.

    The parameters are annotated with the shape and dtype of the arrays that a call passes, the
    result with the form in which the caller wants it (``flowrs.typing``). The body computes with
    blobs; it runs when the first job of the session is called, and again only for inputs of other
    shapes, where a placeholder's dimension is None. The function that comes back has a method
    ``plan()``, which gives what a call runs as text: the steps, what was fused, and the memory.

    Args:
        type: ``"train"`` for a job that calls ``minimize``, ``"predict"`` for one that does not.
        function_config: settings; they are copied.

    Raises:
        ArgumentError: ``type`` is neither.
        UnsupportedError: an annotation is not one of ``flowrs.typing``.
        SessionError: the session runs already.

    Example:
        >>> import numpy as np
        >>> import flowrs as flow
        >>> import flowrs.typing as tp
        >>> flow.clear_default_session()
        >>> @flow.global_function()
        ... def double(x: tp.Numpy.Placeholder((2,))) -> tp.Numpy:
        ...     return x + x
        >>> double(np.array([1, 2], np.float32))
        array([2., 4.], dtype=float32)
    """
    if isinstance(type, FunctionConfig):
        print(
            "WARNING: global_function(config) is deprecated: use "
            'global_function(type="predict", function_config=config)',
            file=sys.stderr,
        )
        trains = type.train.is_given
        function_config, type = type, "train" if trains else "predict"  # noqa: A001
    if type not in ("train", "predict"):
        hint = "; write @flow.global_function() with parentheses" if callable(type) else ""
        raise ArgumentError(
            f'global_function: type must be "train" or "predict", not {type!r}{hint}'
        )
    if not isinstance(function_config, FunctionConfig | None):
        raise ArgumentTypeError(
            f"global_function: expected a flow.FunctionConfig, found {function_config!r}"
        )
    config = FunctionConfig() if function_config is None else function_config.copy()
    is_train_job = type == "train"

    def decorate(function: Function) -> Function:
        if not inspect.isfunction(function):
            raise ArgumentTypeError(f"global_function: a job is a function, not {function!r}")
        refuse_inside_a_job(f"job {function.__name__} can only be defined")
        names = _names_around(function, sys._getframe(1))
        job = Job(function, is_train_job, config, names)
        job.session.define(job)

        @functools.wraps(function)
        def run(*arguments: Any, **keywords: Any) -> Any:
            if keywords:
                raise ArgumentTypeError(
                    f"job {job.name} takes positional arguments only, "
                    f"found {', '.join(keywords)} as keywords"
                )
            return job(*arguments)

        run.job = job  # type: ignore[attr-defined]
        run.plan = job.plan  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return decorate
