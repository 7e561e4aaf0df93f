"""The roofline: what flowrs reaches, under what the machine could do.

An operation that makes few FLOPs of each byte can be no faster than the bytes come, others no
faster than the multiply-adds. FLOPs are those of the plain formula, bytes those that must be read
and written at least, each once; a point may lie above the roof where an algorithm saves
multiplications, or where the bytes stay in the caches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from harness.case import Case
from harness.measure import REFERENCE, Outcome
from harness.operation import Operation

#: FLOPs for each element of the input, of operations that are no products.
_FLOP_OF_AN_ELEMENT = {
    ("max_pool", "forward"): 0.75,
    ("max_pool", "both"): 2.75,
    ("batch_norm", "both"): 16,
    ("avg_pool", "forward"): 1,
    ("softmax", "forward"): 5,
    ("cross_entropy", "both"): 9,
    ("momentum", "update"): 4,
    ("chain", "forward"): 4,
}


#: Steps of fewer FLOPs are left out: what they cost is the call.
_LEAST_FLOP = 1e6


@dataclass(frozen=True)
class Roof:
    """What the machine can do with so many threads: float32's FLOP/s, and bytes/s of a copy."""

    threads: int
    flops: float
    bandwidth: float

    def at(self, intensity: float) -> float:
        """The most FLOP/s with so many FLOPs a byte."""
        return min(self.flops, self.bandwidth * intensity)


@dataclass(frozen=True)
class Track:
    """Something measured, in one size or in several.

    Attributes:
        kind: "operation", "train" or "infer".
        points: FLOPs a byte, and FLOP/s.
    """

    label: str
    kind: str
    points: tuple[tuple[float, float], ...]


def roof(outcomes: list[Outcome], threads: int) -> Roof | None:
    """The roof, where a copy and the peak were measured."""
    peaks = [rate for outcome in outcomes for rate in outcome.peaks.get(threads, ())]
    copies = [
        part.part.bytes / median(series.seconds)
        for outcome in outcomes
        if outcome.case.is_drawn
        for number, part in enumerate(outcome.case.parts)
        if part.part is not None and part.part.kind == "copy"
        for series in outcome.believed
        if (series.threads, series.part) == (threads, number)
    ]
    return Roof(threads, median(peaks), max(copies)) if peaks and copies else None


def tracks(outcomes: list[Outcome], threads: int) -> list[Track]:
    """What flowrs did with so many threads: each operation, and each model in all its sizes.

    The roof is that of float32, and so are the models.
    """
    found = []
    for outcome in outcomes:
        if not outcome.case.is_drawn:
            continue
        if len({variant.dtype for variant in outcome.case.variants}) > 1:
            continue
        points = []
        for number, part in enumerate(outcome.case.parts):
            series = outcome.find(REFERENCE, threads, number)
            flop = _flop(part) if part.dtype == "float32" else 0
            if series is None or not series.seconds or flop < _LEAST_FLOP:
                continue
            point = (flop / _bytes(part), flop / median(series.seconds))
            if part.part is not None:
                found.append(Track(_operation_label(part.title), "operation", (point,)))
            else:
                points.append((number, point))
        if points:
            label = _model_label(outcome.case, [number for number, _ in points])
            found.append(Track(label, outcome.case.kind, tuple(point for _, point in points)))
    return found


def _operation_label(title: str) -> str:
    """The name without the sizes that tell no two operations apart."""
    name, _, direction = title.partition(": ")
    name = name.split(",")[0]
    return f"{name}: {direction}" if direction else name


def _model_label(case: Case, parts: list[int]) -> str:
    name = case.title.split(":")[0]
    if not case.variants:
        return f"{name}, batch {case.batch}" if case.batch > 1 else name
    names = [case.variants[number].name for number in parts]
    return f"{name}, {names[0]} to {names[-1].split()[-1]}" if len(names) > 1 else name


def _flop(part: Case) -> float:
    if part.part is None or part.flop:
        return part.flop
    operation = part.part
    each = _FLOP_OF_AN_ELEMENT.get((operation.kind, operation.direction), 0)
    return each * math.prod(operation.shape)


def _bytes(part: Case) -> int:
    if part.part is not None:
        return 4 * _elements(part.part)
    weights = sum(math.prod(shape) for shape in part.weights.values())
    batch = part.batch * math.prod(part.sample)
    written = weights if part.kind == "train" else 0
    return (8 if part.dtype == "float64" else 4) * (batch + weights + written)


def _elements(operation: Operation) -> int:
    """What an operation reads and writes at least."""
    x, y = math.prod(operation.shape), math.prod(operation.result_shape)
    weight = math.prod(operation.weight_shape) if operation.kind == "convolution" else 0
    if operation.kind in ("chain", "cross_entropy", "momentum"):
        return operation.bytes // 4
    if operation.direction == "weight_gradient":
        return x + y + 2 * weight
    if operation.direction == "input_update":
        return 2 * x + y + weight
    if operation.direction == "both":
        return 2 * x + y
    return x + y + weight
