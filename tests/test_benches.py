"""The benches: they catch wrong results, compare times as they should, and say all they found."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHES = Path(__file__).parents[1] / "benches"
sys.path.insert(0, str(BENCHES))

from engines import ENGINES  # noqa: E402 - found by the line above
from harness import case, machine, measure, report  # noqa: E402
from harness.measure import Outcome, Series  # noqa: E402
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
        assert {"flowrs", "numpy"} <= set(loaded.engines)


def test_a_step_counts_two_operations_for_each_multiplication_of_its_products():
    forward, weight = 2 * 100 * 784 * 512, 2 * 100 * 784 * 512
    assert case.load("mlp_train").flop == forward + weight + 3 * 2 * 100 * 512 * 10


def test_a_case_with_a_wrong_name_in_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(case, "FOLDER", tmp_path)
    (tmp_path / "odd.toml").write_text('kind = "train"\nengines = []\nflavour = "sweet"\n')
    with pytest.raises(case.CaseError, match=r"odd\.toml.*flavour"):
        case.load("odd")
    with pytest.raises(case.CaseError, match=r"no case 'even'; there are: odd"):
        case.load("even")


GOLDEN = case.Golden("w", "t", (case.Tolerance(2, 1e-6), case.Tolerance(4, 1e-3)))
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


def outcome():
    chosen = case.load("mlp_train")
    names = {"cores": [2.0] * 3, "others": [0.25] * 3}
    return Outcome(
        chosen,
        [
            Series("flowrs", 2, seconds=[1e-3, 2e-3, 1e-3], **names),
            Series("jax", 2, seconds=[2e-3, 3e-3, 1.5e-3], **names),
            Series("numpy", 2, trouble="the loss of step 3 is 7 and must be 1"),
        ],
        ["torch"],
        {2: [chosen.flop * 2e3] * 3},
    )


def test_the_report_has_medians_ratios_shares_failures_and_absences():
    text = report.terminal(outcome())
    flowrs, jax = (
        next(line.split() for line in text.splitlines() if line.startswith(name))
        for name in ("flowrs ", "jax ")
    )
    assert flowrs == ["flowrs", "1,000", "1,000", "1.000", "1.00x", "50%", "2.00"]
    assert jax == ["jax", "500", "667", "2.000", "1.50x", "25%", "2.00"]
    assert "numpy, threads 2: NOT MEASURED: the loss of step 3 is 7 and must be 1" in text
    assert "not installed: torch" in text
    assert "goal: at 2 threads 1.00x the fastest peer (jax): 1.50x: met" in text
    assert "other processes used 0.25 cores" in text


def test_the_written_report_has_the_same_numbers_and_the_machine():
    text = report.markdown([outcome()], machine.facts(), 3, "benches/run.py --write")
    assert "| jax | 500 | 667 | 2.000 | 1.50x | 25% | 2.00 |" in text
    assert "- not installed: torch" in text
    assert "| processor | " in text


def test_a_worker_that_ends_is_an_error_with_its_last_words():
    worker = Worker("numpy", "no_such_case", 1)
    try:
        with pytest.raises(WorkerError, match="there is no case 'no_such_case'"):
            worker.ask("prepare")
    finally:
        worker.close()


def test_flowrs_and_numpy_follow_the_golden_trace(mnist_dir, golden_dir):
    done = run(
        *["--check", "--engines", "flowrs,numpy"],
        FLOWRS_DATA_DIR=str(mnist_dir),
        FLOWRS_GOLDEN_DIR=str(golden_dir),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mlp_train: flowrs, numpy: the losses are right" in done.stdout


def test_an_engine_that_strays_from_the_trace_fails_the_run(mnist_dir, golden_dir, tmp_path):
    traces = json.loads((golden_dir / "traces.json").read_text())
    traces[0]["losses"][5] *= 1.0001
    (tmp_path / "traces.json").write_text(json.dumps(traces))
    shutil.copytree(golden_dir / "mlp_init", tmp_path / "mlp_init", copy_function=shutil.copyfile)
    done = run(
        *["--check", "--engines", "numpy", "--threads", "1"],
        FLOWRS_DATA_DIR=str(mnist_dir),
        FLOWRS_GOLDEN_DIR=str(tmp_path),
    )
    assert done.returncode == 1
    assert "numpy, threads 1: NOT MEASURED: the loss of step 5" in done.stdout


def test_the_command_explains_itself_and_says_what_is_wrong():
    assert "run.py --check" in run("--help").stdout
    unknown = run("--engines", "flowrs,caffe")
    assert unknown.returncode == 2
    assert "there is no 'caffe'; there are: flowrs, numpy" in unknown.stderr
    no_data = run("--check")
    assert no_data.returncode == 2
    assert "set FLOWRS_DATA_DIR to the folder with the MNIST files" in no_data.stderr
