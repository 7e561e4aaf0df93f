"""The benches: they catch wrong results, compare times as they should, and say what is wrong."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHES = Path(__file__).parents[1] / "benches"
sys.path.insert(0, str(BENCHES))

import choices  # noqa: E402 - found by the line above
from checkpoints import Goal  # noqa: E402
from engines import ENGINES  # noqa: E402
from harness import case, measure, operation  # noqa: E402
from harness.measure import Series  # noqa: E402
from harness.workers import Worker, WorkerError  # noqa: E402


def run(*arguments, **environment):
    """Runs run.py in a process of its own."""
    command = [sys.executable, str(BENCHES / "run.py"), *arguments]
    environment = {**environment, "PATH": ""}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_every_case_can_be_read_and_names_engines_that_exist():
    for name in case.names():
        loaded = case.load(name)
        assert set(loaded.engines) <= set(ENGINES)
        assert "flowrs" in loaded.engines
        for part in loaded.parts:
            assert loaded.kind == "import" or part.golden or part.part.digest
            if part.golden and not part.golden.trace:
                assert len(part.golden.losses) >= part.golden.steps


def test_a_case_is_measured_in_its_variants_and_a_case_of_memory_in_other_models():
    sizes = case.load("lenet_sizes")
    assert [part.batch for part in sizes.parts] == [1, 4, 16, 64, 256, 512]
    assert sizes.parts[5].flop == 512 * sizes.parts[0].flop > 0
    assert [part.dtype for part in case.load("lenet_double_train").parts] == ["float32", "float64"]
    lenet, resnet = case.load("memory").parts
    assert (lenet.name, lenet.batch) == ("lenet_train", 100)
    assert (resnet.name, resnet.batch) == ("resnet18_train", 32)


def test_a_step_counts_two_operations_for_each_multiplication_of_its_products():
    forward, weight = 2 * 100 * 784 * 512, 2 * 100 * 784 * 512
    assert case.load("mlp_train").flop == forward + weight + 3 * 2 * 100 * 512 * 10


def test_a_convolution_counts_the_multiplications_of_its_sum():
    conv1, conv2 = 2 * 784 * 32 * 25, 2 * 196 * 64 * 32 * 25
    dense = 2 * (3136 * 512 + 512 * 10)
    assert case.load("lenet_infer_1").flop == conv1 + conv2 + dense
    assert case.load("lenet_train").flop == 100 * (3 * (conv1 + conv2 + dense) - conv1)


def test_the_shapes_of_the_layers_follow_from_the_sample():
    resnet = case.load("resnet18_train")
    shapes = {placed.layer.name: placed.behind for placed in resnet.placed}
    assert shapes["stem"] == (64, 32, 32)
    assert shapes["stage4-block1-shortcut"] == shapes["stage4-block2"] == (512, 4, 4)
    parameters = sum(math.prod(shape) for shape in resnet.weights.values())
    assert parameters == 11_173_962


def test_a_layer_that_does_not_fit_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(case, "FOLDER", tmp_path)
    text = (BENCHES / "cases" / "lenet_train.toml").read_text()
    (tmp_path / "odd.toml").write_text(text.replace("inputs = 3136", "inputs = 3137"))
    with pytest.raises(case.CaseError, match="dense1 takes 3137 inputs, and 3136 come in"):
        case.load("odd")


def test_a_digest_tells_a_wrong_result_from_a_right_one():
    result = np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32)
    expected = operation.digest(result)
    noise = np.float32(1) + np.random.default_rng(1).normal(size=(100, 100)) * 1e-6
    assert operation.compare_digests(expected, operation.digest(result * noise)) is None
    for wrong in (result.T, result * 1.001, np.where(np.arange(100) == 7, 0, result)):
        assert "must be" in operation.compare_digests(expected, operation.digest(wrong))
    assert "--losses" in operation.compare_digests(None, expected)


def test_a_case_with_a_wrong_name_in_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(case, "FOLDER", tmp_path)
    (tmp_path / "odd.toml").write_text('kind = "train"\nengines = []\nflavour = "sweet"\n')
    with pytest.raises(case.CaseError, match=r"odd\.toml.*flavour"):
        case.load("odd")
    with pytest.raises(case.CaseError, match=r"no case 'even'; there are: odd"):
        case.load("even")


GOLDEN = case.Golden((case.Tolerance(2, 1e-6), case.Tolerance(4, 1e-3)), "w", "t")
EXPECTED = [3.0, 2.0, 1.0, 0.5]


@pytest.mark.parametrize("found", [EXPECTED, [3.000001, 2.0, 1.0009, 0.5]])
def test_losses_within_their_tolerances_are_right(found):
    assert case.check_losses(GOLDEN, EXPECTED, found) is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([3.0, 2.00001, 1.0, 0.5], "step 1 is 2.00001 and must be 2"),
        ([3.0, 2.0, 1.0, 0.501], "step 3"),
        ([3.0, float("nan"), 1.0, 0.5], "step 1 is nan"),
        ([3.0, 2.0, 1.0], "3 losses where 4"),
    ],
)
def test_losses_that_are_off_or_missing_are_named(found, words):
    assert words in case.check_losses(GOLDEN, EXPECTED, found)


def test_engines_are_compared_round_by_round():
    # The second round ran on a machine three times as slow, for both.
    fast = Series("flowrs", 1, seconds=[1.0, 3.0, 1.0])
    slow = Series("jax", 1, seconds=[2.0, 6.0, 2.2])
    assert measure.ratio(slow, fast) == 2.0


def test_memory_is_taken_while_losses_are_compared(mnist_dir, golden_dir, monkeypatch):
    monkeypatch.setenv("FLOWRS_DATA_DIR", str(mnist_dir))
    monkeypatch.setenv("FLOWRS_GOLDEN_DIR", str(golden_dir))
    worker = Worker("numpy", "mlp_train", 1)
    try:
        answer = worker.ask("memory 0")
    finally:
        worker.close()
    assert answer["losses"][0] == pytest.approx(2.95, abs=1.0)
    # The weights at least, and not the training set.
    assert 4 * 512 * 784 < answer["bytes"] < 40e6


def test_convolutions_are_timed_under_every_algorithm(capsys):
    assert choices.main(["--case", "lenet_train", "--batch", "1", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:5] == ["convolution,", "images", "pass", "choice", "direct"]
    first = [line for line in lines if line.startswith("1-32 5x5, 28x28, 1 ")]
    second = [line for line in lines if line.startswith("32-64 5x5, 14x14, 1 ")]
    assert [" forward " in line for line in first] == [True, False]
    assert [" to weight " in line for line in first] == [False, True]
    assert len(second) == 3
    for line in second:
        assert len([word for word in line.split() if "." in word]) >= 3
    assert lines[-2].startswith("goal: each choice at most 15% slower than the best: ")


def test_a_choice_is_as_slow_as_it_is_beside_the_best():
    convolution = choices.convolutions(["resnet18_train"], [32])[1]
    assert str(convolution) == "64-64 3x3, 32x32, 32"
    rows = [
        choices.Row(convolution, "forward", "direct", {"direct": 0.005, "winograd6": 0.004}),
        choices.Row(convolution, "to input", "direct", {"direct": 0.005, "im2col": 0.010}),
    ]
    assert rows[0].slower == pytest.approx(0.25)
    table = choices.rows(rows)
    assert table[0][3:] == ["direct ms", "winograd6 ms", "im2col ms", "slower", ""]
    assert table[1][3:] == ["5.000", "4.000", "-", "25%", "TOO SLOW"]
    assert table[2][3:] == ["5.000", "-", "10.000", "0%", ""]
    goal, together = choices.summary(rows)
    assert goal.endswith("1 of 2 are slower, 25% at most (64-64 3x3, 32x32, 32, forward): NOT MET")
    assert together.endswith("10 ms as chosen, 9 ms with the best: 11.1% slower")


def test_a_worker_that_ends_is_an_error_with_its_last_words():
    worker = Worker("numpy", "no_such_case", 1)
    try:
        with pytest.raises(WorkerError, match="there is no case 'no_such_case'"):
            worker.ask("prepare 0")
    finally:
        worker.close()


def test_flowrs_and_numpy_follow_the_golden_trace(mnist_dir, golden_dir):
    done = run(
        *["--check", "--engines", "flowrs,numpy", "--threads", "2"],
        *["--case", "mlp_train,lenet_infer_1,tiny_train,conv1d_train,mlp_sizes,operations"],
        FLOWRS_DATA_DIR=str(mnist_dir),
        FLOWRS_GOLDEN_DIR=str(golden_dir),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mlp_train: flowrs, numpy: the losses are right" in done.stdout
    assert "lenet_infer_1: flowrs: the losses are right" in done.stdout
    assert "conv1d_train: flowrs: the losses are right" in done.stdout
    assert "mlp_sizes: flowrs, numpy: the losses are right" in done.stdout
    assert "operations: flowrs, numpy: the results are right" in done.stdout


def test_an_engine_that_strays_from_the_trace_fails_the_run(mnist_dir, golden_dir, tmp_path):
    traces = json.loads((golden_dir / "traces.json").read_text())
    traces[0]["losses"][5] *= 1.0001
    (tmp_path / "traces.json").write_text(json.dumps(traces))
    shutil.copytree(golden_dir / "mlp_init", tmp_path / "mlp_init", copy_function=shutil.copyfile)
    done = run(
        *["--check", "--engines", "numpy", "--threads", "1", "--case", "mlp_train"],
        FLOWRS_DATA_DIR=str(mnist_dir),
        FLOWRS_GOLDEN_DIR=str(tmp_path),
    )
    assert done.returncode == 1
    assert "numpy, threads 1: NOT MEASURED: the loss of step 5" in done.stdout


def test_the_command_explains_itself_and_says_what_is_wrong():
    assert "run.py --check" in run("--help").stdout
    unknown = run("--engines", "flowrs,caffe")
    assert unknown.returncode == 2
    assert "there is no 'caffe'; there are: flowrs, flowrs-strict" in unknown.stderr
    no_data = run("--check")
    assert no_data.returncode == 2
    assert "set FLOWRS_DATA_DIR to the folder with the MNIST files" in no_data.stderr


def test_checkpoints_are_measured_beside_the_bare_disk(tmp_path):
    command = [sys.executable, str(BENCHES / "checkpoints.py"), "--folder", str(tmp_path)]
    arguments = ["--variables", "3", "--bytes", "100000", "--rounds", "3"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
    for what in ("save", "open", "touch", "load", "adopt"):
        _, found, table = done.stdout.partition(f"| {what} | median ms |")
        assert found and table.splitlines()[2].startswith("| flowrs | ")
    for bare in ("bare writes", "bare reads"):
        assert f"| {bare}, 2 threads | " in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_goals_of_checkpoints_compare_round_by_round():
    times = {
        "flowrs": [0.010, 0.020, 0.010],
        "flowrs, no checksum": [0.009, 0.018, 0.009],
        "bare writes, 2 threads": [0.002, 0.002, 0.002],
        "slow": [0.040, 0.080, 0.040],
        "fast": [0.015, 0.030, 0.500],
    }
    most = Goal("at most 10 ms", "save", most=0.010)
    assert most.verdict(times) == "goal: at most 10 ms: 10.00 ms: met"
    assert Goal("less", "save", most=0.009).verdict(times).endswith(": NOT MET")
    # The rest of flowrs and the bare disk are no peers unless they are named.
    assert Goal("x", "save", speed=1.5).verdict(times) == "goal: x: 1.50x the speed of fast: met"
    assert Goal("x", "save", speed=1.51).verdict(times).endswith("of fast: NOT MET")
    bare = Goal("x", "save", speed=0.2, peers=("bare",)).verdict(times)
    assert bare == "goal: x: 0.20x the speed of bare writes, 2 threads: met"
    plain = Goal("x", "save", speed=1 / 1.05, peers=("flowrs, no",)).verdict(times)
    assert plain.endswith("0.90x the speed of flowrs, no checksum: NOT MET")
    assert "none of them" in Goal("x", "save", speed=1, peers=("torch",)).verdict(times)
