"""``meta`` is read as protobuf's own parser of its text format reads it."""

import random
import warnings

import numpy as np
import pytest

from flowrs.checkpoint import get
from flowrs.errors import CheckpointError

text_format = pytest.importorskip("google.protobuf.text_format")

KINDS = {
    1: "kChar", 2: "kFloat", 3: "kDouble", 4: "kInt8", 5: "kInt32", 6: "kInt64", 7: "kUInt8",
    8: "kOFRecord", 9: "kFloat16", 10: "kTensorBuffer", 11: "kBFloat16", 12: "kBool",
}  # fmt: skip
SIZES = dict(zip(KINDS, (1, 4, 8, 1, 4, 8, 1, 0, 2, 0, 2, 1), strict=True))


@pytest.fixture(scope="module")
def message():
    """The class of the message that a ``meta`` is, made without a generated file."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="meta.proto", package="test", syntax="proto2")
    field = descriptor_pb2.FieldDescriptorProto
    kinds = file.enum_type.add(name="DataType")
    kinds.value.add(name="kInvalidDataType", number=0)
    for number, name in KINDS.items():
        kinds.value.add(name=name, number=number)
    shape = file.message_type.add(name="Shape")
    shape.field.add(name="dim", number=1, type=field.TYPE_INT64, label=field.LABEL_REPEATED)
    meta = file.message_type.add(name="Meta")
    meta.field.add(
        name="shape", number=2, type=field.TYPE_MESSAGE, type_name=".test.Shape",
        label=field.LABEL_OPTIONAL,
    )  # fmt: skip
    meta.field.add(
        name="data_type", number=3, type=field.TYPE_ENUM, type_name=".test.DataType",
        label=field.LABEL_OPTIONAL,
    )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.Meta"))


def expected(text, message):
    """Shape and type by protobuf's parser; None where it, or what a variable can be, refuses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in strings, which Python reads for it
            found = text_format.Parse(text, message(), allow_unknown_field=True)
    except text_format.ParseError:
        return None
    shape, kind = tuple(found.shape.dim), found.data_type if found.HasField("data_type") else 0
    size = SIZES.get(kind, 0)
    for extent in shape:
        size *= max(extent, 1)
    if not SIZES.get(kind) or min(shape, default=0) < 0 or len(shape) > 32 or size >= 1 << 63:
        return None
    return shape, KINDS[kind]


def found(text, expectation, folder):
    """Shape and type by flowrs; None where it refuses."""
    (folder / "w").mkdir(exist_ok=True)
    (folder / "w" / "meta").write_bytes(text.encode())
    size = 4
    if expectation is not None:
        shape, kind = expectation
        size = int(np.prod(shape, dtype=object)) * SIZES[{v: k for k, v in KINDS.items()}[kind]]
    with open(folder / "w" / "out", "wb") as out:
        out.truncate(size)
    try:
        blob = get(folder)["w"]
    except CheckpointError as error:
        # Were it the size of the file, the text would have been understood.
        assert "bytes for shape" not in str(error) or expectation is not None, (text, error)
        return None
    return blob.shape, blob.kind


SMALL = ["0", "1", "2", "3", "07", "0x3", "010", "-1", "1.0", "+2", "1e1", "3u", "0b1", "- 1"]
KNOWN = ["kFloat", "kInt8", "kDouble", "kBool", "kBFloat16", "2", "11", "012", "0x2", "kfloat",
         "13", "-2", "kOFRecord", '"kFloat"', "k Float"]  # fmt: skip
SCALARS = ["1", "-5", "1.5", "inf", "nan", "-inf", "true", '"text"', "'x' 'y'",
           '"\\n\\x41\\101"', '"open', "word", "1e5f", "0x1F", "99999999999999999999", '"a" b',
           "--1", "-word"]  # fmt: skip
SPACES = [" ", "\n", "\t", " # comment\n", "  ", "\r\n", "", ", ", "; ", " #x"]


def dims(draw):
    count = draw.randrange(4)
    if draw.random() < 0.3:
        inner = ", ".join(draw.choice(SMALL[:6]) for _ in range(count))
        return f"dim: [{inner}]"
    colon = draw.choice([":", ": ", " :", " "]) if draw.random() < 0.1 else ": "
    return draw.choice([" ", "\n", ", ", "; "]).join(
        f"dim{colon}{draw.choice(SMALL if draw.random() < 0.1 else SMALL[:6])}"
        for _ in range(count)
    )


def unknown(draw, depth=0):
    name = draw.choice(["stride", "x", "a_b", "[a.b]", "[type.x/y.Z]", "7", "Über", "dimm"])
    choice = draw.random()
    if choice < 0.4 or depth > 2:
        return f"{name}: {draw.choice(SCALARS[:13] if draw.random() < 0.8 else SCALARS)}"
    if choice < 0.55:
        inside = ", ".join(draw.choice(SCALARS[:13]) for _ in range(draw.randrange(3)))
        return f"{name}: [{inside}]"
    opened, closed = draw.choice(["{}", "<>", "{}", "<>", "{>"])
    inside = " ".join(unknown(draw, depth + 1) for _ in range(draw.randrange(3)))
    return f"{name}{draw.choice(['', ':', ' '])}{opened}{inside}{closed}"


def text_of(draw):
    parts = []
    if draw.random() < 0.9:
        opened, closed = draw.choice(["{}", "<>", "{}", "{>"] if draw.random() < 0.2 else ["{}"])
        extra = unknown(draw) if draw.random() < 0.2 else ""
        parts.append(
            f"shape{draw.choice([' ', ':', ': ', ''])}{opened} {dims(draw)} {extra}{closed}"
        )
    if draw.random() < 0.9:
        kind = draw.choice(KNOWN[:8] if draw.random() < 0.7 else KNOWN)
        parts.append(f"data_type{draw.choice([': ', ':', ' : ', ' '])}{kind}")
    parts += [unknown(draw) for _ in range(draw.choice([0, 0, 1, 2]))]
    if draw.random() < 0.05:
        parts.append(draw.choice(parts or [""]))
    draw.shuffle(parts)
    text = draw.choice(SPACES) + draw.choice(SPACES[:4]).join(parts) + draw.choice(SPACES)
    if draw.random() < 0.25 and text:
        at = draw.randrange(len(text))
        other = draw.choice(['"', "{", "}", "<", ">", ":", "#", "\n", "[", "]", "\\", "1", "-", ""])
        text = text[:at] + other + text[at + draw.randrange(2) :]
    return text


@pytest.mark.parametrize("seed", range(20))
def test_drawn_texts(seed, message, tmp_path):
    draw = random.Random(seed)
    accepted = 0
    for _ in range(150):
        text = text_of(draw)
        expectation = expected(text, message)
        accepted += expectation is not None
        assert found(text, expectation, tmp_path) == expectation, repr(text)
    assert 15 < accepted < 140


@pytest.mark.parametrize(
    "text",
    [
        "",
        "data_type: kFloat",
        "shape { dim: 2 } data_type: kFloat",
        "shape { dim: 2 } shape { dim: 2 } data_type: kFloat",
        "data_type: kFloat data_type: kFloat",
        "shape { dim: [] } data_type: 2",
        "shape { dim: [1, 2] dim: 3 } data_type: 2;",
        "shape { dim: 9223372036854775807 } data_type: kInt32",
        "shape { dim: 9223372036854775808 } data_type: kInt8",
        "shape { dim: 0 dim: 9223372036854775807 dim: 9 } data_type: kInt8",
        "shape { " + "dim: 1 " * 32 + "} data_type: kInt8",
        "shape { " + "dim: 1 " * 33 + "} data_type: kInt8",
        "# only a comment",
        "data_type: kFloat # xxh3-128: 00",
        "data_type: kFloat x: { y: < z: 1 > }",
        "data_type: kFloat 4: 5",
        "data_type: kInvalidDataType",
        "data_type: 0",
    ],
)
def test_chosen_texts(text, message, tmp_path):
    expectation = expected(text, message)
    assert found(text, expectation, tmp_path) == expectation


def test_limits_in_bounded_time(tmp_path):
    for text in (
        " " * 65_537,
        "x{" * 30_000,
        "x: [" * 15_000,
        'x: "' + "\\" * 60_000,
        "shape { dim: " + "9" * 60_000 + " }",
        "data_type: kFloat" + " x: 1" * 10_000,
    ):
        assert found(text, ((), "kFloat") if text.startswith("data") else None, tmp_path) in (
            None,
            ((), "kFloat"),
        )
