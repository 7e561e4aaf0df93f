"""ONNX Runtime: inference only, from a model that is written out node by node."""

from __future__ import annotations

import onnxruntime
from harness.model import Placed
from onnx import TensorProto, helper, numpy_helper

from . import Step, Task

#: The version of the operations that are used below.
OPSET = 17


def setup(task: Task) -> Step:
    """Exports the model and opens a session."""
    case = task.case
    if case.kind != "infer":
        raise NotImplementedError("it trains nothing")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        _model(task), options, providers=["CPUExecutionProvider"]
    )
    return lambda images, labels: session.run(None, {"images": images})[0]


def _model(task: Task) -> bytes:
    case, nodes, last = task.case, [], "images"
    for placed in case.placed:
        last = _nodes(nodes, placed, last)
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        case.name,
        [helper.make_tensor_value_info("images", kind, (case.batch, *case.sample))],
        [helper.make_tensor_value_info(last, kind, (case.batch, *case.placed[-1].behind))],
        [numpy_helper.from_array(array, name) for name, array in task.weights.items()],
    )
    version = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[version], ir_version=8).SerializeToString()


def _nodes(nodes: list, placed: Placed, x: str) -> str:
    """Appends the nodes of a layer; returns the name of its output."""
    layer = placed.layer

    def add(kind: str, inputs: list[str], suffix: str = "", **attributes: object) -> str:
        output = f"{layer.name}{suffix}"
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    inputs = [f"{layer.name}-weight", *([f"{layer.name}-bias"] if layer.bias else [])]
    if layer.kind == "dense":
        x = add("Flatten", [x], "-flat")
        x = add("Gemm", [x, *inputs], transB=1)
    elif layer.kind == "conv":
        edges = [layer.size // 2] * 2 * (len(placed.before) - 1)
        strides = [layer.stride] * (len(placed.before) - 1)
        x = add("Conv", [x, *inputs], pads=edges, strides=strides)
    elif layer.kind == "max_pool":
        x = add("MaxPool", [x], kernel_shape=[layer.size] * 2, strides=[layer.size] * 2)
    else:
        raise NotImplementedError(f"layers of kind {layer.kind} are not exported")
    return add("Relu", [x], "-relu") if layer.relu else x
