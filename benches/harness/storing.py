"""Every way to store a set of variables that checkpoints are compared with."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import flowrs as flow

Values = dict[str, np.ndarray]
Operation = Callable[[], object]

#: From how many variables on their files are flushed all at once where no library does it.
MANY = 1000

#: Files of this size and more are emptied when room is made.
_LARGE = 64 << 10


class Stores:
    """One set of variables, and every way to store it.

    Attributes:
        values: what is stored.
        targets: memory of the same sizes that values are loaded into.
        root: the folder in which everything is made.
        folder: the folder in it that is in use.
    """

    def __init__(self, variables: int, size: int, root: Path) -> None:
        random = np.random.default_rng(0)
        block = random.standard_normal(max(size // 4, 1)).astype(np.float32)
        self.values: Values = {f"layer{index}-weight": block + index for index in range(variables)}
        self.targets: Values = {}
        self.root = root
        self.folder = root
        self._number = 0

    def new_folder(self) -> None:
        """Goes on in an empty folder, and waits until the disk has nothing left to do."""
        self.make_room()
        self._number += 1
        self.folder = self.root / str(self._number)
        self.folder.mkdir()
        os.sync()

    def make_room(self) -> None:
        """Empties the large files of the folder.

        Nothing is removed: after many files were removed, some file systems (ext4) take long to
        make new ones, for minutes.
        """
        gc.collect()  # what is mapped must be forgotten before its file is emptied
        for path in self.folder.rglob("*"):
            if path.is_file() and path.stat().st_size >= _LARGE:
                os.truncate(path, 0)

    def fill(self, *, npz: bool) -> None:
        """Saves in every format that is opened afterwards.

        Args:
            npz: whether NumPy's, which is slow where there are many variables, is one of them.
        """
        self.new_folder()
        formats = {"flowrs", "safetensors", "torch.save", *(["numpy npz"] if npz else [])}
        for name, save in self.save().items():
            if name in formats:
                save()

    def operations(self, operation: str) -> dict[str, Operation]:
        """What is measured, by engine."""
        made: dict[str, Operation] = getattr(self, operation)()
        return made

    def save(self) -> dict[str, Operation]:
        """Saves that survive a loss of power."""
        found: dict[str, Operation] = {
            "flowrs": lambda: flow.checkpoint.save(self._path("flowrs"), self.values),
            "flowrs, no checksum": lambda: flow.checkpoint.save(
                self._path("plain"), self.values, checksum=False
            ),
            "bare writes, 2 threads": self._bare_save,
            "numpy npz": lambda: self._flushed("x.npz", lambda p: np.savez(p, **self.values)),
        }
        with contextlib.suppress(ImportError):
            from safetensors import numpy as safetensors

            found["safetensors"] = lambda: self._flushed(
                "x.safetensors", lambda path: safetensors.save_file(self.values, path)
            )
        with contextlib.suppress(ImportError):
            import torch

            tensors = {name: torch.from_numpy(value) for name, value in self.values.items()}
            found["torch.save"] = lambda: self._flushed(
                "x.pt", lambda path: torch.save(tensors, path)
            )
        return found

    def open(self) -> dict[str, Operation]:
        """Opens what lies in memory; values are found, and not looked at."""
        return {name: opener for name, opener in self._openers().items() if "npz" not in name}

    def touch(self) -> dict[str, Operation]:
        """Opens, and reads every byte of every value."""

        def touch(opener: Operation) -> float:
            opened: Any = opener()
            return sum(_total(opened[name]) for name in opened)

        return {
            name: (lambda opener=opener: touch(opener)) for name, opener in self._openers().items()
        }

    def load(self) -> dict[str, Operation]:
        """Gives live variables the values of a file."""
        self._define_variables()
        self.targets = {name: np.ones_like(value) for name, value in self.values.items()}

        def from_other(opener: Operation) -> None:
            opened: Any = opener()
            for name, target in self.targets.items():
                np.copyto(target, np.asarray(opened[name]))

        path = self._path("flowrs")
        found: dict[str, Operation] = {
            "flowrs": lambda: flow.load_variables(flow.checkpoint.get(path)),
            "bare reads, 2 threads": self._bare_load,
        }
        for name, opener in self._openers().items():
            if name != "flowrs":
                found[name] = lambda opener=opener: from_other(opener)
        return found

    def adopt(self) -> dict[str, Operation]:
        """Makes the mapping of the files the variables' memory; no byte is read."""
        # A load into adopted memory copies its pages first, so these are variables of their own.
        self._define_variables()
        path = self._path("flowrs")
        return {"flowrs": lambda: flow.load_variables(flow.checkpoint.get(path), adopt=True)}

    def check(self) -> None:
        """Compares what every engine reads with what was saved."""
        for engine, opener in self._openers().items():
            opened: Any = opener()
            for name, value in self.values.items():
                if not np.array_equal(np.asarray(opened[name]), value):
                    raise SystemExit(f"{engine} gives another value of {name}")

    def _define_variables(self) -> None:
        flow.clear_default_session()
        self.targets = {}

        def job() -> None:
            for name, value in self.values.items():
                flow.get_variable(name, value.shape, initializer=flow.ones_initializer())

        flow.global_function()(job)
        flow.get_all_variables()

    def _path(self, name: str) -> str:
        return str(self.folder / name)

    def _openers(self) -> dict[str, Operation]:
        folder = self.folder
        found: dict[str, Operation] = {
            "flowrs": lambda: flow.checkpoint.get(str(folder / "flowrs"))
        }
        if (folder / "x.npz").exists():
            found["numpy npz"] = lambda: np.load(folder / "x.npz")
        with contextlib.suppress(ImportError):
            from safetensors import numpy as safetensors
            from safetensors import safe_open

            def opened(framework: str) -> Values:
                with safe_open(folder / "x.safetensors", framework) as file:
                    return {name: file.get_tensor(name) for name in file.keys()}

            found["safetensors, load_file"] = lambda: safetensors.load_file(
                str(folder / "x.safetensors")
            )
            with contextlib.suppress(ImportError):
                import torch

                found["safetensors, torch"] = lambda: opened("pt")
                found["torch.load"] = lambda: torch.load(folder / "x.pt")
                found["torch.load, mmap"] = lambda: torch.load(folder / "x.pt", mmap=True)
        return found

    def _flushed(self, name: str, write: Callable[[str], object]) -> None:
        path = self._path(name)
        write(path)
        for each in (path, str(self.folder)):
            descriptor = os.open(each, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    def _bare_save(self) -> None:
        folder = Path(self._path("bare"))
        folder.mkdir()

        def write(part: list[str]) -> None:
            for name in part:
                descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
                view = memoryview(self.values[name]).cast("B")
                while view:
                    view = view[os.write(descriptor, view) :]
                if len(self.values) < MANY:
                    os.fsync(descriptor)
                os.close(descriptor)

        _two_threads(write, list(self.values))
        if len(self.values) >= MANY:
            os.sync()

    def _bare_load(self) -> None:
        def read(part: list[str]) -> None:
            for name in part:
                path = self.folder / "flowrs" / name / "out"
                descriptor = os.open(path, os.O_RDONLY)
                view = memoryview(self.targets[name]).cast("B")
                while view:
                    view = view[os.readv(descriptor, [view]) :]
                os.close(descriptor)

        _two_threads(read, list(self.values))


def _two_threads(work: Callable[[list[str]], None], names: list[str]) -> None:
    other = threading.Thread(target=work, args=(names[1::2],))
    other.start()
    work(names[::2])
    other.join()


def _total(value: Any) -> float:
    """A sum for which every byte is read."""
    return float(np.asarray(value).view(np.uint8).reshape(-1)[::64].sum())
