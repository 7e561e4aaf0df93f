#!/usr/bin/env python3
"""Measures flowrs and other libraries side by side.

Each engine runs in a process of its own for each number of threads. Before any time is taken, the
losses of its first steps must follow those of float64 training, and what single operations give
must be what they give in float64. Then the engines take turns, round by round, while the others
sleep, and medians over the rounds are reported.

Needed are FLOWRS_DATA_DIR (the folder with the four MNIST files) and FLOWRS_GOLDEN_DIR (the folder
with traces.json and the first weights). Engines that are not installed are listed as absent;
`make bench` installs all but PyTorch, which benches/requirements-torch.txt adds.

Examples:
  run.py                                       all cases, printed
  run.py --write                               and written into benches/RESULTS.md
  run.py --check                               are the results right? some minutes, no times
  run.py --case mlp_train --engines flowrs,jax --threads 2 --rounds 31
  run.py --all                                 also the slower ways of using a library
  run.py --losses --case mlp_4096              what a case's file must have, by PyTorch in float64

All numbers of a run are kept in benches/results/*.json. Other work on the machine moves single
numbers by 30 % and more, and ratios less: take more rounds, and read what the report says of other
processes. The exit code is 1 where an engine gave wrong results or failed.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from engines import ENGINES
from harness import case, data, machine, reference, report
from harness.case import Case
from harness.measure import Outcome, measure_imports, measure_steps

FOLDER = Path(__file__).resolve().parent


def main(arguments: list[str]) -> int:
    """Runs what the command line asks for; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        cases = [case.load(name) for name in options.case or case.names()]
        data.check_folders()
    except (case.CaseError, data.MissingData) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.losses:
        print("\n".join(reference.lines(cases)))
        return 0
    outcomes = []
    for chosen in cases:
        if options.check and chosen.kind == "import":
            continue
        outcomes.append(_run(chosen, options))
        print(_checked(outcomes[-1]) if options.check else report.terminal(outcomes[-1]))
    if not options.check:
        _keep(outcomes, options, shlex.join(["benches/run.py", *arguments]))
    return 1 if any(outcome.failed for outcome in outcomes) else 0


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
        "--threads", type=_counts, default=[1, 2], metavar="COUNTS", help="(default: 1,2)"
    )
    parser.add_argument("--rounds", type=_count, default=21, help="(default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="engines that are left out otherwise")
    parser.add_argument("--check", action="store_true", help="compare losses only, take no times")
    parser.add_argument(
        "--losses", action="store_true", help="print the losses and digests that cases compare with"
    )
    parser.add_argument("--write", action="store_true", help="write benches/RESULTS.md")
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
    engines = options.engines or [
        name for name in chosen.engines if options.all or not ENGINES[name].only_with_all
    ]
    rounds = 0 if options.check else options.rounds
    if chosen.kind == "import":
        return measure_imports(chosen, engines, rounds, _say)
    return measure_steps(chosen, engines, options.threads, rounds, _say)


def _say(text: str) -> None:
    """Shows what is going on, on one line where there is a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _checked(outcome: Outcome) -> str:
    wrong = {series.engine for series in outcome.failed}
    right = sorted({series.engine for series in outcome.right} - wrong)
    what = "results" if outcome.case.ops else "losses"
    lines = [f"{outcome.case.name}: {', '.join(right) or 'no engine'}: the {what} are right"]
    return "\n".join([*lines, *report.remarks(outcome)])


def _keep(outcomes: list[Outcome], options: argparse.Namespace, command: str) -> None:
    facts = machine.facts() | {"versions": report.versions(outcomes)}
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    results = FOLDER / "results"
    results.mkdir(exist_ok=True)
    content = {"command": command, "facts": facts, "cases": [o.as_json() for o in outcomes]}
    path = results / f"{time.strftime('%Y-%m-%d-%H%M%S')}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"all numbers: {path}")
    if options.write:
        path = FOLDER / "RESULTS.md"
        path.write_text(report.markdown(outcomes, facts, options.rounds, command))
        print(f"report: {path}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
