"""Saving in the background: values at the moment of the call, errors that reach somebody."""

import subprocess
import sys
import threading

import numpy as np
import pytest

import flowrs as flow
from flowrs.checkpoint import PendingSave, get, save
from flowrs.errors import CheckpointError, CheckpointExistsError


def test_later_changes_never_reach_the_file(tmp_path):
    @flow.global_function()
    def job() -> None:
        flow.get_variable("w", shape=(300_000,), initializer=flow.zeros_initializer())

    array = np.zeros(300_000)
    handles = []
    for number in range(5):
        flow.load_variables({"w": np.full(300_000, number, np.float32)})
        array[:] = number
        values = {**flow.get_all_variables(), "array": array, "turned": array.reshape(3, -1).T}
        handles.append(save(tmp_path / str(number), values, background=True))
        assert handles[-1].staged
        array[:] = -1
        flow.load_variables({"w": np.full(300_000, -1, np.float32)})
    for number, handle in enumerate(handles):
        handle.wait()
        assert handle.done and handle.exception() is None
        opened = get(tmp_path / str(number), verify=True)
        assert len(opened) == 3
        assert all((blob.numpy() == number).all() for blob in opened.values())


def test_blobs_are_staged_too(tmp_path):
    save(tmp_path / "one", {"w": np.arange(5)})
    opened = get(tmp_path / "one")
    handle = save(tmp_path / "two", opened, background=True, durability="rename")
    handle.wait(timeout=60)
    assert get(tmp_path / "two")["w"].numpy().tolist() == [0, 1, 2, 3, 4]


def test_an_error_is_raised_when_it_is_asked_for(tmp_path):
    (tmp_path / "s").write_text("mine")
    handle = save(tmp_path / "s", {"w": np.zeros(1)}, background=True)
    assert isinstance(handle.exception(), CheckpointExistsError)
    for _ in range(2):
        with pytest.raises(CheckpointExistsError, match="a file of this name"):
            handle.wait()
    assert handle.done and "ended" in repr(handle)


def test_wrong_arguments_are_told_at_once(tmp_path):
    with pytest.raises(TypeError):
        save(tmp_path / "s", {"w": object()}, background=True)
    with pytest.raises(CheckpointError):
        save(
            tmp_path / "s", {"w": np.zeros(1)}, metadata={"a": "x" * (17 << 20)}, background=True
        ).wait()


def test_an_error_that_nobody_asks_for_is_printed(tmp_path, monkeypatch):
    printed = []
    monkeypatch.setattr(threading, "excepthook", printed.append)
    (tmp_path / "s").write_text("mine")
    handle = save(tmp_path / "s", {"w": np.zeros(1)}, background=True)
    thread = handle._state.thread
    del handle
    thread.join()
    assert [each.exc_type for each in printed] == [CheckpointExistsError]
    handle = save(tmp_path / "s", {"w": np.zeros(1)}, background=True)
    handle._state.thread.join()
    assert len(printed) == 1
    del handle
    assert len(printed) == 2


def test_waiting_has_an_end():
    release = threading.Event()
    handle = PendingSave("somewhere", lambda: release.wait() and None)
    assert not handle.done and "going on" in repr(handle)
    with pytest.raises(TimeoutError, match=r"has not ended after 0\.01 s"):
        handle.wait(timeout=0.01)
    release.set()
    handle.wait()


def test_the_program_waits_at_its_end(tmp_path):
    program = """
import sys, numpy as np, flowrs as flow
values = {f"w{n}": np.full(200_000, n) for n in range(20)}
kept = flow.checkpoint.save(sys.argv[1] + "/good", values, background=True)
open(sys.argv[1] + "/taken", "w").close()
lost = flow.checkpoint.save(sys.argv[1] + "/taken", values, background=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "CheckpointExistsError" in done.stderr and "taken" in done.stderr
    opened = get(tmp_path / "good", verify=True)
    assert len(opened) == 20 and opened.complete
