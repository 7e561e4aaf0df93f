"""``flowrs run``: a script written for OneFlow, run as python would run it."""

from __future__ import annotations

import builtins
import contextlib
import importlib.machinery
import io
import os
import sys
import types
from collections.abc import Iterator, Sequence

from flowrs.cli.oneflow_names import oneflow_names

_OUR_FOLDER = os.path.dirname(os.path.abspath(__file__))


def run_as_command(script: str, arguments: Sequence[str]) -> int:
    """Runs a script as the whole task of this process.

    What the script raises goes on to the interpreter, which ends as it would have under
    ``python SCRIPT``: with the same exit code and the script's own lines in the traceback.

    Args:
        script: the path of the Python file.
        arguments: the script's arguments.

    Returns:
        0, or 2 when the file cannot be read.
    """
    try:
        run_script(script, arguments)
    except _UnreadableScript as error:
        print(f"flowrs: can't open file {error}", file=sys.stderr)
        return 2
    except SystemExit:
        raise
    except BaseException as error:
        _hide_our_frames(error)
        _show_without_callers(error)
        raise
    return 0


def run_script(script: str, arguments: Sequence[str]) -> None:
    """Runs a script in which ``import oneflow`` means flowrs.

    ``sys.argv``, ``sys.path``, ``sys.modules`` and ``sys.meta_path`` are afterwards as before.

    Args:
        script: the path of the Python file.
        arguments: the script's arguments.
    """
    # Absolute, as python has it since 3.9, so that the script may change the working folder.
    path = os.path.abspath(script)
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        raise _UnreadableScript(f"{path!r}: [Errno {error.errno}] {error.strerror}") from None
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=path, __builtins__=builtins, __cached__=None)
    module.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
    with oneflow_names(), _as_main(module, [script, *arguments], os.path.realpath(path)):
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)


class _UnreadableScript(Exception):
    """The script's file cannot be read."""


@contextlib.contextmanager
def _as_main(module: types.ModuleType, argv: list[str], real_path: str) -> Iterator[None]:
    main, old_argv, old_path = sys.modules.get("__main__"), sys.argv, list(sys.path)
    sys.modules["__main__"], sys.argv = module, argv
    if not sys.flags.safe_path:
        # In place of the folder of the flowrs command, which python put there.
        sys.path[:1] = [os.path.dirname(real_path)]
    try:
        yield
    finally:
        sys.argv, sys.path[:] = old_argv, old_path
        if main is not None:
            sys.modules["__main__"] = main


def _hide_our_frames(error: BaseException) -> None:
    """Takes the frames of this package out of the tracebacks of an error and of its causes."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = _without_our_frames(one.__traceback__)
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def _without_our_frames(traceback: types.TracebackType | None) -> types.TracebackType | None:
    kept = []
    while traceback is not None:
        if os.path.dirname(traceback.tb_frame.f_code.co_filename) != _OUR_FOLDER:
            kept.append(traceback)
        traceback = traceback.tb_next
    result = None
    for one in reversed(kept):
        result = types.TracebackType(result, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return result


def _show_without_callers(error: BaseException) -> None:
    """Has the interpreter report this error without the frames that called the script."""
    shown, hook = error.__traceback__, sys.excepthook

    def report(
        kind: type[BaseException], raised: BaseException, traceback: types.TracebackType | None
    ) -> None:
        if raised is error:
            raised.__traceback__ = traceback = shown
        hook(kind, raised, traceback)

    sys.excepthook = report
