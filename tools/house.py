"""Checks rules of the repository that no other tool knows: `make lint` runs it last.

- The crates depend on each other in one direction: kernels <- engine <- python -> checkpoint, and
  only the crate for Python knows PyO3.
- Every Rust dependency is offered under a licence that asks no more than Apache-2.0 does.
- No file names a folder of one machine or the host of a package registry.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

#: What each crate of ours may depend on: crates of ours, and PyO3.
ALLOWED = {
    "flowrs-kernels": set(),
    "flowrs-engine": {"flowrs-kernels"},
    "flowrs-checkpoint": set(),
    "flowrs-python": {"flowrs-engine", "flowrs-checkpoint", "pyo3"},
}

#: The licences of which each dependency must offer one: that of flowrs, or one that gives more.
LICENCES = {"Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSL-1.0"}

#: What a dependency may demand in addition: notices for data tables.
NOTICES = {"Unicode-3.0"}

_FOLDER = re.compile(r"""(?:^|[\s"'`(=:])(/(?:home|root|work|tmp|Users)/[\w.-]+)""")
_REGISTRY = re.compile(r"\b(?:[\w-]+\.)?(?:crates\.io|pypi\.org|pythonhosted\.org)\b")

_PUBLIC_INDEX = re.compile(r"registry\+https://github\.com/rust-lang/crates\.io-index")


def wrong_dependencies(packages: Iterable[dict[str, Any]]) -> list[str]:
    """Says which crates depend on what they must not know."""
    watched = {*ALLOWED, "pyo3"}
    found = []
    for package in packages:
        name = package["name"]
        if name not in ALLOWED:
            found.append(f"crate {name} is not in the table of tools/house.py: add what it may use")
            continue
        known = {dependency["name"] for dependency in package["dependencies"]} & watched
        found += [f"crate {name} must not depend on {other}" for other in known - ALLOWED[name]]
    return sorted(found)


def wrong_licences(packages: Iterable[dict[str, Any]]) -> list[str]:
    """Says which crates are not offered under an accepted licence."""
    return [
        f"crate {package['name']} is under {package['license']!r}, not Apache-2.0"
        for package in packages
        if not acceptable(package["license"] or "")
    ]


def acceptable(expression: str) -> bool:
    """Whether an SPDX expression of ORs, and ANDs of bracketed ORs, offers a licence of ours."""
    parts = [part.strip(" ()") for part in expression.split(" AND ")]
    choices = [{choice.strip() for choice in re.split(r" OR |/", part)} for part in parts]
    return all(choice & (LICENCES | NOTICES) for choice in choices) and any(
        choice & LICENCES for choice in choices
    )


def foreign_names(path: str, text: str) -> list[str]:
    """Says where a text names a folder of one machine or a package registry."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        names = [match[1] for match in _FOLDER.finditer(line)]
        names += [match[0] for match in _REGISTRY.finditer(line)]
        found += [f"{path}:{number}: names {name}, which is not the project's" for name in names]
    return found


def foreign_sources(lock: str) -> list[str]:
    """Says which crates of Cargo.lock come from elsewhere than the public index."""
    sources = re.findall(r'^source = "(.*)"$', lock, re.MULTILINE)
    foreign = sorted(source for source in {*sources} if not _PUBLIC_INDEX.fullmatch(source))
    return [f"Cargo.lock: {source} is not the public index of crates" for source in foreign]


def main() -> int:
    """Prints what is wrong; the exit code says whether anything is."""
    metadata = json.loads(output("cargo", "metadata", "--format-version", "1", "--locked"))
    packages = metadata["packages"]
    ours = [package for package in packages if package["id"] in metadata["workspace_members"]]
    found = wrong_dependencies(ours) + wrong_licences(packages)
    for path in output("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split(
        "\0"
    ):
        file = ROOT / path
        if path and path != "Cargo.lock" and file.is_file() and b"\0" not in file.read_bytes():
            found += foreign_names(path, file.read_text(encoding="utf-8"))
    found += foreign_sources((ROOT / "Cargo.lock").read_text())
    print("\n".join(found) or "the house rules hold")
    return 1 if found else 0


def output(*command: str) -> str:
    """What a command prints, run at the top of the repository."""
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
