"""Cases: what is measured, read from ``cases/*.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "cases"


class CaseError(ValueError):
    """A case's file does not say what it must."""


@dataclass(frozen=True)
class Layer:
    """A dense layer: ``x @ weight.T + bias``, then a relu if so."""

    kind: str
    name: str
    inputs: int
    outputs: int
    relu: bool = False


@dataclass(frozen=True)
class Tolerance:
    """How far the losses of the steps below ``below_step`` may be from the golden ones."""

    below_step: int
    relative: float


@dataclass(frozen=True)
class Golden:
    """First weights, and the losses that training from them must give."""

    weights: str
    trace: str
    tolerances: tuple[Tolerance, ...]

    @property
    def steps(self) -> int:
        """Number of steps that are compared."""
        return self.tolerances[-1].below_step


@dataclass(frozen=True)
class Case:
    """What is measured, and on which engines unless others are asked for.

    Attributes:
        kind: "train" (a step of training), or "import" (starting the library).
        goal: numbers by name, which the report compares with what was measured.
        round_seconds: how long an engine runs in each round.
    """

    name: str
    kind: str
    title: str
    engines: tuple[str, ...]
    goal: dict[str, float]
    batch: int = 0
    round_seconds: float = 0.0
    rate: float = 0.0
    layers: tuple[Layer, ...] = ()
    golden: Golden | None = None

    @property
    def flop(self) -> int:
        """Floating-point operations of a step's matrix products: two per multiply-add.

        Each layer has one product forward and one for the gradient of its weight; all but the
        first have one for the gradient of their input.
        """
        product = [2 * self.batch * layer.inputs * layer.outputs for layer in self.layers]
        return 3 * sum(product) - product[0] if product else 0


def names() -> list[str]:
    """All cases."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str) -> Case:
    """Reads a case.

    Raises:
        CaseError: there is no such case, or its file is wrong.
    """
    path = FOLDER / f"{name}.toml"
    if not path.is_file():
        raise CaseError(f"there is no case {name!r}; there are: {', '.join(names())}")
    try:
        return parse(name, tomllib.loads(path.read_text()))
    except (TypeError, KeyError, IndexError, AttributeError, tomllib.TOMLDecodeError) as error:
        raise CaseError(f"{path.name}: {type(error).__name__}: {error}") from error


def parse(name: str, table: dict[str, Any]) -> Case:
    """Makes a case of the content of its file; names that no case has are a ``TypeError``."""
    table = dict(table)
    if "golden" in table:
        golden = dict(table["golden"])
        golden["tolerances"] = tuple(Tolerance(**item) for item in golden["tolerances"])
        table["golden"] = Golden(**golden)
    if "optimizer" in table:
        table["rate"] = table.pop("optimizer")["rate"]
    table["layers"] = tuple(Layer(**layer) for layer in table.pop("layers", ()))
    table["engines"] = tuple(table["engines"])
    return Case(name, **table)


def check_losses(golden: Golden, expected: Sequence[float], found: Sequence[float]) -> str | None:
    """Compares the losses of the first steps with the golden ones.

    Returns:
        None where all are within their tolerances, else what the first wrong one was.
    """
    if min(len(expected), len(found)) < golden.steps:
        return f"{len(found)} losses where {golden.steps} are compared"
    for step in range(golden.steps):
        tolerance = next(item for item in golden.tolerances if step < item.below_step)
        difference = abs(found[step] - expected[step]) / abs(expected[step])
        if not difference <= tolerance.relative:
            return (
                f"the loss of step {step} is {found[step]:.9g} and must be {expected[step]:.9g}: "
                f"{difference:.1e} off, allowed are {tolerance.relative:.0e}"
            )
    return None
