"""The libraries that are compared, behind one interface.

``engines/<module>.py`` has a function ``setup(task) -> step``. The step takes a batch of NumPy
arrays as a user has them and does the case's work with it. In training it returns the loss as a
Python float, in inference the logits as a NumPy array, so that no library can leave work undone or
under way. For cases of single operations there is ``setup_operation(operation, threads)``, which
returns an :class:`Action`. What an engine cannot do raises ``NotImplementedError``.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
from harness.case import Case
from harness.operation import Operation

Array = npt.NDArray[Any]
Step = Callable[[Array, Array], Any]


@dataclass(frozen=True)
class Task:
    """What an engine prepares for: a case, the first weights, and a number of threads."""

    case: Case
    weights: dict[str, Array]
    threads: int


@dataclass(frozen=True)
class Action:
    """A single operation that is ready.

    Attributes:
        run: computes it; this is what is timed.
        result: computes it and returns what came out, or the gradient; asked for once, first.
    """

    run: Callable[[], object]
    result: Callable[[], Array]


@dataclass(frozen=True)
class Engine:
    """A library in one of the ways of using it.

    Attributes:
        name: what the report calls it.
        module: the file here; also what is imported to use the library.
        packages: the distributions whose versions the report gives.
        variant: passed to ``setup`` where a module has several ways.
        environment: variables that must be set before the library is imported; ``{threads}`` stands
            for the number of threads.
    """

    name: str
    module: str
    packages: tuple[str, ...]
    variant: str | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def is_peer(self) -> bool:
        """Whether flowrs is compared with it."""
        return self.module != "flowrs"

    @property
    def is_installed(self) -> bool:
        """Whether the library can be imported here."""
        return importlib.util.find_spec(self.module) is not None

    def setup(self, task: Task) -> Step:
        """Imports the library, sets its threads and prepares the case."""
        module = importlib.import_module(f"engines.{self.module}")
        return module.setup(task) if self.variant is None else module.setup(task, self.variant)

    def setup_operation(self, operation: Operation, threads: int) -> Action:
        """Imports the library, sets its threads and prepares one operation."""
        module = importlib.import_module(f"engines.{self.module}")
        if not hasattr(module, "setup_operation"):
            raise NotImplementedError("measured as a whole only")
        variant = () if self.variant is None else (self.variant,)
        return module.setup_operation(operation, threads, *variant)


_FLOWRS = {"FLOWRS_NUM_THREADS": "{threads}"}
_TORCH = {"OMP_NUM_THREADS": "{threads}", "MKL_NUM_THREADS": "{threads}"}

ENGINES = {
    engine.name: engine
    for engine in [
        Engine("flowrs", "flowrs", ("flowrs",), environment=_FLOWRS),
        Engine("flowrs-strict", "flowrs", ("flowrs",), variant="strict", environment=_FLOWRS),
        Engine("flowrs-direct", "flowrs", ("flowrs",), variant="direct", environment=_FLOWRS),
        Engine("numpy", "numpy", ("numpy",), environment={"OPENBLAS_NUM_THREADS": "{threads}"}),
        Engine("torch", "torch", ("torch",), variant="eager", environment=_TORCH),
        Engine(
            "torch-channels-last",
            "torch",
            ("torch",),
            variant="channels_last",
            environment=_TORCH,
        ),
        Engine(
            "torch-compile",
            "torch",
            ("torch",),
            variant="compile",
            environment=_TORCH,
        ),
        Engine(
            "jax",
            "jax",
            ("jax", "jaxlib"),
            # XLA sizes its thread pool by this variable.
            environment={"JAX_PLATFORMS": "cpu", "NPROC": "{threads}"},
        ),
        Engine(
            "onnxruntime",
            "onnxruntime",
            ("onnxruntime",),
            environment={"OMP_NUM_THREADS": "{threads}"},
        ),
        Engine(
            "tensorflow",
            "tensorflow",
            ("tensorflow_cpu", "tensorflow"),
            environment={
                "TF_NUM_INTRAOP_THREADS": "{threads}",
                "TF_NUM_INTEROP_THREADS": "{threads}",
                "OMP_NUM_THREADS": "{threads}",
                "TF_CPP_MIN_LOG_LEVEL": "2",
                "CUDA_VISIBLE_DEVICES": "",
            },
        ),
    ]
}
