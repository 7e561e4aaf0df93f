"""Schedules: the learning rate as a function of the step.

The rate of a step is computed in double precision from base rates kept in float32, and used in
float32, as in the original. The step counts from 0 and is the value before the call's increment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowrs.blob import Blob
from flowrs.errors import ArgumentError, ArgumentTypeError
from flowrs.optimizer.warmup import Warmup

if TYPE_CHECKING:
    from flowrs.trace import Attribute, Trace


class LearningRateScheduler:
    """The learning rate as a function of the step."""

    def __init__(self, warmup: Warmup | None = None) -> None:
        if warmup is not None and not isinstance(warmup, Warmup):
            raise ArgumentTypeError(
                f"{type(self).__name__}: warmup must be made by flow.optimizer.warmup, "
                f"not {warmup!r}"
            )
        self.warmup = warmup

    def attributes(self) -> dict[str, Attribute]:
        """What the graph is told."""
        raise NotImplementedError

    def build(self, trace: Trace, step: Blob) -> Blob:
        """The rate, float32 of shape ``(1,)``, from the step variable."""
        warmup = {"warmup": "none"} if self.warmup is None else self.warmup.attributes()
        attributes = {**self.attributes(), **warmup}
        name = f"System-Train-LearningRate-{trace.job_name}"
        number = trace.graph.add("learning_rate", [step.id], list(attributes.items()), name, "")[0]
        return trace.blob(number, name)


def _finite(what: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ArgumentError(f"{what} must be a finite number, not {value!r}")
    return float(value)


class PiecewiseConstantScheduler(LearningRateScheduler):
    """``values[i]``, ``i`` the first index where ``step <= boundaries[i]``, else the last value.

    Args:
        boundaries: ascending steps; a boundary belongs to the piece before it.
        values: one more than boundaries; ``([], [0.1])`` is a constant rate.
        warmup: a ramp at the beginning.

    Raises:
        ArgumentError: the numbers of values and boundaries do not fit, or a value is not finite.

    Example:
        >>> import flowrs as flow
        >>> scheduler = flow.optimizer.PiecewiseConstantScheduler([10, 30], [0.1, 0.05, 0.01])
    """

    def __init__(
        self, boundaries: Sequence[int], values: Sequence[float], warmup: Warmup | None = None
    ) -> None:
        super().__init__(warmup)
        self.boundaries = [int(boundary) for boundary in boundaries]
        self.values = [_finite("PiecewiseConstantScheduler: a rate", value) for value in values]
        if len(self.values) != len(self.boundaries) + 1:
            raise ArgumentError(
                f"PiecewiseConstantScheduler: {len(self.boundaries)} boundaries need "
                f"{len(self.boundaries) + 1} values, found {len(self.values)}"
            )
        if sorted(set(self.boundaries)) != self.boundaries:
            raise ArgumentError(
                f"PiecewiseConstantScheduler: boundaries must ascend, found {self.boundaries}"
            )

    def attributes(self) -> dict[str, Attribute]:
        """What the graph is told."""
        return {
            "schedule": "piecewise_constant",
            "boundaries": self.boundaries,
            "values": self.values,
        }


class CosineScheduler(LearningRateScheduler):
    """``base_lr * ((1 - alpha) * (1 + cos(pi * c / steps)) / 2 + alpha)``, c: step, at most steps.

    Args:
        base_lr: the rate at step 0.
        steps: the step from which the rate is ``alpha * base_lr``.
        alpha: what is left at the end, as a share of ``base_lr``.
        warmup: a ramp at the beginning; the decay counts its steps too.

    Raises:
        ArgumentError: a number is not finite, or ``steps`` is not above 0.

    Example:
        >>> import flowrs as flow
        >>> scheduler = flow.optimizer.CosineScheduler(0.1, steps=60)
    """

    def __init__(
        self, base_lr: float, steps: int, alpha: float = 0.0, warmup: Warmup | None = None
    ) -> None:
        super().__init__(warmup)
        self.base_lr = _finite("CosineScheduler: base_lr", base_lr)
        self.alpha = _finite("CosineScheduler: alpha", alpha)
        if type(steps) is not int or steps <= 0:
            raise ArgumentError(f"CosineScheduler: steps must be an int above 0, not {steps!r}")
        self.steps = steps

    def attributes(self) -> dict[str, Attribute]:
        """What the graph is told."""
        return {
            "schedule": "cosine",
            "base": self.base_lr,
            "steps": self.steps,
            "alpha": self.alpha,
        }
