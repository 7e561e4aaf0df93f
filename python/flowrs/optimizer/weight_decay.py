"""Weight decay apart from the gradient, and which variables it holds for."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from flowrs.errors import ArgumentError

#: A regular expression, or several.
Patterns = str | Sequence[str] | None


@dataclass(frozen=True)
class WeightDecay:
    """A rate, and the variables that it holds for: all, those that match, or those that do not."""

    rate: float
    patterns: tuple[re.Pattern[str], ...] = ()
    excludes: bool = True

    def of(self, name: str) -> float:
        """The rate for the variable with this full name."""
        matches = any(pattern.search(name) for pattern in self.patterns)
        return 0.0 if matches is self.excludes else self.rate


def decay_of(rule: str, rate: float | None, includes: Patterns, excludes: Patterns) -> WeightDecay:
    """What an optimizer's three arguments mean.

    Raises:
        ArgumentError: both filters are given, one is no regular expression, or the rate is no
            finite number.
    """
    if includes is not None and excludes is not None:
        raise ArgumentError(
            f"{rule}: give weight_decay_includes or weight_decay_excludes, not both"
        )
    if rate is None:
        return WeightDecay(0.0)
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not math.isfinite(rate):
        raise ArgumentError(f"{rule}: weight_decay must be a finite number, not {rate!r}")
    patterns = excludes if includes is None else includes
    texts = [patterns] if isinstance(patterns, str) else list(patterns or ())
    return WeightDecay(
        float(rate), tuple(_compiled(rule, text) for text in texts), excludes=includes is None
    )


def _compiled(rule: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, TypeError) as error:
        raise ArgumentError(f"{rule}: {text!r} is no regular expression: {error}") from error
