"""``flow.config``: settings of the process.

Most of them tune parts of the original that flowrs does not have; they are checked, accepted until
the session runs, and have no effect. flowrs' own take effect at the next call of a job.
"""

from __future__ import annotations

from collections.abc import Callable

from flowrs import _flowrs
from flowrs._settings import check, may_change, plan_under, planning
from flowrs.errors import ArgumentError, UnsupportedError
from flowrs.session import set_random_seed

_devices = {"cpu_device_num": 1}


def cpu_threads(threads: int) -> None:
    """Sets the number of threads that jobs run on; the results are the same bits for every number.

    Without it, ``FLOWRS_NUM_THREADS`` says how many, and without that the cores that the process
    may use.

    Raises:
        ArgumentError: the number is below 1 or absurd.

    Example:
        >>> import flowrs as flow
        >>> flow.config.cpu_threads(2)
    """
    check("config.cpu_threads", int, threads)
    try:
        _flowrs.set_threads(threads)
    except OverflowError as error:
        raise ArgumentError(f"config.cpu_threads: there cannot be {threads} threads") from error


_ALGORITHMS = ("auto", "direct", "winograd", "im2col")
_PRECISIONS = ("default", "strict")


def convolution_algorithm(name: str) -> None:
    """Sets the algorithm of convolutions and their gradients, from the next call of a job on.

    Where an algorithm cannot compute a shape, or not within the bound that ``config.precision``
    sets, the choice of ``"auto"`` is taken. Winograd's method needs kernels of 3 x 3 or 5 x 5
    without stride, dilation and groups, and multiples of 16 channels; it takes tiles of 6 x 6 or,
    for 5 x 5 where precision allows it, of 8 x 8. The direct algorithm computes all but some
    gradients to the input of strided windows, such as those whose padding is longer than a window
    less its stride.

    Args:
        name: ``"auto"`` for the fastest one, ``"direct"``, ``"winograd"`` or ``"im2col"``.

    Raises:
        ArgumentError: there is no algorithm of this name.

    Example:
        >>> import flowrs as flow
        >>> flow.config.convolution_algorithm("direct")
        >>> flow.config.convolution_algorithm("auto")
    """
    check("config.convolution_algorithm", str, name)
    _check_choice("config.convolution_algorithm", _ALGORITHMS, name)
    plan_under(planning()._replace(convolution_algorithm=name))


def precision(name: str) -> None:
    """Sets how exact algorithms must be that add up in another order, from the next call on.

    The measure is the largest error of a plain float32 sum of the same products. By default an
    algorithm may be off by 12 times as much, with ``"strict"`` by 2.5 times; which algorithms of
    convolutions that leaves is said in ``ARCHITECTURE.md``.

    Args:
        name: ``"default"`` or ``"strict"``.

    Raises:
        ArgumentError: it is neither.

    Example:
        >>> import flowrs as flow
        >>> flow.config.precision("strict")
        >>> flow.config.precision("default")
    """
    check("config.precision", str, name)
    _check_choice("config.precision", _PRECISIONS, name)
    plan_under(planning()._replace(precision=name))


def _check_choice(function: str, choices: tuple[str, ...], name: str) -> None:
    if name not in choices:
        known = ", ".join(f'"{choice}"' for choice in choices)
        raise ArgumentError(f"{function}: expected one of {known}, found {name!r}")


def random_seed(seed: int | None) -> None:
    """Sets the number from which the default seed of each variable and operation is derived.

    The seed of a variable follows from this number and its full name. Without it (or with None),
    variables that are given no seed differ from process to process.

    Example:
        >>> import flowrs as flow
        >>> flow.config.random_seed(1)
    """
    if seed is not None:
        check("config.random_seed", int, seed)
    set_random_seed(seed)


def cpu_device_num(number: int) -> bool:
    """Sets the number of virtual devices; they share the process' threads.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> flow.config.cpu_device_num(1)
        True
    """
    check("config.cpu_device_num", int, number)
    if number <= 0:
        raise ArgumentError(f"config.cpu_device_num: must be above 0, not {number}")
    if not may_change():
        return False
    _devices["cpu_device_num"] = number
    return True


def gpu_device_num(number: int) -> bool:
    """Says that gpu devices are cpu devices here, and sets their number.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> flow.config.gpu_device_num(1)
        INFO: for CPU-only flowrs, gpu_device_num is equivalent to cpu_device_num
        True
    """
    check("config.gpu_device_num", int, number)
    if not may_change():
        return False
    print("INFO: for CPU-only flowrs, gpu_device_num is equivalent to cpu_device_num")
    return cpu_device_num(number)


def enable_legacy_model_io(val: bool = True) -> bool:
    """Accepts False; the layout of version 0.2 is read, but no longer written.

    Raises:
        UnsupportedError: ``val`` is true.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> flow.config.enable_legacy_model_io(False)
        True
    """
    check("config.enable_legacy_model_io", bool, val)
    if val:
        raise UnsupportedError(
            "config.enable_legacy_model_io: old checkpoints can be read without it, "
            "and new ones have the layout that all later versions read"
        )
    return may_change()


def legacy_model_io_enabled() -> bool:
    """Whether checkpoints are written in the layout of version 0.2: never.

    Example:
        >>> import flowrs as flow
        >>> flow.config.legacy_model_io_enabled()
        False
    """
    return False


def load_library(path: str) -> None:
    """Custom operators in shared libraries of the original cannot be loaded.

    Raises:
        UnsupportedError: always.

    Example:
        >>> import flowrs as flow
        >>> try:
        ...     flow.config.load_library("custom_op.so")
        ... except flow.errors.UnsupportedError as error:
        ...     print(error)
        config.load_library: custom_op.so was built for another engine
    """
    raise UnsupportedError(f"config.load_library: {path} was built for another engine")


load_library_now = load_library


def _without_effect(name: str, kind: type) -> Callable[[int | bool | str], bool]:
    def setter(value: int | bool | str) -> bool:
        check(f"config.{name}", kind, value)
        return may_change()

    setter.__name__ = setter.__qualname__ = name
    setter.__doc__ = f"""Accepts {kind.__name__} values; has no effect.

    Example:
        >>> import flowrs as flow
        >>> flow.clear_default_session()
        >>> flow.config.{name}({kind(1)})
        True
    """
    return setter


machine_num = _without_effect("machine_num", int)
enable_debug_mode = _without_effect("enable_debug_mode", bool)
enable_model_io_v2 = _without_effect("enable_model_io_v2", bool)
comm_net_worker_num = _without_effect("comm_net_worker_num", int)
max_mdsave_worker_num = _without_effect("max_mdsave_worker_num", int)
enable_numa_aware_cuda_malloc_host = _without_effect("enable_numa_aware_cuda_malloc_host", bool)
compute_thread_pool_size = _without_effect("compute_thread_pool_size", int)
rdma_mem_block_mbyte = _without_effect("rdma_mem_block_mbyte", int)
rdma_recv_msg_buf_mbyte = _without_effect("rdma_recv_msg_buf_mbyte", int)
reserved_host_mem_mbyte = _without_effect("reserved_host_mem_mbyte", int)
reserved_device_mem_mbyte = _without_effect("reserved_device_mem_mbyte", int)
use_rdma = _without_effect("use_rdma", bool)
thread_enable_local_message_queue = _without_effect("thread_enable_local_message_queue", bool)
save_downloaded_file_to_local_fs = _without_effect("save_downloaded_file_to_local_fs", bool)
persistence_buf_byte = _without_effect("persistence_buf_byte", int)
collect_act_event = _without_effect("collect_act_event", bool)
enable_tensor_float_32_compute = _without_effect("enable_tensor_float_32_compute", bool)
enable_mem_chain_merge = _without_effect("enable_mem_chain_merge", bool)
nccl_use_compute_stream = _without_effect("nccl_use_compute_stream", bool)
disable_group_boxing_by_dst_parallel = _without_effect("disable_group_boxing_by_dst_parallel", bool)


class collective_boxing:  # noqa: N801 - the name is OneFlow's
    """``flow.config.collective_boxing``: settings of an engine of the original; without effect."""

    enable_fusion = staticmethod(_without_effect("collective_boxing.enable_fusion", bool))
    num_callback_threads = staticmethod(
        _without_effect("collective_boxing.num_callback_threads", int)
    )
    nccl_num_streams = staticmethod(_without_effect("collective_boxing.nccl_num_streams", int))
    nccl_fusion_threshold_mb = staticmethod(
        _without_effect("collective_boxing.nccl_fusion_threshold_mb", int)
    )
    nccl_fusion_all_reduce = staticmethod(
        _without_effect("collective_boxing.nccl_fusion_all_reduce", bool)
    )
