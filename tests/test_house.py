"""The wheel holds what it must and nothing else, and the checks of the house can fail."""

from __future__ import annotations

import email
import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from conftest import shared_folder

ROOT = Path(__file__).parents[1]

TRAIN = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import flowrs as flow
import flowrs.typing as tp

assert flow.__file__.startswith(sys.argv[1]), flow.__file__

@flow.global_function(type="train")
def train(
    x: tp.Numpy.Placeholder((100, 1, 28, 28)), y: tp.Numpy.Placeholder((100,), flow.int32)
) -> tp.Numpy:
    logits = flow.layers.dense(flow.flatten(x, 1), 10, name="dense")
    loss = flow.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
    rate = flow.optimizer.PiecewiseConstantScheduler([], [0.1])
    flow.optimizer.SGD(rate, momentum=0).minimize(loss)
    return loss

(images, labels), _ = flow.data.load_digits(100, 99)
losses = [train(x, y).mean() for _ in range(4) for x, y in zip(images, labels)]
flow.checkpoint.save("saved")
print(losses[0] > 2 * losses[-1], *sorted(flow.load("saved")))
"""


@pytest.fixture(scope="module")
def wheel() -> zipfile.ZipFile:
    """The wheel that is being tested."""
    name = os.environ.get("FLOWRS_WHEEL", "")
    if not name:
        pytest.skip("FLOWRS_WHEEL is not set: make test builds a wheel and names it so")
    return zipfile.ZipFile(ROOT / name)


def metadata(wheel: zipfile.ZipFile, name: str) -> email.message.Message:
    """One of the files of the wheel's dist-info folder."""
    (path,) = [path for path in wheel.namelist() if path.endswith(f".dist-info/{name}")]
    return email.message_from_bytes(wheel.read(path))


def test_one_small_wheel_serves_all_pythons(wheel: zipfile.ZipFile) -> None:
    path = Path(str(wheel.filename))
    assert "-cp311-abi3-" in path.name
    assert path.stat().st_size < 5_000_000
    assert metadata(wheel, "METADATA")["Requires-Python"] == ">=3.11"


def test_numpy_is_the_only_dependency(wheel: zipfile.ZipFile) -> None:
    requirements = metadata(wheel, "METADATA").get_all("Requires-Dist")
    assert requirements is not None
    assert [re.split(r"\W", line)[0] for line in requirements] == ["numpy"]


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    inside = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    sources = ROOT / "python"
    expected = {
        path.relative_to(sources).as_posix()
        for path in sources.rglob("*")
        if path.suffix in {".py", ".pyi", ".npz", ".md", ".typed"} and path.is_file()
    }
    expected |= {"flowrs/py.typed", "flowrs/_flowrs.abi3.so"}
    assert inside == expected
    assert {"flowrs/_flowrs.pyi", "flowrs/data/digits.npz", "flowrs/data/DIGITS.md"} <= inside
    licences = {Path(name).name for name in names if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


def test_the_command_is_installed(wheel: zipfile.ZipFile) -> None:
    assert "flowrs=flowrs.cli:main" in metadata(wheel, "entry_points.txt").as_string().replace(
        " ", ""
    )


def test_the_wheel_alone_trains_and_saves(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    wheel.extractall(installed)
    empty = tmp_path / "empty"
    empty.mkdir()
    command = [sys.executable, "-I", "-c", TRAIN, str(installed)]
    done = subprocess.run(
        command, cwd=empty, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "True", "System-Train-TrainStep-train", "dense-bias", "dense-weight",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def house() -> ModuleType:
    """The script behind the last part of `make lint`."""
    return script("house")


def script(name: str) -> ModuleType:
    """A script of the folder tools, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def crate(name: str, *dependencies: str) -> dict[str, object]:
    """A package as cargo describes it."""
    return {"name": name, "dependencies": [{"name": other} for other in dependencies]}


def test_dependencies_may_point_one_way_only(house: ModuleType) -> None:
    right = [
        crate("flowrs-kernels", "matrixmultiply"),
        crate("flowrs-engine", "flowrs-kernels"),
        crate("flowrs-python", "flowrs-engine", "flowrs-checkpoint", "pyo3"),
    ]
    assert house.wrong_dependencies(right) == []
    wrong = [
        crate("flowrs-kernels", "flowrs-engine"),
        crate("flowrs-engine", "pyo3"),
        crate("flowrs-checkpoint", "flowrs-kernels"),
        crate("flowrs-extra"),
    ]
    assert len(house.wrong_dependencies(wrong)) == len(wrong)


@pytest.mark.parametrize(
    ("expression", "accepted"),
    [
        ("Apache-2.0", True),
        ("MIT OR Apache-2.0", True),
        ("MIT/Apache-2.0", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", True),
        ("MIT", False),
        ("GPL-3.0-only", False),
        ("Apache-2.0 AND GPL-3.0-only", False),
        ("Unicode-3.0", False),
        ("", False),
    ],
)
def test_licences(house: ModuleType, expression: str, accepted: bool) -> None:
    assert house.acceptable(expression) == accepted


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("path = " + '"/ho' + 'me/somebody/data"', 1),
        ("cd /ro" + "ot/flowrs", 1),
        ("from https://py" + "pi.org/simple", 1),
        ("see https://rustup.rs and ~/.cargo", 0),
        ("the folder target/wheels and and/or", 0),
    ],
)
def test_names_of_one_machine_are_found(house: ModuleType, line: str, found: int) -> None:
    assert len(house.foreign_names("file", f"first\n{line}\n")) == found


def test_crates_come_from_the_public_index(house: ModuleType) -> None:
    lock = (ROOT / "Cargo.lock").read_text()
    assert house.foreign_sources(lock) == []
    foreign = lock.replace("github.com/rust-lang", "mirror.example")
    assert len(house.foreign_sources(foreign)) == 1


def test_stubs_get_the_methods_that_the_generator_leaves_out() -> None:
    stubs = script("stubs")
    made = stubs.finished(
        "class Other:\n    x: int\n\n@final\nclass Mapping:\n    y: int\n\nz: int\n"
    )
    mapping = made[made.index("class Mapping") :]
    assert "y: int\n    def __buffer__(self, flags: int, /) -> memoryview: ..." in mapping
    assert made.count("__buffer__") == 1
    with pytest.raises(SystemExit, match="no class Mapping"):
        stubs.finished("class Other:\n    x: int\n")


def test_lines_are_counted_as_code_documentation_and_tests() -> None:
    size = script("size")
    rust = "//! About.\n\nfn f() {} // code\n\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n"
    assert size.count_rust(rust) == size.Count(code=1, comments=1, tests=4)
    python = '"""About.\n\nMore."""\n\n# why\nx = """a\nb"""  # code\n'
    assert size.count_python(python) == size.Count(code=2, comments=3)


def test_without_the_shared_data_tests_are_skipped_or_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWRS_GOLDEN_DIR", raising=False)
    monkeypatch.delenv("FLOWRS_REQUIRE_SHARED", raising=False)
    with pytest.raises(pytest.skip.Exception, match="FLOWRS_GOLDEN_DIR is not set"):
        shared_folder("FLOWRS_GOLDEN_DIR", "the golden traces")
    monkeypatch.setenv("FLOWRS_REQUIRE_SHARED", "1")
    with pytest.raises(pytest.fail.Exception, match="FLOWRS_GOLDEN_DIR is not set"):
        shared_folder("FLOWRS_GOLDEN_DIR", "the golden traces")
    monkeypatch.setenv("FLOWRS_GOLDEN_DIR", str(ROOT / "nothing"))
    with pytest.raises(AssertionError, match="which is no folder"):
        shared_folder("FLOWRS_GOLDEN_DIR", "the golden traces")


def test_the_ci_script_runs_the_two_targets_and_lets_nothing_be_skipped() -> None:
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    text = path.read_text()
    assert text.splitlines()[-1] == "exec make lint test"
    assert "export FLOWRS_REQUIRE_SHARED=1" in text


def test_every_public_target_has_a_line_of_help() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = re.findall(r"^  make (\w+) +\S", done.stdout, re.MULTILINE)
    for target in ["demo", "test", "lint", "stubs", "bench", "all", "size"]:
        assert target in listed
