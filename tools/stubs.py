"""Makes python/flowrs/_flowrs.pyi from the extension module, or checks that it is up to date.

``python tools/stubs.py`` writes the file, ``python tools/stubs.py --check`` compares it. maturin
builds the module with the Cargo feature ``stubs`` and reads back what PyO3 left in it. Two things
are done to the result: methods that PyO3 does not describe are added, and ruff formats it.
"""

from __future__ import annotations

import argparse
import difflib
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
STUB = ROOT / "python" / "flowrs" / "_flowrs.pyi"
TOOLS = Path(sys.executable).parent

HEADER = "# Made by `make stubs` from the crate in rust/python: do not edit.\n\n"

# PyO3 leaves out the buffer protocol, without which NumPy's functions refuse the class.
ADDED = {"Mapping": "def __buffer__(self, flags: int, /) -> memoryview: ..."}


def main() -> int:
    """Writes or checks the stub; the exit code says whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, and change nothing")
    check = parser.parse_args().check
    made = finished(generated())
    kept = STUB.read_text() if STUB.exists() else ""
    if made == kept:
        return 0
    if not check:
        STUB.write_text(made)
        print(f"{STUB.relative_to(ROOT)}: written")
        return 0
    lines = difflib.unified_diff(kept.splitlines(), made.splitlines(), "kept", "made", lineterm="")
    print("\n".join(lines))
    print(f"{STUB.relative_to(ROOT)} is not what the extension module says: run `make stubs`")
    return 1


def generated() -> str:
    """What maturin says of the extension module."""
    with tempfile.TemporaryDirectory() as folder:
        build = ["--profile", "dev", "--features", "stubs", "--interpreter", sys.executable]
        run("maturin", "generate-stubs", "--quiet", *build, "--out", folder)
        return next(Path(folder).rglob("_flowrs.pyi")).read_text()


def finished(stub: str) -> str:
    """The generated stub with its header and the methods that it lacks, formatted."""
    for name, method in ADDED.items():
        line = f"\nclass {name}:\n"
        if stub.count(line) != 1:
            raise SystemExit(f"the generated stub has no class {name} to add {method!r} to")
        start = stub.index(line) + len(line)
        following = stub.find("\n\n", start)
        end = following if following >= 0 else len(stub)
        stub = f"{stub[:end]}\n    {method}{stub[end:]}"
    return run("ruff", "format", "--stdin-filename", str(STUB), "-", text=HEADER + stub.lstrip())


def run(tool: str, *arguments: str, text: str | None = None) -> str:
    """Runs one of the installed tools on `text` and gives what it prints; ends if it fails."""
    command = [str(TOOLS / tool), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, input=text, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{tool} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
