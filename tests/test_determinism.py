"""The same bits: for every number of threads, in other processes, after a fork, and in parallel."""

import hashlib
import json
import os
import subprocess
import sys
import textwrap
import threading
from typing import Any

import numpy as np

import flowrs as flow
import flowrs.typing as tp

Array = np.ndarray[Any, np.dtype[Any]]

BATCH, FEATURES, HIDDEN, CLASSES = 96, 301, 203, 10

#: A program that trains, for processes of their own; it prints digests of all that came out.
PROGRAM = """
    import hashlib, json, os, sys
    import numpy as np
    import flowrs as flow
    import flowrs.typing as tp

    flow.config.random_seed(7)

    @flow.global_function(type="train")
    def job(
        x: tp.Numpy.Placeholder((96, 301)), labels: tp.Numpy.Placeholder((96,), flow.int32)
    ) -> tp.Numpy:
        start = flow.truncated_normal(0.1)
        hidden = flow.layers.dense(x, 203, flow.nn.relu, kernel_initializer=start, name="a")
        logits = flow.layers.dense(hidden, 10, kernel_initializer=start, name="b")
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        flow.optimizer.Adam(flow.optimizer.CosineScheduler(0.01, 9)).minimize(loss)
        return loss

    rng = np.random.default_rng(3)
    x = rng.normal(size=(96, 301)).astype(np.float32)
    labels = rng.integers(0, 10, size=96).astype(np.int32)

    def digest():
        total = hashlib.sha256()
        for name, value in sorted(flow.get_all_variables().items()):
            total.update(name.encode() + value.numpy().tobytes())
        return total.hexdigest()

    def steps(count):
        return hashlib.sha256(b"".join(job(x, labels).tobytes() for _ in range(count))).hexdigest()

    first = digest()
"""


def run(program: str, threads: int) -> Any:
    """What a process prints, as JSON; one that hangs is stopped and fails."""
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM) + textwrap.dedent(program)],
        env={**os.environ, "FLOWRS_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def test_processes_agree_whatever_their_number_of_threads() -> None:
    program = """
        from flowrs import _flowrs
        print(json.dumps([_flowrs.threads(), first, steps(5), digest()]))
    """
    runs = [run(program, threads) for threads in (1, 2, 3, 8)]
    assert [threads for threads, *_ in runs] == [1, 2, 3, 8]
    results = [tuple(result) for _, *result in runs]
    assert set(results) == {results[0]}
    first, _, last = results[0]
    assert first != last


def test_another_seed_gives_other_weights() -> None:
    def weights(seed: int | None) -> Array:
        flow.clear_default_session()
        flow.config.random_seed(seed)

        @flow.global_function()
        def job() -> tuple[tp.Numpy, tp.Numpy]:
            start = flow.random_normal_initializer()
            return tuple(flow.get_variable(name, (5,), initializer=start) for name in "ab")

        return np.stack(job())

    one, again, two = weights(1), weights(1), weights(2)
    np.testing.assert_array_equal(one, again)
    assert not np.isin(one[0], one[1]).any()
    assert not np.isin(one, two).any()
    assert not np.isin(weights(None), weights(None)).any()


def test_a_forked_child_trains_on_with_threads_of_its_own() -> None:
    program = """
        steps(3)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            result = json.dumps([steps(3), digest()])
            os.write(writer, result.encode())
            os._exit(0)
        os.close(writer)
        inherited = json.loads(os.fdopen(reader).read())
        assert os.waitpid(child, 0)[1] == 0
        print(json.dumps([inherited, [steps(3), digest()]]))
    """
    for threads in (1, 4):
        child, parent = run(program, threads)
        assert child == parent


def test_a_child_forked_while_a_job_runs_does_not_hang() -> None:
    program = """
        import threading
        going = threading.Event()

        def train():
            while not going.is_set():
                job(x, labels)

        thread = threading.Thread(target=train)
        thread.start()

        codes = []
        for _ in range(10):
            child = os.fork()
            if child == 0:
                flow.clear_default_session()

                @flow.global_function()
                def square(x: tp.Numpy.Placeholder((96, 301))) -> tp.Numpy:
                    return flow.matmul(x, x, transpose_b=True)

                good = np.allclose(square(x), x @ x.T, rtol=1e-3, atol=1e-3)
                os._exit(0 if good else 1)
            codes.append(os.waitpid(child, 0)[1])
        going.set()
        thread.join()
        print(json.dumps(codes))
    """
    assert run(program, 4) == [0] * 10


# --- Python threads ----------------------------------------------------------------------------


def define() -> tuple[Any, Any]:
    """A train job and a predict job that share their variables."""
    flow.clear_default_session()
    flow.config.random_seed(11)

    def network(x: Any) -> Any:
        start = flow.truncated_normal(0.1)
        hidden = flow.layers.dense(x, HIDDEN, flow.nn.relu, kernel_initializer=start, name="a")
        return flow.layers.dense(hidden, CLASSES, kernel_initializer=start, name="b")

    @flow.global_function(type="train")
    def train(
        x: tp.Numpy.Placeholder((BATCH, FEATURES)),
        labels: tp.Numpy.Placeholder((BATCH,), flow.int32),
    ) -> tp.Numpy:
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, network(x))
        rate = flow.optimizer.PiecewiseConstantScheduler([], [0.05])
        flow.optimizer.SGD(rate, momentum=0.9).minimize(loss)
        return loss

    @flow.global_function()
    def predict(x: tp.Numpy.Placeholder((BATCH, FEATURES))) -> tp.Numpy:
        return flow.nn.softmax(network(x))

    return train, predict


def data() -> tuple[Array, Array]:
    rng = np.random.default_rng(13)
    x = rng.normal(size=(BATCH, FEATURES)).astype(np.float32)
    return x, rng.integers(0, CLASSES, size=BATCH).astype(np.int32)


def together(count: int, task: Any) -> list[Any]:
    """Runs a task in several Python threads that start at once, and gives their results."""
    barrier = threading.Barrier(count)
    results: list[Any] = [None] * count

    def work(number: int) -> None:
        barrier.wait()
        results[number] = task()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
        assert not worker.is_alive()
    return results


def state() -> str:
    total = hashlib.sha256()
    for name, value in sorted(flow.get_all_variables().items()):
        total.update(name.encode() + value.numpy().tobytes())
    return total.hexdigest()


def test_calls_of_one_job_from_several_threads_take_turns() -> None:
    x, labels = data()
    train, _ = define()
    losses = [train(x, labels).tobytes() for _ in range(30)]
    expected = state()
    train, _ = define()
    parts = together(3, lambda: [train(x, labels).tobytes() for _ in range(10)])
    # Whoever's turn it was, step t computed what step t computes alone.
    assert sorted(bits for part in parts for bits in part) == sorted(losses)
    assert state() == expected


def test_predictions_beside_training_see_whole_steps() -> None:
    x, labels = data()
    train, predict = define()
    alone = [predict(x).tobytes()]
    for _ in range(20):
        train(x, labels)
        alone.append(predict(x).tobytes())
    expected = state()
    train, predict = define()
    predict(x)
    done = threading.Event()

    def trainer() -> list[bytes]:
        for _ in range(20):
            train(x, labels)
        done.set()
        return []

    def watcher() -> list[bytes]:
        seen = []
        while not done.is_set():
            seen.append(predict(x).tobytes())
        return seen

    roles = iter([trainer, watcher, watcher])
    lock = threading.Lock()

    def task() -> list[bytes]:
        with lock:
            role = next(roles)
        return role()

    seen = together(3, task)
    assert {bits for part in seen for bits in part} <= set(alone)
    assert state() == expected
