"""Several processes and threads that save, change and read the same checkpoint."""

import multiprocessing
import os
import random
import re
import sys
import threading
import time
import warnings

import numpy as np
import pytest

from flowrs.checkpoint import drop, get, rename, save, update
from flowrs.errors import CheckpointError, CheckpointExistsError

forks = pytest.mark.skipif(sys.platform != "linux", reason="forks")


def start(context, work, *arguments):
    """A child that does the work."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = context.Process(target=work, args=arguments)
        child.start()
    return child


def _save_again_and_again(path, begun):
    for number in range(1, 100_000):
        array = np.full(2000, number)
        save(path, {"a": array, "n/b": array}, overwrite=True, durability="rename")
        begun.set()


@forks
def test_a_save_that_is_killed_leaves_the_old_or_the_new(tmp_path):
    draw = random.Random(0)
    context = multiprocessing.get_context("fork")
    save(tmp_path / "s", {"a": np.zeros(2000), "n/b": np.zeros(2000)})
    numbers = set()
    for _ in range(25):
        begun = context.Event()
        child = start(context, _save_again_and_again, tmp_path / "s", begun)
        assert begun.wait(60)
        time.sleep(draw.random() * 0.02)
        child.kill()
        child.join()
        opened = get(tmp_path / "s", verify=True)
        assert opened.complete and list(opened) == ["a", "n/b"]
        found = {int(number) for blob in opened.values() for number in np.unique(blob.numpy())}
        assert len(found) == 1
        numbers |= found
    assert len(numbers) > 1
    hidden = [name for name in os.listdir(tmp_path) if name != "s"]
    assert all(re.fullmatch(r"\.s\.tmp-\d+-[0-9a-f]{16}", name) for name in hidden)


def test_only_one_of_two_saves_to_a_new_path_succeeds(tmp_path):
    for number in range(20):
        path = tmp_path / str(number)
        together = threading.Barrier(2)
        told = []

        def work(value, path=path, together=together, told=told):
            together.wait()
            try:
                save(path, {"w": np.full(5000, value)}, durability="rename")
                told.append(value)
            except CheckpointExistsError as error:
                told.append(str(error))

        threads = [threading.Thread(target=work, args=(value,)) for value in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winners = [each for each in told if isinstance(each, int)]
        assert len(winners) == 1, told
        assert set(get(path)["w"].numpy().tolist()) == set(winners)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


#: Larger than a page, so that half of a value would show.
SIZE = 3000


def _change(path, number, way, told):
    """Changes a checkpoint several times in one way; tells how often it was done and refused."""
    draw = random.Random(number)
    done, refused = 0, set()
    for turn in range(40):
        value = np.full(SIZE, 100 * number + turn)
        try:
            if way == "update":
                update(path, {"a": value, "n/b": value}, durability="rename")
            elif way == "save":
                values = {"a": value, "n/b": value, "kept": np.arange(SIZE)}
                save(path, values, overwrite=True, durability="rename")
            elif way == "rename":
                rename(path, {"a": "n/b", "n/b": "a"}, durability="rename")
            else:
                update(path, {f"x{number}": value}, durability="rename")
                drop(path, f"x{number}", durability="rename")
            done += 1
        except CheckpointError as error:
            refused.add(f"{type(error).__name__}: {error}")
        time.sleep(draw.random() * 0.002)
    told.put((done, refused))


@forks
@pytest.mark.parametrize(
    "ways",
    [("update", "update"), ("update", "save"), ("save", "save"), ("update", "rename", "drop")],
    ids="-".join,
)
def test_two_that_change_the_same_never_make_a_mixture(ways, tmp_path):
    """The last one wins, or one is refused; each state that is seen is that of one of them."""
    path = tmp_path / "s"
    values = {"a": np.zeros(SIZE), "n/b": np.zeros(SIZE), "kept": np.arange(SIZE)}
    save(path, values, durability="rename")
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    children = [start(context, _change, path, *each, told) for each in enumerate(ways, 1)]

    def look():
        opened = get(path)
        found = {name: blob.numpy() for name, blob in opened.items() if name[0] != "x"}
        assert opened.complete and list(found) == ["a", "kept", "n/b"]
        assert found["kept"].tolist() == list(range(SIZE))
        assert len({*found["a"], *found["n/b"]}) == 1

    looks = 0
    while any(child.is_alive() for child in children):
        try:
            look()
            looks += 1
        except CheckpointError as error:
            # It was replaced between its opening and the look at a value.
            assert re.search("replaced or removed since it was opened", str(error)), error
    answers = [told.get(timeout=60) for _ in children]
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert looks > 0 and all(done > 0 for done, _ in answers), answers
    for refusal in set().union(*(refused for _, refused in answers)):
        allowed = r"replaced|removed|no variable|no such checkpoint|has appeared|No such file"
        assert re.search(allowed, refusal), refusal
    look()
    assert not get(path).verify().damaged
    assert os.listdir(tmp_path) == ["s"]
