"""The manager of a run's checkpoints: what it keeps, what it removes, how it goes on."""

import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import flowrs as flow
from flowrs import _leftovers
from flowrs.errors import (
    ArgumentError,
    ArgumentTypeError,
    CheckpointExistsError,
    CheckpointIOError,
    LoadError,
)

Manager = flow.checkpoint.CheckpointManager
W = {"w": np.ones(2, np.float32)}


def steps(manager):
    return [saved.step for saved in manager.list()]


def save_all(manager, losses, first=1):
    for step, loss in enumerate(losses, first):
        manager.save(step, {"loss": loss}, W)


def define(value=1.0):
    @flow.global_function()
    def job() -> None:
        flow.get_variable("w", shape=(2,), initializer=flow.constant_initializer(value))


@pytest.fixture
def quick(monkeypatch):
    """Saves that a loss of power may undo: enough where what is kept is the question."""
    save = partial(flow.checkpoint.save, durability="rename")
    monkeypatch.setattr("flowrs.checkpoint.manager.save", save)


@pytest.mark.usefixtures("quick")
class TestKeeping:
    @pytest.mark.parametrize(
        ("rules", "losses", "expected"),
        [
            ({}, [3, 1, 2], [1, 2, 3]),
            ({"keep_last": 1}, [3, 1, 2], [3]),
            ({"keep_last": 2}, [3, 1, 2], [2, 3]),
            ({"keep_last": 9}, [3, 1, 2], [1, 2, 3]),
            ({"keep_best": ("loss", "min")}, [3, 1, 2, 4], [2, 4]),
            ({"keep_best": ("loss", "max")}, [3, 1, 4, 2], [3, 4]),
            ({"keep_best": ("loss", "min", 2)}, [1, 2, 0, 4, 5], [1, 3, 5]),
            ({"keep_best": ("loss", "min")}, [1, 1, 1], [1, 3]),
            ({"keep_best": ("loss", "min")}, [float("nan"), 5, float("nan")], [2, 3]),
            ({"keep_best": ("loss", "max")}, [float("inf"), 5, 7], [1, 3]),
            ({"keep_best": ("loss", "min")}, [float("nan"), float("nan")], [2]),
            ({"keep_every": 2}, [0] * 5, [2, 4, 5]),
            (
                {"keep_last": 2, "keep_best": ("loss", "min"), "keep_every": 4},
                range(9),
                [1, 4, 8, 9],
            ),
        ],
    )
    def test_the_rules(self, tmp_path, rules, losses, expected):
        manager = Manager(tmp_path, **rules)
        save_all(manager, losses)
        assert steps(manager) == expected
        # In the folder too: nothing is hidden, nothing left behind.
        assert sorted(os.listdir(tmp_path)) == [f"step_{step:08d}" for step in expected]

    def test_every_short_history_is_kept_as_a_plain_rule_says(self, tmp_path):
        """All orders of three metrics against the rule written down once more, by itself."""
        for number, losses in enumerate(product([1.0, 2.0, float("nan")], repeat=3)):
            root = tmp_path / str(number)
            manager = Manager(root, keep_last=1, keep_best=("loss", "min"))
            kept = set()
            for step, loss in enumerate(losses, 1):
                manager.save(step, {"loss": loss}, W)
                kept.add(step)
                known = {one: losses[one - 1] for one in kept if losses[one - 1] == losses[one - 1]}
                best = {one for one in known if known[one] == min(known.values())}
                kept = {step, *sorted(best)[:1]}
                assert steps(manager) == sorted(kept), losses

    def test_a_run_that_goes_on_keeps_the_books(self, tmp_path):
        save_all(Manager(tmp_path, keep_last=2, keep_best=("loss", "min")), [1, 5, 4])
        manager = Manager(tmp_path, keep_last=2, keep_best=("loss", "min"))
        assert steps(manager) == [1, 2, 3]
        assert Path(manager.best()).name == "step_00000001"
        save_all(manager, [3, 0.5], first=4)
        assert steps(manager) == [4, 5]
        assert manager.best() == manager.latest() == str(tmp_path / "step_00000005")

    def test_another_process_goes_on_with_fewer(self, tmp_path):
        save_all(Manager(tmp_path), [1, 5, 4])
        program = (
            "import sys, numpy, flowrs as flow\n"
            "manager = flow.checkpoint.CheckpointManager(sys.argv[1], keep_last=2)\n"
            "manager.save(4, var_dict={'w': numpy.ones(2)})\n"
            "print([saved.step for saved in manager.list()], manager.list()[0].metrics)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
        )
        assert done.stdout == "[3, 4] {'loss': 4.0}\n"

    def test_steps_that_go_back(self, tmp_path):
        manager = Manager(tmp_path, keep_last=2)
        save_all(manager, [1, 2], first=10)
        manager.save(5, var_dict=W)
        # The newest are those of the greatest steps.
        assert steps(manager) == [10, 11]


@pytest.mark.usefixtures("quick")
class TestOthersAreLeftAlone:
    def test_what_the_manager_did_not_save(self, tmp_path):
        define()
        flow.checkpoint.save(tmp_path / "step_00000001")
        flow.checkpoint.save(tmp_path / "step_2", metadata={"checkpoint_manager": {"step": 2}})
        flow.checkpoint.save(tmp_path / "mine")
        (tmp_path / "step_00000003").mkdir()
        (tmp_path / "step_4").write_text("a file")
        (tmp_path / "step_x").mkdir()
        Manager(tmp_path, prefix="other_").save(5, var_dict=W)
        before = set(os.listdir(tmp_path))
        manager = Manager(tmp_path, keep_last=1)
        save_all(manager, [1, 2, 3], first=100)
        assert steps(manager) == [102]
        assert set(os.listdir(tmp_path)) == {*before, "step_00000102"}

    def test_prefixes_that_begin_others(self, tmp_path):
        one, other = Manager(tmp_path, keep_last=1, prefix="a"), Manager(tmp_path, prefix="a1")
        other.save(5, var_dict=W)
        save_all(one, [1, 2])
        assert steps(one) == [2] and steps(other) == [5]

    def test_a_renamed_or_copied_checkpoint_is_not_its_own(self, tmp_path):
        manager = Manager(tmp_path, keep_last=1)
        save_all(manager, [1])
        shutil.copytree(manager.latest(), tmp_path / "step_00000007")
        shutil.copytree(manager.latest(), tmp_path / "best")
        save_all(manager, [2, 3], first=2)
        assert steps(manager) == [3]
        assert sorted(os.listdir(tmp_path)) == ["best", "step_00000003", "step_00000007"]

    def test_a_link_is_not_followed(self, tmp_path):
        real = Manager(tmp_path / "real")
        real.save(1, var_dict=W)
        (tmp_path / "root").mkdir()
        (tmp_path / "root" / "step_00000001").symlink_to(real.latest())
        manager = Manager(tmp_path / "root", keep_last=1)
        save_all(manager, [1, 1], first=2)
        assert steps(manager) == [3] and steps(real) == [1]

    def test_a_checkpoint_with_foreign_files_is_kept_with_a_warning(self, tmp_path):
        manager = Manager(tmp_path, keep_last=1)
        save_all(manager, [1])
        note = Path(manager.latest()) / "notes.txt"
        note.write_text("do not lose this")
        with pytest.warns(UserWarning, match=r"is kept: .* holds notes\.txt"):
            manager.save(2, var_dict=W)
        assert note.read_text() == "do not lose this" and steps(manager) == [1, 2]

    def test_more_levels_than_a_name_can_have_are_foreign(self, tmp_path):
        manager = Manager(tmp_path, keep_last=1)
        manager.save(1, var_dict={"/".join("a" * 32): np.ones(1)})
        manager.save(2, var_dict=W)
        assert steps(manager) == [2]
        (tmp_path / "step_00000002" / "/".join("a" * 33)).mkdir(parents=True)
        with pytest.warns(UserWarning, match="nested too deeply"):
            manager.save(3, var_dict=W)

    def test_what_was_not_finished_does_not_count(self, tmp_path):
        manager = Manager(tmp_path)
        save_all(manager, [1, 2])
        os.unlink(tmp_path / "step_00000002" / "snapshot_done")
        assert steps(manager) == [1] and manager.latest().endswith("1")

    @pytest.mark.parametrize(
        "record",
        [
            "[]", "{", "[" * 100_000, '{"checkpoint_manager": 1}',
            '{"checkpoint_manager": {"prefix": "step_", "step": "1", "metrics": {}}}',
            '{"checkpoint_manager": {"prefix": "step_", "step": 2, "metrics": {}}}',
            '{"checkpoint_manager": {"prefix": "step_", "step": 1, "metrics": {"a": []}}}',
            '{"checkpoint_manager": {"prefix": "step_", "step": true, "metrics": {}}}',
        ],
    )  # fmt: skip
    def test_records_that_lie(self, tmp_path, record):
        manager = Manager(tmp_path, keep_last=1)
        save_all(manager, [1])
        (tmp_path / "step_00000001" / "flowrs.json").write_text(record)
        assert steps(manager) == []
        os.unlink(tmp_path / "step_00000001" / "flowrs.json")
        os.mkfifo(tmp_path / "step_00000001" / "flowrs.json")
        assert steps(manager) == []


class TestSafety:
    def test_nothing_is_removed_before_the_newer_one_is_there(self, tmp_path, monkeypatch):
        manager = Manager(tmp_path, keep_last=1)
        save_all(manager, [1])
        seen = []
        remove = _leftovers.remove

        def watch(path):
            seen.append((path.name, [saved.step for saved in manager.list()]))
            remove(path)

        monkeypatch.setattr(_leftovers, "remove", watch)
        manager.save(2, var_dict=W)
        assert seen == [("step_00000001", [1, 2])]

    def test_a_save_in_the_background_removes_when_it_is_done(self, tmp_path, monkeypatch):
        manager = Manager(tmp_path, keep_last=1)
        save_all(manager, [1])
        removed, go_on = threading.Event(), threading.Event()
        remove = _leftovers.remove

        def watch(path):
            assert steps(manager) == [1, 2]
            removed.set()
            assert go_on.wait(60)
            remove(path)

        monkeypatch.setattr(_leftovers, "remove", watch)
        values = {"w": np.ones(2, np.float32)}
        pending = manager.save(2, var_dict=values, background=True)
        values["w"][:] = -1
        assert removed.wait(60) and not pending.done
        go_on.set()
        pending.wait()
        assert steps(manager) == [2] and pending.path == manager.latest()
        assert flow.load(pending.path, verify=True)["w"].numpy().tolist() == [1, 1]

    def test_a_save_that_fails_in_the_background_removes_nothing(self, tmp_path):
        manager = Manager(tmp_path, keep_last=1)
        save_all(manager, [1])
        (tmp_path / "step_00000002").mkdir()
        (tmp_path / "step_00000002" / "mine").write_text("")
        pending = manager.save(2, var_dict=W, background=True)
        with pytest.raises(CheckpointExistsError):
            pending.wait()
        assert steps(manager) == [1]

    def test_a_failed_save_removes_nothing(self, tmp_path):
        manager = Manager(tmp_path, keep_last=1, keep_best=("loss", "min"))
        save_all(manager, [2, 1])
        with pytest.raises(ArgumentError, match="needs the metric 'loss'; given are accuracy"):
            manager.save(3, {"accuracy": 1}, W)
        with pytest.raises(CheckpointExistsError):
            manager.save(2, {"loss": 3}, W)
        with pytest.raises(TypeError):
            manager.save(3, {"loss": 0}, {"w": "text"})
        assert steps(manager) == [2]

    def test_a_removal_that_stops_half_way_leaves_no_half_checkpoint(self, tmp_path, monkeypatch):
        manager = Manager(tmp_path, keep_last=1)
        save_all(manager, [1])

        def fails(path):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(shutil, "rmtree", fails)
        with pytest.raises(CheckpointIOError, match=r"cannot remove .*Input/output error"):
            manager.save(2, var_dict=W)
        assert steps(manager) == [2]
        monkeypatch.undo()
        (hidden,) = set(os.listdir(tmp_path)) - {"step_00000002"}
        assert hidden.startswith(f".step_00000001.removed-{os.getpid()}-")
        # This process is running, so it could still be at it; another one may clean up.
        assert manager.clean() == []
        dead = tmp_path / hidden.replace(f"-{os.getpid()}-", f"-{2**31 - 1}-")
        os.rename(tmp_path / hidden, dead)
        monkeypatch.setattr(_leftovers, "_SECONDS_OF_SILENCE", -1.0)
        assert Manager(tmp_path, prefix="other_").clean() == []
        assert manager.clean() == [str(dead)]
        assert os.listdir(tmp_path) == ["step_00000002"]

    def test_a_checkpoint_that_another_process_removes_meanwhile(self, tmp_path, monkeypatch):
        manager = Manager(tmp_path, keep_last=1)
        save_all(manager, [1])
        listed = manager.list()
        manager.save(2, var_dict=W)
        monkeypatch.setattr(manager, "_superfluous", lambda: listed)
        assert manager.prune() == listed

    def test_dry_run(self, tmp_path):
        save_all(Manager(tmp_path), [1, 2, 3])
        manager = Manager(tmp_path, keep_last=1)
        assert [saved.step for saved in manager.prune(dry_run=True)] == [1, 2]
        assert steps(manager) == [1, 2, 3]
        assert [saved.step for saved in manager.prune()] == [1, 2]
        assert steps(manager) == [3]


#: Saves four checkpoints, and is killed before the n-th time that Python changes the folder.
KILLED = """
import os, sys, numpy as np, flowrs as flow
root, left = sys.argv[1], int(sys.argv[2])

def count(event, arguments):
    global left
    if event in ("os.rename", "os.remove", "os.rmdir"):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)

manager = flow.checkpoint.CheckpointManager(root, keep_last=1, keep_best=("loss", "min"))
sys.addaudithook(count)
for step, loss in ((1, 3), (2, 1), (3, 4), (4, 2)):
    manager.save(step, {"loss": loss}, {"w": np.full(2, step), "a/b": np.ones(1)})
    print(step, flush=True)
"""


def test_killed_at_any_moment_of_a_removal(tmp_path, monkeypatch):
    monkeypatch.setattr(_leftovers, "_SECONDS_OF_SILENCE", -1.0)
    losses = {1: 3, 2: 1, 3: 4, 4: 2}
    for moment in range(100):
        root = tmp_path / str(moment)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, root, str(moment)],
            stdout=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        finished = len(done.stdout.split())
        manager = Manager(root, keep_last=1, keep_best=("loss", "min"))
        # The one whose removal was going on is whole, or out of sight.
        for saved in manager.list():
            opened = flow.load(saved.path)
            assert opened["w"].numpy().tolist() == [saved.step] * 2 and len(opened) == 2
        newest = steps(manager)[-1]
        assert newest in (finished, finished + 1)
        best = min(range(1, newest + 1), key=lambda step: losses[step])
        assert int(Path(manager.best()).name[-1]) == best
        # Another one goes on, and puts everything in order.
        manager.clean()
        manager.prune()
        assert steps(manager) == sorted({newest, best})
        assert len(os.listdir(root)) == len(steps(manager))
        if done.returncode == 0:
            break
        assert done.returncode == -9
    assert 10 < moment < 99


class TestRestoring:
    def test_training_goes_on_from_the_newest(self, tmp_path):
        define(1)
        manager = Manager(tmp_path / "runs" / "first", keep_last=2)
        assert manager.restore_or_init() == 0 and manager.latest() is None
        for step in (1, 2):
            flow.load_variables({"w": np.full(2, step, np.float32)})
            manager.save(step)
        flow.clear_default_session()
        define(7)
        assert Manager(tmp_path / "runs" / "first").restore_or_init() == 2
        assert flow.get_all_variables()["w"].numpy().tolist() == [2, 2]

    def test_what_does_not_fit_is_an_error(self, tmp_path):
        define()
        manager = Manager(tmp_path)
        manager.save(1, var_dict={"v": np.ones(2, np.float32)})
        with pytest.raises(LoadError, match=r'no value for variable "?w'):
            manager.restore_or_init()
        assert manager.restore_or_init(strict=False) == 1

    def test_the_same_step_again(self, tmp_path):
        define()
        manager = Manager(tmp_path, keep_best=("loss", "min"))
        manager.save(3, {"loss": 1})
        path = manager.save(3, {"loss": 2}, {"w": np.zeros(2)}, overwrite=True)
        assert flow.load(path)["w"].numpy().tolist() == [0, 0]
        assert [saved.metrics for saved in manager.list()] == [{"loss": 2}]

    def test_metrics_and_metadata_come_back(self, tmp_path):
        metrics = {"loss": np.float32(0.5), "accuracy": np.array(1), "nan": float("nan")}
        metrics["low"] = -float("inf")
        path = Manager(tmp_path).save(3, metrics, W, metadata={"note": "good"})
        (saved,) = Manager(tmp_path).list()
        assert saved.path == path and saved.metrics.pop("nan") != 0
        assert saved.metrics == {"loss": 0.5, "accuracy": 1, "low": -float("inf")}
        with open(Path(path) / "flowrs.json") as file:
            # Strict JSON, which other programs read too.
            text = json.load(file, parse_constant=pytest.fail)
        assert text["note"] == "good"

    def test_best_and_latest(self, tmp_path):
        manager = Manager(tmp_path, keep_best=("loss", "min"))
        assert manager.best() is None
        manager.save(1, {"loss": float("nan")}, W)
        assert manager.best() is None and manager.latest() is not None
        with pytest.raises(ArgumentError, match="keep_best="):
            Manager(tmp_path).best()

    def test_a_long_run_sorts_by_number(self, tmp_path):
        manager = Manager(tmp_path, keep_last=2)
        for step in (99_999_999, 100_000_000, 100_000_001):
            manager.save(step, var_dict=W)
        assert steps(manager) == [100_000_000, 100_000_001]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"keep_last": 0}, ArgumentError, "keep_last must be at least 1"),
        ({"keep_last": 1.5}, ArgumentTypeError, "whole number"),
        ({"keep_every": -1}, ArgumentError, "keep_every must be at least 1"),
        ({"keep_best": "loss"}, ArgumentTypeError, "a metric and a mode"),
        ({"keep_best": ("loss",)}, ArgumentTypeError, "a metric and a mode"),
        ({"keep_best": ("loss", "best")}, ArgumentError, '"min" or "max"'),
        ({"keep_best": (1, "min")}, ArgumentError, "name of a metric"),
        ({"keep_best": ("loss", "min", 0)}, ArgumentError, "at least 1"),
        ({"prefix": ""}, ArgumentError, "prefix"),
        ({"prefix": "../x"}, ArgumentError, "prefix"),
        ({"prefix": 3}, ArgumentTypeError, "prefix"),
    ],
)
def test_arguments_are_checked(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        Manager(tmp_path, **arguments)


@pytest.mark.parametrize(
    ("step", "metrics", "error"),
    [
        (-1, None, ArgumentError),
        (1.0, None, ArgumentTypeError),
        (10**19, None, ArgumentError),
        (1, [1], ArgumentTypeError),
        (1, {"loss": "low"}, ArgumentTypeError),
        (1, {"loss": np.ones(2)}, ArgumentTypeError),
        (1, {1: 1}, ArgumentTypeError),
    ],
)
def test_what_is_saved_is_checked(tmp_path, step, metrics, error):
    with pytest.raises(error):
        Manager(tmp_path).save(step, metrics, W)
    assert os.listdir(tmp_path) == []


def test_the_folder_may_be_unusable(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(CheckpointIOError, match="cannot list"):
        Manager(tmp_path / "file").list()
    assert Manager(tmp_path / "absent").clean() == []


def test_repr():
    assert repr(Manager("runs", keep_last=2, keep_best=("loss", "min", 1))) == (
        "CheckpointManager('runs', keep_last=2, keep_best=('loss', 'min'), prefix='step_')"
    )
