"""Small steps side by side: which plans have them, the same bits, and what the bench prints."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_plans import arena_bytes

import flowrs as flow
import flowrs.typing as tp
from flowrs._flowrs import Call

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benches"))

import side_by_side


def started(model: str) -> tuple[Any, Any, tuple[Any, ...]]:
    """A model of the bench: the job, what its first call ran, and what it is fed."""
    job, arrays = side_by_side.MODELS[model]()
    job(*arrays)
    (compiled,) = job.job.compiled.values()
    return job, compiled, tuple(arrays)


@pytest.mark.parametrize("model", side_by_side.MODELS)
def test_steps_side_by_side_make_the_same_bits_on_any_number_of_threads(model: str) -> None:
    _, compiled, arrays = started(model)
    first = {name: blob.numpy().copy() for name, blob in flow.get_all_variables().items()}
    found = []
    for threads, chosen in [(1, False), (1, True), (2, True), (3, True), (8, True)]:
        flow.config.cpu_threads(threads)
        plan = compiled.graph.compile(side_by_side=chosen)
        assert ("\nside by side: " in str(plan)) == chosen
        # Lanes keep what they use, at most 256 KiB, until they end.
        arena, live = arena_bytes(str(plan))
        assert live <= arena <= 1.15 * live + (256 * 1024 if chosen else 0)
        flow.load_variables(first)
        kinds = [(array.shape, array.dtype) for array in compiled.new_results()]
        run = Call(plan, compiled.variables, kinds, np.empty, np.ndarray).run
        results = b"".join(result.tobytes() for _ in range(200) for result in run(arrays))
        variables = sorted(flow.get_all_variables().items())
        found.append((results, *(blob.numpy().tobytes() for _, blob in variables)))
    assert all(one == found[0] for one in found[1:])


def test_the_lanes_of_a_plan_name_its_steps_once() -> None:
    job, _, _ = started("4 branches of dense 64-64-64, batch 8")
    text = job.plan()
    (line,) = (line for line in text.splitlines() if line.startswith("side by side: "))
    lanes = [lane.split(", ") for lane in line.removeprefix("side by side: ").split(" | ")]
    names = [line.split()[0] for line in text.splitlines() if " -> (" in line]
    assert sorted(name for lane in lanes for name in lane) == sorted(names)
    assert len(lanes) == 4
    assert all(len({name[0] for name in lane if name[0].isdigit()}) <= 1 for lane in lanes)


def test_a_chain_of_small_steps_runs_in_turn() -> None:
    @flow.global_function()
    def job(x: tp.Numpy.Placeholder((8, 64))) -> tp.Numpy:
        for layer in range(12):
            x = flow.layers.dense(x, 64, flow.nn.relu, name=f"dense{layer}")
        return x

    assert "side by side" not in job.plan()


def test_the_bench_times_both_plans_of_each_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(side_by_side, "TURN", 0.0005)
    monkeypatch.setattr(side_by_side, "TURNS", 3)
    assert side_by_side.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["model", "lanes"]
    assert len(lines) == 2 + len(side_by_side.MODELS)
    for line in lines[2:]:
        lanes, in_turn, together, times = line.rsplit(maxsplit=3)[-4:]
        assert int(lanes.split()[-1]) >= 2
        found = float(in_turn) / float(together)
        assert float(times.removesuffix("x")) == pytest.approx(found, rel=0.05)
