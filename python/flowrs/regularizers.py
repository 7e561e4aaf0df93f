"""``flow.regularizers``: pulls of weights towards zero, added to their gradients.

With a regularizer the gradient of a variable ``w`` is ``g + l1 * sign(w) + l2 * w``, where ``g`` is
that of the mean loss; it comes before clipping. The loss that a job returns is not changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flowrs.errors import ArgumentError, ArgumentTypeError

__all__ = ["l1", "l1_l2", "l2"]


@dataclass(frozen=True)
class Regularizer:
    """Weights of the two pulls."""

    l1: float
    l2: float


def _weight(function: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ArgumentError(f"regularizers.{function}: needs a finite number, not {value!r}")
    return float(value)


def check(regularizer: object, what: str) -> Regularizer | None:
    """The regularizer that a user gave, or None.

    Raises:
        ArgumentTypeError: it is something else.
    """
    if regularizer is not None and not isinstance(regularizer, Regularizer):
        raise ArgumentTypeError(
            f"{what}: a regularizer is made by flow.regularizers.l1, l2 or l1_l2, "
            f"not {regularizer!r}"
        )
    return regularizer


def l1(l: float = 0.01) -> Regularizer:  # noqa: E741 - the name is OneFlow's
    """The same pull on all weights that are not 0: ``l * sign(w)``.

    Example:
        >>> import flowrs as flow
        >>> flow.regularizers.l1(0.001)
        Regularizer(l1=0.001, l2=0.0)
    """
    return Regularizer(_weight("l1", l), 0.0)


def l2(l: float = 0.01) -> Regularizer:  # noqa: E741 - the name is OneFlow's
    """A pull that grows with the weight: ``l * w``.

    Example:
        >>> import flowrs as flow
        >>> regularizer = flow.regularizers.l2(0.01)
    """
    return Regularizer(0.0, _weight("l2", l))


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> Regularizer:
    """Both: ``l1 * sign(w) + l2 * w``.

    Example:
        >>> import flowrs as flow
        >>> regularizer = flow.regularizers.l1_l2(0.01, 0.01)
    """
    return Regularizer(_weight("l1_l2", l1), _weight("l1_l2", l2))
