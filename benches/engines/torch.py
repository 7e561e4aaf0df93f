"""PyTorch: modules as its users write them; eager in either layout, or compiled."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from harness.model import Placed
from harness.operation import FUNCTIONS, RATE, Operation
from torch import nn

from . import Action, Array, Step, Task

#: Layouts of images in memory.
LAYOUTS = {"channels_last": torch.channels_last}


def setup(task: Task, variant: str) -> Step:
    """Builds the module, with weights as PyTorch stores them: (outputs, inputs)."""
    _set_threads(task.threads)
    case, layout = task.case, LAYOUTS.get(variant, torch.contiguous_format)
    if variant == "channels_last" and len(case.sample) != 3:
        raise NotImplementedError("only images have this layout")
    model = Network(task).to(memory_format=layout)
    if case.kind == "infer":
        return _infer(model.eval(), layout, variant)
    optimizer = torch.optim.SGD(model.parameters(), lr=case.rate)
    cross_entropy = nn.CrossEntropyLoss()

    def train(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    if variant == "compile":
        train = torch.compile(train)

    def step(images: Array, labels: Array) -> float:
        tensor = torch.from_numpy(images)
        if layout is not torch.contiguous_format:
            tensor = tensor.contiguous(memory_format=layout)
        # PyTorch's loss wants 64-bit labels.
        return train(tensor, torch.from_numpy(labels).long()).item()

    return step


def _set_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)


def _infer(model: nn.Module, layout: torch.memory_format, variant: str) -> Step:
    forward = torch.compile(model) if variant == "compile" else model

    def step(images: Array, labels: Array) -> Array:
        with torch.inference_mode():
            return forward(torch.from_numpy(images).contiguous(memory_format=layout)).numpy()

    return step


class Network(nn.Module):
    """The layers of a case, with its first weights."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.placed = task.case.placed
        dtype = getattr(torch, task.case.dtype)
        self.layers = nn.ModuleDict({p.layer.name: _module(p).to(dtype) for p in self.placed})
        for placed in self.placed:
            name, module = placed.layer.name, self.layers[placed.layer.name]
            parts = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
            for ours, theirs in parts.items():
                if f"{name}-{ours}" in task.weights:
                    with torch.no_grad():
                        getattr(module, theirs).copy_(
                            torch.from_numpy(task.weights[f"{name}-{ours}"])
                        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        named: dict[str, torch.Tensor] = {}
        for placed in self.placed:
            layer = placed.layer
            x = named.get(layer.input, x)
            if layer.kind == "add":
                x = x + named[layer.other]
            elif layer.kind == "mean":
                x = x.mean(dim=tuple(range(2, x.ndim)))
            else:
                x = self.layers[layer.name](x.flatten(1) if layer.kind == "dense" else x)
            named[layer.name] = x = F.relu(x) if layer.relu else x
        return x


def _module(placed: Placed) -> nn.Module:
    layer = placed.layer
    if layer.kind == "dense":
        return nn.Linear(placed.weights[f"{layer.name}-weight"][1], layer.outputs, layer.bias)
    if layer.kind == "conv":
        convolution = {2: nn.Conv1d, 3: nn.Conv2d}[len(placed.before)]
        return convolution(
            placed.before[0],
            layer.outputs,
            layer.size,
            layer.stride,
            layer.size // 2,
            bias=layer.bias,
        )
    if layer.kind == "max_pool":
        return nn.MaxPool2d(layer.size)
    if layer.kind == "batch_norm":
        normalization = {2: nn.BatchNorm1d, 3: nn.BatchNorm2d}[len(placed.before)]
        return normalization(placed.before[0], eps=1e-5)
    return nn.Identity()


def setup_operation(
    operation: Operation, threads: int, variant: str, dtype: torch.dtype | None = None
) -> Action:
    """The operation on tensors, with its own backward pass where the direction asks for one."""
    _set_threads(threads)
    dtype = dtype or getattr(torch, operation.dtype)
    tensors = {
        name: torch.from_numpy(array).to(torch.int64 if name == "labels" else dtype)
        for name, array in operation.arrays().items()
    }
    if variant == "channels_last":
        if len(operation.shape) != 4:
            raise NotImplementedError("only images have this layout")
        tensors = {
            name: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t
            for name, t in tensors.items()
        }
    if operation.kind == "copy":
        target = torch.empty_like(tensors["x"])
        return Action(
            lambda: target.copy_(tensors["x"]), lambda: target.copy_(tensors["x"]).numpy()
        )
    if operation.direction == "forward":

        def forward() -> torch.Tensor:
            with torch.inference_mode():
                return _apply(operation, tensors)

        return Action(forward, lambda: forward().numpy())
    if operation.direction == "both":
        return _both(operation, tensors)
    if operation.kind == "momentum":
        return _momentum(tensors)
    return _convolution_gradient(operation, tensors)


def _apply(operation: Operation, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    x = tensors["x"]
    if operation.kind == "convolution":
        weight, edge = tensors["weight"], operation.size // 2
        return F.conv2d(x, weight, padding=edge, groups=operation.groups)
    if operation.kind == "max_pool":
        return F.max_pool2d(x, 2)
    if operation.kind == "avg_pool":
        return F.avg_pool2d(x, 2)
    if operation.kind == "cross_entropy":
        return F.cross_entropy(x, tensors["labels"], reduction="sum")
    if operation.kind == "batch_norm":
        return F.batch_norm(
            x, None, None, tensors["gamma"], tensors["beta"], training=True, eps=1e-5
        )
    if operation.kind == "softmax":
        return torch.softmax(x, dim=-1)
    if operation.kind in ("softplus", "gelu"):
        return getattr(F, operation.kind)(x)
    if operation.kind in FUNCTIONS:
        return getattr(torch, operation.kind)(x)
    return torch.relu(x * tensors["a"] + tensors["b"]) * x


def _convolution_gradient(operation: Operation, tensors: dict[str, torch.Tensor]) -> Action:
    """The backward pass for one of the two inputs, which PyTorch offers by itself."""
    x, weight, dy = tensors["x"], tensors["weight"], tensors["dy"]
    edge, to_input = operation.size // 2, operation.direction != "weight_gradient"
    mask = (to_input, not to_input, False)
    learned = {"weight_gradient": weight, "input_update": x}.get(operation.direction)

    def backward() -> torch.Tensor:
        gradients = torch.ops.aten.convolution_backward(
            *(dy, x, weight, None, [1, 1], [edge, edge], [1, 1], False, [0, 0]),
            *(operation.groups, mask),
        )
        gradient = gradients[0 if to_input else 1]
        if learned is not None:
            learned.sub_(gradient, alpha=RATE)
        return gradient

    return Action(backward, lambda: backward().numpy())


def _both(operation: Operation, tensors: dict[str, torch.Tensor]) -> Action:
    learned = [tensors[name].requires_grad_() for name in ("x", "gamma", "beta") if name in tensors]

    def train() -> torch.Tensor:
        for tensor in learned:
            tensor.grad = None
        _apply(operation, tensors).backward(tensors.get("dy"))
        with torch.no_grad():
            for tensor in learned:
                tensor.sub_(tensor.grad, alpha=RATE)
        return learned[0].grad

    return Action(train, lambda: train().numpy())


def _momentum(tensors: dict[str, torch.Tensor]) -> Action:
    x, dy = tensors["x"].requires_grad_(), tensors["dy"]
    optimizer = torch.optim.SGD([x], lr=RATE, momentum=0.9, fused=True)
    x.grad = dy

    def gradient() -> Array:
        first = x.detach().clone()
        optimizer.step()
        return ((first - x.detach()) / RATE).numpy()

    return Action(optimizer.step, gradient)
