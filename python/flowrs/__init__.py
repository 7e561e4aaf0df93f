"""flowrs: train and serve neural networks on CPUs with OneFlow 0.4's Python API.

Example:
    >>> import flowrs as flow
    >>> import flowrs.typing as tp
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowrs import (
    checkpoint,
    config,
    distribute,
    env,
    errors,
    layers,
    linalg,
    losses,
    math,
    nn,
    optimizer,
    random,
    regularizers,
    scope,
    train,
    typing,
)
from flowrs._flowrs import build_info as _build_info
from flowrs.array import (
    assign,
    broadcast_like,
    broadcast_to_compatible_with,
    cast,
    concat,
    dynamic_reshape,
    elem_cnt,
    expand,
    expand_dims,
    flatten,
    matmul,
    reshape,
    reshape_like,
    squeeze,
    stack,
    transpose,
)
from flowrs.checkpoint import get as load
from flowrs.checkpoint import load_variables
from flowrs.constant_ops import (
    constant,
    constant_like,
    constant_scalar,
    ones,
    ones_like,
    range,  # noqa: A004 - the name is OneFlow's
    zeros,
    zeros_like,
)
from flowrs.criteria import smooth_l1_loss
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
from flowrs.identities import (
    amp_white_identity,
    cast_to_current_logical_view,
    cast_to_static_shape,
    hierarchical_parallel_cast,
    identity,
    identity_n,
    parallel_cast,
)
from flowrs.indexing import (
    argwhere,
    dim_gather,
    gather,
    gather_nd,
    masked_fill,
    nonzero,
    one_hot,
    scatter_nd,
    tensor_scatter_nd_add,
    tensor_scatter_nd_update,
    unsorted_batch_segment_sum,
    unsorted_segment_sum,
    unsorted_segment_sum_like,
    where,
)
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
from flowrs.math import clip_by_value
from flowrs.padding import (
    constant_pad2d,
    pad,
    pad_grad,
    reflection_pad2d,
    replication_pad2d,
    same_padding,
    zero_pad2d,
)
from flowrs.scope import name_scope
from flowrs.session import clear_default_session, get_all_variables, sync_default_session
from flowrs.slicing import (
    reverse,
    slice,  # noqa: A004 - the name is OneFlow's
    slice_update,
    slice_v2,
)
from flowrs.sorting import argsort, in_top_k, sort
from flowrs.triangle import diag
from flowrs.variables import get_variable

if TYPE_CHECKING:
    from flowrs import data

__version__ = _build_info()[0]

function_config = ExecutionConfig = FunctionConfig

clip = clamp = clip_by_scalar = clip_by_value

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


def __getattr__(name: str) -> Any:
    """Imports ``flow.data`` when it is first asked for: jobs do not need it, and it loads much."""
    if name == "data":
        import flowrs.data

        return flowrs.data
    raise AttributeError(f"module 'flowrs' has no attribute {name!r}")


__all__ = [
    "ExecutionConfig",
    "FunctionConfig",
    "amp_white_identity",
    "argsort",
    "argwhere",
    "assign",
    "broadcast_like",
    "broadcast_to_compatible_with",
    "cast",
    "cast_to_current_logical_view",
    "cast_to_static_shape",
    "char",
    "checkpoint",
    "clamp",
    "clear_default_session",
    "clip",
    "clip_by_scalar",
    "clip_by_value",
    "concat",
    "config",
    "constant",
    "constant_initializer",
    "constant_like",
    "constant_pad2d",
    "constant_scalar",
    "convert_oneflow_dtype_to_numpy_dtype",
    "data",
    "diag",
    "dim_gather",
    "distribute",
    "double",
    "dtype",
    "dtypes",
    "dynamic_reshape",
    "elem_cnt",
    "empty_initializer",
    "env",
    "errors",
    "expand",
    "expand_dims",
    "flatten",
    "float",
    "float16",
    "float32",
    "float64",
    "function_config",
    "gather",
    "gather_nd",
    "get_all_variables",
    "get_variable",
    "global_function",
    "glorot_normal_initializer",
    "glorot_uniform_initializer",
    "half",
    "hierarchical_parallel_cast",
    "identity",
    "identity_n",
    "in_top_k",
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
    "losses",
    "masked_fill",
    "math",
    "matmul",
    "name_scope",
    "nn",
    "nonzero",
    "one_hot",
    "ones",
    "ones_initializer",
    "ones_like",
    "optimizer",
    "pad",
    "pad_grad",
    "parallel_cast",
    "random",
    "random_normal_initializer",
    "random_uniform_initializer",
    "range",
    "record",
    "reflection_pad2d",
    "regularizers",
    "replication_pad2d",
    "reshape",
    "reshape_like",
    "reverse",
    "same_padding",
    "save",
    "scatter_nd",
    "scope",
    "slice",
    "slice_update",
    "slice_v2",
    "smooth_l1_loss",
    "sort",
    "squeeze",
    "stack",
    "sync_default_session",
    "tensor_buffer",
    "tensor_scatter_nd_add",
    "tensor_scatter_nd_update",
    "train",
    "transpose",
    "truncated_normal",
    "truncated_normal_initializer",
    "typing",
    "uint8",
    "unsorted_batch_segment_sum",
    "unsorted_segment_sum",
    "unsorted_segment_sum_like",
    "variance_scaling_initializer",
    "where",
    "xavier_normal_initializer",
    "xavier_uniform_initializer",
    "zero_pad2d",
    "zeros",
    "zeros_initializer",
    "zeros_like",
]
