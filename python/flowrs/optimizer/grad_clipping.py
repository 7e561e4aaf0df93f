"""``flow.optimizer.grad_clipping``: gradients made shorter before the update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowrs import datatype
from flowrs.errors import ArgumentError

if TYPE_CHECKING:
    from flowrs.blob import Blob
    from flowrs.optimizer.base import Gradient
    from flowrs.trace import Attribute, Trace


@dataclass(frozen=True)
class ClipByGlobalNorm:
    """The longest that all gradients together may be."""

    clip_norm: float

    def apply(self, trace: Trace, gradients: Sequence[Gradient]) -> None:
        """Puts clipped gradients in the place of those of an optimizer's variables."""
        factor = self._factor(trace, gradients)
        factors = {factor.dtype: factor}
        for gradient in gradients:
            dtype = gradient.blob.dtype
            if dtype not in factors:
                factors[dtype] = _cast(trace, factor, dtype, "factor")
            inputs = [gradient.blob, factors[dtype]]
            gradient.blob = _add(trace, "multiply", inputs, f"{gradient.variable.name}-clipped")

    def _factor(self, trace: Trace, gradients: Sequence[Gradient]) -> Blob:
        """``min(1, clip_norm / n)``, in float64 if a gradient is, with ``n`` the norm of all."""
        wide = any(gradient.blob.dtype is datatype.float64 for gradient in gradients)
        dtype = datatype.float64 if wide else datatype.float32
        squares = [_squared_norm(trace, gradient, dtype) for gradient in gradients]
        total = squares[0] if len(squares) == 1 else _add(trace, "add_n", squares, "squared_norm")
        return _add(trace, "clip_factor", [total], "factor", {"clip_norm": self.clip_norm})


def by_global_norm(clip_norm: float) -> ClipByGlobalNorm:
    """Scales the gradients of an optimizer's variables together, so that their norm is limited.

    With ``n`` the root of the sum of the squares of all elements of all gradients, each gradient is
    multiplied by ``clip_norm / n`` where ``n`` is above ``clip_norm``, and left alone otherwise.
    That is the rule of OneFlow's documentation. Its program multiplies by
    ``min(1 / n, 1 / clip_norm)``, which is the same for a ``clip_norm`` of 1 only.

    Args:
        clip_norm: the greatest norm, above 0.

    Raises:
        ArgumentError: ``clip_norm`` is not finite and above 0.

    Example:
        >>> import flowrs as flow
        >>> rate = flow.optimizer.PiecewiseConstantScheduler([], [0.1])
        >>> clipping = flow.optimizer.grad_clipping.by_global_norm(1.0)
        >>> optimizer = flow.optimizer.SGD(rate, grad_clipping=clipping)
    """
    if isinstance(clip_norm, bool) or not isinstance(clip_norm, (int, float)):
        raise ArgumentError(f"by_global_norm: clip_norm must be a number, not {clip_norm!r}")
    if not (math.isfinite(clip_norm) and clip_norm > 0):
        raise ArgumentError(
            f"by_global_norm: clip_norm must be finite and above 0, not {clip_norm!r}"
        )
    return ClipByGlobalNorm(float(clip_norm))


def _squared_norm(trace: Trace, gradient: Gradient, dtype: datatype.dtype) -> Blob:
    name = gradient.variable.name
    square = _add(trace, "square", [gradient.blob], f"{name}-squares")
    axes: dict[str, Attribute] = {"axes": list(range(len(square.shape))), "keepdims": False}
    total = _add(trace, "reduce_sum", [square], f"{name}-sum", axes)
    total = _cast(trace, total, dtype, f"{name}-cast")
    scale = trace.constant(gradient.scale**2, dtype, (1,))
    return _add(trace, "multiply", [total, scale], f"{name}-squared_norm")


def _cast(trace: Trace, blob: Blob, dtype: datatype.dtype, what: str) -> Blob:
    if blob.dtype is dtype:
        return blob
    return _add(trace, "cast", [blob], f"{what}-{dtype.name}", {"dtype": dtype.name})


def _add(
    trace: Trace,
    op: str,
    inputs: Sequence[Blob],
    what: str,
    attributes: dict[str, Attribute] | None = None,
) -> Blob:
    return trace.apply_named(op, inputs, attributes, f"System-Train-Clip-{what}")[0]
