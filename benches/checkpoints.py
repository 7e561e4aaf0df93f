#!/usr/bin/env python3
"""Measures saving, opening and loading of checkpoints, beside other formats and the bare disk.

The engines take turns, round by round, in one process; medians over the rounds are printed, and the
ratio to flowrs. Every value that is read is compared with what was saved before any time is taken.
Saves are durable for all: what does not flush its file has it flushed after it.

Examples:
  checkpoints.py                                    64 variables of 1 MiB, and 1000 of 16 KiB
  checkpoints.py --variables 64 --bytes 33554432    2 GiB
  checkpoints.py --variables 10000 --bytes 16384 --operations open,save
  checkpoints.py --variables 100000 --bytes 16 --operations open --rounds 3

The folder must be on the disk that is of interest (--folder). Other work on the machine moves all
numbers; ratios of the same run less.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import flowrs as flow

Values = dict[str, np.ndarray]
Operation = Callable[[], object]

#: From how many variables on they are flushed all at once.
_MANY = 1000


class Bench:
    """One set of variables, and every way to store it.

    Attributes:
        values: what is stored.
        targets: memory of the same sizes that values are loaded into.
        folder: where files are made.
    """

    def __init__(self, variables: int, size: int, folder: Path) -> None:
        random = np.random.default_rng(0)
        block = random.standard_normal(max(size // 4, 1)).astype(np.float32)
        self.values: Values = {f"layer{index}-weight": block + index for index in range(variables)}
        self.targets = {name: np.ones_like(value) for name, value in self.values.items()}
        self.folder = folder
        self.handles: dict[str, flow.session.VariableHandle] = {}

    def define_variables(self) -> None:
        """Makes a session with variables of these names and shapes."""
        flow.clear_default_session()

        def job() -> None:
            for name, value in self.values.items():
                flow.get_variable(name, value.shape, initializer=flow.ones_initializer())

        flow.global_function()(job)
        self.handles = flow.get_all_variables()

    def clear(self) -> None:
        """Begins with an empty folder.

        Where there are many small files the others stay: some file systems take long to make files
        just after others were removed.
        """
        if len(self.values) < _MANY:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder = self.folder.with_name(f"{int(self.folder.name) + 1}")
        self.folder.mkdir(parents=True)
        os.sync()

    def fill(self) -> None:
        """Saves with every engine."""
        self.clear()
        for once in self.save().values():
            once()

    def new(self, name: str) -> str:
        """A path for a file or directory."""
        return str(self.folder / name)

    def operations(self, operation: str) -> dict[str, Operation]:
        """What is measured, by engine."""
        made: dict[str, Operation] = getattr(self, operation)()
        return made

    def save(self) -> dict[str, Operation]:
        """Saves that survive a loss of power."""
        found: dict[str, Operation] = {
            "flowrs": lambda: flow.checkpoint.save(self.new("flowrs"), self.values),
            "flowrs, no checksum": lambda: flow.checkpoint.save(
                self.new("plain"), self.values, checksum=False
            ),
            "bare writes, 2 threads": self._bare_save,
            "numpy npz": lambda: self._flushed("x.npz", lambda p: np.savez(p, **self.values)),
        }
        with contextlib.suppress(ImportError):
            from safetensors import numpy as safetensors

            found["safetensors"] = lambda: self._flushed(
                "x.safetensors", lambda path: safetensors.save_file(self.values, path)
            )
        with contextlib.suppress(ImportError):
            import torch

            tensors = {name: torch.from_numpy(value) for name, value in self.values.items()}
            found["torch.save"] = lambda: self._flushed(
                "x.pt", lambda path: torch.save(tensors, path)
            )
        return found

    def open(self) -> dict[str, Operation]:
        """Opens what lies in memory; values are found, and not looked at."""
        return {name: opener for name, opener in self._openers().items() if "npz" not in name}

    def touch(self) -> dict[str, Operation]:
        """Opens, and reads every byte of every value."""

        def touch(opener: Operation) -> float:
            opened: Any = opener()
            return sum(_total(opened[name]) for name in opened)

        return {
            name: (lambda opener=opener: touch(opener)) for name, opener in self._openers().items()
        }

    def load(self) -> dict[str, Operation]:
        """Gives live variables the values of a file."""
        self.define_variables()
        path = str(self.folder / "flowrs")

        def from_other(opener: Operation) -> None:
            opened: Any = opener()
            for name, target in self.targets.items():
                np.copyto(target, np.asarray(opened[name]))

        found: dict[str, Operation] = {
            "flowrs": lambda: flow.load_variables(flow.checkpoint.get(path)),
            "flowrs, adopt": lambda: flow.load_variables(flow.checkpoint.get(path), adopt=True),
            "bare reads, 2 threads": self._bare_load,
        }
        for name, opener in self._openers().items():
            if name != "flowrs":
                found[name] = lambda opener=opener: from_other(opener)
        return found

    def check(self) -> None:
        """Compares what every engine reads with what was saved."""
        for engine, opener in self._openers().items():
            opened: Any = opener()
            for name, value in self.values.items():
                if not np.array_equal(np.asarray(opened[name]), value):
                    raise SystemExit(f"{engine} gives another value of {name}")

    def _openers(self) -> dict[str, Operation]:
        folder = self.folder
        found: dict[str, Operation] = {
            "flowrs": lambda: flow.checkpoint.get(str(folder / "flowrs")),
            "numpy npz": lambda: np.load(folder / "x.npz"),
        }
        with contextlib.suppress(ImportError):
            from safetensors import numpy as safetensors
            from safetensors import safe_open

            def opened(framework: str) -> Values:
                with safe_open(folder / "x.safetensors", framework) as file:
                    return {name: file.get_tensor(name) for name in file.keys()}

            found["safetensors, load_file"] = lambda: safetensors.load_file(
                str(folder / "x.safetensors")
            )
            with contextlib.suppress(ImportError):
                import torch

                found["safetensors, torch"] = lambda: opened("pt")
                found["torch.load"] = lambda: torch.load(folder / "x.pt")
                found["torch.load, mmap"] = lambda: torch.load(folder / "x.pt", mmap=True)
        return found

    def _flushed(self, name: str, write: Callable[[str], object]) -> None:
        path = self.new(name)
        write(path)
        for each in (path, str(self.folder)):
            descriptor = os.open(each, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    def _bare_save(self) -> None:
        folder = Path(self.new("bare"))
        folder.mkdir()

        def write(part: list[str]) -> None:
            for name in part:
                descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
                view = memoryview(self.values[name]).cast("B")
                while view:
                    view = view[os.write(descriptor, view) :]
                if len(self.values) < _MANY:
                    os.fsync(descriptor)
                os.close(descriptor)

        _two_threads(write, list(self.values))
        if len(self.values) >= _MANY:
            os.sync()

    def _bare_load(self) -> None:
        def read(part: list[str]) -> None:
            for name in part:
                path = self.folder / "flowrs" / name / "out"
                descriptor = os.open(path, os.O_RDONLY)
                view = memoryview(self.targets[name]).cast("B")
                while view:
                    view = view[os.readv(descriptor, [view]) :]
                os.close(descriptor)

        _two_threads(read, list(self.values))


def _two_threads(work: Callable[[list[str]], None], names: list[str]) -> None:
    other = threading.Thread(target=work, args=(names[1::2],))
    other.start()
    work(names[::2])
    other.join()


def _total(value: Any) -> float:
    """A sum for which every byte is read."""
    return float(np.asarray(value).view(np.uint8).reshape(-1)[::64].sum())


def measure(bench: Bench, operation: str, rounds: int) -> Iterator[str]:
    """Lines of a table: the median of each engine, and its ratio to flowrs."""
    made = bench.operations(operation)
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(rounds):
        for name, once in made.items():
            if operation == "save":
                bench.clear()
            begin = time.perf_counter()
            result = once()
            seconds[name].append(time.perf_counter() - begin)
            del result
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        least = min(seconds[name])
        yield (
            f"| {operation} | {name} | {1000 * median:.2f} | {1000 * least:.2f} | "
            f"{median / medians['flowrs']:.2f} |"
        )


def main(arguments: list[str]) -> int:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--variables", type=int)
    parser.add_argument("--bytes", type=int, default=1 << 20)
    parser.add_argument("--operations", default="save,open,touch,load")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args(arguments)
    cases = [(64, 1 << 20), (1000, 16 << 10)]
    if options.variables:
        cases = [(options.variables, options.bytes)]
    for variables, size in cases:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            bench = Bench(variables, size, Path(folder) / "0")
            bench.fill()
            bench.check()
            print(f"\n{variables} variables of {size} bytes, load {os.getloadavg()[0]:.1f}\n")
            print("| | | median ms | least ms | to flowrs |\n| --- | --- | ---: | ---: | ---: |")
            for operation in options.operations.split(","):
                bench.fill()
                for line in measure(bench, operation, options.rounds):
                    print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
