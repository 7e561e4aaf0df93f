"""Opening: choosing variables, ways of reading, parts, later types, pickling, closing, crowds."""

import gc
import html
import multiprocessing
import os
import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import flowrs as flow
from flowrs.checkpoint import Checkpoint, get, save, update
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    CheckpointError,
    CheckpointIOError,
    CheckpointNotFoundError,
)

BLOCK = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
STEP = "System-Train-TrainStep-train_job"
VALUES = {
    "block": BLOCK,
    "empty": np.zeros((3, 0), np.int8),
    "group/inner": np.arange(9, dtype=np.int64),
    "scalar": np.array(2.5),
    STEP: np.array([7]),
}


@pytest.fixture
def path(tmp_path):
    save(tmp_path / "s", VALUES, metadata={"note": "x"})
    return tmp_path / "s"


@pytest.mark.parametrize("io", ["auto", "mmap", "read"])
def test_all_ways_of_reading_give_the_same(io, path):
    opened = get(path, io=io)
    assert isinstance(opened, Checkpoint) and isinstance(opened, dict)
    assert list(opened) == sorted(VALUES)
    for name, value in VALUES.items():
        found = opened[name].numpy()
        np.testing.assert_array_equal(found, value)
        assert (found.shape, found.dtype) == (value.shape, value.dtype)
        assert not found.flags.writeable
        np.testing.assert_array_equal(np.asarray(opened[name]), value)
    np.testing.assert_array_equal(opened["block"].memmap("c") + 1, BLOCK + 1)
    assert (opened.path, opened.complete, opened.ignored) == (os.fspath(path), True, [])
    assert (opened.metadata, opened.step) == ({"note": "x"}, 7)


def test_reading_takes_several_pieces(tmp_path):
    big = np.arange(5_000_011, dtype=np.int32)
    save(tmp_path / "s", {"w": big})
    np.testing.assert_array_equal(get(tmp_path / "s", io="read")["w"].numpy(), big)


@pytest.mark.parametrize("io", ["mmap", "read"])
@pytest.mark.parametrize(
    "index",
    [
        np.s_[1:3],
        np.s_[::2],
        np.s_[::-1],
        np.s_[3:0:-2],
        np.s_[2:2],
        np.s_[9:],
        np.s_[1],
        np.s_[-1],
        np.s_[1, 2:4, ::-1],
        np.s_[1:3, ..., 0],
        np.s_[...],
        np.s_[..., 2],
        np.s_[None, 1],
        np.s_[[2, 0]],
        np.s_[BLOCK[:, 0, 0] > 40],
        np.s_[0, 0, 0],
        np.s_[np.int64(2)],
    ],
    ids=str,
)
def test_parts(io, index, path):
    blob = get(path, io=io)["block"]
    for part in (blob[index], blob.numpy(index)):
        np.testing.assert_array_equal(part, BLOCK[index])
        assert np.shape(part) == np.shape(BLOCK[index])


@pytest.mark.parametrize("io", ["mmap", "read"])
def test_parts_that_are_not_there(io, path):
    opened = get(path, io=io)
    for name, index in (("block", 4), ("block", -5), ("block", (0, 9)), ("scalar", 0)):
        with pytest.raises(IndexError):
            opened[name][index]
    assert opened["empty"][1:].shape == (2, 0)


def test_a_part_reads_only_its_rows(tmp_path):
    save(tmp_path / "s", {"w": np.zeros((1000, 1000))})
    blob = get(tmp_path / "s", io="read")["w"]
    before = io_bytes()
    blob[10:12]
    assert io_bytes() - before < 100_000


def io_bytes():
    """Bytes that this process has read through system calls."""
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])


def test_choosing_variables(path):
    assert list(get(path, include="block")) == ["block"]
    assert list(get(path, include=["group/*", "sc?l[a-b]r"])) == ["group/inner", "scalar"]
    assert list(get(path, include="*[!r]", exclude=[STEP, "e*"])) == ["block"]
    assert list(get(path, exclude="*-TrainStep-*")) == sorted({*VALUES} - {STEP})
    assert list(get(path, include=["nothing", "["])) == list(get(path, include=[])) == []
    (path / "block" / "meta").write_text("damaged")
    with pytest.raises(CheckpointError, match="block"):
        get(path)
    assert "block" not in get(path, exclude="block")
    for wrong in ({"include": 3}, {"exclude": [1]}):
        with pytest.raises((ArgumentTypeError, TypeError)):
            get(path, **wrong)
    with pytest.raises(ArgumentError, match='"auto", "mmap" or "read"'):
        get(path, io="fast")


def test_types_of_later_versions(tmp_path):
    numbers = np.array([0, 1, -2.5, 3e38, np.inf, -np.inf, 1e-40], np.float32)
    bits = (numbers.view(np.uint32) >> 16).astype("<u2")
    for name, kind, out in (
        ("half", "kBFloat16", bits.tobytes()),
        ("flags", "kBool", b"\1\0\1\0\0\0\1"),
    ):
        (tmp_path / "s" / name).mkdir(parents=True)
        (tmp_path / "s" / name / "out").write_bytes(out)
        (tmp_path / "s" / name / "meta").write_text(f"shape {{ dim: 7 }} data_type: {kind}")
    for io in ("mmap", "read"):
        opened = get(tmp_path / "s", io=io)
        wide = opened["half"].numpy()
        assert wide.dtype == np.float32 and not wide.flags.writeable
        np.testing.assert_array_equal(wide.view(np.uint32), bits.astype(np.uint32) << 16)
        np.testing.assert_array_equal(opened["half"][2:4], wide[2:4])
        np.testing.assert_array_equal(opened["half"].memmap(), bits)
        assert opened["half"].memmap().dtype == np.uint16
        assert opened["flags"].numpy().tolist() == [1, 0, 1, 0, 0, 0, 1]
        assert opened["flags"].numpy().dtype == np.bool_
    # They are taken over as they are.
    save(tmp_path / "again", get(tmp_path / "s"))
    assert get(tmp_path / "again")["half"].kind == "kBFloat16"
    np.testing.assert_array_equal(get(tmp_path / "again")["half"].memmap(), bits)


class TestPickling:
    def test_blobs(self, path, monkeypatch):
        monkeypatch.chdir(path.parent)
        opened = get("s", io="read")
        text = pickle.dumps(dict(opened))
        single = pickle.dumps(get("s/block"))
        monkeypatch.chdir("/")
        found = pickle.loads(text)
        for name, value in VALUES.items():
            np.testing.assert_array_equal(found[name].numpy(), value)
            assert found[name].file_path == os.fspath(path / name / "out")
        np.testing.assert_array_equal(pickle.loads(single).numpy(), BLOCK)

    def test_checkpoints(self, path):
        opened = get(path)
        del opened["block"]
        found = pickle.loads(pickle.dumps(opened))
        assert isinstance(found, Checkpoint) and list(found) == list(opened)
        assert found.metadata == {"note": "x"}

    def test_what_has_changed_meanwhile(self, path):
        blob, whole = (pickle.dumps(each) for each in (get(path)["block"], get(path)))
        update(path, {"block": BLOCK[0]})
        with pytest.raises(CheckpointError, match="replaced, open it again"):
            pickle.loads(blob)
        save(path, {"other": BLOCK}, overwrite=True)
        with pytest.raises(CheckpointNotFoundError):
            pickle.loads(blob)
        with pytest.raises(CheckpointError, match=r"no variable .* any more"):
            pickle.loads(whole)


def test_closing(path):
    with get(path) as opened:
        kept = opened["block"].numpy()
    opened.close()
    np.testing.assert_array_equal(kept, BLOCK)
    with pytest.raises(CheckpointError, match="has been closed; open it again"):
        opened["scalar"].numpy()
    assert opened["scalar"].shape == () and opened.metadata == {"note": "x"}


def test_a_file_that_is_cut_short_is_an_error_when_it_is_read(path):
    opened = get(path, io="read")
    os.truncate(path / "block" / "out", 100)
    for use in (opened["block"].numpy, lambda: opened["block"][3], opened["block"].verify):
        with pytest.raises(CheckpointError, match="expected 480 bytes as when"):
            use()


def test_the_table(path, tmp_path):
    text = repr(get(path))
    lines = text.splitlines()
    assert lines[0] == f"Checkpoint {os.fspath(path)!r}: 5 variables, 568 B"
    assert lines[1].split() == ["name", "shape", "type", "size"]
    assert any(line.split() == ["block", "(4,", "5,", "6)", "kFloat", "480", "B"] for line in lines)
    many = {f"<w{number}>": BLOCK for number in range(100)}
    save(tmp_path / "many", many, durability="rename")
    opened = get(tmp_path / "many")
    assert len(repr(opened).splitlines()) == 33 and repr(opened).endswith("and 70 more")
    page = opened._repr_html_()
    assert html.escape("<w0>") in page and "<w0>" not in page and "and 70 more" in page


def test_eight_threads_open_and_read(path):
    def work(number):
        opened = get(path, io=("mmap", "read")[number % 2])
        return all(np.array_equal(opened[name].numpy(), VALUES[name]) for name in VALUES)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(80)))
    shared = get(path)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda _: np.array_equal(shared["block"].numpy(), BLOCK), range(80))
        assert all(found)


def _sum_in_a_child(opened):
    return float(sum(blob.numpy().sum() for blob in opened.values()))


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_four_forked_processes_read(path):
    opened = get(path)
    expected = _sum_in_a_child(opened)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context("fork").Pool(4) as pool:
            found = pool.map(_sum_in_a_child, [opened] * 8)
    assert found == [expected] * 8


@pytest.mark.skipif(sys.platform != "linux", reason="counts what Linux lists")
def test_nothing_is_left_of_opening_again_and_again(path):
    def counts():
        gc.collect()
        with open("/proc/self/maps") as maps:
            return len(os.listdir("/proc/self/fd")), sum(1 for _ in maps)

    def use():
        opened = get(path, include=["block", "scalar"])
        opened["block"].numpy().sum()
        pickle.loads(pickle.dumps(opened["scalar"])).numpy()

    for _ in range(10):
        use()
    files, mappings = counts()
    for _ in range(10_000):
        use()
    files_after, mappings_after = counts()
    assert files_after <= files and mappings_after <= mappings + 20


def test_pipes_and_links_inside_are_never_opened(path):
    os.mkfifo(path / "pipe")
    (path / "link").symlink_to("/")
    assert sorted(get(path).ignored) == [os.fspath(path / "link"), os.fspath(path / "pipe")]
    for name in ("out", "meta"):
        (path / "block" / name).unlink()
        os.mkfifo(path / "block" / name)
        for each in (path, path / "block"):
            with pytest.raises(CheckpointError, match="not a regular file"):
                get(each)
        (path / "block" / name).unlink()
        (path / "block" / name).symlink_to("/etc/passwd")
        with pytest.raises(CheckpointError, match="not a regular file"):
            get(path)
        (path / "block" / name).unlink()
        (path / "block" / name).write_bytes(b"")
    assert isinstance(CheckpointIOError(), CheckpointError)


def test_flow_load_is_the_same_function():
    assert flow.load is get
