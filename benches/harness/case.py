"""Cases: what is measured, read from ``cases/*.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.model import Layer, Placed, Shape, place
from harness.operation import Operation

FOLDER = Path(__file__).resolve().parent.parent / "cases"


class CaseError(ValueError):
    """A case's file does not say what it must."""


@dataclass(frozen=True)
class Tolerance:
    """How far the losses of the steps below ``below_step`` may be from the golden ones."""

    below_step: int
    relative: float


@dataclass(frozen=True)
class Golden:
    """First weights, and the losses that training from them must give.

    Attributes:
        weights: the folder of the golden first weights; "" draws them, and the batches too.
        trace: the golden trace that has the losses.
        losses: the losses, where there is no trace: those of PyTorch in float64, as
            ``run.py --losses`` prints them.
        tolerances: how close a library must come.
    """

    tolerances: tuple[Tolerance, ...]
    weights: str = ""
    trace: str = ""
    losses: tuple[float, ...] = ()

    @property
    def steps(self) -> int:
        """Number of steps that are compared."""
        return self.tolerances[-1].below_step


@dataclass(frozen=True)
class Variant:
    """A model of a case in one of its sizes or types.

    Attributes:
        losses: those of its first steps, as in :class:`Golden`, where there is no trace.
        times_fastest_peer: the goal of this variant, where it has one for itself.
    """

    name: str
    losses: tuple[float, ...] = ()
    batch: int = 0
    dtype: str = "float32"
    times_fastest_peer: float = 0.0


@dataclass(frozen=True)
class Case:
    """What is measured, and on which engines unless others are asked for.

    Attributes:
        kind: "train" (a step of training), "infer" (the logits of a batch), "ops" (operations by
            themselves), "memory" (what training other cases' models takes) or "import" (starting
            the library).
        more_engines: engines that take part when everything is asked for.
        goal: numbers by name, which the report compares with what was measured.
        threads: the numbers of threads that are measured.
        own_threads: further ones, for flowrs alone.
        rounds: how often each engine has its turn.
        round_seconds: how long an engine runs in each round, for each part of the case.
        sample: the shape of one input, without the batch.
        classes: number of classes of the labels.
        variants: the parts of a case that has its model in several sizes or types.
        variant: name of the one that is measured, in a part of such a case.
        ops: the operations of a case of kind "ops".
        part: the one operation that is measured, in a part of such a case.
        models: the cases whose models (and first variants) a case of kind "memory" trains.
        is_drawn: whether it is part of the roofline.
    """

    name: str
    kind: str
    title: str
    engines: tuple[str, ...]
    goal: dict[str, float]
    more_engines: tuple[str, ...] = ()
    threads: tuple[int, ...] = (2,)
    own_threads: tuple[int, ...] = ()
    rounds: int = 9
    batch: int = 0
    round_seconds: float = 0.0
    rate: float = 0.0
    dtype: str = "float32"
    sample: Shape = (1, 28, 28)
    classes: int = 10
    layers: tuple[Layer, ...] = ()
    golden: Golden | None = None
    variants: tuple[Variant, ...] = ()
    variant: str = ""
    ops: tuple[Operation, ...] = ()
    part: Operation | None = None
    models: tuple[str, ...] = ()
    is_drawn: bool = True

    @cached_property
    def placed(self) -> tuple[Placed, ...]:
        """The layers with the shapes between them."""
        return tuple(place(self.layers, self.sample))

    @property
    def weights(self) -> dict[str, Shape]:
        """The shapes of all weights."""
        return {name: shape for placed in self.placed for name, shape in placed.weights.items()}

    @property
    def parts(self) -> tuple[Case, ...]:
        """What is measured apart from each other: operations, variants, or the case as a whole."""
        if self.ops:
            return tuple(replace(self, title=op.name, part=op) for op in self.ops)
        if self.models:
            return tuple(load(name).parts[0] for name in self.models)
        return tuple(map(self._as, self.variants)) or (self,)

    def _as(self, variant: Variant) -> Case:
        assert self.golden is not None
        return replace(
            self,
            title=variant.name,
            batch=variant.batch or self.batch,
            dtype=variant.dtype,
            golden=replace(self.golden, losses=variant.losses),
            variants=(),
            variant=variant.name,
        )

    @property
    def flop(self) -> int:
        """Floating-point operations of a step's products: two per multiply-add of the formula.

        In training, each layer has one product forward and one for the gradient of its weight; all
        but the first have one for the gradient of their input.
        """
        if self.part is not None:
            return self.part.flop
        product = [self.batch * placed.product for placed in self.placed if placed.product]
        if self.kind != "train":
            return sum(product)
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
        case = parse(name, tomllib.loads(path.read_text()))
        assert case.placed is not None  # the layers fit
    except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        raise CaseError(f"{path.name}: {type(error).__name__}: {error}") from error
    return case


def parse(name: str, table: dict[str, Any]) -> Case:
    """Makes a case of the content of its file; names that no case has are a ``TypeError``."""
    table = dict(table)
    if "golden" in table:
        golden = dict(table["golden"])
        golden["tolerances"] = tuple(Tolerance(**item) for item in golden["tolerances"])
        golden["losses"] = tuple(golden.get("losses", ()))
        table["golden"] = Golden(**golden)
    if "optimizer" in table:
        table["rate"] = table.pop("optimizer")["rate"]
    if "sample" in table:
        table["sample"] = tuple(table["sample"])
    for variant in table.get("variants", ()):
        variant["losses"] = tuple(variant.get("losses", ()))
    table["variants"] = tuple(Variant(**variant) for variant in table.get("variants", ()))
    for key in ("threads", "own_threads", "models", "more_engines"):
        if key in table:
            table[key] = tuple(table[key])
    table["layers"] = tuple(Layer(**layer) for layer in table.pop("layers", ()))
    table["ops"] = tuple(Operation.parse(op) for op in table.pop("ops", ()))
    table["engines"] = tuple(table["engines"])
    table.setdefault("goal", {})
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
