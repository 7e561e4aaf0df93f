"""The MNIST examples: train and save in one process, open and go on in the next."""

import os
import re
import subprocess
import sys
from pathlib import Path

import flowrs as flow

EXAMPLES = Path(__file__).parents[1] / "examples"
STEP = "System-Train-TrainStep-train_job"


def run(name: str, folder: Path, mnist_dir: Path) -> str:
    """What an example prints when it is run in a folder."""
    found = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=folder,
        env={**os.environ, "FLOWRS_DATA_DIR": str(mnist_dir)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def accuracy(output: str) -> float:
    """The test accuracy that an example prints."""
    match = re.search(r"^test accuracy: (0\.\d+)$", output, re.MULTILINE)
    assert match, output
    return float(match[1])


def test_a_network_is_trained_saved_opened_extended_and_trained_on(
    tmp_path: Path, mnist_dir: Path
) -> None:
    output = run("mlp_mnist_origin.py", tmp_path, mnist_dir)
    assert accuracy(output) >= 0.92
    layers = {f"dense{i}-{kind}" for i in (1, 2) for kind in ("weight", "bias")}
    # No job is defined in this process: a checkpoint can be looked at without one.
    saved = flow.checkpoint.get(tmp_path / "mlp_models_1")
    assert set(saved) == layers | {STEP}
    assert saved[STEP].numpy().tolist() == [600]

    output = run("mlp_mnist_finetune.py", tmp_path, mnist_dir)
    assert accuracy(output) >= 0.935
    assert (
        output.splitlines()[0]
        == "loaded 5 of 7 variables; kept as they were: dense3-weight, dense3-bias"
    )
    extended = flow.checkpoint.get(tmp_path / "mlp_ext_models_1")
    assert set(extended) == layers | {STEP, "dense3-weight", "dense3-bias"}
    assert extended[STEP].numpy().tolist() == [1200]
    # Drawn with a deviation of 0.1 and trained since; had it begun at zero, it would be less.
    assert 0.05 < extended["dense3-weight"].numpy().std() < 1
    for name in layers:
        assert not (extended[name].numpy() == saved[name].numpy()).all()
    assert saved[STEP].numpy().tolist() == [600]
