"""Trains AlexNet, VGG-11 or ResNet-18 on CIFAR-10.

    python train_cifar10.py --model resnet18 --data ~/cifar10 --epochs 10

The folder holds the published files of the binary or the Python version; --download fetches them.
"""

import argparse
import time

import numpy as np
from cifar10_data import load
from cifar10_models import MODELS

import flowrs as flow
import flowrs.typing as tp


def jobs(model, batch_size, rate, steps):
    """A train job and a predict job that share the model's variables."""
    images_type = tp.Numpy.Placeholder((batch_size, 3, 32, 32))
    labels_type = tp.Numpy.Placeholder((batch_size,), dtype=flow.int32)

    @flow.global_function(type="train")
    def train_job(images: images_type, labels: labels_type) -> tp.Numpy:
        logits = MODELS[model](images)
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        schedule = flow.optimizer.CosineScheduler(rate, steps)
        flow.optimizer.SGD(schedule, momentum=0.9).minimize(loss)
        return loss

    @flow.global_function(type="predict")
    def predict_job(images: images_type) -> tp.Numpy:
        return flow.math.argmax(MODELS[model](images))

    return train_job, predict_job


def batches(images, labels, size, order):
    for start in range(0, len(order) - size + 1, size):
        chosen = order[start : start + size]
        yield images[chosen], labels[chosen]


def accuracy(predict_job, images, labels, size):
    right = total = 0
    for x, y in batches(images, labels, size, np.arange(len(labels))):
        right += int((predict_job(x) == y).sum())
        total += len(y)
    return right / total


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS, default="resnet18")
    parser.add_argument("--data", default="cifar10", help="folder with the data set's files")
    parser.add_argument(
        "--download", action="store_true", help="fetch the files if they are missing"
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.02, help="learning rate at the start")
    parser.add_argument("--save", help="directory for the checkpoint")
    options = parser.parse_args()

    (images, labels), (test_images, test_labels) = load(options.data, options.download)
    steps = options.epochs * (len(labels) // options.batch_size)
    train_job, predict_job = jobs(options.model, options.batch_size, options.rate, max(steps, 1))
    shuffle = np.random.default_rng(0)
    for epoch in range(options.epochs):
        start, losses = time.perf_counter(), []
        for x, y in batches(images, labels, options.batch_size, shuffle.permutation(len(labels))):
            losses.append(train_job(x, y).mean())
        share = accuracy(predict_job, test_images, test_labels, options.batch_size)
        print(
            f"epoch {epoch + 1}: loss {np.mean(losses):.4f}, test accuracy {share:.4f}, "
            f"{time.perf_counter() - start:.0f} s"
        )
    if options.save:
        flow.checkpoint.save(options.save)
        print(f"saved {options.save}")


if __name__ == "__main__":
    main()
