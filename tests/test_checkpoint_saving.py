"""Saving: replacing, links, layouts, metadata, checksums, durability; changing a checkpoint."""

import json
import os
import re
import threading
import unicodedata
from pathlib import Path

import numpy as np
import pytest

import flowrs as flow
from flowrs.checkpoint import drop, get, rename, save, update
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    CheckpointError,
    CheckpointExistsError,
    CheckpointIOError,
    CheckpointNotFoundError,
)

A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.arange(5, dtype=np.int64)


def tree(path):
    return {
        str(found.relative_to(path)): found.read_bytes()
        for found in Path(path).rglob("*")
        if found.is_file()
    }


def inode(path, name):
    return os.stat(Path(path) / name / "out").st_ino


def values(path):
    return {name: blob.numpy().tolist() for name, blob in get(path).items()}


class TestOverwrite:
    def test_a_checkpoint_is_replaced_whole(self, tmp_path):
        path = tmp_path / "s"
        save(path, {"old": A, "both/nested": A}, metadata={"epoch": 1})
        save(path, {"new": B, "both/nested": B}, overwrite=True)
        assert values(path) == {"both/nested": B.tolist(), "new": B.tolist()}
        assert get(path).metadata == {}
        assert os.listdir(tmp_path) == ["s"]

    def test_what_was_opened_before_stays(self, tmp_path):
        save(tmp_path / "s", {"w": A, "v": A})
        opened = get(tmp_path / "s")
        kept = opened["w"].numpy()
        save(tmp_path / "s", {"w": B}, overwrite=True)
        np.testing.assert_array_equal(kept, A)
        with pytest.raises(CheckpointIOError, match="replaced or removed since it was opened"):
            opened["v"].numpy()
        os.rename(tmp_path / "s", tmp_path / "moved")
        np.testing.assert_array_equal(get(tmp_path / "moved")["w"].numpy(), B)

    def test_through_a_link_to_the_directory(self, tmp_path):
        save(tmp_path / "real", {"w": A})
        (tmp_path / "link").symlink_to("real")
        save(tmp_path / "link", {"w": B}, overwrite=True)
        assert (tmp_path / "link").is_symlink()
        assert values(tmp_path / "real") == {"w": B.tolist()}

    @pytest.mark.parametrize(
        "foreign",
        [
            "notes.txt",
            "w/out.npy",
            "folder/file",
            "out",
            "w/link",
            "w/deep/file",
            "snapshot_done/x",
        ],
    )
    def test_anything_else_is_never_replaced(self, foreign, tmp_path):
        path = tmp_path / "s"
        save(path, {"w": A}, checksum=False)
        place = path / foreign
        if foreign.startswith("snapshot_done"):
            (path / "snapshot_done").unlink()
        place.parent.mkdir(exist_ok=True)
        if foreign.endswith("link"):
            place.symlink_to("/etc/passwd")
        else:
            place.write_text("mine")
        before = tree(path)
        with pytest.raises(CheckpointExistsError, match="no part of a checkpoint"):
            save(path, {"w": B}, overwrite=True)
        for change in (
            lambda: update(path, {"w": B}),
            lambda: rename(path, {"w": "v"}),
            lambda: drop(path, "w"),
        ):
            with pytest.raises(CheckpointError):
                change()
        assert tree(path) == before
        assert os.listdir(tmp_path) == ["s"]

    def test_what_oneflow_left_unfinished_is_replaced(self, tmp_path):
        save(tmp_path / "s", {"w": A, "v": A})
        (tmp_path / "s" / "snapshot_done").unlink()
        (tmp_path / "s" / "v" / "meta").unlink()
        (tmp_path / "s" / "empty").mkdir()
        save(tmp_path / "s", {"w": B}, overwrite=True)
        assert values(tmp_path / "s") == {"w": B.tolist()}

    def test_empty_directories_alone_may_be_anything(self, tmp_path):
        (tmp_path / "s" / "empty").mkdir(parents=True)
        with pytest.raises(CheckpointExistsError):
            save(tmp_path / "s", {"w": B}, overwrite=True)

    def test_readers_see_one_or_the_other(self, tmp_path):
        path = tmp_path / "s"
        both = ({"w": np.zeros(1000), "v": B}, {"w": np.ones(1000), "u": B})
        save(path, both[0], durability="rename")
        stop = threading.Event()
        wrong = []

        def look():
            while not stop.is_set():
                try:
                    opened = get(path)
                    names = sorted(opened)
                    found = opened["w"].numpy().sum()
                except CheckpointIOError:
                    continue  # replaced between the two
                if (names, found) not in ((["v", "w"], 0), (["u", "w"], 1000)):
                    wrong.append((names, found))

        reader = threading.Thread(target=look)
        reader.start()
        for number in range(60):
            save(path, both[number % 2], overwrite=True, durability="rename")
        stop.set()
        reader.join()
        assert wrong == []


class TestDurability:
    @pytest.mark.parametrize("durability", ["full", "rename", "none"])
    def test_all_write_the_same(self, durability, tmp_path):
        save(tmp_path / "full", {"w": A, "n/v": B}, metadata={"a": 1})
        save(tmp_path / "s", {"w": A, "n/v": B}, metadata={"a": 1}, durability=durability)
        assert tree(tmp_path / "s") == tree(tmp_path / "full")
        assert sorted(os.listdir(tmp_path)) == ["full", "s"]

    def test_writing_in_place_replaces_nothing(self, tmp_path):
        save(tmp_path / "s", {"w": A})
        with pytest.raises(CheckpointExistsError, match='"none" writes in place'):
            save(tmp_path / "s", {"w": B}, overwrite=True, durability="none")
        assert values(tmp_path / "s") == {"w": A.tolist()}

    def test_others_are_refused(self, tmp_path):
        with pytest.raises(ArgumentError, match='"full", "rename" or "none", not "fast"'):
            save(tmp_path / "s", {"w": A}, durability="fast")
        with pytest.raises(ArgumentTypeError, match="durability"):
            save(tmp_path / "s", {"w": A}, durability=None)
        assert os.listdir(tmp_path) == []


class TestChecksums:
    def test_they_end_meta(self, tmp_path):
        save(tmp_path / "s", {"w": A})
        save(tmp_path / "plain", {"w": A}, checksum=False)
        plain = (tmp_path / "plain" / "w" / "meta").read_bytes()
        assert plain == b"shape {\n  dim: 2\n  dim: 3\n}\ndata_type: kFloat\n"
        text = (tmp_path / "s" / "w" / "meta").read_text()
        checksum = get(tmp_path / "s")["w"].checksum
        assert text == plain.decode() + f"# xxh3-128: {checksum}\n"
        # What the xxHash project's own program says of these bytes.
        save(tmp_path / "known", {"w": np.frombuffer(b"abc", np.uint8)})
        assert get(tmp_path / "known")["w"].checksum == "06b05ab6733a618578af5f94892f3950"

    def test_damage_is_found(self, tmp_path):
        save(tmp_path / "s", {"w": A, "v": B, "u": B})
        out = tmp_path / "s" / "w" / "out"
        data = bytearray(out.read_bytes())
        data[5] ^= 1
        out.write_bytes(data)
        meta = tmp_path / "s" / "u" / "meta"
        meta.write_bytes(meta.read_bytes().partition(b"#")[0])
        opened = get(tmp_path / "s")
        report = opened.verify()
        assert (report.verified, report.unchecked, list(report.damaged)) == (["v"], ["u"], ["w"])
        assert str(report) == "1 verified, 1 without checksum, 1 damaged"
        assert opened["v"].verify() is True and opened["u"].verify() is False
        with pytest.raises(CheckpointError, match='variable "w": expected checksum'):
            opened["w"].verify()
        with pytest.raises(CheckpointError, match='variable "w": expected checksum'):
            get(tmp_path / "s", verify=True)
        assert list(get(tmp_path / "s", verify=True, exclude="w")) == ["u", "v"]
        with pytest.raises(CheckpointError, match="expected checksum"):
            get(tmp_path / "s" / "w", verify=True)

    @pytest.mark.parametrize(
        "comment",
        ["# xxh3-128: 00", "# xxh3-128: " + "G" * 32, "# other: " + "0" * 32, "#" * 50],
    )
    def test_other_comments_are_none(self, comment, tmp_path):
        save(tmp_path / "s", {"w": A}, checksum=False)
        with open(tmp_path / "s" / "w" / "meta", "a") as meta:
            meta.write(comment + "\n")
        assert get(tmp_path / "s", verify=True)["w"].checksum is None


class TestMetadata:
    def test_it_comes_back(self, tmp_path):
        said = {"epoch": 3, "loss": np.float32(0.5), "tags": ["a", None, {"ü": True}]}
        save(tmp_path / "s", {"w": A}, metadata=said)
        assert get(tmp_path / "s").metadata == {**said, "loss": 0.5}
        assert json.loads((tmp_path / "s" / "flowrs.json").read_bytes())["epoch"] == 3
        update(tmp_path / "s", {"w": A + 1})
        assert get(tmp_path / "s").metadata["epoch"] == 3

    def test_what_cannot_be_said(self, tmp_path):
        for metadata, kind in (
            ({"a": object()}, ArgumentError),
            ({1: 2}, ArgumentTypeError),
            ([1], ArgumentTypeError),
            ({"a": "x" * (17 << 20)}, CheckpointError),
        ):
            with pytest.raises(kind, match="metadata"):
                save(tmp_path / "s", {"w": A}, metadata=metadata)
        with pytest.raises(CheckpointError, match="name of a file of the format"):
            save(tmp_path / "s", {"flowrs.json": A}, metadata={})
        assert os.listdir(tmp_path) == []

    def test_damage_shows_when_it_is_asked_for(self, tmp_path):
        save(tmp_path / "s", {"w": A})
        for text in (b"{", b"\xff", b"[1]", b"[" * 100_000):
            (tmp_path / "s" / "flowrs.json").write_bytes(text)
            opened = get(tmp_path / "s")
            np.testing.assert_array_equal(opened["w"].numpy(), A)
            with pytest.raises(CheckpointError, match=r"flowrs.json: expected"):
                _ = opened.metadata


class TestLinks:
    def test_unchanged_variables_share_their_files(self, tmp_path):
        save(tmp_path / "one", {"same": A, "other": B, "shape": A, "gone": A})
        changed = {"same": A, "other": B + 1, "shape": A.reshape(3, 2), "new": A}
        save(tmp_path / "two", changed, link_unchanged_from=tmp_path / "one")
        shared = [name for name in changed if name in ("same", "other", "shape")]
        assert [
            inode(tmp_path / "one", name) == inode(tmp_path / "two", name) for name in shared
        ] == [
            True,
            False,
            False,
        ]
        assert get(tmp_path / "two").verify().damaged == {}
        for path in (tmp_path / "one").rglob("out"):
            path.unlink()
        assert values(tmp_path / "two") == {name: value.tolist() for name, value in changed.items()}

    def test_files_without_checksum_are_compared(self, tmp_path):
        save(tmp_path / "one", {"same": A, "other": A}, checksum=False)
        save(
            tmp_path / "two",
            {"same": A, "other": A + 1},
            link_unchanged_from=tmp_path / "one",
        )
        assert inode(tmp_path / "one", "same") == inode(tmp_path / "two", "same")
        assert inode(tmp_path / "one", "other") != inode(tmp_path / "two", "other")
        assert len(get(tmp_path / "two", verify=True).verify().verified) == 2
        assert "#" not in (tmp_path / "one" / "same" / "meta").read_text()

    def test_links_to_what_is_replaced(self, tmp_path):
        save(tmp_path / "s", {"same": A, "other": B})
        before = inode(tmp_path / "s", "same")
        save(
            tmp_path / "s",
            {"same": A, "other": B + 1},
            overwrite=True,
            link_unchanged_from=tmp_path / "s",
        )
        assert inode(tmp_path / "s", "same") == before
        assert os.stat(tmp_path / "s" / "same" / "out").st_nlink == 1
        assert values(tmp_path / "s") == {"same": A.tolist(), "other": (B + 1).tolist()}

    def test_there_is_no_such_checkpoint(self, tmp_path):
        with pytest.raises(CheckpointNotFoundError):
            save(tmp_path / "s", {"w": A}, link_unchanged_from=tmp_path / "none")
        assert os.listdir(tmp_path) == []


class TestChanges:
    def test_update(self, tmp_path):
        save(tmp_path / "s", {"a": A, "b": B, "n/c": B})
        before = inode(tmp_path / "s", "a")
        update(tmp_path / "s", {"b": A, "n/d": A})
        assert values(tmp_path / "s") == {
            "a": A.tolist(),
            "b": A.tolist(),
            "n/c": B.tolist(),
            "n/d": A.tolist(),
        }
        assert inode(tmp_path / "s", "a") == before
        assert get(tmp_path / "s", verify=True).complete
        assert os.listdir(tmp_path) == ["s"]

    def test_rename(self, tmp_path):
        save(tmp_path / "s", {"a": A, "b": B, "n/c": B})
        rename(tmp_path / "s", {"a": "b", "b": "a", "n/c": "c"})
        assert values(tmp_path / "s") == {"a": B.tolist(), "b": A.tolist(), "c": B.tolist()}
        with pytest.raises(CheckpointError, match='"a": is given twice'):
            rename(tmp_path / "s", {"c": "a"})
        with pytest.raises(CheckpointError, match='there is no variable "z"'):
            rename(tmp_path / "s", {"z": "y"})
        with pytest.raises(ArgumentTypeError, match="new names by old ones"):
            rename(tmp_path / "s", {"a": 1})
        with pytest.raises(CheckpointError, match=re.escape('the part ".."')):
            rename(tmp_path / "s", {"a": "../x"})
        assert len(values(tmp_path / "s")) == 3

    def test_drop(self, tmp_path):
        save(tmp_path / "s", {"a": A, "b": B, "n/c": B})
        drop(tmp_path / "s", ["a", "n/c"])
        assert values(tmp_path / "s") == {"b": B.tolist()}
        with pytest.raises(CheckpointError, match='there is no variable "a"'):
            drop(tmp_path / "s", "a")
        with pytest.raises(ArgumentTypeError):
            drop(tmp_path / "s", [1])
        drop(tmp_path / "s", "b")
        assert values(tmp_path / "s") == {}

    def test_foreign_descriptions_stay_as_they_are(self, tmp_path):
        save(tmp_path / "s", {"a": A, "b": B})
        text = "data_type: 2 # ours\nshape <dim: [2, 3]> stride {dim: 1}"
        (tmp_path / "s" / "a" / "meta").write_text(text)
        (tmp_path / "s" / "b" / "meta").unlink()
        rename(tmp_path / "s", {"a": "c"})
        assert (tmp_path / "s" / "c" / "meta").read_text() == text
        assert sorted(os.listdir(tmp_path / "s" / "b")) == ["out"]

    def test_what_is_no_checkpoint(self, tmp_path):
        save(tmp_path / "s", {"a": A})
        for path, kind in (
            (tmp_path / "none", CheckpointNotFoundError),
            (tmp_path / "s/a", CheckpointError),
        ):
            for change in (
                lambda path=path: update(path, {"a": A}),
                lambda path=path: rename(path, {"a": "b"}),
                lambda path=path: drop(path, "a"),
            ):
                with pytest.raises(kind):
                    change()

    def test_durability_none_cannot_change(self, tmp_path):
        save(tmp_path / "s", {"a": A})
        with pytest.raises(CheckpointExistsError, match="writes in place"):
            update(tmp_path / "s", {"a": B}, durability="none")


class TestLayouts:
    def test_any_layout_is_saved_as_its_value(self, tmp_path):
        random = np.random.default_rng(0)
        block = random.standard_normal((4, 5, 6))
        cases = {}
        for dtype in (np.float16, np.float32, np.float64, np.int8, np.uint8, np.int32, np.int64):
            array = (block * 50).astype(dtype)
            name = np.dtype(dtype).name
            cases |= {
                f"{name}-fortran": np.asfortranarray(array),
                f"{name}-axes": array.transpose(2, 0, 1),
                f"{name}-back": array[::-1, :, ::-2],
                f"{name}-step": array[1::2, ::3],
                f"{name}-broadcast": np.broadcast_to(array[:, :1], array.shape),
                f"{name}-swapped": array.astype(array.dtype.newbyteorder(">")),
                f"{name}-swapped-axes": array.astype(array.dtype.newbyteorder(">")).T,
                f"{name}-empty": array[:, :0],
                f"{name}-scalar": array[0, 0, 0, ...],
                f"{name}-swapped-scalar": array.astype(array.dtype.newbyteorder(">"))[0, 0, 0, ...],
            }
        save(tmp_path / "s", cases)
        opened = get(tmp_path / "s", verify=True)
        for name, array in cases.items():
            expected = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
            assert Path(opened[name].file_path).read_bytes() == expected, name
            assert opened[name].shape == array.shape

    def test_more_than_a_piece(self, tmp_path):
        array = np.arange(3_000_017, dtype=np.int32).reshape(1, -1)
        wide = np.arange(4_000_000, dtype=np.int32).reshape(2000, 2000).T
        save(tmp_path / "s", {"swapped": array.astype(">i4"), "turned": wide})
        opened = get(tmp_path / "s", verify=True)
        np.testing.assert_array_equal(opened["swapped"].numpy(), array)
        np.testing.assert_array_equal(opened["turned"].numpy(), wide)

    def test_what_has_no_element_type(self, tmp_path):
        for array in (
            np.zeros(2, bool),
            np.zeros(2, complex),
            np.zeros(2, np.uint64),
            np.array(["text"]),
            np.array([None]),
            np.zeros(2, [("a", np.int32)]),
            np.zeros(2, "datetime64[s]"),
        ):
            with pytest.raises(TypeError, match=r"variable the-name: .*is no element type"):
                save(tmp_path / "s", {"the-name": array})
        assert os.listdir(tmp_path) == []


def test_names_that_look_the_same_stay_apart(tmp_path):
    """Where the file system tells them apart, as those of Linux do unless asked otherwise."""
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert unicodedata.normalize("NFC", decomposed) == composed
    names = ["L/a", "Weight", decomposed, composed, "l/b", "weight"]
    stored = {name: np.full(3, number) for number, name in enumerate(names)}
    save(tmp_path / "s", stored)
    assert list(get(tmp_path / "s")) == sorted(names, key=lambda name: name.encode())
    for name, value in stored.items():
        assert get(tmp_path / "s")[name].numpy().tolist() == value.tolist()
    opened = get(tmp_path / "s", include=composed)
    assert list(opened) == [composed] and flow.load(tmp_path / "s" / composed).name == composed
    rename(tmp_path / "s", {composed: decomposed, decomposed: composed})
    assert get(tmp_path / "s")[composed].numpy().tolist() == stored[decomposed].tolist()


def test_names_that_lead_elsewhere_are_refused(tmp_path):
    outside = tmp_path / "outside"
    for name in ("../outside", "/etc/x", "a/../../outside", "a//b", "..", "n\0ul", "", "x" * 300):
        with pytest.raises(CheckpointError, match="variable name"):
            save(tmp_path / "s", {name: A})
        with pytest.raises(CheckpointError, match="variable name"):
            save(tmp_path / "s", {"good": A, name: A}, durability="none")
    assert not outside.exists() and os.listdir(tmp_path) == []


def test_flow_save_takes_the_arguments_in_the_other_order(tmp_path):
    flow.save({"w": A}, tmp_path / "s")
    assert values(tmp_path / "s") == {"w": A.tolist()}


HALF = "half \udc80"


@pytest.mark.parametrize(
    "change",
    [
        lambda path: flow.checkpoint.save(path / "new", {HALF: np.ones(2, np.float32)}),
        lambda path: flow.checkpoint.update(path / "old", {HALF: np.ones(2, np.float32)}),
        lambda path: flow.checkpoint.rename(path / "old", {"x": HALF}),
        lambda path: flow.checkpoint.drop(path / "old", HALF),
    ],
)
def test_a_name_with_half_a_character_is_refused(tmp_path, change):
    flow.checkpoint.save(tmp_path / "old", {"x": np.ones(2, np.float32)})
    with pytest.raises(CheckpointError, match=r"cannot store the name .*udc80.*not UTF-8"):
        change(tmp_path)
    assert list(flow.checkpoint.get(tmp_path / "old")) == ["x"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["old"]
