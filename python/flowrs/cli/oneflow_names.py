"""Lets ``import oneflow`` and its submodules mean flowrs, for as long as a context lasts."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any

import flowrs

_NOT_OFFERED = frozenset({"cli", "errors", "formats"})

# Packages of the original that have nothing but modules in them.
_PACKAGES = frozenset(
    {
        "oneflow.compatible",
        "oneflow.core",
        "oneflow.core.operator",
        "oneflow.python",
        "oneflow.python.experimental",
        "oneflow.python.framework",
        "oneflow.python.ops",
    }
)

# Modules of the original whose public names flowrs has in another place: "" is flowrs itself.
_MOVED = {
    "oneflow": "",
    "oneflow.compatible.single_client": "",
    "oneflow.python.experimental.load_mnist": "data",
    "oneflow.python.framework.check_point": "train",
    "oneflow.python.framework.check_point_v2": "checkpoint",
    "oneflow.python.framework.config_util": "config",
    "oneflow.python.framework.dtype": "",
    "oneflow.python.framework.env_util": "env",
    "oneflow.python.framework.function_util": "",
    "oneflow.python.framework.typing": "typing",
    "oneflow.python.ops.get_variable": "",
    "oneflow.python.ops.initializer_util": "",
    "oneflow.python.ops.layers": "layers",
    "oneflow.python.ops.math_ops": "math",
    "oneflow.python.ops.nn_ops": "nn",
    "oneflow.python.ops.optimizer": "optimizer",
}

# Modules of the original that are nothing but numbers.
_CONSTANTS = {
    "oneflow.core.operator.op_conf_pb2": {"kNone": 0, "kTanH": 1, "kSigmoid": 2, "kRelu": 3},
}


@contextlib.contextmanager
def oneflow_names() -> Iterator[None]:
    """Makes ``oneflow`` importable, and puts everything back afterwards.

    Modules named ``oneflow`` that were there before are out of sight meanwhile and come back.

    Yields:
        Nothing.
    """
    before = _take_oneflow_modules()
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(finder)
        _take_oneflow_modules()
        sys.modules.update(before)


def nearest_names(name: str) -> list[str]:
    """The names of flowrs that somebody may have meant.

    Args:
        name: a dotted name below ``oneflow``, such as "nn.sigmoid".

    Returns:
        At most four dotted names: those that end in the same word, then similar ones.
    """
    names = _public_names()
    last = name.rpartition(".")[2]
    same = [known for known in names if known.rpartition(".")[2] == last]
    similar = difflib.get_close_matches(name, names, n=3)
    lower = {known.lower(): known for known in names}
    in_other_case = [lower[name.lower()]] if name.lower() in lower else []
    return list(dict.fromkeys([*same, *in_other_case, *similar]))[:4]


class _Alias(types.ModuleType):
    """A module of another name: its attributes are those of an object of flowrs."""

    def __init__(self, name: str, below: str, target: object) -> None:
        super().__init__(name, getattr(target, "__doc__", None))
        self.__dict__["_flowrs_below"] = below
        self.__dict__["_flowrs_target"] = target

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in ("__all__", "__version__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        target = self.__dict__["_flowrs_target"]
        below = self.__dict__["_flowrs_below"]
        full = f"{below}.{name}" if below else name
        try:
            if full in _NOT_OFFERED:
                raise AttributeError(name)
            value = getattr(target, name)
        except AttributeError:
            # Named without its object: Python would add a guess of its own to ours.
            raise AttributeError(_lacking(f"{self.__name__}.{name}", full), name=name) from None
        if isinstance(value, types.ModuleType) and value.__name__ == f"flowrs.{full}":
            return importlib.import_module(f"{self.__name__}.{name}")
        return value

    def __dir__(self) -> list[str]:
        return dir(self.__dict__["_flowrs_target"])


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and makes the modules below ``oneflow``."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != "oneflow":
            return None
        # Always a package: what is below one of these names is for this finder to say.
        return importlib.machinery.ModuleSpec(
            fullname, self, is_package=True, loader_state=_make_module(fullname)
        )

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module: types.ModuleType = spec.loader_state
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to run."""


def _make_module(fullname: str) -> types.ModuleType:
    if fullname in _CONSTANTS:
        module = types.ModuleType(fullname)
        module.__dict__.update(_CONSTANTS[fullname])
        return module
    if fullname in _PACKAGES:
        return types.ModuleType(fullname)
    below = _place_in_flowrs(fullname)
    if not below:
        return _Alias(fullname, "", flowrs)
    if below in _NOT_OFFERED or any(part.startswith("_") for part in below.split(".")):
        raise ModuleNotFoundError(_lacking(fullname, below))
    return _Alias(fullname, below, _find(fullname, below))


def _place_in_flowrs(fullname: str) -> str:
    """The dotted name below flowrs for a module of the original."""
    for name in (fullname, *_parents(fullname)):
        if name in _MOVED:
            return f"{_MOVED[name]}{fullname[len(name) :]}".strip(".")
    raise AssertionError("every name begins with oneflow")


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]


def _find(fullname: str, below: str) -> object:
    try:
        return importlib.import_module(f"flowrs.{below}")
    except ModuleNotFoundError as error:
        if error.name is None or not f"flowrs.{below}".startswith(error.name):
            raise
    # A namespace of flowrs need not be a module of its own.
    found: object = flowrs
    for part in below.split("."):
        found = getattr(found, part, None)
    if found is None or callable(found):
        # Without its `name`, so that "from oneflow import x" reports it instead of trying on.
        raise ModuleNotFoundError(_lacking(fullname, below)) from None
    return found


def _lacking(fullname: str, below: str) -> str:
    nearest = ", ".join(f"oneflow.{name}" for name in nearest_names(below))
    return f"flowrs has no {fullname}" + (
        f"; the nearest that it has: {nearest}" if nearest else ""
    )


def _public_names() -> list[str]:
    """Everything that the API offers, as dotted names below flowrs, two namespaces deep."""
    names = []
    for name in dir(flowrs):
        value = getattr(flowrs, name, None)
        if name.startswith("_") or name in _NOT_OFFERED:
            continue
        names.append(name)
        if isinstance(value, types.ModuleType) and value.__name__.startswith("flowrs."):
            inner = getattr(value, "__all__", None) or dir(value)
            names += [f"{name}.{word}" for word in inner if not word.startswith("_")]
    return names


def _take_oneflow_modules() -> dict[str, types.ModuleType]:
    names = [name for name in sys.modules if name.partition(".")[0] == "oneflow"]
    return {name: sys.modules.pop(name) for name in names}
