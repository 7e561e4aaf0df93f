#!/usr/bin/env python3
"""Measures saving, opening and loading of checkpoints, beside other formats and the bare disk.

The engines take turns, round by round, in one process; medians over the rounds are reported. Every
value that is read is compared with what was saved before any time is taken. Saves are durable for
all: what does not flush its file has it flushed after it.

Examples:
  checkpoints.py                                    64 variables of 1 MiB, and 1000 of 16 KiB
  checkpoints.py --write                            all cases, written into benches/CHECKPOINTS.md
  checkpoints.py --variables 64 --bytes 33554432    2 GiB
  checkpoints.py --variables 10000 --bytes 16384 --operations open,save

`--write` takes 20 GB on the disk, 16 GB of memory and about half an hour. The folder must be on the
disk that is of interest (--folder). Other work on the machine moves all numbers; ratios of the same
run less.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness import machine
from harness.report import Rows, markdown_table
from harness.storing import MANY, Operation, Stores

REPORT = Path(__file__).resolve().parent / "CHECKPOINTS.md"

#: Seconds of each engine, round by round.
Times = dict[str, list[float]]


@dataclass(frozen=True)
class Goal:
    """What one operation of flowrs should reach.

    Attributes:
        text: what is wanted, in words.
        operation: which operation.
        most: the most seconds it may take; or None.
        speed: how many times as fast as the fastest of `peers` it should be.
        peers: beginnings of the names of engines; none: every other one that is no part of flowrs.
    """

    text: str
    operation: str
    most: float | None = None
    speed: float = 0.0
    peers: tuple[str, ...] = ()

    def verdict(self, times: Times) -> str:
        """Whether it is met, and what was found."""
        own = times["flowrs"]
        if self.most is not None:
            found = median(own)
            met = "met" if found <= self.most else "NOT MET"
            return f"goal: {self.text}: {1e3 * found:.2f} ms: {met}"
        against = {
            name: median(theirs / ours for theirs, ours in zip(peer, own, strict=True))
            for name, peer in times.items()
            if (name.startswith(self.peers) if self.peers else _is_library(name))
        }
        if not against:
            return f"goal: {self.text}: none of them is installed"
        fastest = min(against, key=lambda name: against[name])
        met = "met" if against[fastest] >= self.speed else "NOT MET"
        return f"goal: {self.text}: {against[fastest]:.2f}x the speed of {fastest}: {met}"


def _is_library(engine: str) -> bool:
    return not engine.startswith(("flowrs", "bare"))


@dataclass(frozen=True)
class Case:
    """A set of variables, and what is done with it."""

    variables: int
    size: int
    operations: tuple[str, ...]
    goals: tuple[Goal, ...] = ()

    @property
    def title(self) -> str:
        """Its heading."""
        return f"{self.variables:,} variables of {_size(self.size)}"


ALL = ("save", "open", "touch", "load", "adopt")

CASES = (
    Case(
        64,
        32 << 20,
        ALL,
        (
            Goal(
                "a durable save at 95 % of the rate of two threads that write and flush the bytes",
                "save",
                speed=0.95,
                peers=("bare",),
            ),
            Goal("a durable save not slower than any library's", "save", speed=1.0),
            Goal(
                "checksums cost at most 5 % of a durable save",
                "save",
                speed=1 / 1.05,
                peers=("flowrs, no checksum",),
            ),
            Goal("opening takes at most 1 ms", "open", most=1e-3),
            Goal(
                "opening is faster than safetensors with torch (aim: 3x)",
                "open",
                speed=1.0,
                peers=("safetensors, torch",),
            ),
            Goal(
                "touching all bytes as fast as the fastest library, within 5 %", "touch", speed=0.95
            ),
            Goal(
                "loading at 90 % of the rate of a parallel read into warm memory",
                "load",
                speed=0.9,
                peers=("bare",),
            ),
        ),
    ),
    Case(
        64,
        1 << 20,
        ALL,
        (
            Goal("a durable save not slower than any library's", "save", speed=1.0),
            Goal("opening takes at most 1 ms", "open", most=1e-3),
            Goal(
                "loading at 90 % of the rate of a parallel read into warm memory",
                "load",
                speed=0.9,
                peers=("bare",),
            ),
        ),
    ),
    Case(
        10_000,
        16 << 10,
        ("save", "open"),
        (
            Goal(
                "a durable save in at most 8 times that of one safetensors file (aim: 5)",
                "save",
                speed=1 / 8,
                peers=("safetensors",),
            ),
            Goal("opening takes at most 60 ms", "open", most=60e-3),
            Goal(
                "opening is 2x faster than safetensors", "open", speed=2.0, peers=("safetensors",)
            ),
        ),
    ),
    Case(100_000, 16, ("open",), (Goal("opening takes at most 1 s", "open", most=1.0),)),
)

#: What is measured unless something else is asked for: a minute.
USUAL = (Case(64, 1 << 20, ALL), Case(1000, 16 << 10, ALL))


def measure(stores: Stores, operation: str, rounds: int) -> Times:
    """The seconds that each engine takes, which begin in turn.

    What is read is read once before the time is taken: the loads of other formats need so much
    memory that the system may have dropped its pages.
    """
    made = stores.operations(operation)
    engines = list(made)
    times: Times = {name: [] for name in engines}
    for turn in range(rounds):
        first = turn % len(engines)
        for name in engines[first:] + engines[:first]:
            if operation == "save":
                stores.new_folder()
            else:
                _seconds(made[name])
            times[name].append(_seconds(made[name]))
    return times


def _seconds(operation: Operation) -> float:
    begin = time.perf_counter()
    result = operation()
    seconds = time.perf_counter() - begin
    del result
    return seconds


def run(case: Case, rounds: int, folder: Path) -> Iterator[str]:
    """Measures a case in an empty folder; lines of the report."""
    yield f"## {case.title}"
    stores = Stores(case.variables, case.size, folder)
    npz = case.variables < MANY
    stores.fill(npz=npz)
    stores.check()
    yield f"\nLoad of the machine before it: {os.getloadavg()[0]:.1f}."
    remarks = []
    # Saving empties what was saved before.
    for operation in sorted(case.operations, key=lambda name: name != "save"):
        times = measure(stores, operation, rounds)
        if operation == "save":
            stores.fill(npz=npz)
        yield f"\n{markdown_table(_rows(operation, times))}"
        goals = [goal for goal in case.goals if goal.operation == operation]
        remarks += [f"- {goal.verdict(times)}" for goal in goals]
    stores.make_room()
    yield "\n" + "\n".join(remarks) if remarks else ""


def _rows(operation: str, times: Times) -> Rows:
    rows = [[operation, "median ms", "least ms", "flowrs is"]]
    for name, seconds in times.items():
        ratios = [theirs / ours for theirs, ours in zip(seconds, times["flowrs"], strict=True)]
        rows.append(
            [
                name,
                f"{1e3 * median(seconds):,.2f}",
                f"{1e3 * min(seconds):,.2f}",
                f"{median(ratios):.2f}x",
            ]
        )
    return rows


def _size(size: int) -> str:
    for unit, bytes_of_it in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= bytes_of_it:
            return f"{size // bytes_of_it} {unit}"
    return f"{size} bytes"


def _heading(command: str, rounds: int) -> str:
    facts = machine.facts() | {"versions": ", ".join(_versions())}
    return "\n".join(
        [
            "# Results of the benches of checkpoints",
            "",
            f"Made by `{command}`; do not edit.",
            "",
            f"Medians over {rounds} rounds in which all engines took turns. `flowrs is 2.00x` means"
            " that it takes half the time (the median over rounds of the two times' ratio). Files "
            "lie in memory when they are opened, since each was opened just before; saves are "
            "durable, and a library that does not flush its file has it flushed after it. Every "
            "value was compared first.",
            "",
            markdown_table([["fact", "value"], *([name, value] for name, value in facts.items())]),
        ]
    )


def _versions() -> list[str]:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for package in ("flowrs", "numpy", "safetensors", "torch"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return found


def main(arguments: list[str]) -> int:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--variables", type=int)
    parser.add_argument("--bytes", type=int, default=1 << 20)
    parser.add_argument("--operations", default="", help=f"of {','.join(ALL)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--write", action="store_true", help=f"write benches/{REPORT.name}")
    options = parser.parse_args(arguments)
    cases = CASES if options.write else USUAL
    if options.variables:
        cases = (Case(options.variables, options.bytes, ALL),)
    if options.operations:
        chosen = tuple(options.operations.split(","))
        cases = tuple(dataclasses.replace(case, operations=chosen) for case in cases)
    # The report does not name a folder of the machine that it was made on.
    written = ["--write"] if options.write else arguments
    lines = [_heading(shlex.join(["benches/checkpoints.py", *written]), options.rounds)]
    print(lines[0])
    # All cases in one place, so that nothing is removed before the end.
    with tempfile.TemporaryDirectory(dir=options.folder) as root:
        for case in cases:
            lines.append("")
            folder = Path(tempfile.mkdtemp(dir=root))
            for line in run(case, options.rounds, folder):
                lines.append(line)
                print(line, flush=True)
    if options.write:
        REPORT.write_text("\n".join(lines) + "\n")
        print(f"report: {REPORT}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
