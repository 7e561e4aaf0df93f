"""The ``flowrs`` command: scripts for OneFlow run as they are, and the demonstration."""

import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from flowrs.cli import demo as demo_module
from flowrs.cli.oneflow_names import nearest_names
from flowrs.cli.run import run_script
from flowrs.errors import CheckpointExistsError


@pytest.fixture
def environment(tmp_path):
    """The environment of a child process: no MNIST, no progress bar, no user settings."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name != "FLOWRS_DATA_DIR"}
    changed = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"), str(home))
    return {**kept, **changed, "PYTHONIOENCODING": "utf-8"}


@pytest.fixture
def flowrs(tmp_path, environment):
    def run(*arguments, python=False, **options):
        command = [sys.executable] if python else [sys.executable, "-m", "flowrs"]
        return subprocess.run(
            [*command, *map(str, arguments)],
            cwd=options.pop("cwd", tmp_path),
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    return run


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def both(flowrs, script, *arguments, **options):
    """Runs a script under python and under flowrs."""
    return (
        flowrs(script, *arguments, python=True, **options),
        flowrs("run", script, *arguments, **options),
    )


# --- as python runs a script ---

ENVIRONMENT = """\
import sys
import neighbour
print(__name__, __file__, __package__, __spec__, __doc__, type(__loader__).__name__)
print(sys.argv, sys.path[0], sys.modules["__main__"].__dict__ is globals(), neighbour.value)
names = set(globals()) - {"__annotations__", "__cached__"}  # not in every version
print(sorted(names), type(__builtins__))
"""


def test_a_script_sees_what_it_sees_under_python(tmp_path, flowrs):
    write(tmp_path / "sub" / "neighbour.py", "value = 7\n")
    write(tmp_path / "sub" / "script.py", ENVIRONMENT)
    arguments = ["--help", "-x", "run", "--", "y", "--output=z"]
    expected, found = both(flowrs, Path("sub") / "script.py", *arguments)
    assert found.stderr == expected.stderr == ""
    assert found.stdout == expected.stdout
    assert "neighbour" in found.stdout and found.returncode == 0


def test_a_linked_script_imports_from_the_folder_of_the_file(tmp_path, flowrs):
    write(tmp_path / "real" / "neighbour.py", "value = 7\n")
    write(tmp_path / "real" / "script.py", ENVIRONMENT)
    try:
        (tmp_path / "link.py").symlink_to(tmp_path / "real" / "script.py")
    except OSError as error:
        pytest.skip(f"no symbolic links here: {error}")
    expected, found = both(flowrs, "link.py")
    assert found.stdout == expected.stdout and found.returncode == 0


ENDINGS = {
    "end": ("pass", 0),
    "exit": ("import sys; sys.exit()", 0),
    "exit code": ("import sys; sys.exit(3)", 3),
    "exit text": ("import sys; sys.exit('the text')", 1),
    "raise SystemExit": ("raise SystemExit(4)", 4),
    "exception": ("def inner():\n    raise ValueError('wrong')\ninner()", 1),
    "cause": (
        "try:\n    {}['key']\nexcept KeyError as error:\n    raise ValueError('x') from error",
        1,
    ),
    "context": ("try:\n    {}['key']\nexcept KeyError:\n    1 / 0", 1),
    "group": ("raise ExceptionGroup('both', [ValueError(1), TypeError(2)])", 1),
    "syntax": ("x = = 1", 1),
    "missing module": ("import no_such_module", 1),
    "own hook": ("import sys\nsys.excepthook = lambda *a: print('own', a[0])\n1 / 0", 1),
    "at exit": ("import atexit\natexit.register(print, 'bye')\nraise ValueError('x')", 1),
}


@pytest.mark.parametrize(("text", "code"), ENDINGS.values(), ids=ENDINGS.keys())
def test_endings_and_tracebacks_are_those_of_python(tmp_path, flowrs, text, code):
    write(tmp_path / "script.py", f"import os\n{text}\n")
    expected, found = both(flowrs, "script.py")
    assert found.returncode == expected.returncode == code
    assert found.stdout == expected.stdout
    assert found.stderr == expected.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals end a process otherwise on Windows")
def test_an_interrupted_script_ends_as_under_python(tmp_path, flowrs):
    write(tmp_path / "script.py", "raise KeyboardInterrupt\n")
    expected, found = both(flowrs, "script.py")
    assert found.returncode == expected.returncode == -signal.SIGINT
    assert found.stderr == expected.stderr


def test_a_script_that_is_not_there(tmp_path, flowrs):
    expected, found = both(flowrs, "nothing.py")
    assert found.returncode == expected.returncode == 2
    assert str(tmp_path / "nothing.py") in found.stderr and "Traceback" not in found.stderr


# --- oneflow means flowrs ---


def test_imports_of_oneflow(tmp_path, flowrs):
    script = """\
    import oneflow
    import oneflow as flow
    import oneflow.typing as tp
    import oneflow.core.operator.op_conf_pb2 as op_conf_util
    from oneflow import nn, checkpoint as saved
    from oneflow.python.ops import math_ops
    from oneflow.python.framework.check_point import CheckPoint
    from oneflow.compatible import single_client as classic
    import oneflow.compatible.single_client.typing as classic_tp
    import flowrs
    assert flow.nn is nn and oneflow.typing is tp
    assert tp.Numpy is flowrs.typing.Numpy is classic_tp.Numpy
    assert flow.float32 is flowrs.float32 is classic.float32
    assert nn.relu is flowrs.nn.relu and saved.get is flowrs.checkpoint.get
    assert math_ops.reduce_mean is flowrs.math.reduce_mean
    assert CheckPoint is flow.train.CheckPoint is flowrs.train.CheckPoint
    kinds = (op_conf_util.kNone, op_conf_util.kTanH, op_conf_util.kSigmoid, op_conf_util.kRelu)
    assert kinds == (0, 1, 2, 3)
    assert flow.__name__ == "oneflow" and flow.__version__ == flowrs.__version__
    assert "relu" in dir(flow.nn) and "global_function" in dir(flow)
    assert not hasattr(flow, "no_such_name") and not hasattr(flow, "cli")
    print("imported")
    """
    write(tmp_path / "script.py", re.sub("^    ", "", script, flags=re.M))
    found = flowrs("run", "script.py")
    assert (found.stdout, found.stderr, found.returncode) == ("imported\n", "", 0)


SEED_JOB = """\
import oneflow as flow
import oneflow.typing as tp
BATCH_SIZE = 100

@flow.global_function(type="train")
def train_job(
    images: tp.Numpy.Placeholder((BATCH_SIZE, 1, 28, 28), dtype=flow.float),
    labels: tp.Numpy.Placeholder((BATCH_SIZE,), dtype=flow.int32),
) -> tp.Numpy:
    with flow.scope.placement("cpu", "0:0"):
        initializer = flow.truncated_normal(0.1)
        reshape = flow.reshape(images, [images.shape[0], -1])
        hidden = flow.layers.dense(
            reshape, 512, activation=flow.nn.relu, kernel_initializer=initializer, name="dense1"
        )
        dense2 = flow.layers.dense(hidden, 10, kernel_initializer=initializer, name="dense2")
        loss = flow.nn.sparse_softmax_cross_entropy_with_logits(labels, dense2)
    lr_scheduler = flow.optimizer.PiecewiseConstantScheduler([], [0.1])
    flow.optimizer.SGD(lr_scheduler, momentum=0).minimize(loss)
    return loss

(train_images, train_labels), _ = flow.data.load_digits(BATCH_SIZE, 99)
for images, labels in zip(train_images, train_labels):
    loss = train_job(images, labels)
    print(loss.mean())
flow.checkpoint.save("./mlp_models_1")
"""


def test_a_training_script_for_oneflow_runs_as_it_is(tmp_path, flowrs):
    write(tmp_path / "script.py", SEED_JOB)
    found = flowrs("run", "script.py")
    assert found.returncode == 0, found.stderr
    losses = [float(line) for line in found.stdout.split()]
    assert len(losses) == 15 and losses[-1] < losses[0] / 2
    step = tmp_path / "mlp_models_1" / "System-Train-TrainStep-train_job" / "out"
    assert step.read_bytes() == (15).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("line", "error", "nearest"),
    [
        ("flow.nn.rellu", "AttributeError: flowrs has no oneflow.nn.rellu;", "oneflow.nn.relu"),
        ("flow.nn.Relu", "AttributeError: flowrs has no oneflow.nn.Relu;", "oneflow.nn.relu"),
        (
            "flow.global_functoin",
            "AttributeError: flowrs has no oneflow.global_functoin;",
            "oneflow.global_function",
        ),
        (
            "flow.nn.reduce_mean",
            "AttributeError: flowrs has no oneflow.nn.reduce_mean;",
            "oneflow.math.reduce_mean",
        ),
        (
            "import oneflow.typings",
            "ModuleNotFoundError: flowrs has no oneflow.typings;",
            "oneflow.typing",
        ),
        (
            "from oneflow.nn import rellu",
            "ModuleNotFoundError: flowrs has no oneflow.nn.rellu;",
            "oneflow.nn.relu",
        ),
        ("import oneflow.cli", "ModuleNotFoundError: flowrs has no oneflow.cli", ""),
        ("import oneflow._flowrs", "ModuleNotFoundError: flowrs has no oneflow._flowrs", ""),
    ],
)
def test_what_is_lacking_is_named_with_the_nearest(tmp_path, flowrs, line, error, nearest):
    write(tmp_path / "script.py", f"import oneflow as flow\n{line}\n")
    found = flowrs("run", "script.py")
    assert found.returncode == 1 and found.stdout == ""
    lines = found.stderr.splitlines()
    assert lines[1] == f'  File "{tmp_path / "script.py"}", line 2, in <module>'
    assert lines[2].strip() == line
    assert lines[-1].startswith(error) and nearest in lines[-1]
    assert found.stderr.count("  File ") == 1


def test_a_script_can_ask_for_what_is_lacking(tmp_path, flowrs):
    script = """\
    try:
        import oneflow.core.record.record_pb2_of_another_version
    except ImportError as error:
        print(type(error).__name__)
    import oneflow as flow
    print(getattr(flow, "no_such_name", None))
    """
    write(tmp_path / "script.py", re.sub("^    ", "", script, flags=re.M))
    assert flowrs("run", "script.py").stdout == "ModuleNotFoundError\nNone\n"


def test_nearest_names_are_public():
    assert nearest_names("relu")[0] in ("math.relu", "nn.relu")
    assert nearest_names("zzzzzz") == []
    assert len(nearest_names("math.add")) <= 4


# --- nothing is left behind ---


@pytest.mark.parametrize(
    "ending", ["pass", "sys.exit(2)", "raise RuntimeError('x')", "import oneflow.x"]
)
def test_nothing_is_left_behind(tmp_path, monkeypatch, ending):
    before = types.ModuleType("oneflow")
    monkeypatch.setitem(sys.modules, "oneflow", before)
    script = write(
        tmp_path / "script.py",
        "import sys\nimport oneflow as flow, oneflow.typing\n"
        "assert sys.argv == [__file__, 'a', 'b'] and flow.nn.relu\n"
        "sys.argv.append('c'); sys.path.append('d')\n" + ending,
    )
    state = (list(sys.meta_path), list(sys.path), sys.argv, list(sys.argv), sys.modules["__main__"])
    ended = None
    try:
        run_script(str(script), ["a", "b"])
    except (SystemExit, RuntimeError, ModuleNotFoundError) as error:
        ended = type(error)
    assert (ended is None) == (ending == "pass")
    assert state == (
        list(sys.meta_path),
        list(sys.path),
        sys.argv,
        list(sys.argv),
        sys.modules["__main__"],
    )
    assert sys.modules["oneflow"] is before
    assert [name for name in sys.modules if name.startswith("oneflow.")] == []


# --- the command itself ---


def test_version(flowrs):
    found = flowrs("--version")
    assert re.fullmatch(r"flowrs \d+\.\d+\.\d+\S*\n", found.stdout) and found.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["flowrs demo", "flowrs run SCRIPT", "FLOWRS_DATA_DIR"]),
        (["run", "--help"], ["flowrs run [--help] SCRIPT", "examples:"]),
        (["demo", "--help"], ["--output DIR", "examples:"]),
    ],
)
def test_help_teaches(flowrs, arguments, words):
    found = flowrs(*arguments)
    assert found.returncode == 0 and found.stderr == ""
    assert all(word in found.stdout for word in words)
    assert max(map(len, found.stdout.splitlines())) <= 100


@pytest.mark.parametrize("arguments", [[], ["run"], ["walk"], ["run", "--fast", "x.py"]])
def test_a_wrong_command_line(flowrs, arguments):
    found = flowrs(*arguments)
    assert found.returncode == 2
    assert "usage: flowrs" in found.stdout + found.stderr


# --- the demonstration ---


def test_demo_trains_saves_opens_and_extends(tmp_path, flowrs):
    found = flowrs("demo", "--output", "tour")
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    assert "every answer the same bit for bit" in found.stdout
    assert "MNIST is not on this computer" in found.stdout
    rows = re.findall(r"^(MLP|MLP, extended|LeNet) +digits .* ([\d.]+)%$", found.stdout, re.M)
    assert [model for model, _ in rows] == ["MLP", "MLP, extended", "LeNet"]
    assert all(float(accuracy) > 88 for _, accuracy in rows)
    step = "System-Train-TrainStep-train_job"
    plain = {"dense1-weight", "dense1-bias", "dense2-weight", "dense2-bias", step}
    for name, extra, steps in (
        ("mlp_models_1", set(), 600),
        ("mlp_ext_models_1", {"dense3-weight", "dense3-bias"}, 900),
    ):
        saved = tmp_path / "tour" / name
        assert {entry.name for entry in saved.iterdir()} == {"snapshot_done", *plain, *extra}
        assert (saved / step / "out").read_bytes() == steps.to_bytes(8, "little")
        assert (saved / "dense1-weight" / "out").stat().st_size == 512 * 784 * 4
    lenet = tmp_path / "tour" / "lenet_models_1"
    assert (lenet / "conv2-weight" / "out").stat().st_size == 64 * 32 * 5 * 5 * 4
    assert (lenet / step / "out").read_bytes() == (225).to_bytes(8, "little")


def test_demo_never_writes_into_a_folder_of_others(tmp_path, flowrs):
    kept = write(tmp_path / "mine" / "file", "text")
    found = flowrs("demo", "--output", "mine")
    assert found.returncode == 1
    assert "the folder mine is not empty" in found.stderr and "Traceback" not in found.stderr
    assert kept.read_text() == "text" and list(kept.parent.iterdir()) == [kept]


def test_demo_takes_the_next_free_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [demo_module._make_folder(None) for _ in range(3)]
    assert [str(folder) for folder in folders] == ["flowrs_demo", "flowrs_demo_2", "flowrs_demo_3"]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert demo_module._make_folder(empty) == empty
    write(empty / "file", "")
    with pytest.raises(CheckpointExistsError, match="not empty"):
        demo_module._make_folder(empty)
