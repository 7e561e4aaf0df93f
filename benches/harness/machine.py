"""Facts about the machine, and what its arithmetic units can do."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Vector instructions that matter for products, as Linux names them.
_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "sve")


def facts() -> dict[str, str]:
    """What a reader must know to compare numbers with those of another machine."""
    information = _processor()
    flags = information.get("flags", information.get("Features", "")).split()
    return {
        "date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "processor": information.get("model name") or platform.processor() or platform.machine(),
        "cores": str(_cores()),
        "vector instructions": ", ".join(flag for flag in _FLAGS if flag in flags) or "not known",
        "system": f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}",
        "python": platform.python_version(),
        "source": _commit(),
        "niceness": str(os.nice(0)),
    }


def _cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "--short", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "rust", "python")
    except (OSError, subprocess.CalledProcessError):
        return "no git repository"
    return f"commit {commit}" + (", with changes" if changed else "")


class Peak:
    """The most multiply-adds per second, measured by ``fma_peak`` of the kernels crate."""

    def __init__(self, threads: list[int]) -> None:
        self.threads = threads
        self.program = _build()

    def measure(self) -> dict[int, float]:
        """FLOP/s for each number of threads; nothing where the program is not there or fails."""
        if self.program is None:
            return {}
        command = [self.program, *map(str, self.threads)]
        done = subprocess.run(command, capture_output=True, text=True)
        rows = (line.split() for line in done.stdout.splitlines() if done.returncode == 0)
        return {int(threads): float(rate) * 1e9 for threads, _isa, rate in rows}


def _build() -> str | None:
    """The path of the program, or None where there is no cargo, or no source."""
    if shutil.which("cargo") is None or not (ROOT / "Cargo.toml").is_file():
        return None
    command = "cargo build --release --locked --quiet --message-format=json -p flowrs-kernels"
    command += " --example fma_peak"
    built = subprocess.run(command.split(), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "fma_peak":
            return str(message["executable"])
    return None
