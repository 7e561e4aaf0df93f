"""The checkpoints of older scripts: ``flow.train``."""

import re

import numpy as np
import pytest

import flowrs as flow
from flowrs.errors import (
    ArgumentTypeError,
    CheckpointExistsError,
    CheckpointIOError,
    LoadError,
    SessionError,
)


@pytest.fixture
def variable():
    """A session with one variable, w, which begins with ones."""

    @flow.global_function()
    def job() -> None:
        flow.get_variable("w", shape=(2,), initializer=flow.ones_initializer())


def value():
    return flow.get_all_variables()["w"].numpy().tolist()


def assign(number):
    flow.load_variables({"w": np.full(2, number, np.float32)})


@pytest.mark.usefixtures("variable")
class TestCheckPoint:
    def test_it_saves_and_loads_all_variables(self, tmp_path):
        check_point = flow.train.CheckPoint()
        check_point.init()
        assert value() == [1, 1]
        check_point.save(str(tmp_path / "snapshot"))
        assign(5)
        report = check_point.load(str(tmp_path / "snapshot"))
        assert value() == [1, 1] and report.loaded == ["w"]

    def test_it_says_what_to_use_instead_on_standard_error(self, capsys):
        flow.train.CheckPoint()
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "flow.checkpoint.save(path)" in captured.err
        assert "flow.load_variables(flow.checkpoint.get(path))" in captured.err

    def test_its_errors_are_those_of_the_functions(self, tmp_path):
        check_point = flow.train.CheckPoint()
        check_point.save(tmp_path / "snapshot")
        with pytest.raises(CheckpointExistsError, match="snapshot"):
            check_point.save(tmp_path / "snapshot")
        flow.save({"w": np.zeros(3, np.float32)}, tmp_path / "other")
        with pytest.raises(LoadError, match="w: the variable is"):
            check_point.load(tmp_path / "other")


def test_check_point_needs_a_job():
    with pytest.raises(SessionError):
        flow.train.CheckPoint().init()


@pytest.mark.usefixtures("variable")
class TestSimpleCheckPointManager:
    def test_names_are_prefix_and_time(self, tmp_path):
        manager = flow.train.SimpleCheckPointManager(tmp_path / "a" / "b", prefix="net_")
        manager.save()
        (name,) = manager.list_checkpoints()
        assert re.fullmatch(r"net_\d{8}_\d{6}_\d{6}", name)
        assert manager.latest_checkpoint() == str(tmp_path / "a" / "b" / name)
        assert manager.latest_checkpoint(return_full_path=False) == name

    def test_the_first_values_are_saved_and_the_latest_restored(self, tmp_path):
        manager = flow.train.SimpleCheckPointManager(str(tmp_path))
        assert manager.latest_checkpoint() is None
        manager.initialize_or_restore()
        assert len(manager.list_checkpoints()) == 1 and value() == [1, 1]
        for number in (2, 3):
            assign(number)
            manager.save()
        assign(4)
        flow.train.SimpleCheckPointManager(str(tmp_path)).initialize_or_restore()
        assert value() == [3, 3]
        assert len(manager.list_checkpoints()) == 3

    def test_what_was_not_finished_or_is_foreign_is_not_listed(self, tmp_path):
        manager = flow.train.SimpleCheckPointManager(tmp_path)
        manager.save()
        names = manager.list_checkpoints()
        (tmp_path / "snapshot_9_half" / "w").mkdir(parents=True)
        (tmp_path / "snapshot_note.txt").write_text("text")
        flow.checkpoint.save(tmp_path / "other")
        assert manager.list_checkpoints() == names

    def test_arguments_and_folders_are_checked(self, tmp_path):
        (tmp_path / "file").write_text("text")
        with pytest.raises(CheckpointIOError, match="cannot make the folder"):
            flow.train.SimpleCheckPointManager(tmp_path / "file" / "below")
        with pytest.raises(ArgumentTypeError, match="expected a path"):
            flow.train.SimpleCheckPointManager(3)
        manager = flow.train.SimpleCheckPointManager(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        with pytest.raises(CheckpointIOError, match="cannot list"):
            manager.list_checkpoints()
