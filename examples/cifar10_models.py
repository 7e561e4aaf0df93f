"""AlexNet, VGG-11 and ResNet-18 for images of 32x32x3, written with flowrs' layers.

Each function takes a blob of shape (batch, 3, 32, 32) and returns the logits of 10 classes.
"""

import flowrs as flow


def conv(x, filters, size, stride=1, name="conv", activation=flow.nn.relu, use_bias=True):
    """A convolution that keeps the size of the image (divided by the stride)."""
    edge = size // 2
    return flow.layers.conv2d(
        x,
        filters,
        size,
        strides=stride,
        padding=[0, 0, edge, edge],
        activation=activation,
        use_bias=use_bias,
        kernel_initializer=flow.variance_scaling_initializer(2.0, "fan_in", "random_normal"),
        name=name,
    )


def dense(x, units, name, activation=None):
    initializer = flow.variance_scaling_initializer(2.0, "fan_in", "random_normal")
    return flow.layers.dense(
        x, units, activation=activation, kernel_initializer=initializer, name=name
    )


def alexnet(x):
    """Krizhevsky et al., 2012, with the first stride and the kernels fitted to small images."""
    x = conv(x, 64, 3, stride=2, name="conv1")
    x = flow.nn.max_pool2d(x, 2, 2, "VALID")
    x = conv(x, 192, 3, name="conv2")
    x = flow.nn.max_pool2d(x, 2, 2, "VALID")
    x = conv(x, 384, 3, name="conv3")
    x = conv(x, 256, 3, name="conv4")
    x = conv(x, 256, 3, name="conv5")
    x = flow.nn.max_pool2d(x, 2, 2, "VALID")
    x = flow.flatten(x, 1)
    x = flow.nn.dropout(x, 0.5, name="dropout1")
    x = dense(x, 4096, "fc1", activation=flow.nn.relu)
    x = flow.nn.dropout(x, 0.5, name="dropout2")
    x = dense(x, 4096, "fc2", activation=flow.nn.relu)
    return dense(x, 10, "fc3")


def vgg11(x):
    """Configuration A of Simonyan and Zisserman, 2014, with one classifying layer."""
    number = 0
    for stage in ((64,), (128,), (256, 256), (512, 512), (512, 512)):
        for filters in stage:
            number += 1
            x = conv(x, filters, 3, name=f"conv{number}")
        x = flow.nn.max_pool2d(x, 2, 2, "VALID")
    return dense(flow.flatten(x, 1), 10, "fc")


def resnet18(x):
    """He et al., 2015, with the first convolution of 3x3 and no first pool."""

    def conv_bn(x, filters, size, stride, name, activation=None):
        x = conv(x, filters, size, stride, name, activation=None, use_bias=False)
        x = flow.layers.batch_normalization(
            x, axis=1, momentum=0.9, epsilon=1e-5, name=f"{name}-bn"
        )
        return activation(x, name=f"{name}-relu") if activation else x

    x = conv_bn(x, 64, 3, 1, "stem", flow.nn.relu)
    channels = 64
    for stage, filters in enumerate((64, 128, 256, 512), 1):
        for block in (1, 2):
            name = f"stage{stage}-block{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            shortcut = x
            if stride != 1 or channels != filters:
                shortcut = conv_bn(x, filters, 1, stride, f"{name}-shortcut")
            y = conv_bn(x, filters, 3, stride, f"{name}-conv1", flow.nn.relu)
            y = conv_bn(y, filters, 3, 1, f"{name}-conv2")
            x = flow.nn.relu(y + shortcut, name=f"{name}-relu")
            channels = filters
    x = flow.math.reduce_mean(x, axis=[2, 3])
    return dense(x, 10, "fc")


MODELS = {"alexnet": alexnet, "vgg11": vgg11, "resnet18": resnet18}
