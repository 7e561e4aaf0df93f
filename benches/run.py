#!/usr/bin/env python3
"""Measures flowrs and other libraries side by side.

Each engine runs in a process of its own for each number of threads. Before any time is taken, the
losses of its first steps must follow those of float64 training, and what single operations give
must be what they give in float64. Then the engines take turns, round by round, while the others
sleep, and medians over the rounds are reported. All cases take half an hour on two cores.

Needed are FLOWRS_DATA_DIR (the folder with the four MNIST files) and FLOWRS_GOLDEN_DIR (the folder
with traces.json and the first weights). Engines that are not installed are listed as absent;
`make bench` installs all but PyTorch, which benches/requirements-torch.txt adds.

Examples:
  run.py                                       all cases, printed
  run.py --write                               and written: see below
  run.py --check                               are the results right? some minutes, no times
  run.py --case mlp_train --engines flowrs,jax --threads 1,2 --rounds 31
  run.py --report benches/results/*.json       what earlier runs found, of all their cases
  run.py --all                                 also the slower ways of using a library
  run.py --losses --case mlp_4096_train        what a case's file must have, by PyTorch in float64

All numbers of a run are kept in benches/results/*.json, from case to case: a run that is
interrupted loses the case at work only. --write makes of them benches/RESULTS.md, with the goals
that were met and those that were not, the roofline benches/roofline.svg, and the tables of the
README; --report makes the same of the numbers that are kept.

Other work on the machine moves single numbers by 30 % and more, and ratios less: take more rounds,
and read what the report says of other processes. The exit code is 1 where an engine gave wrong
results or failed.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from engines import ENGINES
from harness import case, data, kept, machine, picture, reference, report, roofline
from harness.case import Case
from harness.kept import Run
from harness.measure import REFERENCE, Outcome, measure_imports, measure_memory, measure_steps

FOLDER = Path(__file__).resolve().parent


def main(arguments: list[str]) -> int:
    """Runs what the command line asks for; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.report:
            _write(kept.merged([kept.load(path) for path in options.report]))
            return 0
        cases = [case.load(name) for name in options.case or _all()]
        data.check_folders()
    except (case.CaseError, data.MissingData, kept.KeptError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.losses:
        print("\n".join(reference.lines(cases)))
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run = Run(shlex.join(["benches/run.py", *arguments]), machine.facts())
    is_whole = _measure(cases, options, run)
    if not options.check:
        print(report.text_table(report.summary(run.outcomes)))
        print("\n".join(f"{name}: {value}" for name, value in run.facts.items()))
    if options.write and run.outcomes:
        _write(run)
    if not is_whole:
        return 130
    return 1 if any(outcome.failed for outcome in run.outcomes) else 0


def _all() -> list[str]:
    """All cases, those first that the README shows."""
    return list(dict.fromkeys([*report.IN_README, *case.names()]))


def _measure(cases: list[Case], options: argparse.Namespace, run: Run) -> bool:
    """Fills the run, case by case, and keeps it; says whether nobody interrupted it."""
    path = FOLDER / "results" / f"{time.strftime('%Y-%m-%d-%H%M%S')}.json"
    try:
        for chosen in cases:
            outcome = _run(chosen, options)
            run.outcomes.append(outcome)
            print(_checked(outcome) if options.check else report.terminal(outcome), flush=True)
            if not options.check:
                run.facts["versions"] = report.versions(run.outcomes)
                run.save(path)
    except KeyboardInterrupt:
        print(f"interrupted: of {len(cases)} cases {len(run.outcomes)} are done", file=sys.stderr)
        return False
    finally:
        if path.exists():
            print(f"all numbers: {path}")
    return True


def _parser() -> argparse.ArgumentParser:
    description, _, epilog = (__doc__ or "").partition("Examples:")
    parser = argparse.ArgumentParser(
        prog="run.py",
        description=description,
        epilog=f"Examples:{epilog}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--case",
        type=_names_of(case.names()),
        metavar="NAMES",
        help=f"cases with commas between them (default: all: {','.join(case.names())})",
    )
    parser.add_argument(
        "--engines",
        type=_names_of(list(ENGINES)),
        metavar="NAMES",
        help=f"of {','.join(ENGINES)} (default: those that the case names)",
    )
    parser.add_argument(
        "--threads", type=_counts, metavar="COUNTS", help="such as 1,2 (default: the case's)"
    )
    parser.add_argument("--rounds", type=_count, help="for each case (default: the case's)")
    parser.add_argument("--all", action="store_true", help="also the case's further engines")
    parser.add_argument("--check", action="store_true", help="compare losses only, take no times")
    parser.add_argument(
        "--losses", action="store_true", help="print the losses and digests that cases compare with"
    )
    parser.add_argument(
        "--write", action="store_true", help="write benches/RESULTS.md, the picture and the README"
    )
    parser.add_argument(
        "--report",
        nargs="+",
        type=Path,
        metavar="FILES",
        help="write them from kept numbers; of a case in several files, those of the last",
    )
    return parser


def _names_of(known: list[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",") if name.strip()]
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"there is no {name!r}; there are: {', '.join(known)}"
                )
        return chosen

    return names


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a number above 0 is needed, not {text!r}")
    return int(text)


def _counts(text: str) -> list[int]:
    return sorted({_count(item.strip()) for item in text.split(",")})


def _run(chosen: Case, options: argparse.Namespace) -> Outcome:
    named = options.engines or [*chosen.engines, *(chosen.more_engines if options.all else ())]
    rounds = options.rounds or chosen.rounds
    if chosen.kind == "import":
        return measure_imports(chosen, named, 1 if options.check else rounds, _say)
    engines = {count: named for count in options.threads or chosen.threads}
    if not options.threads and REFERENCE in named:
        engines |= {count: [REFERENCE] for count in chosen.own_threads}
    if chosen.kind == "memory":
        return measure_memory(chosen, engines, 1 if options.check else rounds, _say)
    return measure_steps(chosen, engines, 0 if options.check else rounds, _say)


def _say(text: str) -> None:
    """Shows what is going on, on one line where there is a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _checked(outcome: Outcome) -> str:
    wrong = {series.engine for series in outcome.failed}
    right = sorted({series.engine for series in outcome.right} - wrong)
    what = {"ops": "results", "import": "imports"}.get(outcome.case.kind, "losses")
    lines = [f"{outcome.case.name}: {', '.join(right) or 'no engine'}: the {what} are right"]
    return "\n".join([*lines, *report.troubles(outcome)])


def _write(run: Run) -> None:
    """Writes the report, and the picture and the README where all that they need is there."""
    has_picture = _draw(run)
    path = FOLDER / "RESULTS.md"
    path.write_text(report.markdown(run, has_picture))
    print(f"report: {path}")
    path = FOLDER.parent / "README.md"
    text = report.readme(path.read_text(), run.outcomes)
    if text is None:
        print(f"{path} stays as it is: it needs numbers of {', '.join(report.IN_README)}")
    else:
        path.write_text(text)
        print(f"tables: {path}")


def _draw(run: Run) -> bool:
    """Writes the roofline; says whether it could be."""
    threads = max(count for outcome in run.outcomes for count in outcome.peaks or [1])
    roof, tracks = roofline.roof(run.outcomes, threads), roofline.tracks(run.outcomes, threads)
    if roof is None or not tracks:
        print("no roofline: it needs numbers of operations")
        return False
    path = FOLDER / report.PICTURE
    path.write_text(picture.draw(roof, tracks, run.facts["processor"]))
    print(f"roofline: {path}")
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
