"""Starts the engines' processes and talks with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from engines import ENGINES

#: Seconds after which an answer is no longer waited for: compiling a step may take a minute.
PATIENCE = 300.0

#: Variables that would change what a library does, whatever they are set to here.
_UNSET = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "FLOWRS_ISA",
    "TF_ENABLE_ONEDNN_OPTS",
    "XLA_FLAGS",
)


class WorkerError(RuntimeError):
    """An engine's process failed, or did not answer."""


class Worker:
    """A process with one engine, asleep unless it is asked something."""

    def __init__(self, engine: str, case: str, threads: int) -> None:
        self.engine, self.threads = engine, threads
        environment = {name: text for name, text in os.environ.items() if name not in _UNSET}
        for name, text in ENGINES[engine].environment.items():
            environment[name] = text.format(threads=threads)
        self._log = tempfile.TemporaryFile("w+", errors="replace")
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("worker.py")),
                engine,
                case,
                str(threads),
            ],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def ask(self, command: str) -> dict[str, Any]:
        """Sends a command and waits, without using a core, for its answer.

        Raises:
            WorkerError: the command failed, the process ended, or no answer came.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        alarm = threading.Timer(PATIENCE, self._process.kill)
        alarm.start()
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            alarm.cancel()
        if not line.endswith("\n"):
            raise WorkerError(f"the process ended or hung: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def _last_words(self) -> str:
        self._process.wait()
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        return " / ".join(lines[-3:]) or f"exit code {self._process.returncode}"
