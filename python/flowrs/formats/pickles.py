"""Reads what PyTorch pickled, without running anything.

A pickle is a program. This interpreter knows the instructions that build dicts, lists, tuples,
text and numbers, and the few names that PyTorch's tensors are made of; any other name or
instruction is refused. Nothing is imported, and nothing is called but the functions of this file.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowrs.formats.tensors import BY_NAME, ElementType

_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
_DTYPES = {
    "half": "float16",
    "float": "float32",
    "double": "float64",
    **{name: name for name in BY_NAME if name != "char"},
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = frozenset(
    {
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
        "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
        "SHORT_BINBYTES", "BINBYTES", "BINBYTES8",
    }
)  # fmt: skip
_CONTAINERS: dict[str, Callable[[], object]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}


class RefusedPickle(Exception):
    """The pickle is damaged, or holds what is not read."""


@dataclass(frozen=True)
class Storage:
    """Elements in a file of the archive; ``type`` is None where tensors name their own."""

    type: ElementType | None
    key: str
    elements: int


@dataclass(frozen=True)
class StridedTensor:
    """A view of a storage; offset and strides count elements."""

    storage: Storage
    type: ElementType
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Name:
    """A name that the pickle asks for: it stands for itself until it is called."""

    text: str


class _Mark:
    """Where a group of values begins on the stack."""


def load(data: bytes) -> object:
    """What a pickle describes: dicts, lists, tuples, text, numbers and ``StridedTensor``.

    Args:
        data: the pickle.

    Returns:
        The outermost object.

    Raises:
        RefusedPickle: the pickle is damaged, or holds what is not read.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except RefusedPickle:
        raise
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError) as error:
        raise RefusedPickle(f"it is damaged ({type(error).__name__}: {error!s:.80})") from None
    raise RefusedPickle("it ends too early")


class _Machine:
    """A stack, and the values that the pickle refers to again."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        value = self._stack.pop()
        if isinstance(value, _Mark):
            raise RefusedPickle("it is damaged (a group is not finished)")
        return value

    def step(self, name: str, argument: Any) -> None:
        if name in ("PROTO", "FRAME"):
            return
        if name in _VALUES:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _CONTAINERS:
            self._stack.append(_CONTAINERS[name]())
        elif name == "MARK":
            self._stack.append(_Mark())
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self._stack.append(self._name(argument))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._top()
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._top()
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            values = [self.pop() for _ in range(int(name[-1]))]
            self._stack.append(tuple(reversed(values)))
        elif name == "TUPLE":
            self._stack.append(tuple(self._group()))
        elif name in ("APPEND", "APPENDS"):
            values = [self.pop()] if name == "APPEND" else self._group()
            self._container(list).extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            values = [self.pop(), self.pop()][::-1] if name == "SETITEM" else self._group()
            self._set_items(self._container(dict), values)
        elif name == "BINPERSID":
            self._stack.append(_storage(self.pop()))
        elif name == "REDUCE":
            arguments, function = self.pop(), self.pop()
            self._stack.append(_called(function, arguments))
        elif name == "BUILD":
            # Attributes of an OrderedDict, such as the versions of the modules in a state dict.
            self.pop()
            self._container(dict)
        else:
            raise RefusedPickle(f"it has the instruction {name}, which is not read")

    def _top(self) -> Any:
        value = self.pop()
        self._stack.append(value)
        return value

    def _container(self, kind: type) -> Any:
        value = self._top()
        if type(value) is not kind:
            raise RefusedPickle(f"it is damaged (a {kind.__name__} is missing)")
        return value

    def _group(self) -> list[Any]:
        """Everything above the last mark."""
        values: list[Any] = []
        while not isinstance(value := self._stack.pop(), _Mark):
            values.append(value)
        return values[::-1]

    def _name(self, argument: str | None) -> _Name:
        if argument is None:
            word, module = self.pop(), self.pop()
        else:
            module, _, word = argument.partition(" ")
        name = f"{module}.{word}"
        if not _known(name):
            raise RefusedPickle(
                f"it asks for {name:.80}, which is not read: only tensors, numbers, text, lists "
                "and dicts are"
            )
        return _Name(name)

    def _set_items(self, container: dict[Any, Any], values: list[Any]) -> None:
        if len(values) % 2:
            raise RefusedPickle("it is damaged (a key without a value)")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, (str, int, float)):
                raise RefusedPickle(f"a {type(key).__name__} as the key of a dict is not read")
            container[key] = value


def _known(name: str) -> bool:
    module, _, word = name.rpartition(".")
    return (
        name in _FUNCTIONS
        or name == "torch.storage.UntypedStorage"
        or (module == "torch" and (word in _STORAGES or word in _DTYPES))
    )


def _called(function: object, arguments: object) -> object:
    text = function.text if isinstance(function, _Name) else f"a {type(function).__name__}"
    if text not in _FUNCTIONS or not isinstance(arguments, tuple):
        raise RefusedPickle(f"it calls {text:.80}, which is not possible")
    return _FUNCTIONS[text](*arguments)


def _storage(identity: object) -> Storage:
    match identity:
        case ("storage", _Name(text), str(key), str(), int(elements)) if elements >= 0:
            word = text.rpartition(".")[2]
            if word == "UntypedStorage":
                return Storage(None, key, elements)
            if word in _STORAGES:
                return Storage(BY_NAME[_STORAGES[word]], key, elements)
    raise RefusedPickle(f"{identity!r:.80} is no storage")


def _ordered_dict(pairs: object = ()) -> dict[Any, Any]:
    if not isinstance(pairs, (list, tuple)) or pairs:
        raise RefusedPickle("it makes an OrderedDict of something, which is not read")
    return {}


def _tensor(
    storage: object, offset: object, shape: object, strides: object, *others: object
) -> StridedTensor:
    if not isinstance(storage, Storage):
        raise RefusedPickle("a tensor has no storage")
    if storage.type is None:
        raise RefusedPickle("a tensor has no element type")
    return _view(storage, storage.type, offset, shape, strides)


def _tensor_with_type(
    storage: object,
    offset: object,
    shape: object,
    strides: object,
    gradient: object,
    hooks: object,
    dtype: object,
    *others: object,
) -> StridedTensor:
    word = dtype.text.rpartition(".")[2] if isinstance(dtype, _Name) else ""
    if not isinstance(storage, Storage) or word not in _DTYPES:
        raise RefusedPickle("a tensor has no storage or element type")
    return _view(storage, BY_NAME[_DTYPES[word]], offset, shape, strides)


def _view(
    storage: Storage, element_type: ElementType, offset: object, shape: object, strides: object
) -> StridedTensor:
    numbers = [offset]
    if not isinstance(shape, tuple) or not isinstance(strides, tuple) or len(shape) != len(strides):
        raise RefusedPickle(f"a tensor has shape {shape!r:.40} and strides {strides!r:.40}")
    numbers += [*shape, *strides]
    if not all(type(number) is int and 0 <= number < 2**48 for number in numbers):
        raise RefusedPickle(f"a tensor has numbers that are no sizes: {numbers!r:.80}")
    assert isinstance(offset, int)
    return StridedTensor(storage, element_type, offset, shape, strides)


def _parameter(data: object, *others: object) -> StridedTensor:
    if not isinstance(data, StridedTensor):
        raise RefusedPickle("a parameter has no tensor")
    return data


_FUNCTIONS: dict[str, Callable[..., object]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_with_type,
    "torch._utils._rebuild_parameter": _parameter,
}
