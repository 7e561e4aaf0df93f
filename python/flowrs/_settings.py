"""Checks that the setters of ``flow.config`` and ``flow.env`` share."""

from __future__ import annotations

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
