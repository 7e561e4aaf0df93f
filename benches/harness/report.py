"""Tables of what was measured, for a terminal and for ``RESULTS.md``."""

from __future__ import annotations

from statistics import median

from harness import case
from harness.case import Case
from harness.goals import fastest_peer, goals, over_numpy, overall
from harness.kept import Run
from harness.measure import REFERENCE, Outcome, ratio

Rows = list[list[str]]

#: The roofline, beside the report.
PICTURE = "roofline.svg"

#: Cases of which the README has the table of most threads, and the lines around these tables.
IN_README = ("mlp_train", "lenet_train", "lenet_infer_100", "resnet18_train")
README_MARKS = ("<!-- made by benches/run.py --write -->", "<!-- end of what it made -->")


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


def markdown_table(rows: Rows, numbers: bool = True) -> str:
    """The same as Markdown; with the other columns to the left where they hold no numbers."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    other = "| ---: " if numbers else "| --- "
    lines.insert(1, "| --- " + other * (len(rows[0]) - 1) + "|")
    return "\n".join(lines)


def tables(outcome: Outcome) -> list[tuple[str, Rows]]:
    """The tables of a case, each with its heading."""
    if outcome.case.kind == "import":
        return [(outcome.case.title, _import_rows(outcome))]
    rows_of = _part_rows if len(outcome.case.parts) > 1 else _rows
    if outcome.case.kind == "memory":
        rows_of = _memory_rows
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


def _part_rows(outcome: Outcome, threads: int) -> Rows:
    """One row a part: the time of each engine, the ratio to the fastest peer, and the rate."""
    engines = list(dict.fromkeys(s.engine for s in outcome.believed if s.threads == threads))
    kind = "operation" if outcome.case.ops else "size"
    rows = [[kind, *(f"{engine} ms" for engine in engines), "flowrs is", "flowrs does"]]
    copy = _copy_seconds(outcome, threads)
    for number, part in enumerate(outcome.case.parts):
        found = [outcome.find(engine, threads, number) for engine in engines]
        times = [
            "-" if series is None else _milliseconds(median(series.seconds)) for series in found
        ]
        own, fastest = outcome.find(REFERENCE, threads, number), None
        times_as_fast, rate = "-", "-"
        if own is not None:
            rate = _rate(outcome, part, threads, median(own.seconds), copy)
            fastest = fastest_peer(outcome, threads, number)
            times_as_fast = f"{ratio(fastest, own):.2f}x" if fastest else "-"
        rows.append([part.title, *times, times_as_fast, rate])
    return rows


def _memory_rows(outcome: Outcome, threads: int) -> Rows:
    """One row a model: the megabytes of each engine."""
    engines = list(dict.fromkeys(s.engine for s in outcome.believed if s.threads == threads))
    rows = [["model", *(f"{engine} MB" for engine in engines)]]
    for number, part in enumerate(outcome.case.parts):
        found = [outcome.find(engine, threads, number) for engine in engines]
        cells = ["-" if series is None else _megabytes(series.peak_bytes) for series in found]
        rows.append([part.title, *cells])
    return rows


def _megabytes(counts: list[int]) -> str:
    return f"{median(counts) / 1e6:,.0f}"


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
        over = over_numpy(outcome, series)
        rows.append(
            [
                series.engine,
                f"{median(series.seconds) * 1e3:.0f}",
                f"{min(series.seconds) * 1e3:.0f}",
                "-" if over is None else f"{over:.0f}",
            ]
        )
    return rows


def troubles(outcome: Outcome) -> list[str]:
    """What is missing, and why."""
    parts, lines = outcome.case.parts, []
    for series in outcome.failed:
        what = f" of {parts[series.part].title}" if len(parts) > 1 else ""
        lines.append(
            f"{series.engine}, threads {series.threads}{what}: NOT MEASURED: {series.trouble}"
        )
    if outcome.absent:
        lines.append(f"not installed: {', '.join(outcome.absent)}")
    return lines


def remarks(outcome: Outcome) -> list[str]:
    """What else a reader must know: failures, absences, goals, scaling, disturbance."""
    lines = troubles(outcome)
    if not outcome.believed:
        return lines
    lines += map(str, goals(outcome))
    return lines if outcome.case.kind in ("import", "memory") else lines + _step_remarks(outcome)


def _step_remarks(outcome: Outcome) -> list[str]:
    lines = []
    one, two = outcome.find(REFERENCE, 1), outcome.find(REFERENCE, 2)
    if one is not None and two is not None and len(outcome.case.parts) == 1:
        lines.append(f"flowrs, two threads over one: {ratio(one, two):.2f}x")
    for threads, rates in sorted(outcome.peaks.items()):
        best = f"{max(rates) / 1e9:,.0f} at best"
        lines.append(f"FMA peak, threads {threads}: {median(rates) / 1e9:,.0f} GFLOP/s, {best}")
    others = [share for series in outcome.believed for share in series.others]
    lines.append(
        f"medians over {len(outcome.believed[0].seconds)} rounds, in which other processes used "
        f"{median(others):.2f} cores ({max(others):.2f} at most)"
    )
    return lines


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


def summary(outcomes: list[Outcome]) -> Rows:
    """All goals, each with its case, and those for all models together."""
    rows = [["case", "goal", "found", ""]]
    for outcome in outcomes:
        rows += [[outcome.case.name, g.what, g.found, g.verdict] for g in goals(outcome)]
    return rows + [["all", goal.what, goal.found, goal.verdict] for goal in overall(outcomes)]


def markdown(run: Run, has_picture: bool = False) -> str:
    """The whole of ``RESULTS.md``."""
    outcomes = run.outcomes
    lines = [
        "# Results of the benches",
        "",
        f"Made by `{run.command}`; do not edit.",
        "",
        "Medians over rounds in which all engines took turns, each in a process of its own; "
        "`best` is the best round. `flowrs is 2.00x` means that flowrs does twice as many steps in "
        "the same time (the median over rounds of the two times' ratio), in tables with one row a "
        "size or operation as the fastest peer. Each step takes a fresh batch of NumPy arrays and "
        "fetches its loss or logits. Before any time was taken, the losses of the first steps were "
        "found to follow a float64 training run, and the results of single operations those in "
        "float64. `of FMA peak` is the share of the float32 multiply-adds that the machine did in "
        "the same rounds when it did nothing else, counting those of the plain formula; `cores "
        "used` is the engine's processor time over the time.",
        "",
        markdown_table([["fact", "value"], *map(list, run.facts.items())], numbers=False),
        "",
        "## Goals",
        "",
        markdown_table(summary(outcomes), numbers=False),
    ]
    missing = sorted(set(case.names()) - {outcome.case.name for outcome in outcomes})
    if missing:
        lines += ["", f"Not measured in this run: {', '.join(missing)}."]
    if has_picture:
        lines += ["", "## Roofline", "", f"![roofline]({PICTURE})"]
    for outcome in outcomes:
        for heading, rows in tables(outcome):
            lines += ["", f"## {heading}", "", markdown_table(rows)]
        lines += ["", *(f"- {remark}" for remark in remarks(outcome))]
    return "\n".join(lines) + "\n"


def readme(text: str, outcomes: list[Outcome]) -> str | None:
    """The README with its tables made anew; None where there is no table for one of them."""
    before, begin, rest = text.partition(README_MARKS[0])
    _, end, after = rest.partition(README_MARKS[1])
    by_name = {outcome.case.name: outcome for outcome in outcomes}
    found = [tables(by_name[name]) for name in IN_README if name in by_name]
    if not end or len(found) < len(IN_README) or not all(found):
        return None
    shown = "".join(
        f"\n{heading}\n\n{markdown_table(rows)}\n" for heading, rows in (all_[-1] for all_ in found)
    )
    return f"{before}{begin}\n{shown}\n{end}{after}"
