"""Trains a two-layer network on MNIST for one epoch and saves it into ./mlp_models_1.

The first half of a pair: mlp_mnist_finetune.py goes on from what is saved here.
"""

import flowrs as flow
import flowrs.typing as tp

BATCH_SIZE = 100


def mlp(images):
    """Gives the ten scores of each image."""
    initializer = flow.truncated_normal(0.1)
    reshape = flow.reshape(images, [images.shape[0], -1])
    hidden = flow.layers.dense(
        reshape, 512, activation=flow.nn.relu, kernel_initializer=initializer, name="dense1"
    )
    return flow.layers.dense(hidden, 10, kernel_initializer=initializer, name="dense2")


@flow.global_function(type="train")
def train_job(
    images: tp.Numpy.Placeholder((BATCH_SIZE, 1, 28, 28), dtype=flow.float),
    labels: tp.Numpy.Placeholder((BATCH_SIZE,), dtype=flow.int32),
) -> tp.Numpy:
    """Takes one step of gradient descent and returns the losses of the batch."""
    with flow.scope.placement("cpu", "0:0"):
        logits = mlp(images)
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

    lr_scheduler = flow.optimizer.PiecewiseConstantScheduler([], [0.1])
    flow.optimizer.SGD(lr_scheduler, momentum=0).minimize(loss)
    return loss


# The same layers under the same names, hence the same variables.
@flow.global_function(type="predict")
def eval_job(
    images: tp.Numpy.Placeholder((BATCH_SIZE, 1, 28, 28), dtype=flow.float),
) -> tp.Numpy:
    """Returns the scores of a batch; the variables are those that train_job trains."""
    with flow.scope.placement("cpu", "0:0"):
        return mlp(images)


def main():
    """Trains for one epoch, tests and saves."""
    (train_images, train_labels), (test_images, test_labels) = flow.data.load_mnist(
        BATCH_SIZE, BATCH_SIZE
    )
    for i, (images, labels) in enumerate(zip(train_images, train_labels, strict=True)):
        loss = train_job(images, labels)
        if i % 20 == 0:
            print(f"step {i}: loss {loss.mean():.4f}")

    correct = sum(
        (eval_job(images).argmax(axis=1) == labels).sum()
        for images, labels in zip(test_images, test_labels, strict=True)
    )
    print(f"test accuracy: {correct / test_labels.size:.4f}")
    flow.checkpoint.save("./mlp_models_1")


if __name__ == "__main__":
    main()
