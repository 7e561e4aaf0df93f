"""PyTorch: a module, its loss and ``torch.optim.SGD``; eager, or the whole step compiled."""

from __future__ import annotations

import torch
from torch import nn

from . import Array, Step, Task


def setup(task: Task, variant: str) -> Step:
    """Builds the module, with weights as PyTorch stores them: (outputs, inputs)."""
    torch.set_num_threads(task.threads)
    torch.set_num_interop_threads(1)
    model = _model(task)
    optimizer = torch.optim.SGD(model.parameters(), lr=task.case.rate)
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
        # PyTorch's loss wants 64-bit labels.
        return train(torch.from_numpy(images), torch.from_numpy(labels).long()).item()

    return step


def _model(task: Task) -> nn.Sequential:
    modules: list[nn.Module] = [nn.Flatten()]
    for layer in task.case.layers:
        dense = nn.Linear(layer.inputs, layer.outputs)
        with torch.no_grad():
            dense.weight.copy_(torch.from_numpy(task.weights[f"{layer.name}-weight"]))
            dense.bias.copy_(torch.from_numpy(task.weights[f"{layer.name}-bias"]))
        modules += [dense, nn.ReLU()] if layer.relu else [dense]
    return nn.Sequential(*modules)
