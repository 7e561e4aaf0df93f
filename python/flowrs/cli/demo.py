"""``flowrs demo``: train, save, open again, extend, train on, train LeNet; shows what happens."""

# Annotations stay objects here (no `from __future__ import annotations`): those of a job are read
# when it is defined, and these name local variables.

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

import flowrs as flow
import flowrs.typing as tp
from flowrs._terminal import Progress, format_bytes, format_duration, table
from flowrs.data._batches import Images, Labels
from flowrs.data.mnist import mnist_is_local
from flowrs.errors import ArgumentError, CheckpointError, CheckpointExistsError, DataError

BATCH_SIZE = 100
FIRST_EPOCHS = 40
FURTHER_EPOCHS = 20
LENET_EPOCHS = 15
MLP_RATE = 0.1
LENET_RATE = 0.01
SEED = 1

Floats: TypeAlias = npt.NDArray[np.float32]
TrainJob: TypeAlias = Callable[[Images, Labels], Floats]
PredictJob: TypeAlias = Callable[[Images], Floats]
Split: TypeAlias = tuple[Images, Labels]
Network: TypeAlias = Callable[[Any, bool], Any]


@dataclass
class Stage:
    """One row of the last table."""

    model: str
    data: str
    steps: int
    seconds: float
    loss: float
    accuracy: float


@dataclass
class Answers:
    """What a network says about test images, and how often it is right."""

    logits: Floats
    correct: int
    accuracy: float

    def __str__(self) -> str:
        """The share of right answers, and their number."""
        return f"{self.accuracy:.1%} ({self.correct} of {len(self.logits)} right)"


def demo(output: Path | None = None) -> int:
    """Shows the whole life of a model, on the digits of the package and on MNIST if it is here.

    Args:
        output: the folder to save into, absent or empty; None takes ``flowrs_demo`` in the
            working folder, or the next free ``flowrs_demo_2`` and so on.

    Returns:
        The exit code 0.

    Raises:
        ArgumentError: the folder cannot be made.
        CheckpointExistsError: the folder holds something already.
    """
    begun = time.perf_counter()
    folder = _make_folder(output)
    first_path, extended_path = folder / "mlp_models_1", folder / "mlp_ext_models_1"
    train, test = flow.data.load_digits(BATCH_SIZE, 99)
    print(
        f"flowrs {flow.__version__}: a network learns to read handwritten digits\n"
        f"{train[1].size} to learn from, {test[1].size} by other writers to be tested on\n"
    )
    print(f"1. train 784 -> 512 (relu) -> 10 for {FIRST_EPOCHS} epochs")
    train_job, predict_job = _new_session(test, _mlp, MLP_RATE)
    first, answers = _train("MLP", "digits", train_job, predict_job, train, test, FIRST_EPOCHS)
    print("\n2. save")
    _save(first_path)
    print("\n3. open again, in a fresh session")
    _open_again(first_path, test, answers)
    print(f"\n4. extend by dense3 (10 -> 10), train on for {FURTHER_EPOCHS} epochs")
    train_job, predict_job = _new_session(test, _extended_mlp, MLP_RATE)
    print(f"   {flow.load_variables(flow.checkpoint.get(str(first_path)))}")
    name = "MLP, extended"
    extended, _ = _train(name, "digits", train_job, predict_job, train, test, FURTHER_EPOCHS)
    _save(extended_path)
    print(f"\n5. train LeNet: two convolutions, two pools, dropout, for {LENET_EPOCHS} epochs")
    train_job, predict_job = _new_session(test, _lenet, LENET_RATE, momentum=0.9)
    lenet, _ = _train("LeNet", "digits", train_job, predict_job, train, test, LENET_EPOCHS)
    flow.checkpoint.save(str(folder / "lenet_models_1"))
    stages = [first, extended, lenet, *_mnist()]
    print("\n" + _summary(stages))
    print(f"\nall in {format_duration(time.perf_counter() - begun)}; the models are in {folder}")
    return 0


def _make_folder(output: Path | None) -> Path:
    """Makes the folder to save into; what others may have put anywhere is never touched."""
    try:
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            if any(output.iterdir()):
                raise CheckpointExistsError(
                    f"the folder {output} is not empty; name another one with --output"
                )
            return output
        number = 1
        while True:
            folder = Path("flowrs_demo" if number == 1 else f"flowrs_demo_{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return folder
    except CheckpointExistsError:
        raise
    except OSError as error:
        raise ArgumentError(
            f"cannot make the folder to save into: {error}; name another one with --output"
        ) from error


def _mlp(images: Any, train: bool) -> Any:
    """One hidden layer."""
    initializer = flow.truncated_normal(0.1)
    flat = flow.reshape(images, [images.shape[0], -1])
    hidden = flow.layers.dense(
        flat, 512, activation=flow.nn.relu, kernel_initializer=initializer, name="dense1"
    )
    return flow.layers.dense(hidden, 10, kernel_initializer=initializer, name="dense2")


def _extended_mlp(images: Any, train: bool) -> Any:
    """The same, and one layer more."""
    logits = _mlp(images, train)
    initializer = flow.truncated_normal(0.1)
    return flow.layers.dense(logits, 10, kernel_initializer=initializer, name="dense3")


def _lenet(images: Any, train: bool) -> Any:
    """Two convolutions with pools, and two dense layers."""
    initializer = flow.truncated_normal(0.1)
    x = images
    for name, filters in (("conv1", 32), ("conv2", 64)):
        x = flow.layers.conv2d(
            x,
            filters,
            5,
            padding="SAME",
            activation=flow.nn.relu,
            kernel_initializer=initializer,
            name=name,
        )
        x = flow.nn.max_pool2d(x, 2, 2, "SAME")
    x = flow.reshape(x, [x.shape[0], -1])
    x = flow.layers.dense(
        x, 512, activation=flow.nn.relu, kernel_initializer=initializer, name="dense1"
    )
    x = flow.nn.dropout(x, 0.5, name="dropout") if train else x
    return flow.layers.dense(x, 10, kernel_initializer=initializer, name="dense2")


def _new_session(
    test: Split, network: Network, rate: float, momentum: float = 0.0
) -> tuple[TrainJob, PredictJob]:
    """Forgets all variables and defines a train job and a predict job over the same new ones."""
    flow.clear_default_session()
    flow.config.random_seed(SEED)
    test_batch_size = test[0].shape[1]

    @flow.global_function(type="train")
    def train_job(
        images: tp.Numpy.Placeholder((BATCH_SIZE, 1, 28, 28), dtype=flow.float),  # type: ignore[valid-type]
        labels: tp.Numpy.Placeholder((BATCH_SIZE,), dtype=flow.int32),  # type: ignore[valid-type]
    ) -> tp.Numpy:
        logits = network(images, True)
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        schedule = flow.optimizer.PiecewiseConstantScheduler([], [rate])
        flow.optimizer.SGD(schedule, momentum=momentum).minimize(loss)
        return loss  # type: ignore[return-value]

    @flow.global_function(type="predict")
    def predict_job(
        images: tp.Numpy.Placeholder((test_batch_size, 1, 28, 28), dtype=flow.float),  # type: ignore[valid-type]
    ) -> tp.Numpy:
        return network(images, False)  # type: ignore[no-any-return]

    return train_job, predict_job


def _train(
    model: str,
    data: str,
    train_job: TrainJob,
    predict_job: PredictJob,
    train: Split,
    test: Split,
    epochs: int,
) -> tuple[Stage, Answers]:
    batches = list(zip(*train, strict=True))
    steps = epochs * len(batches)
    begun = time.perf_counter()
    with Progress(f"   {model} on {data}", steps, unit="steps", stream=sys.stdout) as progress:
        for _ in range(epochs):
            losses = []
            for images, labels in batches:
                losses.append(float(train_job(images, labels).mean()))
                progress.advance(note=f"loss {losses[-1]:.4f}")
    seconds = time.perf_counter() - begun
    answers = _ask(predict_job, test)
    print(f"   test accuracy {answers}")
    loss = sum(losses) / len(losses)
    return Stage(model, data, steps, seconds, loss, answers.accuracy), answers


def _ask(predict_job: PredictJob, test: Split) -> Answers:
    logits = np.concatenate([predict_job(images) for images in test[0]])
    correct = int((logits.argmax(axis=1) == test[1].reshape(-1)).sum())
    return Answers(logits, correct, correct / len(logits))


def _save(path: Path) -> None:
    begun = time.perf_counter()
    flow.checkpoint.save(str(path))
    seconds = time.perf_counter() - begun
    rows = []
    total = 0
    for entry in sorted(path.iterdir()):
        files = sorted(entry.iterdir()) if entry.is_dir() else [entry]
        sizes = [file.stat().st_size for file in files]
        total += sum(sizes)
        if entry.is_dir():
            named = zip(files, sizes, strict=True)
            rows.append(
                [f"{entry.name}/", *(f"{file.name} {format_bytes(size)}" for file, size in named)]
            )
        else:
            rows.append([entry.name, format_bytes(sizes[0])])
    print(f"   {path}/ ({format_bytes(total)}, saved in {format_duration(seconds)})")
    print("\n".join(f"     {line}" for line in table(rows).splitlines()))


def _open_again(path: Path, test: Split, before: Answers) -> None:
    """Reads the model back into new variables, and compares every answer with those before."""
    _, predict_job = _new_session(test, _mlp, MLP_RATE)
    begun = time.perf_counter()
    opened = flow.checkpoint.get(str(path))
    seconds = time.perf_counter() - begun
    assert isinstance(opened, dict)
    weight = opened["dense1-weight"].memmap()
    print(f"   {len(opened)} variables opened in {format_duration(seconds)}, without reading them;")
    print(f"   dense1-weight is a {type(weight).__name__} of {weight.dtype}, {weight.shape}")
    print(f"   {flow.load_variables(opened)}")
    after = _ask(predict_job, test)
    if not np.array_equal(before.logits, after.logits):
        raise CheckpointError(f"the model opened from {path} answers otherwise than the one saved")
    print(f"   test accuracy {after}: as before, every answer the same bit for bit")


def _mnist() -> list[Stage]:
    """One epoch on MNIST, if this computer has it: nothing is downloaded here."""
    if not mnist_is_local():
        print("\n6. MNIST is not on this computer (FLOWRS_DATA_DIR may name its folder): left out")
        return []
    try:
        train, test = flow.data.load_mnist(BATCH_SIZE, BATCH_SIZE)
    except (ArgumentError, DataError) as error:
        print(f"\n6. MNIST cannot be used and is left out: {error}")
        return []
    print(f"\n6. the first network, from the start, on MNIST: one epoch of {train[1].size} digits")
    train_job, predict_job = _new_session(test, _mlp, MLP_RATE)
    stage, _ = _train("MLP", "MNIST", train_job, predict_job, train, test, 1)
    return [stage]


def _summary(stages: list[Stage]) -> str:
    rows = [
        (
            stage.model,
            stage.data,
            stage.steps,
            format_duration(stage.seconds),
            f"{stage.steps / stage.seconds:.0f}",
            f"{stage.loss:.4f}",
            f"{stage.accuracy:.1%}",
        )
        for stage in stages
    ]
    header = ("model", "trained on", "steps", "time", "steps/s", "last loss", "test accuracy")
    return table(rows, header, "llrrrrr")
