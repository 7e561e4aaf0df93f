"""Small files of ``torch.save``, made by hand: what PyTorch writes, byte by byte."""

import io
import pickle
import struct
import zipfile

import numpy as np

STORAGES = {
    "<f4": "FloatStorage",
    "<f8": "DoubleStorage",
    "<f2": "HalfStorage",
    "|i1": "CharStorage",
    "<i2": "ShortStorage",
    "<i4": "IntStorage",
    "<i8": "LongStorage",
    "|u1": "ByteStorage",
    "|b1": "BoolStorage",
    "bfloat16": "BFloat16Storage",
}


def text(value):
    """The instruction that pushes text."""
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def name(dotted):
    """The instruction that pushes a name of a module."""
    module, _, word = dotted.rpartition(".")
    return b"c" + module.encode() + b"\n" + word.encode() + b"\n"


def integer(value):
    """The instruction that pushes a number."""
    return b"\x8a\x08" + struct.pack("<q", value)


def group(*values):
    """The instructions that push a tuple."""
    return b"(" + b"".join(values) + b"t"


def storage(kind, key, elements):
    """The instructions that push a storage."""
    parts = text("storage"), name(f"torch.{kind}"), text(key), text("cpu"), integer(elements)
    return group(*parts) + b"Q"


def tensor(stored, offset, shape, strides, function="torch._utils._rebuild_tensor_v2"):
    """The instructions that push a tensor."""
    arguments = group(
        stored,
        integer(offset),
        group(*map(integer, shape)),
        group(*map(integer, strides)),
        b"\x89",
        name("collections.OrderedDict") + b")R",
    )
    return name(function) + arguments + b"R"


def mapping(pairs):
    """The instructions that push a dict of text to other instructions."""
    return b"}(" + b"".join(text(key) + value for key, value in pairs.items()) + b"u"


def program(instructions):
    """A whole pickle."""
    return b"\x80\x02" + instructions + b"."


def archive(path, pickled, storages, order=b"little", folder="archive", compression=0):
    """Writes the zip file."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr(f"{folder}/data.pkl", pickled)
        if order is not None:
            file.writestr(f"{folder}/byteorder", order)
        for key, data in storages.items():
            file.writestr(f"{folder}/data/{key}", data)
        file.writestr(f"{folder}/version", b"3\n")


def save(path, arrays, **options):
    """Saves contiguous arrays as PyTorch does a dict of tensors."""
    pairs, storages = {}, {}
    for key, (label, array) in enumerate(arrays.items()):
        array = np.asarray(array)
        strides = [stride // array.itemsize for stride in array.strides]
        kind = STORAGES[array.dtype.str]
        pairs[label] = tensor(storage(kind, str(key), array.size), 0, array.shape, strides)
        storages[str(key)] = array.tobytes()
    archive(path, program(mapping(pairs)), storages, **options)


def of_object(path, value):
    """Writes an archive whose pickle is Python's own of some object."""
    stream = io.BytesIO()
    pickle.dump(value, stream, protocol=2)
    archive(path, stream.getvalue(), {})
