"""Jobs: functions that are traced once for each signature and then run natively."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from flowrs import arrays, datatype, results
from flowrs.blob import Blob
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    GraphError,
    SessionError,
    UnsupportedError,
)
from flowrs.function_config import FunctionConfig
from flowrs.session import Session, default_session
from flowrs.trace import Trace, active_trace
from flowrs.typing import Annotation, Placeholder, parse_parameter, parse_return

Array = npt.NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., Any])

#: Concrete shape of each array that a call passes.
Signature = tuple[tuple[int, ...], ...]


class Compiled:
    """A job for one signature: its plan, its variables, and the form of its result."""

    def __init__(self, trace: Trace, form: results.Form, session: Session) -> None:
        self.graph = trace.graph
        self.plan = trace.graph.compile()
        self.variables = session.native(name for name, _, _ in self.plan.variables)
        self.form = form
        self.counts_calls = trace.call_count is not None
        self.outputs = [
            (tuple(shape), datatype.from_name(name).numpy) for name, shape in self.plan.outputs
        ]

    def run(self, inputs: list[Array]) -> list[Array]:
        """Runs the plan once."""
        outputs = [np.empty(shape, dtype) for shape, dtype in self.outputs]
        self.plan.run(inputs, self.variables, outputs)
        return outputs


class Job:
    """A function of the user's under ``@flow.global_function``."""

    def __init__(
        self, function: Callable[..., Any], is_train_job: bool, config: FunctionConfig
    ) -> None:
        self.function = function
        self.name = function.__name__
        self.is_train_job = is_train_job
        self.config = config
        self.session = default_session()
        signature = _signature(function)
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
        self.calls = 0
        self.default_seeds: dict[str, int] = {}
        self.traced: dict[Signature, tuple[Trace, results.Form]] = {}
        self.compiled: dict[Signature, Compiled] = {}

    def forget(self) -> None:
        """Drops what was traced."""
        self.traced.clear()
        self.compiled.clear()

    def trace_declared(self) -> None:
        """Traces for the declared shapes; a dimension that may differ counts as 1."""
        declared = tuple(
            tuple(1 if extent is None else extent for extent in placeholder.shape)
            for _, placeholder in self.leaves
        )
        self.trace(declared)

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
            if trace.training is not None:
                trace.training.optimizer.build(trace, trace.training)
            elif self.is_train_job:
                raise GraphError(
                    f"job {self.name} is a train job, but its body never calls minimize; "
                    'call it on an optimizer, or define the job with type="predict"'
                )
            for blob in form.blobs:
                if blob.trace is not trace:
                    raise GraphError(
                        f"job {self.name} returns {blob.op_name}, which belongs to "
                        f"another trace: of job {blob.job_name}"
                    )
                trace.graph.fetch(blob.id)
        self.session.declare(trace.specs.values(), self.name)
        self.traced[signature] = (trace, form)
        return trace, form

    def __call__(self, *arguments: Any) -> Any:
        """Feeds the arrays, runs, and gives the result in the annotated form."""
        session = self.session
        if session is not default_session():
            raise SessionError(
                f"job {self.name} belongs to a session that was cleared: define it again"
            )
        if not session.running:
            session.start()
        inputs = self._inputs(arguments)
        signature = tuple([array.shape for array in inputs])
        compiled = self.compiled.get(signature)
        if compiled is None:
            compiled = self._compile(signature)
        if compiled.counts_calls:
            inputs.append(np.array([self.calls], np.int64))
            self.calls += 1
        return compiled.form.build(compiled.run(inputs))

    def _compile(self, signature: Signature) -> Compiled:
        with self.session.lock:
            traced = self.traced.get(signature) or self.trace(signature)
            self.compiled[signature] = Compiled(*traced, self.session)
            return self.compiled[signature]

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


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except NameError as error:
        raise ArgumentError(
            f"job {function.__name__}: an annotation cannot be read: {error}; annotations given as "
            "text can only use names of the module"
        ) from error


def _parameter(parameter: inspect.Parameter, where: str) -> Annotation:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise ArgumentTypeError(f"{where}: a job cannot take *args or **kwargs")
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
    shapes, where a placeholder's dimension is None.

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
        type, function_config = "predict", type
    if type not in ("train", "predict"):
        raise ArgumentError(f'global_function: type must be "train" or "predict", not {type!r}')
    config = FunctionConfig() if function_config is None else function_config.copy()
    is_train_job = type == "train"

    def decorate(function: Function) -> Function:
        if active_trace() is not None:
            raise GraphError(f"job {function.__name__} is defined inside another job's body")
        job = Job(function, is_train_job, config)
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
        return run  # type: ignore[return-value]

    return decorate

