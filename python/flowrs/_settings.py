"""What ``flow.config`` and ``flow.env`` share: checks, and the settings of plans."""

from __future__ import annotations

from typing import NamedTuple

from flowrs.errors import ArgumentTypeError
from flowrs.session import default_session


def may_change() -> bool:
    """Whether settings can still be made; says so where they cannot."""
    if default_session().running:
        print("Nothing happened because the session is running")
        return False
    return True


def check(function: str, kind: type, value: object) -> None:
    """Raises an ArgumentTypeError where a setting's value is not exactly of a type."""
    if type(value) is not kind:
        raise ArgumentTypeError(
            f"{function}: expected {kind.__name__}, found {type(value).__name__}: {value!r}"
        )


class Planning(NamedTuple):
    """What a plan is made under, besides the graph."""

    convolution_algorithm: str = "auto"
    precision: str = "default"


_planning = Planning()


def planning() -> Planning:
    """The settings for the plan of the next call."""
    return _planning


def plan_under(settings: Planning) -> None:
    """Sets what plans are made under from the next call on."""
    global _planning
    _planning = settings
