"""What all optimizers share: what ``minimize`` records, and the graph it becomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flowrs.blob import Blob
from flowrs.errors import ArgumentError, ArgumentTypeError, GraphError, UnsupportedError
from flowrs.initializers import zeros_initializer
from flowrs.optimizer.grad_clipping import ClipByGlobalNorm
from flowrs.optimizer.loss_scale import StaticLossScale, static_loss_scale
from flowrs.optimizer.schedules import LearningRateScheduler
from flowrs.trace import Attribute, Trace, TrainingRequest, VariableSpec, active_trace

#: Names of the variables to train, or a function that gives them.
Variables = Sequence[str] | Callable[[], Sequence[str]]


def trainable_variables() -> list[str]:
    """Full names of the current job's trainable variables."""
    trace = active_trace()
    if trace is None:
        return []
    return [spec.name for spec in trace.specs.values() if spec.trainable]


@dataclass
class Gradient:
    """The gradient of a variable is ``scale`` times ``blob``."""

    variable: VariableSpec
    blob: Blob
    scale: float


class Optimizer:
    """An update rule; ``minimize`` makes a train job of the job whose body calls it."""

    def __init__(
        self,
        lr_scheduler: LearningRateScheduler,
        loss_scale_factor: float | None = None,
        grad_clipping: ClipByGlobalNorm | None = None,
        train_step_lbn: None = None,
        loss_scale_policy: StaticLossScale | None = None,
        variables: Variables = trainable_variables,
    ) -> None:
        rule = type(self).__name__
        if not isinstance(lr_scheduler, LearningRateScheduler):
            raise ArgumentTypeError(
                f"{rule}: lr_scheduler must be a scheduler such as "
                f"PiecewiseConstantScheduler([], [0.1]), not {lr_scheduler!r}"
            )
        if loss_scale_factor is not None and loss_scale_policy is not None:
            raise ArgumentError(f"{rule}: give loss_scale_factor or loss_scale_policy, not both")
        if grad_clipping is not None and not isinstance(grad_clipping, ClipByGlobalNorm):
            raise ArgumentTypeError(
                f"{rule}: grad_clipping is made by flow.optimizer.grad_clipping.by_global_norm, "
                f"not {grad_clipping!r}"
            )
        if train_step_lbn is not None:
            raise UnsupportedError(f"{rule}: train_step_lbn is not supported: steps are counted")
        if loss_scale_factor is not None:
            # A fixed scale cancels out: it is checked, and has no further effect.
            static_loss_scale(loss_scale_factor)
        elif loss_scale_policy is not None and not isinstance(loss_scale_policy, StaticLossScale):
            raise ArgumentTypeError(
                f"{rule}: loss_scale_policy must be static_loss_scale(...), "
                f"not {loss_scale_policy!r}"
            )
        self.lr_scheduler = lr_scheduler
        self.grad_clipping = grad_clipping
        self.variables = variables

    def minimize(self, loss: Blob | Sequence[Blob]) -> None:
        """Trains the job's variables on the mean of a loss.

        The gradient is that of the sum of all elements of all losses, divided by the number of
        elements of one of them: a loss of shape ``(batch,)`` trains on the mean over the batch.
        The variables of the job at this point are trained, not those that come later. A second
        call replaces the first.

        Args:
            loss: a blob, or several of the same shape and dtype.

        Raises:
            GraphError: no train job's body is running, or the losses do not fit together.
        """
        trace = active_trace()
        if trace is None:
            raise GraphError("minimize can only be called inside a Job Function")
        if not trace.is_train_job:
            raise GraphError(
                f"job {trace.job_name} is a predict job and cannot call minimize: "
                'define it with @flow.global_function(type="train")'
            )
        losses = [loss] if isinstance(loss, Blob) else list(loss)
        if not losses or not all(isinstance(blob, Blob) for blob in losses):
            raise ArgumentTypeError(f"minimize: expected a blob or a list of blobs, found {loss!r}")
        first = losses[0]
        for other in losses[1:]:
            if (other.shape, other.dtype) != (first.shape, first.dtype):
                raise GraphError(
                    "minimize: all losses must have one shape and dtype, found "
                    f"{first!r} and {other!r}"
                )
        names = self.variables() if callable(self.variables) else self.variables
        trace.training = TrainingRequest(self, losses, list(names))

    def build(self, trace: Trace, request: TrainingRequest) -> None:
        """Adds gradients and updates to the graph of a trace whose body has ended.

        A gradient is summed over its paths, averaged, regularized and clipped, in this order.
        """
        step = trace.step()
        rate = self.lr_scheduler.build(trace, step)
        trained = [name for name in request.variables if self._is_trained(trace, name)]
        gradients = trace.graph.gradients(
            [loss.id for loss in request.losses], [trace.blobs[name].id for name in trained]
        )
        loss = request.losses[0]
        count = loss.shape[0] if loss.is_dynamic else math.prod(loss.shape)
        prepared = [
            _regularized(trace, trace.specs[name], trace.blob(number, f"{name}-gradient"), count)
            for name, number in zip(trained, gradients, strict=True)
            if number is not None
        ]
        if self.grad_clipping is not None and prepared:
            self.grad_clipping.apply(trace, prepared)
        for gradient in prepared:
            self.update(trace, gradient.variable, gradient.blob, gradient.scale, rate, step)
        _effect(trace, "step_increment", [step], {}, f"{step.op_name}-increment")

    def update(
        self,
        trace: Trace,
        variable: VariableSpec,
        gradient: Blob,
        scale: float,
        rate: Blob,
        step: Blob,
    ) -> None:
        """Adds the update of one variable by ``scale`` times ``gradient``."""
        raise NotImplementedError

    @staticmethod
    def _is_trained(trace: Trace, name: str) -> bool:
        return name in trace.specs and trace.specs[name].trainable

    @staticmethod
    def slot(trace: Trace, variable: VariableSpec, suffix: str) -> Blob:
        """A variable for the optimizer's state beside ``variable``, zero at first."""
        name = f"{variable.name}-{suffix}"
        zeros = zeros_initializer(variable.dtype)
        return trace.variable(
            VariableSpec(name, variable.shape, variable.dtype, zeros, trainable=False)
        )

    @staticmethod
    def effect(
        trace: Trace,
        op: str,
        variable: VariableSpec,
        inputs: Sequence[Blob],
        attributes: dict[str, Attribute],
    ) -> None:
        """Adds an update, whose first input is ``variable``."""
        name = f"System-Train-Update-{variable.name}"
        _effect(trace, op, [trace.blobs[variable.name], *inputs], attributes, name)


def _regularized(trace: Trace, variable: VariableSpec, gradient: Blob, count: int) -> Gradient:
    """The gradient of the mean over ``count`` elements, and the pull of the regularizer."""
    if variable.regularizer is None:
        return Gradient(variable, gradient, 1.0 / count)
    attributes: dict[str, Attribute] = {
        "scale": 1.0 / count,
        "l1": variable.regularizer.l1,
        "l2": variable.regularizer.l2,
    }
    inputs = [gradient, trace.blobs[variable.name]]
    name = f"System-Train-Regularize-{variable.name}"
    pulled = trace.apply_named("regularized_gradient", inputs, attributes, name)[0]
    return Gradient(variable, pulled, 1.0)


def _effect(
    trace: Trace, op: str, inputs: Sequence[Blob], attributes: dict[str, Attribute], name: str
) -> None:
    trace.graph.add(op, [blob.id for blob in inputs], list(attributes.items()), name, "")
