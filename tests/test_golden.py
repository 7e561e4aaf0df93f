"""Whole training runs against traces that an independent program computed in float64.

The traces, the weights they start from and the tolerances are described in the README beside them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from op_jobs import ISAS

import flowrs as flow
import flowrs.typing as tp
from flowrs import _flowrs
from flowrs.optimizer import Adam, CosineScheduler, Optimizer, PiecewiseConstantScheduler, warmup

Array = np.ndarray[Any, np.dtype[Any]]

BATCH = 100

OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "mlp sgd 0.1": lambda: sgd(PiecewiseConstantScheduler([], [0.1])),
    "mlp sgd 0.05 momentum 0.9": lambda: sgd(PiecewiseConstantScheduler([], [0.05]), 0.9),
    "mlp adam 0.001 no bias correction": lambda: Adam(PiecewiseConstantScheduler([], [0.001])),
    "mlp adam 0.001 bias correction": lambda: Adam(
        PiecewiseConstantScheduler([], [0.001]), do_bias_correction=True
    ),
    "mlp sgd piecewise [10,30] [0.1,0.05,0.01]": lambda: sgd(
        PiecewiseConstantScheduler([10, 30], [0.1, 0.05, 0.01])
    ),
    "mlp sgd cosine(0.1,60) warmup.linear(10,0.1)": lambda: sgd(
        CosineScheduler(0.1, 60, warmup=warmup.linear(10, 0.1))
    ),
}


def sgd(scheduler: Any, momentum: float = 0) -> Optimizer:
    return flow.optimizer.SGD(scheduler, momentum=momentum)


@dataclass(frozen=True)
class Tolerance:
    """Bounds of a run's differences, as the README names them."""

    first_losses: float
    losses: float
    weights: float
    first_elements: float


SINGLE = Tolerance(2e-6, 3e-4, 3e-4, 1e-4)
#: The rates are float32 in float64 runs too: 0.1 is off by 1.5e-8.
DOUBLE = Tolerance(1e-6, 1e-6, 1e-6, 1e-7)
#: Every trace with the instructions that are chosen on this CPU, two with each other set.
CASES = [(name, _flowrs.isa()) for name in OPTIMIZERS] + [
    (name, isa)
    for name in ("mlp sgd 0.05 momentum 0.9", "mlp adam 0.001 bias correction")
    for isa in ISAS
    if isa != _flowrs.isa()
]
#: Losses whose bound is ``first_losses``: ten for the MLP.
EARLY = 10


@pytest.fixture(scope="module")
def traces(golden_dir: Path) -> dict[str, Any]:
    return {trace["name"]: trace for trace in json.loads((golden_dir / "traces.json").read_text())}


@pytest.fixture(scope="module")
def batches(mnist_dir: Path) -> list[tuple[Array, Array]]:
    (images, labels), _ = flow.data.load_mnist(BATCH, BATCH, out_dir=str(mnist_dir))
    return [(images[step], labels[step]) for step in range(100)]


def job_of(make: Callable[[], Optimizer], dtype: Any) -> Callable[..., Array]:
    """The MLP of the traces."""

    @flow.global_function(type="train")
    def train_job(
        images: tp.Numpy.Placeholder((BATCH, 1, 28, 28), dtype),
        labels: tp.Numpy.Placeholder((BATCH,), flow.int32),
    ) -> tp.Numpy:
        hidden = flow.layers.dense(
            flow.flatten(images, start_dim=1), 512, activation=flow.nn.relu, name="dense1"
        )
        logits = flow.layers.dense(hidden, 10, name="dense2")
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        make().minimize(loss)
        return loss

    return train_job


def train(
    trace: Any,
    first_weights: Path,
    batches: list[tuple[Array, Array]],
    dtype: Any = flow.float32,
) -> tuple[list[float], dict[str, Array]]:
    """The losses of a trace's steps, and the variables afterwards."""
    flow.clear_default_session()
    job = job_of(OPTIMIZERS[trace["name"]], dtype)
    saved = flow.checkpoint.get(first_weights)
    if dtype is flow.float64:
        step = "System-Train-TrainStep-train_job"
        saved = {
            name: value.numpy().astype(np.float64) for name, value in saved.items() if name != step
        }
    report = flow.load_variables(saved, ignore_mismatch=False)
    assert {f"dense{i}-{kind}" for i in (1, 2) for kind in ("weight", "bias")} <= set(report.loaded)
    losses = [
        float(job(images, labels).mean(dtype=np.float64))
        for images, labels in batches[: trace["steps"]]
    ]
    return losses, {name: value.numpy() for name, value in flow.get_all_variables().items()}


def follow(trace: Any, losses: list[float], weights: dict[str, Array], allow: Tolerance) -> None:
    """Compares a run with its trace."""
    off = np.abs(np.array(losses) / trace["losses"] - 1)
    assert off[:EARLY].max() <= allow.first_losses
    assert off.max() <= allow.losses
    for name, expected in trace["final"].items():
        found = weights[name].astype(np.float64)
        size = expected["abs_sum"]
        assert abs(found.sum() - expected["sum"]) <= allow.weights * size, name
        assert abs(np.abs(found).sum() - size) <= allow.weights * size, name
        first = np.abs(found.ravel()[:4] - expected["first"])
        assert first.max() <= allow.first_elements, name
    assert weights["System-Train-TrainStep-train_job"].tolist() == [trace["steps"]]


def test_there_is_an_optimizer_for_every_trace_of_the_mlp(traces: dict[str, Any]) -> None:
    assert {name for name in traces if name.startswith("mlp")} == set(OPTIMIZERS)


@pytest.mark.parametrize(("name", "isa"), CASES)
def test_float32_follows_the_trace(
    name: str,
    isa: str,
    traces: dict[str, Any],
    golden_dir: Path,
    batches: list[tuple[Array, Array]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLOWRS_ISA", isa)
    follow(traces[name], *train(traces[name], golden_dir / "mlp_init", batches), SINGLE)


@pytest.mark.parametrize("isa", ISAS)
def test_threads_do_not_change_a_bit_of_the_trace(
    isa: str,
    traces: dict[str, Any],
    golden_dir: Path,
    batches: list[tuple[Array, Array]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLOWRS_ISA", isa)
    trace = {**traces["mlp sgd 0.05 momentum 0.9"], "steps": 20}
    runs = []
    for threads in (1, 2, 3):
        flow.config.cpu_threads(threads)
        losses, weights = train(trace, golden_dir / "mlp_init", batches)
        np.testing.assert_allclose(losses, trace["losses"][:20], rtol=SINGLE.losses)
        runs.append((losses, {name: array.tobytes() for name, array in weights.items()}))
    assert runs[0] == runs[1] == runs[2]


def test_float64_follows_the_trace_closely(
    traces: dict[str, Any], golden_dir: Path, batches: list[tuple[Array, Array]]
) -> None:
    trace = traces["mlp sgd cosine(0.1,60) warmup.linear(10,0.1)"]
    losses, weights = train(trace, golden_dir / "mlp_init", batches, flow.float64)
    follow(trace, losses, weights, DOUBLE)
    # Before the first update no rate has had a part in the loss.
    assert losses[0] == pytest.approx(trace["losses"][0], rel=1e-13)


# --- Bytes -------------------------------------------------------------------------------------


def files_of(folder: Path) -> dict[str, bytes]:
    """Content of all files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("tree", ["mlp_init", "lenet_init"])
def test_saving_the_first_weights_again_gives_the_same_files(
    tree: str, golden_dir: Path, tmp_path: Path
) -> None:
    saved = flow.checkpoint.get(golden_dir / tree)
    step = "System-Train-TrainStep-train_job"
    assert step in saved

    @flow.global_function(type="train")
    def train_job() -> None:
        random = flow.random_normal_initializer()
        weights = [
            flow.get_variable(name, value.shape, value.dtype, random)
            for name, value in saved.items()
            if name != step
        ]
        rate = PiecewiseConstantScheduler([], [0.1])
        sgd(rate).minimize([flow.math.reduce_sum(weight) for weight in weights])

    report = flow.load_variables(saved, strict=True)
    assert sorted(report.loaded) == sorted(saved)
    flow.checkpoint.save(tmp_path / tree, checksum=False)
    assert files_of(tmp_path / tree) == files_of(golden_dir / tree)
    assert (tmp_path / tree / "snapshot_done").read_bytes() == b""
