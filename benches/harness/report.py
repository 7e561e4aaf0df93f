"""Tables of what was measured, for a terminal and for ``RESULTS.md``."""

from __future__ import annotations

from statistics import median

from harness.case import Case
from harness.measure import REFERENCE, Outcome, Series, ratio

Rows = list[list[str]]


def text_table(rows: Rows) -> str:
    """Rows (the first is the heading) with aligned columns; all but the first to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        first, *others = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def markdown_table(rows: Rows) -> str:
    """The same as Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| --- " + "| ---: " * (len(rows[0]) - 1) + "|")
    return "\n".join(lines)


def tables(outcome: Outcome) -> list[tuple[str, Rows]]:
    """The tables of a case, each with its heading."""
    if outcome.case.kind == "import":
        return [(outcome.case.title, _import_rows(outcome))]
    rows_of = _operation_rows if outcome.case.ops else _rows
    counts = sorted({series.threads for series in outcome.believed})
    named = {1: "1 thread"}
    return [
        (f"{outcome.case.title}: {named.get(count, f'{count} threads')}", rows_of(outcome, count))
        for count in counts
    ]


def _rows(outcome: Outcome, threads: int) -> Rows:
    rows = [["engine", "steps/s", "best", "ms/step", "flowrs is", "of FMA peak", "cores used"]]
    reference = outcome.find(REFERENCE, threads)
    peaks = outcome.peaks.get(threads)
    for series in (s for s in outcome.believed if s.threads == threads):
        seconds = median(series.seconds)
        share = outcome.case.flop / seconds / median(peaks) if peaks else None
        rows.append(
            [
                series.engine,
                f"{1 / seconds:,.0f}",
                f"{1 / min(series.seconds):,.0f}",
                _milliseconds(seconds),
                "-" if reference is None else f"{ratio(series, reference):.2f}x",
                "-" if share is None else f"{share:.0%}",
                f"{median(series.cores):.2f}",
            ]
        )
    return rows


def _milliseconds(seconds: float) -> str:
    """Three digits behind the point, and one more where they would be few."""
    return f"{seconds * 1e3:.3f}" if seconds >= 1e-4 else f"{seconds * 1e3:.4f}"


def _operation_rows(outcome: Outcome, threads: int) -> Rows:
    """One row an operation: the time of each engine, the ratio to the best peer, and the rate."""
    engines = list(dict.fromkeys(s.engine for s in outcome.believed if s.threads == threads))
    rows = [["operation", *(f"{engine} ms" for engine in engines), "flowrs is", "flowrs does"]]
    copy = _copy_seconds(outcome, threads)
    for number, part in enumerate(outcome.case.parts):
        found = {engine: outcome.find(engine, threads, number) for engine in engines}
        times = [
            "-" if series is None else _milliseconds(median(series.seconds))
            for series in found.values()
        ]
        own = found.pop(REFERENCE, None)
        peers = [series for series in found.values() if series is not None]
        times_as_fast, rate = "-", "-"
        if own is not None:
            rate = _rate(outcome, part, threads, median(own.seconds), copy)
            if peers:
                fastest = min(peers, key=lambda series: median(series.seconds))
                times_as_fast = f"{ratio(fastest, own):.2f}x"
        rows.append([part.title, *times, times_as_fast, rate])
    return rows


def _copy_seconds(outcome: Outcome, threads: int) -> float | None:
    """Seconds a byte of the fastest plain copy in the same rounds."""
    found = [
        median(series.seconds) / part.part.bytes
        for number, part in enumerate(outcome.case.parts)
        if part.part is not None and part.part.kind == "copy"
        for series in outcome.believed
        if (series.threads, series.part) == (threads, number)
    ]
    return min(found, default=None)


def _rate(outcome: Outcome, part: Case, threads: int, seconds: float, copy: float | None) -> str:
    """What an operation does in a second: arithmetic, or bytes compared with a copy's."""
    if part.flop:
        peaks = outcome.peaks.get(threads)
        share = f" ({part.flop / seconds / median(peaks):.0%} of peak)" if peaks else ""
        return f"{part.flop / seconds / 1e9:,.0f} GFLOP/s{share}"
    if part.part is None or not part.part.bytes:
        return "-"
    share = f" ({copy * part.part.bytes / seconds:.0%} of a copy)" if copy else ""
    return f"{part.part.bytes / seconds / 1e9:.1f} GB/s{share}"


def _import_rows(outcome: Outcome) -> Rows:
    rows = [["import", "ms", "best", "ms over numpy"]]
    for series in outcome.believed:
        over = _over_numpy(outcome, series)
        rows.append(
            [
                series.engine,
                f"{median(series.seconds) * 1e3:.0f}",
                f"{min(series.seconds) * 1e3:.0f}",
                "-" if over is None else f"{over:.0f}",
            ]
        )
    return rows


def _over_numpy(outcome: Outcome, series: Series) -> float | None:
    """Milliseconds more than ``import numpy``, the median over rounds."""
    numpy = outcome.find("numpy", series.threads)
    if numpy is None or series is numpy:
        return None
    pairs = zip(series.seconds, numpy.seconds, strict=True)
    return median(own - other for own, other in pairs) * 1e3


def remarks(outcome: Outcome) -> list[str]:
    """What else a reader must know: failures, absences, goals, scaling, disturbance."""
    parts = outcome.case.parts
    lines = []
    for series in outcome.failed:
        what = f" of {parts[series.part].title}" if outcome.case.ops else ""
        lines.append(
            f"{series.engine}, threads {series.threads}{what}: NOT MEASURED: {series.trouble}"
        )
    if outcome.absent:
        lines.append(f"not installed: {', '.join(outcome.absent)}")
    if not outcome.believed:
        return lines
    lines += _import_goal(outcome) if outcome.case.kind == "import" else _step_remarks(outcome)
    return lines


def _import_goal(outcome: Outcome) -> list[str]:
    goal, series = outcome.case.goal.get("milliseconds_over_numpy"), outcome.find(REFERENCE, 1)
    over = _over_numpy(outcome, series) if series else None
    if goal is None or over is None:
        return []
    met = "met" if over < goal else "NOT MET"
    return [f"goal: import flowrs takes less than {goal:.0f} ms over numpy: {over:.0f} ms: {met}"]


def _step_remarks(outcome: Outcome) -> list[str]:
    lines = []
    if not outcome.case.ops:
        goals = (_goal, _peak_goal, _step_goal, _scaling)
        lines = [line for goal in goals for line in goal(outcome)]
    for threads, rates in sorted(outcome.peaks.items()):
        best = f"{max(rates) / 1e9:,.0f} at best"
        lines.append(f"FMA peak, threads {threads}: {median(rates) / 1e9:,.0f} GFLOP/s, {best}")
    others = [share for series in outcome.believed for share in series.others]
    lines.append(
        f"other processes used {median(others):.2f} cores meanwhile (median over all rounds; "
        f"{max(others):.2f} at most)"
    )
    return lines


def _goal(outcome: Outcome) -> list[str]:
    goal = outcome.case.goal
    if "times_fastest_peer" not in goal:
        return []
    threads, wanted = int(goal["threads"]), goal["times_fastest_peer"]
    reference = outcome.find(REFERENCE, threads)
    peers = [s for s in outcome.believed if s.threads == threads and s.engine != REFERENCE]
    if reference is None or not peers:
        return []
    fastest = min(peers, key=lambda series: median(series.seconds))
    found = ratio(fastest, reference)
    met = "met" if found >= wanted else "NOT MET"
    return [
        f"goal: at {threads} threads {wanted:.2f}x the fastest peer ({fastest.engine}): "
        f"{found:.2f}x: {met}"
    ]


def _scaling(outcome: Outcome) -> list[str]:
    one, two = outcome.find(REFERENCE, 1), outcome.find(REFERENCE, 2)
    if one is None or two is None:
        return []
    found, wanted = ratio(one, two), outcome.case.goal.get("two_threads_over_one")
    line = f"flowrs, two threads over one: {found:.2f}x"
    if wanted is None:
        return [line]
    return [f"{line}; goal: {wanted:.2f}x: {'met' if found >= wanted else 'NOT MET'}"]


def _peak_goal(outcome: Outcome) -> list[str]:
    wanted, threads = (
        outcome.case.goal.get("share_of_peak"),
        int(outcome.case.goal.get("threads", 1)),
    )
    series, peaks = outcome.find(REFERENCE, threads), outcome.peaks.get(threads)
    if wanted is None or series is None or not peaks:
        return []
    found = outcome.case.flop / median(series.seconds) / median(peaks)
    met = "met" if found >= wanted else "NOT MET"
    return [f"goal: at {threads} threads {wanted:.0%} of the FMA peak: {found:.0%}: {met}"]


def _step_goal(outcome: Outcome) -> list[str]:
    goal, series = outcome.case.goal.get("microseconds"), outcome.find(REFERENCE, 1)
    if goal is None or series is None:
        return []
    found = median(series.seconds) * 1e6
    met = "met" if found < goal else "NOT MET"
    return [f"goal: a step at 1 thread takes less than {goal:.0f} us: {found:.1f} us: {met}"]


def versions(outcomes: list[Outcome]) -> str:
    """The versions of all libraries that took part."""
    found: dict[str, str] = {}
    for outcome in outcomes:
        for series in outcome.series:
            found.update(series.versions)
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))


def terminal(outcome: Outcome) -> str:
    """A case's tables and remarks as they are printed."""
    parts = [f"{heading}\n\n{text_table(rows)}" for heading, rows in tables(outcome)]
    parts.append("\n".join(remarks(outcome)))
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown(outcomes: list[Outcome], facts: dict[str, str], rounds: int, command: str) -> str:
    """The whole of ``RESULTS.md``."""
    lines = [
        "# Results of the benches",
        "",
        f"Made by `{command}`; do not edit.",
        "",
        f"Medians over {rounds} rounds in which all engines took turns, each in a process of its "
        "own; `best` is the best round. `flowrs is 2.00x` means that flowrs does twice as many "
        "steps in the same time (the median over rounds of the two times' ratio). Each step takes "
        "a fresh batch of NumPy arrays and fetches its loss or logits. Before any time was taken, "
        "the losses of the first steps were found to follow a float64 training run, and the "
        "results of single operations those in float64. `of FMA peak` is the "
        "share of the multiply-adds that the machine did in the same rounds when it did nothing "
        "else; `cores used` is the engine's processor time over the time.",
        "",
        markdown_table([["fact", "value"], *([name, value] for name, value in facts.items())]),
    ]
    for outcome in outcomes:
        for heading, rows in tables(outcome):
            lines += ["", f"## {heading}", "", markdown_table(rows)]
        lines += ["", *(f"- {remark}" for remark in remarks(outcome))]
    return "\n".join(lines) + "\n"
