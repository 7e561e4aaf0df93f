"""The ``flowrs`` command."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from flowrs._terminal import printable
from flowrs.errors import FlowrsError

_DESCRIPTION = """\
flowrs trains and runs neural networks written for OneFlow's classic API, on the CPU.

commands:
  flowrs demo             see it at work: train, save, open again, extend, train on, LeNet
  flowrs run SCRIPT ...   run a script that says "import oneflow as flow", as it is

commands about checkpoints:
  flowrs ls PATH          list variables, or the checkpoints of a folder
  flowrs show PATH        what the numbers are like; NaN, histograms
  flowrs diff A B         how two checkpoints differ
  flowrs verify PATH      whether the bytes are those that were saved
  flowrs convert A B      to and from safetensors and npz, and from PyTorch
  flowrs update A B       give variables other values, or add some
  flowrs rename A X=Y     give variables other names
  flowrs drop A X         remove variables
  flowrs prune FOLDER     remove the checkpoints of a run that nothing asks to keep
  flowrs clean FOLDER     remove what interrupted saves left behind
"""

_EXAMPLES = """\
examples:
  flowrs demo
  flowrs run mlp_mnist_origin.py
  flowrs ls mlp_models_1
  flowrs convert mlp_models_1 mlp.safetensors
  flowrs show --help      (every command explains itself)

settings (environment variables):
  FLOWRS_DATA_DIR=DIR     where MNIST's files lie
  FLOWRS_NUM_THREADS=N    how many threads to compute with
  FLOWRS_PROGRESS=0       no progress bars
"""

_RUN_DESCRIPTION = """\
Runs a Python script in which "import oneflow" means flowrs. The script needs no change, and sees
its own arguments, folder and name as under python. What flowrs lacks is named when it is used.
"""

_RUN_EXAMPLES = """\
examples:
  flowrs run mlp_mnist_finetune.py
  flowrs run train.py --batch_size 64     (what follows the script's name is the script's)
"""

_DEMO_DESCRIPTION = """\
Trains a small network on the handwritten digits inside flowrs (and on MNIST if this computer has
it), saves it, opens it again by memory mapping, adds a layer, trains on and saves the result.
Takes less than a minute; nothing is downloaded.
"""

_DEMO_EXAMPLES = """\
examples:
  flowrs demo                  saves into ./flowrs_demo, or the next free ./flowrs_demo_2, ...
  flowrs demo --output tour    saves into ./tour, which must not hold anything yet
"""


#: The commands about checkpoints: each is a module of its own, loaded when it is asked for. The
#: number is the exit code when the command fails; 1 is an answer of ``diff``.
_CHECKPOINT_COMMANDS = {
    "ls": 1,
    "show": 1,
    "diff": 2,
    "verify": 1,
    "convert": 1,
    "update": 1,
    "rename": 1,
    "drop": 1,
    "prune": 1,
    "clean": 1,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: what follows the command's name; those of this process by default.

    Returns:
        The exit code: 0 when all went well, 1 when it did not, 2 for a wrong command line, 130
        when the command was interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if len(words) >= 2 and words[0] == "run" and not words[1].startswith("-"):
        # Before argparse, which would take options of the script's for its own.
        from flowrs.cli.run import run_as_command

        return run_as_command(words[1], words[2:])
    command = words[0] if words else ""
    try:
        if command in _CHECKPOINT_COMMANDS:
            return _run_checkpoint_command(command, words[1:])
        parsed = _parser().parse_args(words)
        if parsed.command != "demo":
            _parser().print_help()
            return 2
        from flowrs.cli.demo import demo

        return demo(parsed.output)
    except FlowrsError as error:
        # A message may quote names out of a file that is not trusted.
        lines = map(printable, str(error).splitlines())
        print("flowrs: " + "\n".join(lines), file=sys.stderr)
        return _CHECKPOINT_COMMANDS.get(command, 1)
    except KeyboardInterrupt:
        print("\nflowrs: interrupted", file=sys.stderr)
        return 130


def _run_checkpoint_command(command: str, words: Sequence[str]) -> int:
    module = importlib.import_module(f"flowrs.cli.{command}")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding lacks is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code: int = module.run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads the output has seen enough, as `head` has. Nothing more goes there, not
        # even when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


def _parser() -> argparse.ArgumentParser:
    import flowrs

    parser = argparse.ArgumentParser(
        prog="flowrs",
        usage="flowrs [--help] [--version] COMMAND ...",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"flowrs {flowrs.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", help=argparse.SUPPRESS)
    for command in _CHECKPOINT_COMMANDS:
        commands.add_parser(command, add_help=False)
    demo = commands.add_parser(
        "demo",
        description=_DEMO_DESCRIPTION,
        epilog=_DEMO_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="the folder to save into; it is made, or must be empty",
    )
    run = commands.add_parser(
        "run",
        usage="flowrs run [--help] SCRIPT [ARGUMENT ...]",
        description=_RUN_DESCRIPTION,
        epilog=_RUN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("script", metavar="SCRIPT", help="the Python file to run")
    run.add_argument("arguments", metavar="ARGUMENT", nargs="*", help="what the script gets")
    return parser
