#!/usr/bin/env python3
"""What it saves to run small steps side by side on two threads.

Small models whose plans run steps side by side are timed with such a plan and with one that runs
them one after the other, by turns. It takes some ten seconds.

Examples:
  side_by_side.py
  side_by_side.py --threads 4
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
from harness.report import text_table

import flowrs as flow
import flowrs.typing as tp
from flowrs._flowrs import Call
from flowrs.blob import Blob

#: Seconds of a turn of a plan, turns that are left out since the processor wakes, and turns.
TURN, FIRST, TURNS = 0.02, 5, 21

Model = Callable[[], tuple[Callable[..., object], list[np.ndarray]]]


@dataclass(frozen=True)
class Row:
    """Seconds of a call: side by side, and in turn."""

    model: str
    lanes: int
    side_by_side: float
    in_turn: float


def main(arguments: list[str]) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    flow.config.cpu_threads(options.threads)
    print(text_table(rows([measure(name, model) for name, model in MODELS.items()])))
    return 0


def rows(found: list[Row]) -> list[list[str]]:
    """A table, with the medians in microseconds."""
    table = [["model", "lanes", "in turn us", "side by side us", "times as fast"]]
    for row in found:
        times = [f"{seconds * 1e6:.1f}" for seconds in (row.in_turn, row.side_by_side)]
        table.append([row.model, str(row.lanes), *times, f"{row.in_turn / row.side_by_side:.2f}x"])
    return table


def measure(name: str, model: Model) -> Row:
    """Times a model under both plans, by turns."""
    flow.clear_default_session()
    job, fed = model()
    job(*fed)
    arrays = tuple(fed)
    (compiled,) = job.job.compiled.values()
    plans = [compiled.graph.compile(side_by_side=chosen) for chosen in (True, False)]
    results = [(array.shape, array.dtype) for array in compiled.new_results()]
    calls = [Call(plan, compiled.variables, results, np.empty, np.ndarray).run for plan in plans]
    seconds: list[list[float]] = [[], []]
    for _ in range(FIRST + TURNS):
        for call, taken in zip(calls, seconds, strict=True):
            taken.append(_turn(lambda call=call: call(arrays)))
    medians = [median(taken[FIRST:]) for taken in seconds]
    groups = [line for line in str(plans[0]).splitlines() if line.startswith("side by side: ")]
    return Row(name, max((line.count(" | ") + 1 for line in groups), default=1), *medians)


def _turn(call: Callable[[], object]) -> float:
    """Seconds of a call, of as many as a turn has room for."""
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < TURN:
        for _ in range(10):
            call()
        count += 10
    return (time.perf_counter() - start) / count


def _numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape, np.float32)


def branches() -> tuple[Callable[..., object], list[np.ndarray]]:
    """Four towers of three dense layers, of which one more makes ten numbers."""

    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((8, 64))) -> tp.Numpy:
        ends = []
        for branch in range(4):
            end = x
            for layer in range(3):
                end = flow.layers.dense(end, 64, flow.nn.relu, name=f"{branch}{layer}")
            ends.append(end)
        return flow.layers.dense(flow.concat(ends, axis=1), 10, name="last")

    return job, [_numbers(8, 64)]


def inception() -> tuple[Callable[..., object], list[np.ndarray]]:
    """Three blocks in the manner of Inception: convolutions of three sizes and a pool, joined."""

    def convolution(x: Blob, channels: int, size: int, name: str) -> Blob:
        return flow.nn.relu(flow.layers.conv2d(x, channels, size, padding="SAME", name=name))

    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((1, 16, 7, 7))) -> tp.Numpy:
        for block in "abc":
            first = convolution(x, 8, 1, block + "1")
            second = convolution(convolution(x, 8, 1, block + "2"), 8, 3, block + "2b")
            third = convolution(convolution(x, 4, 1, block + "3"), 8, 3, block + "3b")
            pooled = flow.nn.max_pool2d(x, 3, 1, "SAME")
            fourth = convolution(pooled, 8, 1, block + "4")
            x = flow.concat([first, second, third, fourth], axis=1)
        return flow.layers.dense(flow.reshape(x, (1, -1)), 10, name="last")

    return job, [_numbers(1, 16, 7, 7)]


def training(optimizer: Callable[..., object], width: int) -> Model:
    """A step of training of four dense layers with 32 samples."""

    def model() -> tuple[Callable[..., object], list[np.ndarray]]:
        @flow.global_function(type="train")
        def job(
            x: tp.Numpy.Placeholder((32, width)), labels: tp.Numpy.Placeholder((32,), flow.int32)
        ) -> tp.Numpy:
            for layer in range(3):
                x = flow.layers.dense(x, width, flow.nn.relu, name=f"dense{layer}")
            logits = flow.layers.dense(x, 10, name="last")
            loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            optimizer(flow.optimizer.PiecewiseConstantScheduler([], [1e-6])).minimize(loss)
            return loss

        return job, [_numbers(32, width), np.arange(32, dtype=np.int32) % 10]

    return model


MODELS: dict[str, Model] = {
    "4 branches of dense 64-64-64, batch 8": branches,
    "3 blocks of Inception, 7x7x16, batch 1": inception,
    "dense 48-48-48-48-10 train, momentum": training(flow.optimizer.SGD, 48),
    "dense 64-64-64-64-10 train, momentum": training(flow.optimizer.SGD, 64),
    "dense 64-64-64-64-10 train, Adam": training(flow.optimizer.Adam, 64),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
