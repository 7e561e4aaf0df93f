"""The process of one engine with one number of threads.

It takes commands from its standard input, one per line, and answers each with a line of JSON on
what was its standard output; in between it sleeps in a blocking read. What libraries print goes to
the standard error.

    prepare PART        sets up a part of the case, takes the golden steps, and answers with their
                        losses (or the digest of an operation's result) and the versions
    round PART STEPS    takes some steps untimed, then STEPS timed ones, waits until no thread of
                        the library is busy any more, and answers with the times
    memory PART         takes the golden steps of a part, and answers with their losses and with how
                        much more memory the process held at most than after the import; asked
                        for once, as the only command
"""

from __future__ import annotations

import gc
import importlib.metadata
import importlib.util
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engines import ENGINES, Engine, Task

from harness import data
from harness.case import Case, load
from harness.operation import digest

#: Share of a round's steps that are taken before it, untimed: others have used the caches.
WARM_UP = 0.2

#: Steps at least, and different batches at most, where memory is measured.
MEMORY_STEPS = 12
DIFFERENT_BATCHES = 20

#: Samples of the first golden step, which inference is checked with.
GOLDEN_BATCH = 100


class Batches:
    """An engine that is ready to step through the batches of a case, over and over."""

    def __init__(self, engine: Engine, case: Case, threads: int) -> None:
        self.case = case
        self.images, self.labels = data.batches(case)
        self.step = engine.setup(Task(case, data.first_weights(case), threads))
        self.next = 0

    def advance(self) -> Any:
        """Takes a step with the next batch."""
        number = self.next % len(self.labels)
        self.next += 1
        return self.step(self.images[number], self.labels[number])

    def losses(self) -> list[float]:
        """The losses of the golden steps; inference takes all samples of the first one."""
        assert self.case.golden is not None
        if self.case.kind == "train":
            return [self.advance() for _ in range(self.case.golden.steps)]
        labels = self.labels.ravel()
        count = GOLDEN_BATCH // self.case.batch
        logits = np.concatenate([self.advance() for _ in range(count)])
        return [data.cross_entropy(logits, labels[: len(logits)])]


class Runner:
    """A part of a case on an engine: what is timed, and what was checked before."""

    def __init__(self, engine: Engine, case: Case, threads: int) -> None:
        self.engine, self.case = engine, case
        self.check: Callable[[], dict[str, Any]]
        self.advance: Callable[[], Any]
        if case.part is not None:
            action = engine.setup_operation(case.part, threads)
            self.check = lambda: {"digest": digest(action.result())}
            self.advance = action.run
        else:
            batches = Batches(engine, case, threads)
            self.check = lambda: {"losses": batches.losses()}
            self.advance = batches.advance

    def prepare(self) -> dict[str, Any]:
        """Computes what the check needs, and measures how long a step takes."""
        found = self.check()
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < self.case.round_seconds:
            self.advance()
            steps += 1
        _wait_until_idle()
        return {"steps": steps, "versions": _versions(self.engine), **found}

    def round(self, steps: int) -> dict[str, float]:
        """Times some steps.

        Returns:
            ``seconds`` and, as shares of a core, what this process (``cores``) and all others
            (``others``) used meanwhile.
        """
        for _ in range(math.ceil(steps * WARM_UP)):
            self.advance()
        machine, own, start = _busy_seconds(), time.process_time(), time.perf_counter()
        for _ in range(steps):
            result = self.advance()
        seconds = time.perf_counter() - start
        own = time.process_time() - own
        others = _busy_seconds() - machine - own
        if self.case.kind == "train" and not math.isfinite(result):
            raise ArithmeticError(f"the loss became {result}")
        _wait_until_idle()
        return {
            "seconds": seconds,
            "cores": own / seconds,
            "others": max(others, 0.0) / seconds,
        }


def _memory(engine: Engine, case: Case, threads: int) -> dict[str, Any]:
    """What a model takes, with its weights, what compiles it, and a few steps of training.

    The batches and the first weights are there before; the steps are a dozen at least, so that what
    grows step by step is seen.
    """
    assert case.golden is not None
    images, labels = (array[:DIFFERENT_BATCHES].copy() for array in data.batches(case))
    task = Task(case, data.first_weights(case), threads)
    importlib.import_module(f"engines.{engine.module}")
    _forget_peak()
    before = _peak_bytes()
    step, losses = engine.setup(task), []
    for number in range(max(case.golden.steps, MEMORY_STEPS)):
        losses.append(step(images[number % len(images)], labels[number % len(images)]))
    found = {"bytes": _peak_bytes() - before, "losses": losses[: len(images)]}
    return {"steps": len(losses), "versions": _versions(engine), **found}


def _forget_peak() -> None:
    """Lets the peak begin anew with what the process holds now."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        raise NotImplementedError(f"the system does not measure it: {error}") from error


def _peak_bytes() -> int:
    """The most memory that the process held."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def _busy_seconds() -> float:
    """Time that the machine's cores have worked so far; 0 where the system does not say."""
    try:
        fields = Path("/proc/stat").read_text().split(maxsplit=9)
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, interrupt, soft = map(int, fields[1:8])
    return (user + nice + system + interrupt + soft) / os.sysconf("SC_CLK_TCK")


def _wait_until_idle(at_most: float = 2.0) -> None:
    """Returns when this process' threads have stopped spinning, so that they disturb no other."""
    end = time.perf_counter() + at_most
    before = time.process_time()
    while time.perf_counter() < end:
        time.sleep(0.02)
        now = time.process_time()
        if now - before < 0.001:
            return
        before = now


def _versions(engine: Engine) -> dict[str, str]:
    versions = {}
    for package in engine.packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if engine.name == "numpy":
        versions |= _blas_of_numpy()
    return versions


def _blas_of_numpy() -> dict[str, str]:
    """Which kernels NumPy's BLAS chose for this processor, where threadpoolctl is installed."""
    if importlib.util.find_spec("threadpoolctl") is None:
        return {}
    import threadpoolctl

    libraries = [
        library for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"
    ]
    return {
        f"numpy's {library['internal_api']}": f"{library['version']} ({library['architecture']})"
        for library in libraries
        if "architecture" in library
    }


def _runner(engine: Engine, case: Case, threads: int) -> Runner | Exception:
    """A runner, or why there is none."""
    try:
        return Runner(engine, case, threads)
    except Exception as error:
        return error


def main() -> None:
    """Serves the commands of the parent process until its end of the pipe is closed."""
    engine, case, threads = ENGINES[sys.argv[1]], load(sys.argv[2]), int(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    runners: list[Runner | Exception] = []
    for line in sys.stdin:
        command, part, *arguments = line.split()
        number = int(part)
        try:
            if command == "memory":
                print(json.dumps(_memory(engine, case.parts[number], threads)), file=answers)
                continue
            if not runners:
                # All at once: some libraries want to know everything before they run anything.
                runners = [_runner(engine, part, threads) for part in case.parts]
            runner = runners[number]
            if isinstance(runner, Exception):
                raise runner
            answer = runner.prepare() if command == "prepare" else runner.round(int(arguments[0]))
        except NotImplementedError as error:
            answer = {"unable": str(error)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
