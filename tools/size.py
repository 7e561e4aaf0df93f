"""Counts lines: code, comments and documentation, and tests, for each crate and module.

A line with code on it is code, whatever else is on it; a docstring is documentation; blank lines
count nowhere. Tests are what lies in a folder named tests or benches, and, in Rust, a module that
is compiled for tests only.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tokenize
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]

#: Words of a path that say that a file is a test.
TESTS = {"tests", "benches"}


@dataclass
class Count:
    """Numbers of lines."""

    code: int = 0
    comments: int = 0
    tests: int = 0

    def __iadd__(self, other: Count) -> Count:
        self.code += other.code
        self.comments += other.comments
        self.tests += other.tests
        return self


def count_rust(text: str) -> Count:
    """Counts a Rust file; the first `#[cfg(test)] mod name {` is the last thing in its file."""
    count = Count()
    lines = [line.strip() for line in text.splitlines()]
    in_tests = False
    for index, line in enumerate(lines):
        following = lines[index + 1] if index + 1 < len(lines) else ""
        starts_tests = following.startswith("mod ") and following.endswith("{")
        in_tests = in_tests or (line == "#[cfg(test)]" and starts_tests)
        if not line:
            continue
        if in_tests:
            count.tests += 1
        elif line.startswith("//"):
            count.comments += 1
        else:
            count.code += 1
    return count


def count_python(text: str) -> Count:
    """Counts a Python file; docstrings are documentation."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, str):
                documented.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    code: set[int] = set()
    comments: set[int] = set()
    blank = {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(iter(text.splitlines(keepends=True)).__next__):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in blank:
            code.update(range(token.start[0], token.end[0] + 1))
    written = {number for number, line in enumerate(text.splitlines(), start=1) if line.strip()}
    explained = (documented | (comments - code)) & written
    return Count(code=len(code - documented), comments=len(explained))


def module_of(path: PurePosixPath) -> tuple[str, str]:
    """The crate or package that a file belongs to, and its module there."""
    parts = path.parts
    if parts[0] == "rust":
        inner = parts[3:] if parts[2] == "src" else parts[2:]
        return "/".join(parts[:2]), inner[0].removesuffix(".rs")
    if parts[0] == "python":
        return "python/flowrs", parts[2].removesuffix(".py")
    return parts[0], parts[1].removesuffix(".py") if parts[0] != "tests" else ""


def counted() -> dict[str, dict[str, Count]]:
    """The counts of all Rust and Python files that git knows, by crate and module."""
    command = ["git", "ls-files", "*.rs", "*.py"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    counts: dict[str, dict[str, Count]] = defaultdict(lambda: defaultdict(Count))
    for name in listed.splitlines():
        path = PurePosixPath(name)
        text = (ROOT / path).read_text(encoding="utf-8")
        count = count_rust(text) if path.suffix == ".rs" else count_python(text)
        if TESTS.intersection(path.parts):
            count = Count(tests=count.code + count.comments + count.tests)
        crate, module = module_of(path)
        counts[crate][module] += count
    return counts


def main() -> int:
    """Prints the table."""
    rows: list[tuple[str, Count]] = []
    total = Count()
    for crate, modules in sorted(counted().items()):
        whole = Count()
        for count in modules.values():
            whole += count
        total += whole
        rows.append((crate, whole))
        rows += [(f"  {module}", count) for module, count in sorted(modules.items()) if module]
    rows.append(("all", total))
    width = max(len(name) for name, _ in rows)
    print(f"{'lines':<{width}}  {'code':>7}  {'comments':>8}  {'tests':>7}")
    for name, count in rows:
        print(f"{name:<{width}}  {count.code:>7}  {count.comments:>8}  {count.tests:>7}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
