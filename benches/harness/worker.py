"""The process of one engine with one number of threads.

It takes commands from its standard input, one per line, and answers each with a line of JSON on
what was its standard output; in between it sleeps in a blocking read. What libraries print goes to
the standard error.

    prepare             sets up, takes the golden steps, and answers with their losses and versions
    round STEPS         takes some steps untimed, then STEPS timed ones, waits until no thread of
                        the library is busy any more, and answers with the times
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engines import ENGINES, Engine, Task

from harness import data
from harness.case import Case, load

#: Share of a round's steps that are taken before it, untimed: others have used the caches.
WARM_UP = 0.2


class Runner:
    """An engine that is ready to step through the training batches, over and over."""

    def __init__(self, engine: Engine, case: Case, threads: int) -> None:
        if case.golden is None:
            raise ValueError(f"case {case.name} has no golden losses")
        self.engine, self.case = engine, case
        self.images, self.labels = data.training_batches(case.batch)
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in case.layers:
            shapes[f"{layer.name}-weight"] = (layer.outputs, layer.inputs)
            shapes[f"{layer.name}-bias"] = (layer.outputs,)
        weights = data.first_weights(case.golden, shapes)
        self.step = engine.setup(Task(case, weights, threads))
        self.next = 0

    def advance(self) -> float:
        """Takes a step with the next batch."""
        number = self.next % len(self.labels)
        self.next += 1
        return self.step(self.images[number], self.labels[number])

    def prepare(self) -> dict[str, Any]:
        """Takes the golden steps, then measures how long a step takes."""
        assert self.case.golden is not None
        losses = [self.advance() for _ in range(self.case.golden.steps)]
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < self.case.round_seconds:
            self.advance()
            steps += 1
        _wait_until_idle()
        return {"losses": losses, "steps": steps, "versions": _versions(self.engine)}

    def round(self, steps: int) -> dict[str, float]:
        """Times some steps.

        Returns:
            ``seconds`` and, as shares of a core, what this process (``cores``) and all others
            (``others``) used meanwhile; ``loss`` of the last step.
        """
        for _ in range(math.ceil(steps * WARM_UP)):
            self.advance()
        machine, own, start = _busy_seconds(), time.process_time(), time.perf_counter()
        for _ in range(steps):
            loss = self.advance()
        seconds = time.perf_counter() - start
        own = time.process_time() - own
        others = _busy_seconds() - machine - own
        if not math.isfinite(loss):
            raise ArithmeticError(f"the loss became {loss}")
        _wait_until_idle()
        return {
            "seconds": seconds,
            "cores": own / seconds,
            "others": max(others, 0.0) / seconds,
            "loss": loss,
        }


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


def main() -> None:
    """Serves the commands of the parent process until its end of the pipe is closed."""
    engine, case, threads = ENGINES[sys.argv[1]], load(sys.argv[2]), int(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    runner = None
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            if command == "prepare":
                runner = Runner(engine, case, threads)
                answer = runner.prepare()
            elif runner is None:
                raise RuntimeError(f"{command} before prepare")
            else:
                answer = runner.round(int(arguments[0]))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
