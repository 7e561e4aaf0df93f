"""What the documentation says is true: its examples run, and what it names is there."""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import re
from inspect import isfunction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import flowrs as flow

ROOT = Path(__file__).parents[1]
DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]


def blocks(document: str, language: str) -> list[str]:
    """The code blocks of a language in a document."""
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the README's example leaves: its names, where it ran, and ("said") what it printed.

    Without MNIST on this computer it learns the digits of the package, which have the same shapes.
    """
    names: dict[str, Any] = {"__name__": "example", "said": []}
    names["print"] = lambda value: names["said"].append(str(value))
    names["folder"] = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(names["folder"])
        if not os.environ.get("FLOWRS_DATA_DIR"):
            patch.setattr(flow.data, "load_mnist", flow.data.load_digits)
        flow.clear_default_session()
        flow.config.random_seed(1)
        for block in blocks("README.md", "python"):
            exec(compile(block, "README.md", "exec"), names)
    return names


def test_the_readme_example_learns(example: dict[str, Any]) -> None:
    assert example["loss"].shape == (100,)
    assert example["loss"].mean() < (1.5 if len(example["train_images"]) == 15 else 0.5)


def test_the_readme_example_says_what_its_comments_say(example: dict[str, Any]) -> None:
    expected = re.findall(r"print\(.*\)  # (.*)", (ROOT / "README.md").read_text())
    assert len(expected) == 2
    assert example["said"] == expected


def test_the_readme_lists_the_files_of_the_checkpoint(example: dict[str, Any]) -> None:
    text = (ROOT / "README.md").read_text()
    listed = dict(re.findall(r"^\| `(mlp_models_1/\S+)` \| (\d+) \|", text, re.MULTILINE))
    found = {
        path.relative_to(example["folder"]).as_posix(): str(path.stat().st_size)
        for path in (example["folder"] / "mlp_models_1").rglob("*")
        if path.is_file() and path.name != "meta"
    }
    assert listed == found


def test_the_readme_shows_the_meta_file(example: dict[str, Any]) -> None:
    meta = example["folder"] / "mlp_models_1" / "dense1-weight" / "meta"
    *shown, checksum = meta.read_text().splitlines(keepends=True)
    assert ["".join(shown)] == blocks("README.md", "text")
    assert checksum.startswith("# xxh3-128: ")


def modules() -> list[ModuleType]:
    """Every module of the package."""
    found = pkgutil.walk_packages(flow.__path__, "flowrs.")
    return [
        flow,
        *(importlib.import_module(each.name) for each in found if "__main__" not in each.name),
    ]


def doctests() -> list[doctest.DocTest]:
    """Every docstring of the package that has examples."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for module in modules() for test in finder.find(module) if test.examples]
    return list({test.name: test for test in found}.values())


@pytest.mark.parametrize("test", [pytest.param(test, id=test.name) for test in doctests()])
def test_docstring(test: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(flow.env, "_initialized", False)
    runner = doctest.DocTestRunner(optionflags=doctest.FAIL_FAST)
    said: list[str] = []
    outcome = runner.run(test, out=said.append, clear_globs=False)
    assert outcome.attempted > 0
    assert outcome.failed == 0, "".join(said)


def public_functions() -> dict[str, Any]:
    """The functions of the API by name: those that a namespace lists, or else defines."""
    spaces = {"flow": flow, "flow.data": flow.data}
    for outer in (flow, flow.optimizer):
        for name, value in vars(outer).items():
            if isinstance(value, ModuleType) and name in outer.__all__:
                spaces[f"{outer.__name__}.{name}".replace("flowrs", "flow", 1)] = value
    found = {}
    for space, module in spaces.items():
        for name in getattr(module, "__all__", vars(module)):
            value = getattr(module, name)
            ours = module.__name__ if not hasattr(module, "__all__") else "flowrs"
            if isfunction(value) and not name.startswith("_") and value.__module__.startswith(ours):
                found[f"{space}.{name}"] = value
    return found


def test_every_public_function_has_an_example() -> None:
    functions = public_functions()
    assert {"flow.math.exp", "flow.save", "flow.optimizer.warmup.linear"} <= set(functions)
    assert [name for name, function in functions.items() if ">>>" not in function.__doc__] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_in_the_documents_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    links = [target for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in target]
    quoted = re.findall(r"`((?:rust|python|tests|tools|benches|examples|\.ci)/[\w./-]*)`", text)
    missing = [path for path in [*links, *quoted] if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_in_the_documents_exist(document: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE)
    assert set(named) - set(targets) == set()


def test_variables_of_the_environment_in_the_documents_are_read() -> None:
    patterns = ("python/**/*.py", "rust/**/*.rs", "tests/*.py", "benches/**/*.py", "Makefile")
    read = {path for pattern in patterns for path in ROOT.glob(pattern)} - {Path(__file__)}
    code = "".join(path.read_text() for path in sorted(read))
    text = "".join((ROOT / document).read_text() for document in DOCUMENTS)
    named = set(re.findall(r"FLOWRS_[A-Z_]+", text))
    assert "FLOWRS_DATA_DIR" in named
    assert {name for name in named if name not in code} == set()


def test_every_figure_in_the_readmes_performance_table_is_in_the_results() -> None:
    section = (ROOT / "README.md").read_text().partition("## Performance")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    assert len(rows) >= 4
    results = (ROOT / "benches" / "RESULTS.md").read_text().splitlines()
    assert [row for row in rows if row not in results] == []
