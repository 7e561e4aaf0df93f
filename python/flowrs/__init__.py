"""flowrs: train and serve neural networks on CPUs with OneFlow 0.4's Python API.

Example:
    >>> import flowrs as flow
    >>> import flowrs.typing as tp
"""

from __future__ import annotations

from flowrs import (
    checkpoint,
    config,
    data,
    distribute,
    env,
    errors,
    layers,
    linalg,
    math,
    nn,
    optimizer,
    random,
    scope,
    typing,
)
from flowrs._flowrs import build_info as _build_info
from flowrs.array import cast, flatten, identity, matmul, reshape
from flowrs.checkpoint import get as load
from flowrs.checkpoint import load_variables
from flowrs.datatype import (
    char,
    convert_oneflow_dtype_to_numpy_dtype,
    dtype,
    dtypes,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
    record,
    tensor_buffer,
    uint8,
)
from flowrs.function_config import FunctionConfig
from flowrs.initializers import (
    constant_initializer,
    empty_initializer,
    glorot_normal_initializer,
    glorot_uniform_initializer,
    kaiming_initializer,
    ones_initializer,
    random_normal_initializer,
    random_uniform_initializer,
    truncated_normal,
    truncated_normal_initializer,
    variance_scaling_initializer,
    xavier_normal_initializer,
    xavier_uniform_initializer,
    zeros_initializer,
)
from flowrs.job import global_function
from flowrs.session import clear_default_session, get_all_variables, sync_default_session
from flowrs.variables import get_variable

__version__ = _build_info()[0]

function_config = ExecutionConfig = FunctionConfig

float = float32  # noqa: A001 - the names are OneFlow's
double = float64
int = int32  # noqa: A001
long = int64
half = float16


def save(obj: dict[str, checkpoint.Value], save_dir: checkpoint.Path) -> None:
    """``flow.checkpoint.save`` with the arguments in the other order, and without a session.

    Example:
        >>> import tempfile, os
        >>> import numpy as np
        >>> import flowrs as flow
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     flow.save({"w": np.zeros(2, np.float32)}, os.path.join(folder, "snapshot"))
    """
    checkpoint.save(save_dir, obj)


__all__ = [
    "ExecutionConfig",
    "FunctionConfig",
    "cast",
    "char",
    "checkpoint",
    "clear_default_session",
    "config",
    "constant_initializer",
    "convert_oneflow_dtype_to_numpy_dtype",
    "data",
    "distribute",
    "double",
    "dtype",
    "dtypes",
    "empty_initializer",
    "env",
    "errors",
    "flatten",
    "float",
    "float16",
    "float32",
    "float64",
    "function_config",
    "get_all_variables",
    "get_variable",
    "global_function",
    "glorot_normal_initializer",
    "glorot_uniform_initializer",
    "half",
    "identity",
    "int",
    "int8",
    "int32",
    "int64",
    "kaiming_initializer",
    "layers",
    "linalg",
    "load",
    "load_variables",
    "long",
    "math",
    "matmul",
    "nn",
    "ones_initializer",
    "optimizer",
    "random",
    "random_normal_initializer",
    "random_uniform_initializer",
    "record",
    "reshape",
    "save",
    "scope",
    "sync_default_session",
    "tensor_buffer",
    "truncated_normal",
    "truncated_normal_initializer",
    "typing",
    "uint8",
    "variance_scaling_initializer",
    "xavier_normal_initializer",
    "xavier_uniform_initializer",
    "zeros_initializer",
]
