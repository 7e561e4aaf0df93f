"""``flow.env``: the machines of a training run. flowrs runs on this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flowrs._settings import check
from flowrs.errors import ArgumentError, ArgumentTypeError, UnsupportedError

_initialized = False


def init() -> bool:
    """Prepares the environment; a second call says that nothing happened and returns False.

    Example:
        >>> import flowrs as flow
        >>> started = flow.env.init()
        >>> flow.env.init()
        Nothing happened because environment has been initialized
        False
    """
    global _initialized
    if _initialized:
        print("Nothing happened because environment has been initialized")
        return False
    _initialized = True
    return True


def machine(*machines: str | Mapping[str, object] | Sequence[str | Mapping[str, object]]) -> None:
    """Names the machines of the run: one at the most.

    Raises:
        ArgumentError: an address is named twice.
        UnsupportedError: there is more than one machine.

    Example:
        >>> import flowrs as flow
        >>> flow.env.machine([{"addr": "192.168.1.2"}])
    """
    listed = machines[0] if len(machines) == 1 else machines
    items = listed if isinstance(listed, (list, tuple)) else [listed]
    addresses = [_address(item) for item in items]
    if len(set(addresses)) != len(addresses):
        raise ArgumentError(f"env.machine: an address is named twice in {addresses}")
    if len(addresses) > 1:
        raise UnsupportedError(
            f"env.machine: {len(addresses)} machines are named, but a run has one; "
            "leave the call out"
        )


def _address(item: object) -> str:
    address = item.get("addr") if isinstance(item, Mapping) else item
    if not isinstance(address, str):
        raise ArgumentTypeError(
            f'env.machine: expected {{"addr": "host"}} or "host", found {item!r}'
        )
    return address


def ctrl_port(val: int) -> None:
    """Accepts a port; without effect on one machine.

    Example:
        >>> import flowrs as flow
        >>> flow.env.ctrl_port(50051)
    """
    check("env.ctrl_port", int, val)


def data_port(val: int) -> None:
    """Accepts a port; without effect on one machine.

    Example:
        >>> import flowrs as flow
        >>> flow.env.data_port(50052)
    """
    check("env.data_port", int, val)


def log_dir(val: str) -> None:
    """Accepts a directory; flowrs writes no log files.

    Example:
        >>> import flowrs as flow
        >>> flow.env.log_dir("log")
    """
    check("env.log_dir", str, val)


def logtostderr(val: int) -> None:
    """Accepts a number; flowrs writes no log.

    Example:
        >>> import flowrs as flow
        >>> flow.env.logtostderr(0)
    """
    check("env.logtostderr", int, val)


def logbuflevel(val: int) -> None:
    """Accepts a number; flowrs writes no log.

    Example:
        >>> import flowrs as flow
        >>> flow.env.logbuflevel(-1)
    """
    check("env.logbuflevel", int, val)


def grpc_use_no_signal(val: bool = True) -> None:
    """Deprecated in the original; without effect.

    Example:
        >>> import flowrs as flow
        >>> flow.env.grpc_use_no_signal()
    """
    check("env.grpc_use_no_signal", bool, val)
