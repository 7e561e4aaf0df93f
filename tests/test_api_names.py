"""Every name that a script of OneFlow 0.4 may want for training on a CPU is there."""

from __future__ import annotations

import pytest

import flowrs as flow

#: What scripts need or are likely to need, namespace by namespace.
NAMES = {
    "flow": """
        global_function FunctionConfig function_config ExecutionConfig get_variable
        get_all_variables load_variables load save
        truncated_normal truncated_normal_initializer random_normal_initializer
        random_uniform_initializer constant_initializer zeros_initializer ones_initializer
        glorot_normal_initializer glorot_uniform_initializer xavier_normal_initializer
        xavier_uniform_initializer variance_scaling_initializer kaiming_initializer
        reshape flatten transpose matmul concat slice slice_v2 stack squeeze expand_dims expand
        broadcast_like broadcast_to_compatible_with cast gather where one_hot
        constant constant_scalar constant_like zeros ones zeros_like ones_like
        identity identity_n assign
        pad zero_pad2d constant_pad2d reflection_pad2d replication_pad2d
        clip clamp clip_by_value clip_by_scalar smooth_l1_loss
        clear_default_session sync_default_session
        dtypes convert_oneflow_dtype_to_numpy_dtype name_scope
        char float16 half float32 float double float64 int8 int int32 int64 long uint8 record
        tensor_buffer dtype
    """,
    "flow.layers": """
        dense conv1d conv2d conv3d batch_normalization batch_normalization_relu
        batch_normalization_add_relu layer_norm prelu
    """,
    "flow.nn": """
        conv1d conv2d conv3d compat_conv2d bias_add relu max_pool2d max_pool3d avg_pool2d avg_pool3d
        dropout softmax logsoftmax sparse_softmax_cross_entropy_with_logits
        softmax_cross_entropy_with_logits sigmoid_cross_entropy_with_logits sparse_cross_entropy
        leaky_relu elu relu6 hardtanh hardsigmoid hardswish swish mish
        batch_normalization layer_norm moments GroupNorm InstanceNorm1d InstanceNorm2d
        InstanceNorm3d MSELoss L1Loss BCELoss BCEWithLogitsLoss KLDivLoss MarginRankingLoss
        TripletMarginLoss
    """,
    "flow.math": """
        add subtract multiply divide add_n mod negative abs square sqrt rsqrt exp log pow
        maximum minimum squared_difference relu sigmoid tanh gelu
        reduce_sum reduce_mean reduce_max reduce_min reduce_prod reduce_std reduce_variance
        reduce_euclidean_norm reduce_logsumexp argmax top_k in_top_k
        equal not_equal less less_equal greater greater_equal logical_and
        clip_by_value l2_normalize
        sigmoid_v2 tanh_v2 sigmoid_grad gelu_grad log_sigmoid softplus
        reduce_any reduce_all reduced_shape_elem_cnt
        acos acosh asin asinh atan atanh cos cosh sin sinh tan atan2
        ceil floor rint round sign expm1 log1p erf erfc lgamma reciprocal reciprocal_no_nan
        xdivy xlogy floordiv polyval
    """,
    "flow.optimizer": """
        SGD Adam AdamW SGDW PiecewiseConstantScheduler CosineScheduler
    """,
    "flow.optimizer.warmup": "linear",
    "flow.optimizer.grad_clipping": "by_global_norm",
    "flow.regularizers": "l1 l2 l1_l2",
    "flow.losses": "add_loss",
    "flow.linalg": "matmul",
    "flow.checkpoint": "get save",
    "flow.train": "CheckPoint SimpleCheckPointManager",
    "flow.typing": "Numpy ListNumpy Callback Bundle",
    "flow.scope": """
        placement namespace consistent_view mirrored_view consistent_view_enabled
        mirrored_view_enabled
    """,
    "flow.distribute": """
        split broadcast auto assert_is_valid_distribute mirrored_strategy mirrored_strategy_enabled
        consistent_strategy consistent_strategy_enabled
    """,
    "flow.data": "load_mnist",
}


@pytest.mark.parametrize("namespace", NAMES)
def test_names_of_the_original_are_there(namespace):
    where = flow
    for part in namespace.split(".")[1:]:
        where = getattr(where, part)
    assert [name for name in NAMES[namespace].split() if not hasattr(where, name)] == []
