"""Goals: what flowrs must reach in a case, and whether it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import geometric_mean, median

from engines import ENGINES

from harness.measure import REFERENCE, Outcome, Series, ratio

#: Engines that are flowrs with precision "strict", and with one algorithm for all convolutions.
STRICT, DIRECT = "flowrs-strict", "flowrs-direct"

#: The peer that does inference alone, and has a goal for itself.
SERVER = "onnxruntime"

#: What flowrs must reach over all models and sizes: each one, and their geometric mean.
EACH, MEAN = 0.9, 1.2


@dataclass(frozen=True)
class Goal:
    """A goal, what was found, and whether that is enough."""

    what: str
    found: str
    met: bool

    @property
    def verdict(self) -> str:
        """Whether it is met, so that nobody overlooks it."""
        return "met" if self.met else "NOT MET"

    def __str__(self) -> str:
        return f"goal: {self.what}: {self.found}: {self.verdict}"


@dataclass(frozen=True)
class Comparison:
    """How many times as fast as its fastest peer flowrs is, in a part of a case."""

    part: int
    title: str
    peer: str
    times: float


def goals(outcome: Outcome) -> list[Goal]:
    """The goals of a case for which there are numbers."""
    kinds = (
        *(_import, _peers, _trainers, _variants, _strict, _mean, _share_of_peak, _step, _scaling),
        *(_double, _memory),
    )
    return [goal for kind in kinds for goal in kind(outcome)]


def overall(outcomes: list[Outcome]) -> list[Goal]:
    """The goals for all models and sizes together: no case is slow, and most are fast."""
    found = [
        one
        for outcome in outcomes
        if outcome.case.kind in ("train", "infer")
        for one in comparisons(outcome, max(outcome.case.threads))
    ]
    if len(found) < 2:
        return []
    return [
        _least(f"each of {len(found)} models and sizes", EACH, found),
        _mean_of(f"geometric mean of {len(found)} models and sizes", MEAN, found),
    ]


def fastest_peer(outcome: Outcome, threads: int, part: int = 0, without: str = "") -> Series | None:
    """The peer with the least median, among those that were measured."""
    peers = [
        series
        for series in outcome.believed
        if (series.threads, series.part) == (threads, part)
        and ENGINES[series.engine].is_peer
        and series.engine != without
    ]
    return min(peers, key=lambda series: median(series.seconds), default=None)


def comparisons(
    outcome: Outcome, threads: int, engine: str = REFERENCE, without: str = ""
) -> list[Comparison]:
    """Compares flowrs with its fastest peer, part by part."""
    found = []
    for number, part in enumerate(outcome.case.parts):
        own = outcome.find(engine, threads, number)
        peer = fastest_peer(outcome, threads, number, without)
        if own is not None and peer is not None:
            title = outcome.case.title
            title = f"{title}, {part.title}" if part.title != title else title
            found.append(Comparison(number, title, peer.engine, ratio(peer, own)))
    return found


def _peers(outcome: Outcome) -> Iterator[Goal]:
    yield from _against_peers(outcome, "times_fastest_peer", REFERENCE, "")


def _trainers(outcome: Outcome) -> Iterator[Goal]:
    how = f"without {SERVER} "
    yield from _against_peers(outcome, "times_fastest_trainer", REFERENCE, how, SERVER)


def _variants(outcome: Outcome) -> Iterator[Goal]:
    variants, threads = outcome.case.variants, max(outcome.case.threads)
    for one in comparisons(outcome, threads) if variants else ():
        wanted = variants[one.part].times_fastest_peer
        if wanted:
            what = f"{variants[one.part].name}, at {threads} threads {wanted:.2f}x the fastest peer"
            yield Goal(f"{what} ({one.peer})", f"{one.times:.2f}x", one.times >= wanted)


def _strict(outcome: Outcome) -> Iterator[Goal]:
    how = "with strict precision "
    yield from _against_peers(outcome, "strict_times_fastest_peer", STRICT, how)


def _against_peers(
    outcome: Outcome, name: str, engine: str, how: str, without: str = ""
) -> Iterator[Goal]:
    wanted, threads = outcome.case.goal.get(name), int(outcome.case.goal.get("threads", 1))
    found = comparisons(outcome, threads, engine, without)
    if wanted is None or not found:
        return
    what = f"at {threads} threads {how}"
    if len(outcome.case.parts) > 1:
        yield _least(f"{what}each of {len(found)} sizes", wanted, found)
    else:
        (one,) = found
        what = f"{what}{wanted:.2f}x the fastest peer ({one.peer})"
        yield Goal(what, f"{one.times:.2f}x", one.times >= wanted)


def _mean(outcome: Outcome) -> Iterator[Goal]:
    wanted, threads = outcome.case.goal.get("mean"), int(outcome.case.goal.get("threads", 1))
    found = comparisons(outcome, threads)
    if wanted is not None and found:
        what = f"at {threads} threads geometric mean of {len(found)} sizes"
        yield _mean_of(what, wanted, found)


def _least(what: str, wanted: float, found: list[Comparison]) -> Goal:
    least = min(found, key=lambda one: one.times)
    text = f"{least.times:.2f}x at least ({least.title}; {least.peer})"
    return Goal(f"{what} {wanted:.2f}x its fastest peer", text, least.times >= wanted)


def _mean_of(what: str, wanted: float, found: list[Comparison]) -> Goal:
    mean = geometric_mean(one.times for one in found)
    return Goal(f"{what} {wanted:.2f}x the fastest peers", f"{mean:.2f}x", mean >= wanted)


def _scaling(outcome: Outcome) -> Iterator[Goal]:
    wanted = outcome.case.goal.get("two_threads_over_one")
    one, two = outcome.find(REFERENCE, 1), outcome.find(REFERENCE, 2)
    if wanted is not None and one is not None and two is not None:
        found = ratio(one, two)
        yield Goal(f"two threads {wanted:.2f}x one", f"{found:.2f}x", found >= wanted)


def _double(outcome: Outcome) -> Iterator[Goal]:
    wanted, threads = outcome.case.goal.get("times_of_float32"), max(outcome.case.threads)
    found = {
        part.dtype: outcome.find(DIRECT, threads, number)
        for number, part in enumerate(outcome.case.parts)
    }
    single, double = found.get("float32"), found.get("float64")
    if wanted is not None and single is not None and double is not None:
        times = ratio(double, single)
        what = f"float64 in {wanted:.2f}x the time of float32 with the same algorithm"
        yield Goal(what, f"{times:.2f}x", times <= wanted)


def _share_of_peak(outcome: Outcome) -> Iterator[Goal]:
    wanted, threads = (
        outcome.case.goal.get("share_of_peak"),
        int(outcome.case.goal.get("threads", 1)),
    )
    series, peaks = outcome.find(REFERENCE, threads), outcome.peaks.get(threads)
    if wanted is not None and series is not None and peaks:
        found = outcome.case.flop / median(series.seconds) / median(peaks)
        what = f"at {threads} threads {wanted:.0%} of the FMA peak"
        yield Goal(what, f"{found:.0%}", found >= wanted)


def _step(outcome: Outcome) -> Iterator[Goal]:
    wanted, series = outcome.case.goal.get("microseconds"), outcome.find(REFERENCE, 1)
    if wanted is not None and series is not None:
        found = median(series.seconds) * 1e6
        what = f"a step at 1 thread takes less than {wanted:.0f} us"
        yield Goal(what, f"{found:.1f} us", found < wanted)


def _import(outcome: Outcome) -> Iterator[Goal]:
    wanted, series = outcome.case.goal.get("milliseconds_over_numpy"), outcome.find(REFERENCE, 1)
    over = over_numpy(outcome, series) if series else None
    if wanted is not None and over is not None:
        what = f"import flowrs takes less than {wanted:.0f} ms over numpy"
        yield Goal(what, f"{over:.0f} ms", over < wanted)


def over_numpy(outcome: Outcome, series: Series) -> float | None:
    """Milliseconds more than ``import numpy``, the median over rounds."""
    numpy = outcome.find("numpy", series.threads)
    if numpy is None or series is numpy:
        return None
    pairs = zip(series.seconds, numpy.seconds, strict=True)
    return median(own - other for own, other in pairs) * 1e3


def _memory(outcome: Outcome) -> Iterator[Goal]:
    wanted, threads = outcome.case.goal.get("times_memory_of_least"), max(outcome.case.threads)
    if wanted is None:
        return
    for number, part in enumerate(outcome.case.parts):
        own = outcome.find(REFERENCE, threads, number)
        peers = [
            series
            for series in outcome.believed
            if (series.threads, series.part) == (threads, number) and series is not own
        ]
        if own is None or not peers:
            continue
        least = min(peers, key=lambda series: median(series.peak_bytes))
        found = median(own.peak_bytes) / median(least.peak_bytes)
        what = f"{part.title}: at most {wanted:.2f}x the memory of {least.engine}"
        yield Goal(what, f"{found:.2f}x", found <= wanted)
