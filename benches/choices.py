#!/usr/bin/env python3
"""Whether flowrs chooses the fastest algorithm for convolutions, shape by shape.

The shapes are those of the convolutions of LeNet, ResNet-18, VGG-11 and AlexNet, with few images
and with many. Each pass over each of them is a job of its own, timed under every algorithm that
computes it and is exact enough for the default precision; the algorithms take turns, and the least
time counts. Values have their channels last, as they have between layers, and nothing but a corner
of the result is fetched. A weight's gradient is followed by its update, as in training. It takes
some three minutes on two cores.

Examples:
  choices.py                              all shapes
  choices.py --case lenet_train           those of a case
  choices.py --batch 32 --threads 1
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from harness import case
from harness.report import Rows, text_table

import flowrs as flow
import flowrs.typing as tp
from flowrs.blob import Blob

Array = npt.NDArray[Any]

CASES = ("lenet_train", "resnet18_train", "vgg11_train", "alexnet_train")
BATCHES = (1, 32, 128)
FORWARD, TO_INPUT, TO_WEIGHT = PASSES = ("forward", "to input", "to weight")

#: Settings that reach each algorithm which is exact enough by default. Where one does not apply,
#: another runs, which the plan names.
AUTO = ("auto", "default")
SETTINGS = (
    *(AUTO, ("direct", "default"), ("im2col", "default")),
    *(("winograd", "default"), ("winograd", "strict")),
)
ALGORITHMS = ("direct", "winograd6", "winograd8", "im2col", "depthwise")

#: By what share a choice may be slower than the best.
LIMIT = 0.15

#: Seconds of a turn of an algorithm, and of all its turns, of which there are some at least.
TURN, SECONDS, TURNS = 0.01, 0.1, 3


@dataclass(frozen=True)
class Convolution:
    """A convolution with square windows, padded by half their size.

    Attributes:
        edge: of the input.
        first: whether its input are the images, which no gradient reaches.
    """

    inputs: int
    outputs: int
    size: int
    stride: int
    edge: int
    first: bool
    batch: int

    def __str__(self) -> str:
        stride = f" stride {self.stride}" if self.stride > 1 else ""
        channels = f"{self.inputs}-{self.outputs}"
        return f"{channels} {self.size}x{self.size}{stride}, {self.edge}x{self.edge}, {self.batch}"

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Those of input, weight and output, with channels last."""
        behind = -(-self.edge // self.stride)
        return (
            (self.batch, self.edge, self.edge, self.inputs),
            (self.outputs, self.size, self.size, self.inputs),
            (self.batch, behind, behind, self.outputs),
        )

    @property
    def padding(self) -> list[int]:
        """For each dimension."""
        return [0, self.size // 2, self.size // 2, 0]


@dataclass(frozen=True)
class Row:
    """What was found for a pass over a convolution: the choice, and seconds by algorithm."""

    convolution: Convolution
    which: str
    choice: str
    seconds: dict[str, float]

    @property
    def slower(self) -> float:
        """By what share the choice is slower than the best."""
        return self.seconds[self.choice] / min(self.seconds.values()) - 1


def main(arguments: list[str]) -> int:
    """Measures and prints."""
    options = _parser().parse_args(arguments)
    flow.config.cpu_threads(options.threads)
    chosen = list(convolutions(options.case or CASES, options.batch or BATCHES))
    elements = max(math.prod(shape) for one in chosen for shape in one.shapes)
    numbers = np.random.default_rng(1).standard_normal(elements, np.float32)
    found = []
    for one in chosen:
        for which in PASSES:
            if not (one.first and which == TO_INPUT):
                found.append(measure(one, which, numbers))
                print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(text_table(rows(found)))
    print("\n".join(summary(found)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=CASES, help="may be given again")
    parser.add_argument("--batch", action="append", type=int, help="images; may be given again")
    parser.add_argument("--threads", type=int, default=2)
    return parser


def convolutions(cases: Sequence[str], batches: Sequence[int]) -> list[Convolution]:
    """Those of the cases' models, each once, with all numbers of images."""
    found = []
    for name in cases:
        placed = [one for one in case.load(name).placed if one.layer.kind == "conv"]
        for number, one in enumerate(placed):
            layer, (inputs, edge, _) = one.layer, one.before
            shape = (inputs, layer.outputs, layer.size, layer.stride, edge, number == 0)
            found += [Convolution(*shape, batch) for batch in batches]
    return list(dict.fromkeys(found))


def measure(convolution: Convolution, which: str, numbers: Array) -> Row:
    """Times a pass under each algorithm, by turns."""
    flow.clear_default_session()
    x, weight, y = (numbers[: math.prod(s)].reshape(s) for s in convolution.shapes)
    job = _train_job(convolution) if which == TO_WEIGHT else _predict_job(convolution, which)
    fed = y if which == TO_INPUT else x
    flow.load_variables({"weight": weight})
    settings = {}
    for setting in SETTINGS:
        _use(setting)
        settings.setdefault(_algorithm(job.plan()), setting)
        job(fed)
    seconds: dict[str, list[float]] = {algorithm: [] for algorithm in settings}
    for turn in itertools.count():
        if turn >= TURNS and sum(map(sum, seconds.values())) > SECONDS * len(seconds):
            break
        for algorithm, setting in settings.items():
            _use(setting)
            seconds[algorithm] += _turn(lambda: job(fed))
    # The first setting is that of the choice.
    return Row(convolution, which, next(iter(settings)), {a: min(s) for a, s in seconds.items()})


def _use(setting: tuple[str, str]) -> None:
    algorithm, precision = setting
    flow.config.convolution_algorithm(algorithm)
    flow.config.precision(precision)


def _algorithm(plan: str) -> str:
    return re.search(r" convolution\w*\[.*\] by (\w+) ", plan)[1]


def _turn(call: Callable[[], object]) -> list[float]:
    """Seconds of some calls, after one for the caches."""
    call()
    seconds = []
    while sum(seconds) < TURN:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def _predict_job(convolution: Convolution, which: str) -> Callable[..., Array]:
    """The output, or the gradient to the input from one to the output; a corner is fetched."""
    x, _, y = convolution.shapes
    stride, padding = convolution.stride, convolution.padding
    fed = x if which == FORWARD else y

    @flow.global_function()
    def job(values: tp.Numpy.Placeholder(fed)) -> tp.Numpy:
        weight = _weight(convolution)
        if which == FORWARD:
            result = flow.nn.conv2d(values, weight, stride, padding, "NHWC")
        else:
            result = flow.nn.conv2d_transpose(values, weight, x, stride, padding, "NHWC")
        return flow.slice(result, [0] * 4, [1] * 4)

    return job


def _train_job(convolution: Convolution) -> Callable[..., Array]:
    """The gradient of the output's sum to the weight, and the update; nobody needs the output."""
    x, _, _ = convolution.shapes

    @flow.global_function(type="train")
    def job(values: tp.Numpy.Placeholder(x)) -> tp.Numpy:
        weight = _weight(convolution)
        stride, padding = convolution.stride, convolution.padding
        result = flow.nn.conv2d(values, weight, stride, padding, "NHWC")
        rate = flow.optimizer.PiecewiseConstantScheduler([], [1e-6])
        flow.optimizer.SGD(rate, momentum=0).minimize(result)
        return flow.constant(0, flow.float32, (1,))

    return job


def _weight(convolution: Convolution) -> Blob:
    shape = convolution.shapes[1]
    return flow.get_variable("weight", shape, flow.float32, flow.zeros_initializer())


def rows(found: list[Row]) -> Rows:
    """A table with a column of milliseconds for each algorithm."""
    columns = [a for a in ALGORITHMS if any(a in row.seconds for row in found)]
    table = [["convolution, images", "pass", "choice", *(f"{a} ms" for a in columns), "slower", ""]]
    for row in found:
        times = [f"{row.seconds[a] * 1e3:.3f}" if a in row.seconds else "-" for a in columns]
        mark = "TOO SLOW" if row.slower > LIMIT else ""
        slower = f"{row.slower:.0%}"
        table.append([str(row.convolution), row.which, row.choice, *times, slower, mark])
    return table


def summary(found: list[Row]) -> list[str]:
    """Whether the goal is met, and what other choices would save in all."""
    worst = max(found, key=lambda row: row.slower)
    slow = sum(row.slower > LIMIT for row in found)
    verdict = "NOT MET" if slow else "met"
    chosen = sum(row.seconds[row.choice] for row in found)
    best = sum(min(row.seconds.values()) for row in found)
    return [
        f"goal: each choice at most {LIMIT:.0%} slower than the best: {slow} of {len(found)} are "
        f"slower, {worst.slower:.0%} at most ({worst.convolution}, {worst.which}): {verdict}",
        f"all together: {chosen * 1e3:.0f} ms as chosen, {best * 1e3:.0f} ms with the best: "
        f"{chosen / best - 1:.1%} slower",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
