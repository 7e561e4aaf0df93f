"""`flow.config.convolution_algorithm` and `precision`: what runs, and how well it trains."""

import os
import re

import numpy as np
import pytest

import flowrs as flow
import flowrs.typing as tp

BATCH = 100
#: Three epochs on all images, instead of a part of one.
LONG = os.environ.get("FLOWRS_LONG_TESTS") == "1"
EPOCHS, STEPS, TESTS = (3, 600, 100) if LONG else (1, 25, 20)
#: First weights and dropout. One training ends some 0.1 points off the mean, with any algorithm:
#: roundings make it another one.
SEEDS = (11, 12, 13) if LONG else (11,)
#: By how many points the means of the accuracies may differ.
SPREAD = 0.2 if LONG else 2.0

#: Settings, and the algorithms of a training step: forward, to the weight and to the input.
CHOICES = [
    ("auto", "default", ["winograd8", "winograd8", "winograd8"]),
    ("winograd", "default", ["winograd8", "winograd8", "winograd8"]),
    ("direct", "default", ["direct", "direct", "direct"]),
    ("im2col", "default", ["im2col", "im2col", "im2col"]),
    ("auto", "strict", ["winograd6", "direct", "winograd6"]),
    ("winograd", "strict", ["winograd6", "direct", "winograd6"]),
    ("direct", "strict", ["direct", "direct", "direct"]),
]


def small_job(channels=16, kernel=5, stride=1):
    """A training step of two convolutions, of which the second one has a gradient to its input."""

    @flow.global_function(type="train")
    def job(x: tp.Numpy.Placeholder((2, channels, 12, 12))) -> tp.Numpy:
        for number in range(2):
            x = flow.layers.conv2d(
                x, channels, kernel, stride, padding="SAME", use_bias=False, name=f"conv{number}"
            )
        rate = flow.optimizer.PiecewiseConstantScheduler([], [0.01])
        flow.optimizer.SGD(rate).minimize(x)
        return x

    return job


def algorithms_of(job):
    """The algorithms of the second convolution in the job's latest plan: see CHOICES."""
    plan = str(list(job.job.compiled.values())[-1].plan)
    steps = [line for line in plan.splitlines() if line.startswith("conv1/") or "conv1 " in line]
    found = {}
    for line in steps:
        kind = re.search(r" (convolution\w*)\[", line)
        if kind:
            found[kind[1]] = re.search(r" by (\w+) ", line)[1]
    order = ["convolution", "convolution_weight_gradient", "convolution_input_gradient"]
    return [found[name] for name in order]


@pytest.mark.parametrize(("algorithm", "precision", "expected"), CHOICES)
def test_what_runs_is_what_was_asked_for(algorithm, precision, expected):
    job = small_job()
    x = np.random.default_rng(1).normal(size=(2, 16, 12, 12)).astype(np.float32)
    flow.config.random_seed(3)
    # The settings count from the next call on, and a job returns to the plan that it had.
    first = job(x)
    usual = algorithms_of(job)
    flow.config.convolution_algorithm(algorithm)
    flow.config.precision(precision)
    flow.load_variables({name: v.numpy() for name, v in flow.get_all_variables().items()})
    second = job(x)
    assert algorithms_of(job) == expected
    assert np.abs(second - first).max() > 0, "the first step changed the weights"
    flow.config.convolution_algorithm("auto")
    flow.config.precision("default")
    count = len(job.job.compiled)
    job(x)
    assert (usual, len(job.job.compiled)) == (CHOICES[0][2], count)


def test_an_algorithm_that_does_not_apply_leaves_the_choice_to_auto():
    for options in ({"channels": 12}, {"kernel": 7}, {"stride": 2}):
        flow.clear_default_session()
        job = small_job(**options)
        x = np.ones((2, options.get("channels", 16), 12, 12), np.float32)
        job(x)
        usual = algorithms_of(job)
        flow.config.convolution_algorithm("winograd")
        job(x)
        assert algorithms_of(job) == usual
        flow.config.convolution_algorithm("auto")


@pytest.mark.parametrize("form", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("channels", "expected"), [(3, "im2col"), (64, "direct")])
def test_a_gradient_to_few_channels_of_strided_windows_takes_another_way(
    channels, expected, form, monkeypatch
):
    monkeypatch.setenv("FLOWRS_ISA", "portable")
    first = form == "NCHW"
    x_shape, y_shape, w_shape = [
        (batch, channels, size, size) if first else (batch, size, size, channels)
        for batch, channels, size in [(4, 64, 16), (4, channels, 32), (64, channels, 3)]
    ]

    @flow.global_function(type="predict")
    def job(x: tp.Numpy.Placeholder(x_shape), w: tp.Numpy.Placeholder(w_shape)) -> tp.Numpy:
        return flow.nn.conv2d_transpose(
            x, w, list(y_shape), strides=2, padding="SAME", data_format=form
        )

    job(np.ones(x_shape, np.float32), np.ones(w_shape, np.float32))
    plan = str(list(job.job.compiled.values())[-1].plan)
    assert re.findall(r" convolution_input_gradient\[.* by (\w+) ", plan) == [expected]


@pytest.mark.parametrize("form", ["NCHW", "NHWC"])
def test_every_algorithm_computes_the_same(form):
    rng = np.random.default_rng(0)
    shape = (2, 16, 12, 12) if form == "NCHW" else (2, 12, 12, 16)
    x = rng.normal(size=shape).astype(np.float32)

    @flow.global_function(type="train")
    def job(x: tp.Numpy.Placeholder(shape)) -> tp.Numpy:
        for number, groups in ((0, 1), (1, 2)):
            x = flow.layers.conv2d(
                x, 16, 3, padding="SAME", data_format=form, groups=groups, name=f"conv{number}"
            )
            x = flow.nn.max_pool2d(x, 2, 1, "SAME", data_format=form)
        rate = flow.optimizer.PiecewiseConstantScheduler([], [0.01])
        flow.optimizer.SGD(rate).minimize(flow.math.reduce_mean(x))
        return x

    flow.config.random_seed(5)
    first = {name: v.numpy() for name, v in flow.get_all_variables().items()}
    results = {}
    for algorithm in ("direct", "winograd", "im2col", "auto"):
        flow.config.convolution_algorithm(algorithm)
        flow.load_variables(first)
        steps = [job(x), job(x)]
        results[algorithm] = steps
    for steps in results.values():
        for got, want in zip(steps, results["direct"], strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def accuracy(algorithm, seed, images, labels, test_images, test_labels):
    """The share of right answers in percent, of a LeNet that was trained with an algorithm."""
    flow.clear_default_session()
    flow.config.random_seed(seed)
    flow.config.convolution_algorithm(algorithm)
    start = flow.truncated_normal(0.1)

    def lenet(x, train):
        for name, filters in (("conv1", 32), ("conv2", 64)):
            x = flow.layers.conv2d(
                x,
                filters,
                5,
                padding="SAME",
                activation=flow.nn.relu,
                kernel_initializer=start,
                name=name,
            )
            x = flow.nn.max_pool2d(x, 2, 2, "SAME")
        x = flow.reshape(x, [BATCH, -1])
        x = flow.layers.dense(x, 512, flow.nn.relu, kernel_initializer=start, name="dense1")
        if train:
            x = flow.nn.dropout(x, 0.5, name="dropout")
        return flow.layers.dense(x, 10, kernel_initializer=start, name="dense2")

    @flow.global_function(type="train")
    def train_job(
        x: tp.Numpy.Placeholder((BATCH, 1, 28, 28)), y: tp.Numpy.Placeholder((BATCH,), flow.int32)
    ) -> tp.Numpy:
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(y, lenet(x, train=True))
        rate = flow.optimizer.PiecewiseConstantScheduler([], [0.01])
        flow.optimizer.SGD(rate, momentum=0.9).minimize(loss)
        return loss

    @flow.global_function()
    def predict_job(x: tp.Numpy.Placeholder((BATCH, 1, 28, 28))) -> tp.Numpy:
        return flow.math.argmax(lenet(x, train=False))

    for _ in range(EPOCHS):
        for x, y in zip(images[:STEPS], labels[:STEPS], strict=True):
            train_job(x, y)
    tests = zip(test_images[:TESTS], test_labels[:TESTS], strict=True)
    return 100 * float(np.mean([predict_job(x) == y for x, y in tests]))


@pytest.mark.timeout(1800)
def test_lenet_learns_as_well_with_every_algorithm(mnist_dir):
    (images, labels), (test_images, test_labels) = flow.data.load_mnist(
        BATCH, BATCH, out_dir=str(mnist_dir)
    )
    # For this network "auto" chooses as "winograd": by default tiles of 8 x 8,
    # strictly with 6 x 6.
    found = {}
    for algorithm, precision in (
        ("direct", "default"),
        ("im2col", "default"),
        ("winograd", "default"),
        ("winograd", "strict"),
    ):
        flow.config.precision(precision)
        arrays = (images, labels, test_images, test_labels)
        found[algorithm, precision] = [accuracy(algorithm, seed, *arrays) for seed in SEEDS]
    means = [np.mean(accuracies) for accuracies in found.values()]
    assert min(means) > (98.5 if LONG else 70), found
    assert max(means) - min(means) <= SPREAD, found
