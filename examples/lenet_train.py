"""Trains LeNet on MNIST for an epoch and saves it, as OneFlow's quick start does."""

import flowrs as flow
import flowrs.typing as tp

BATCH_SIZE = 100


def lenet(data, train):
    initializer = flow.truncated_normal(0.1)
    conv1 = flow.layers.conv2d(
        data,
        32,
        5,
        padding="SAME",
        activation=flow.nn.relu,
        name="conv1",
        kernel_initializer=initializer,
    )
    pool1 = flow.nn.max_pool2d(conv1, ksize=2, strides=2, padding="SAME", name="pool1")
    conv2 = flow.layers.conv2d(
        pool1,
        64,
        5,
        padding="SAME",
        activation=flow.nn.relu,
        name="conv2",
        kernel_initializer=initializer,
    )
    pool2 = flow.nn.max_pool2d(conv2, ksize=2, strides=2, padding="SAME", name="pool2")
    reshape = flow.reshape(pool2, [pool2.shape[0], -1])
    hidden = flow.layers.dense(
        reshape, 512, activation=flow.nn.relu, kernel_initializer=initializer, name="dense1"
    )
    if train:
        hidden = flow.nn.dropout(hidden, rate=0.5, name="dropout")
    return flow.layers.dense(hidden, 10, kernel_initializer=initializer, name="dense2")


@flow.global_function(type="train")
def train_job(
    images: tp.Numpy.Placeholder((BATCH_SIZE, 1, 28, 28), dtype=flow.float),
    labels: tp.Numpy.Placeholder((BATCH_SIZE,), dtype=flow.int32),
) -> tp.Numpy:
    with flow.scope.placement("cpu", "0:0"):
        logits = lenet(images, train=True)
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    lr_scheduler = flow.optimizer.PiecewiseConstantScheduler([], [0.01])
    flow.optimizer.SGD(lr_scheduler, momentum=0.9).minimize(loss)
    return loss


@flow.global_function(type="predict")
def predict_job(
    images: tp.Numpy.Placeholder((BATCH_SIZE, 1, 28, 28), dtype=flow.float),
) -> tp.Numpy:
    return flow.math.argmax(lenet(images, train=False))


if __name__ == "__main__":
    (train_images, train_labels), (test_images, test_labels) = flow.data.load_mnist(
        BATCH_SIZE, BATCH_SIZE
    )
    for step, (images, labels) in enumerate(zip(train_images, train_labels, strict=True)):
        loss = train_job(images, labels)
        if step % 20 == 0:
            print(f"step {step}: loss {loss.mean():.4f}")
    right = sum(
        int((predict_job(images) == labels).sum())
        for images, labels in zip(test_images, test_labels, strict=True)
    )
    print(f"test accuracy: {right / test_labels.size:.4f}")
    flow.checkpoint.save("./lenet_models_1")
    print("model saved")
