"""Rounds: engines take turns, so that what disturbs the machine disturbs all of them alike."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from engines import ENGINES

from harness import data
from harness.case import Case, check_losses, load
from harness.machine import Peak
from harness.operation import compare_digests
from harness.workers import Worker, WorkerError

Say = Callable[[str], None]

REFERENCE = "flowrs"


@dataclass
class Series:
    """What one engine did with one number of threads, round by round.

    Attributes:
        part: number of the part of the case.
        trouble: why there are no times: a wrong result, or a failure; None where all is well.
        unable: why the engine does not do this at all; None where it does.
        seconds: of a step (or an import), the mean over the round.
        cores: share of a core that the engine used.
        others: share of a core that all other processes used at that time.
        peak_bytes: the most memory that training took, where that is measured.
    """

    engine: str
    threads: int
    part: int = 0
    trouble: str | None = None
    unable: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    steps: int = 1
    seconds: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)


@dataclass
class Outcome:
    """Everything that was found out about a case.

    Attributes:
        absent: engines that are not installed.
        peaks: FLOP/s that the machine could do, by number of threads, one for each round.
    """

    case: Case
    series: list[Series]
    absent: list[str]
    peaks: dict[int, list[float]] = field(default_factory=dict)

    @property
    def believed(self) -> list[Series]:
        """The series that have times, or other numbers."""
        return [series for series in self.right if series.seconds or series.peak_bytes]

    @property
    def right(self) -> list[Series]:
        """The series whose results were right."""
        return [s for s in self.series if s.trouble is None and s.unable is None]

    @property
    def failed(self) -> list[Series]:
        """The series that have none, because something was wrong."""
        return [series for series in self.series if series.trouble is not None]

    def find(self, engine: str, threads: int, part: int = 0) -> Series | None:
        """The believed series of an engine."""
        wanted = (engine, threads, part)
        matching = (s for s in self.believed if (s.engine, s.threads, s.part) == wanted)
        return next(matching, None)

    def as_json(self) -> dict[str, Any]:
        """All numbers, for later comparisons."""
        return {
            "case": self.case.name,
            "absent": self.absent,
            "peaks": self.peaks,
            "series": [asdict(series) for series in self.series],
        }

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> Outcome:
        """What :meth:`as_json` gave, with the case as it is now."""
        case, series = load(table["case"]), [Series(**fields) for fields in table["series"]]
        if any(one.part >= len(case.parts) for one in series):
            raise ValueError(f"{case.name} had other parts then")
        peaks = {int(threads): rates for threads, rates in table["peaks"].items()}
        return cls(case, series, table["absent"], peaks)


def ratio(series: Series, reference: Series) -> float:
    """How many times as fast the reference is: the median over rounds of the rounds' ratios."""
    pairs = zip(series.seconds, reference.seconds, strict=True)
    return median(own / other for own, other in pairs)


def measure_steps(case: Case, engines: dict[int, list[str]], rounds: int, say: Say) -> Outcome:
    """Checks the losses of each engine and, if ``rounds`` is above 0, times its steps.

    Args:
        case: what is measured.
        engines: by the number of threads.
        rounds: how often each has its turn.
        say: shows what is going on.
    """
    outcome = Outcome(case, [], _absent(engines))
    workers: list[tuple[Worker, Series]] = []
    peak = Peak(list(engines)) if rounds else None
    try:
        for count, names in engines.items():
            for engine in _installed(names):
                say(f"{engine}, {_threads(count)}: set up and check the first losses")
                worker = Worker(engine, case.name, count)
                for number, part in enumerate(case.parts):
                    series = Series(engine, count, number)
                    workers.append((worker, series))
                    outcome.series.append(series)
                    _prepare(worker, series, part)
        workers.sort(key=lambda pair: (pair[1].threads, pair[1].part))
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for worker, series in workers:
                if series.trouble is None and series.unable is None:
                    _round(worker, series)
            for count, rate in peak.measure().items() if peak else ():
                outcome.peaks.setdefault(count, []).append(rate)
    finally:
        for worker in {id(worker): worker for worker, _ in workers}.values():
            worker.close()
    return outcome


def _prepare(worker: Worker, series: Series, case: Case) -> None:
    try:
        answer = worker.ask(f"prepare {series.part}")
    except WorkerError as error:
        series.trouble = str(error)
        return
    _read(answer, series, case)


def _read(answer: dict[str, Any], series: Series, case: Case) -> None:
    """Takes over what a worker found out, and compares its results."""
    if "unable" in answer:
        series.unable = answer["unable"]
        return
    series.versions, series.steps = answer["versions"], max(answer["steps"], 1)
    if case.part is not None:
        series.trouble = compare_digests(case.part.digest, answer["digest"])
    elif case.golden is not None:
        expected = data.golden_losses(case.golden)
        series.trouble = check_losses(case.golden, expected, answer["losses"])
    else:
        series.trouble = "the case has nothing to compare with"


def _round(worker: Worker, series: Series) -> None:
    try:
        answer = worker.ask(f"round {series.part} {series.steps}")
    except WorkerError as error:
        series.trouble = str(error)
        return
    series.seconds.append(answer["seconds"] / series.steps)
    series.cores.append(answer["cores"])
    series.others.append(answer["others"])


def measure_memory(case: Case, engines: dict[int, list[str]], rounds: int, say: Say) -> Outcome:
    """Measures how much memory a few steps take, each time in a process that does nothing else."""
    outcome = Outcome(case, [], _absent(engines))
    for count, (number, part) in itertools.product(engines, enumerate(case.parts)):
        for engine in _installed(engines[count]):
            series = Series(engine, count, number)
            outcome.series.append(series)
            for turn in range(rounds):
                say(f"{engine}, {_threads(count)}: memory of {part.name}, {turn + 1} of {rounds}")
                _take_memory(Worker(engine, case.name, count), series, part)
    return outcome


def _take_memory(worker: Worker, series: Series, part: Case) -> None:
    try:
        answer = worker.ask(f"memory {series.part}")
        _read(answer, series, part)
        if "bytes" in answer:
            series.peak_bytes.append(answer["bytes"])
    except WorkerError as error:
        series.trouble = str(error)
    finally:
        worker.close()


def measure_imports(case: Case, engines: list[str], rounds: int, say: Say) -> Outcome:
    """Times ``import`` of each engine's library, each time in an interpreter of its own."""
    all_series = [Series(engine, 1) for engine in _installed(engines)]
    # The first round fills the caches of the system and writes what Python keeps compiled.
    for number in range(rounds + 1):
        say(f"round {number} of {rounds}" if number else "first imports, not counted")
        for series in all_series:
            if series.trouble is not None:
                continue
            try:
                seconds = _time_import(ENGINES[series.engine].module)
            except subprocess.CalledProcessError as error:
                series.trouble = error.stderr.strip().splitlines()[-1]
                continue
            if number:
                series.seconds.append(seconds)
    return Outcome(case, all_series, _absent({1: engines}))


def _time_import(module: str) -> float:
    program = (
        f"import time; start = time.perf_counter(); import {module}; "
        "print(time.perf_counter() - start)"
    )
    # Isolated, and so without the caller's PYTHONPATH and PYTHONDONTWRITEBYTECODE.
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _installed(engines: list[str]) -> list[str]:
    return [engine for engine in engines if ENGINES[engine].is_installed]


def _absent(engines: dict[int, list[str]]) -> list[str]:
    named = dict.fromkeys(engine for names in engines.values() for engine in names)
    return [engine for engine in named if not ENGINES[engine].is_installed]


def _threads(count: int) -> str:
    return f"{count} thread" + ("s" if count > 1 else "")
