"""What all tests share: a fresh session around each of them, and the data beside the repository.

The data are real MNIST and the traces of whole training runs; `make test` says where they lie by
``FLOWRS_DATA_DIR`` and ``FLOWRS_GOLDEN_DIR``. Tests that need them take the fixtures below, and are
skipped where the variables are not set; with ``FLOWRS_REQUIRE_SHARED=1`` they fail instead.
"""

import os
from pathlib import Path

import pytest

import flowrs as flow
from flowrs import _flowrs


def pytest_report_header():
    """Says which flowrs is tested: the installed wheel, or the source tree in an editable one."""
    version, profile = _flowrs.build_info()
    return f"flowrs: {version} ({profile}, {_flowrs.isa()}) in {Path(flow.__file__).parent}"


@pytest.fixture(autouse=True)
def fresh_session():
    """No job, no variable, no settings and the same threads before and after each test."""
    threads = _flowrs.threads()
    forget()
    yield
    forget()
    if _flowrs.threads() != threads:
        _flowrs.set_threads(threads)


def forget():
    """Puts the session and the settings back to what they are in a new process."""
    flow.clear_default_session()
    flow.config.random_seed(None)
    flow.config.convolution_algorithm("auto")
    flow.config.precision("default")


@pytest.fixture(scope="session")
def mnist_dir():
    """The folder with MNIST's four files."""
    return shared_folder("FLOWRS_DATA_DIR", "MNIST")


@pytest.fixture(scope="session")
def golden_dir():
    """The folder with the traces of training runs and the weights that they start from."""
    return shared_folder("FLOWRS_GOLDEN_DIR", "the golden traces")


def shared_folder(variable, what):
    """The folder that an environment variable names; without it the test cannot run here."""
    name = os.environ.get(variable, "")
    if name:
        folder = Path(name)
        assert folder.is_dir(), f"{variable} names {name}, which is no folder"
        return folder
    reason = f"{variable} is not set: it names the folder with {what}"
    if os.environ.get("FLOWRS_REQUIRE_SHARED") == "1":
        pytest.fail(f"{reason}, and FLOWRS_REQUIRE_SHARED=1 lets no test be skipped for want of it")
    pytest.skip(reason)
