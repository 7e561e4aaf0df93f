"""``flow.optimizer.warmup``: ramps before a schedule begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowrs.errors import ArgumentError

if TYPE_CHECKING:
    from flowrs.trace import Attribute


@dataclass(frozen=True)
class Warmup:
    """A ramp of ``steps`` steps."""

    kind: str
    steps: int
    start: float

    def attributes(self) -> dict[str, Attribute]:
        """What the graph is told."""
        return {"warmup": self.kind, "warmup_steps": self.steps, "warmup_start": self.start}


def linear(steps: int, start_multiplier: float) -> Warmup:
    """The rate grows from ``start_multiplier`` times the base rate to the base rate.

    Args:
        steps: length of the ramp; the schedule counts these steps too.
        start_multiplier: from 0 to below 1.

    Raises:
        ArgumentError: a value is out of range.

    Example:
        >>> import flowrs as flow
        >>> ramp = flow.optimizer.warmup.linear(10, 0.1)
        >>> scheduler = flow.optimizer.CosineScheduler(0.1, 60, warmup=ramp)
    """
    if type(steps) is not int or steps <= 0:
        raise ArgumentError(f"warmup.linear: steps must be an int above 0, not {steps!r}")
    if not 0 <= start_multiplier < 1:
        raise ArgumentError(
            f"warmup.linear: start_multiplier must be from 0 to below 1, not {start_multiplier!r}"
        )
    return Warmup("linear", steps, float(start_multiplier))
