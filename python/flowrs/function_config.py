"""Settings of a job."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping
from typing import Any

from flowrs.datatype import dtype as DType
from flowrs.errors import ArgumentTypeError, UnknownSettingError, UnsupportedError
from flowrs.initializers import Initializer, from_conf
from flowrs.optimizer.config import TrainConfig
from flowrs.scope import LogicalView, Placement

#: Settings that have no effect on results on a CPU; they take one value.
_WITHOUT_EFFECT = frozenset(
    """
    enable_cudnn enable_cudnn_conv_heuristic_search_algo enable_cudnn_fused_normalization_add_relu
    cudnn_buf_limit_mbyte cudnn_conv_enable_pseudo_half cudnn_conv_enable_true_half
    cudnn_conv_force_bwd_data_algo cudnn_conv_force_bwd_filter_algo cudnn_conv_force_fwd_algo
    cudnn_conv_heuristic_search_algo cudnn_conv_use_deterministic_algo_only
    enable_inplace enable_reused_mem enable_reuse_mem enable_auto_mixed_precision concurrency_width
    prune_parallel_cast_ops prune_cast_to_static_shape_ops prune_amp_white_identity_ops
    enable_fuse_add_to_output enable_fuse_cast_scale enable_fuse_model_update_ops
    enable_gradients_stats_aggregation enable_non_distributed_optimizer
    optimizer_placement_optimization_mode optimizer_placement_optimization_threshold
    use_xla_jit use_tensorrt allow_cpu_return_op indexed_slices_optimizer_conf
    do_parallel_cast_before_widening_type_cast
    enable_nccl use_boxing_v2 enable_all_reduce_group disable_all_reduce_sequence
    all_reduce_group_num all_reduce_lazy_ratio all_reduce_group_min_mbyte
    all_reduce_group_size_warmup all_reduce_fp16 non_distributed_optimizer_group_size_mbyte
    enable_inplace_in_reduce_struct use_nccl_inter_node_communication enable_keep_header_only
    enable_float_compute_for_half_gemm
    """.split()
)

#: Settings that would change results and are not there.
_UNSUPPORTED = {
    "enable_qat": "quantization-aware training is not supported",
    "enable_quantization_aware_training": "quantization-aware training is not supported",
}

#: Groups of settings, such as ``cfg.tensorrt.use_fp16(True)``.
_GROUPS_WITHOUT_EFFECT = frozenset({"tensorrt", "static_mem_alloc_policy_white_list"})


class _Group:
    """Settings under a common name; all of them are without effect."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        return _ignore


def _ignore(*values: Any) -> None:
    """Takes a setting that has no effect on a CPU."""


class FunctionConfig:
    """Settings of a job, each set by a call: ``config.default_data_type(flow.float32)``.

    Example:
        >>> import flowrs as flow
        >>> config = flow.FunctionConfig()
        >>> config.default_data_type(flow.float32)
        >>> config.enable_inplace(True)
    """

    def __init__(self) -> None:
        self.data_type: DType | None = None
        self.initializer: Initializer | None = None
        self.train = TrainConfig()

    def copy(self) -> FunctionConfig:
        """A copy that later changes do not reach."""
        result = copy.copy(self)
        result.train = copy.copy(self.train)
        return result

    def default_data_type(self, value: DType) -> None:
        """The dtype of variables that are given none; ``get_variable`` always gives one."""
        if not isinstance(value, DType):
            raise ArgumentTypeError(
                f"FunctionConfig.default_data_type: expected a dtype, found {value!r}"
            )
        self.data_type = value

    def default_initializer_conf(self, value: Mapping[str, Mapping[str, Any]]) -> None:
        """The initializer of variables that are given none.

        Args:
            value: one kind and its numbers, by the names of the original, such as
                ``{"random_normal_conf": {"mean": 0.0, "std": 0.1}}``.

        Raises:
            ArgumentError: the kind, or one of the numbers, is not known.
        """
        self.initializer = from_conf(value)

    def default_logical_view(self, value: LogicalView) -> None:
        """``flow.scope.consistent_view()`` or ``mirrored_view()``: the same on one device."""
        if not isinstance(value, LogicalView):
            raise ArgumentTypeError(
                "FunctionConfig.default_logical_view: expected flow.scope.consistent_view() or "
                f"flow.scope.mirrored_view(), found {value!r}"
            )

    def default_distribute_strategy(self, value: LogicalView) -> None:
        """The deprecated name of :meth:`default_logical_view`."""
        print(
            "WARNING: default_distribute_strategy is deprecated: use default_logical_view",
            file=sys.stderr,
        )
        self.default_logical_view(value)

    def default_placement_scope(self, value: Placement) -> None:
        """``flow.scope.placement(...)``: everything runs on this machine's CPU."""
        if not isinstance(value, Placement):
            raise ArgumentTypeError(
                "FunctionConfig.default_placement_scope: expected flow.scope.placement(...), "
                f"found {value!r}"
            )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _WITHOUT_EFFECT:
            return _ignore
        if name in _GROUPS_WITHOUT_EFFECT:
            return _Group()
        if name in _UNSUPPORTED:
            raise UnsupportedError(f"FunctionConfig.{name}: {_UNSUPPORTED[name]}")
        raise UnknownSettingError(f"FunctionConfig has no setting {name}")
