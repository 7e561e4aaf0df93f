"""The update rules. ``g`` is the gradient of the mean loss, ``lr`` the rate of the step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowrs.errors import ArgumentError
from flowrs.optimizer.base import Optimizer, Variables, trainable_variables
from flowrs.optimizer.grad_clipping import ClipByGlobalNorm
from flowrs.optimizer.loss_scale import StaticLossScale
from flowrs.optimizer.schedules import LearningRateScheduler
from flowrs.optimizer.weight_decay import Patterns, WeightDecay, decay_of

if TYPE_CHECKING:
    from flowrs.blob import Blob
    from flowrs.trace import Attribute, Trace, VariableSpec


def _share(rule: str, what: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ArgumentError(f"{rule}: {what} must be from 0 to below 1, not {value!r}")
    return float(value)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum unless it is 0.

    Without momentum ``w -= lr * g``; with it ``v = momentum * v - lr * g; w += v``, where ``v`` is
    the variable ``<name>-momentum``, zero at first. (The rate is inside ``v``.)

    Args:
        lr_scheduler: the rate.
        loss_scale_factor: a factor without effect on results.
        momentum: share of the velocity that is kept; 0 or None: none, and no state.
        grad_clipping: ``flow.optimizer.grad_clipping.by_global_norm(...)`` or None.
        train_step_lbn: must be None.
        loss_scale_policy: ``flow.optimizer.loss_scale.static_loss_scale(...)`` or None.
        variables: full names of the variables to train; by default all trainable ones of the job.

    Raises:
        ArgumentError: a value is out of range.

    Example:
        >>> import flowrs as flow
        >>> rate = flow.optimizer.PiecewiseConstantScheduler([], [0.1])
        >>> optimizer = flow.optimizer.SGD(rate, momentum=0)
    """

    weight_decay = WeightDecay(0.0)

    def __init__(
        self,
        lr_scheduler: LearningRateScheduler,
        loss_scale_factor: float | None = None,
        momentum: float | None = 0.9,
        grad_clipping: ClipByGlobalNorm | None = None,
        train_step_lbn: None = None,
        loss_scale_policy: StaticLossScale | None = None,
        variables: Variables = trainable_variables,
    ) -> None:
        super().__init__(
            lr_scheduler,
            loss_scale_factor,
            grad_clipping,
            train_step_lbn,
            loss_scale_policy,
            variables,
        )
        self.momentum = _share(type(self).__name__, "momentum", momentum or 0.0)

    def update(
        self,
        trace: Trace,
        variable: VariableSpec,
        gradient: Blob,
        scale: float,
        rate: Blob,
        step: Blob,
    ) -> None:
        """Adds the update of one variable."""
        decay = self.weight_decay.of(variable.name)
        attributes: dict[str, Attribute] = {"scale": scale, "weight_decay": decay}
        if self.momentum == 0:
            self.effect(trace, "sgd_update", variable, [gradient, rate], attributes)
            return
        velocity = self.slot(trace, variable, "momentum")
        attributes["beta"] = self.momentum
        self.effect(trace, "momentum_update", variable, [velocity, gradient, rate], attributes)


class SGDW(SGD):
    """:class:`SGD` with decoupled weight decay: updates subtract ``lr * weight_decay * w`` too.

    Args:
        lr_scheduler: the rate.
        loss_scale_factor: a factor without effect on results.
        momentum: share of the velocity that is kept; 0 or None: none, and no state.
        weight_decay: the rate of decay; None: none, and the filters do nothing.
        weight_decay_includes: regular expressions: only variables in whose full name one of them
            is found decay.
        weight_decay_excludes: likewise: only variables in whose name none is found decay.
        grad_clipping: ``flow.optimizer.grad_clipping.by_global_norm(...)`` or None.
        train_step_lbn: must be None.
        loss_scale_policy: ``flow.optimizer.loss_scale.static_loss_scale(...)`` or None.
        variables: full names of the variables to train; by default all trainable ones of the job.

    Raises:
        ArgumentError: a value is out of range, or both filters are given.

    Example:
        >>> import flowrs as flow
        >>> rate = flow.optimizer.PiecewiseConstantScheduler([], [0.1])
        >>> optimizer = flow.optimizer.SGDW(
        ...     rate, weight_decay=1e-4, weight_decay_excludes=["bias$", "-gamma"]
        ... )
    """

    def __init__(
        self,
        lr_scheduler: LearningRateScheduler,
        loss_scale_factor: float | None = None,
        momentum: float | None = 0.9,
        weight_decay: float | None = None,
        weight_decay_includes: Patterns = None,
        weight_decay_excludes: Patterns = None,
        grad_clipping: ClipByGlobalNorm | None = None,
        train_step_lbn: None = None,
        loss_scale_policy: StaticLossScale | None = None,
        variables: Variables = trainable_variables,
    ) -> None:
        super().__init__(
            lr_scheduler,
            loss_scale_factor,
            momentum,
            grad_clipping,
            train_step_lbn,
            loss_scale_policy,
            variables,
        )
        self.weight_decay = decay_of(
            "SGDW", weight_decay, weight_decay_includes, weight_decay_excludes
        )


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), without bias correction unless asked for.

    ``m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g²;
    w -= lr' * m / (sqrt(v) + epsilon)`` with ``lr' = lr``, or
    ``lr * sqrt(1 - beta2^t) / (1 - beta1^t)`` at the t-th step. ``m`` and ``v`` are the variables
    ``<name>-m`` and ``<name>-v``, zero at first.

    Args:
        lr_scheduler: the rate.
        beta1: share of ``m`` that is kept.
        beta2: share of ``v`` that is kept.
        epsilon: keeps the divisor from 0.
        do_bias_correction: whether the rate is corrected for the zeros that the state begins with.
        loss_scale_factor: a factor without effect on results.
        grad_clipping: ``flow.optimizer.grad_clipping.by_global_norm(...)`` or None.
        train_step_lbn: must be None.
        loss_scale_policy: ``flow.optimizer.loss_scale.static_loss_scale(...)`` or None.
        variables: full names of the variables to train; by default all trainable ones of the job.

    Raises:
        ArgumentError: a value is out of range.

    Example:
        >>> import flowrs as flow
        >>> rate = flow.optimizer.PiecewiseConstantScheduler([], [0.001])
        >>> optimizer = flow.optimizer.Adam(rate, do_bias_correction=True)
    """

    weight_decay = WeightDecay(0.0)

    def __init__(
        self,
        lr_scheduler: LearningRateScheduler,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        do_bias_correction: bool = False,
        loss_scale_factor: float | None = None,
        grad_clipping: ClipByGlobalNorm | None = None,
        train_step_lbn: None = None,
        loss_scale_policy: StaticLossScale | None = None,
        variables: Variables = trainable_variables,
    ) -> None:
        super().__init__(
            lr_scheduler,
            loss_scale_factor,
            grad_clipping,
            train_step_lbn,
            loss_scale_policy,
            variables,
        )
        rule = type(self).__name__
        self.beta1 = _share(rule, "beta1", beta1)
        self.beta2 = _share(rule, "beta2", beta2)
        if not epsilon >= 0:
            raise ArgumentError(f"{rule}: epsilon must not be negative, found {epsilon!r}")
        self.epsilon = float(epsilon)
        self.do_bias_correction = bool(do_bias_correction)

    def update(
        self,
        trace: Trace,
        variable: VariableSpec,
        gradient: Blob,
        scale: float,
        rate: Blob,
        step: Blob,
    ) -> None:
        """Adds the update of one variable."""
        mean = self.slot(trace, variable, "m")
        square = self.slot(trace, variable, "v")
        attributes: dict[str, Attribute] = {
            "scale": scale,
            "weight_decay": self.weight_decay.of(variable.name),
            "beta1": self.beta1,
            "beta2": self.beta2,
            "epsilon": self.epsilon,
            "bias_correction": self.do_bias_correction,
        }
        inputs = [mean, square, gradient, rate, step]
        self.effect(trace, "adam_update", variable, inputs, attributes)


class AdamW(Adam):
    """:class:`Adam` with decoupled weight decay: updates subtract ``lr' * weight_decay * w`` too.

    Args:
        lr_scheduler: the rate.
        beta1: share of ``m`` that is kept.
        beta2: share of ``v`` that is kept.
        epsilon: keeps the divisor from 0.
        do_bias_correction: whether the rate is corrected for the zeros that the state begins with.
        loss_scale_factor: a factor without effect on results.
        weight_decay: the rate of decay; None: none, and the filters do nothing.
        weight_decay_includes: regular expressions: only variables in whose full name one of them
            is found decay.
        weight_decay_excludes: likewise: only variables in whose name none is found decay.
        grad_clipping: ``flow.optimizer.grad_clipping.by_global_norm(...)`` or None.
        train_step_lbn: must be None.
        loss_scale_policy: ``flow.optimizer.loss_scale.static_loss_scale(...)`` or None.
        variables: full names of the variables to train; by default all trainable ones of the job.

    Raises:
        ArgumentError: a value is out of range, or both filters are given.

    Example:
        >>> import flowrs as flow
        >>> rate = flow.optimizer.PiecewiseConstantScheduler([], [0.001])
        >>> optimizer = flow.optimizer.AdamW(
        ...     rate, weight_decay=0.01, weight_decay_includes="weight"
        ... )
    """

    def __init__(
        self,
        lr_scheduler: LearningRateScheduler,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        do_bias_correction: bool = False,
        loss_scale_factor: float | None = None,
        weight_decay: float | None = None,
        weight_decay_includes: Patterns = None,
        weight_decay_excludes: Patterns = None,
        grad_clipping: ClipByGlobalNorm | None = None,
        train_step_lbn: None = None,
        loss_scale_policy: StaticLossScale | None = None,
        variables: Variables = trainable_variables,
    ) -> None:
        super().__init__(
            lr_scheduler,
            beta1,
            beta2,
            epsilon,
            do_bias_correction,
            loss_scale_factor,
            grad_clipping,
            train_step_lbn,
            loss_scale_policy,
            variables,
        )
        self.weight_decay = decay_of(
            "AdamW", weight_decay, weight_decay_includes, weight_decay_excludes
        )
