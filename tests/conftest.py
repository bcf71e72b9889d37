"""Fixtures of all tests. Nothing here reaches the network, and nothing is written outside a temporary folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Before anything of ours or of Hugging Face is imported: both read the environment once.
HOME = tempfile.mkdtemp(prefix="pooling-explorer-tests-")
os.environ["POOLING_EXPLORER_HOME"] = HOME
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:  # tests run side by side: one thread each, or they wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]


def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """A file's tests stay in one process, and so do all that drive the page: one app serves them."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "browser" if "/browser/" in nodeid else super()._split_scope(nodeid)

    return ByFile(config, log)


def missing(what: str) -> None:
    """Skip, saying why; in CI, where everything must be there, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def pytest_sessionfinish() -> None:
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty cache and data directory of the test's own."""
    monkeypatch.setenv("POOLING_EXPLORER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The evaluation data beside the project."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        missing("the evaluation data is not there: a folder shared/data beside the project")
    return path


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a chromium that the browser tests drive."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    missing("no chromium on the path: chromium, chromium-browser or google-chrome")
    raise AssertionError


@pytest.fixture(scope="session")
def smollm2() -> None:
    """SmolLM2 can be loaded without a network."""
    from explorer.hub import WITHOUT_SMOLLM2, has_smollm2

    if not has_smollm2():
        missing(WITHOUT_SMOLLM2)


@pytest.fixture(scope="session")
def minilm():
    """The packaged MiniLM in float32, shared by all tests: take your adapters off again."""
    from explorer.backbone import Backbone

    return Backbone.load(device="cpu", dtype="float32")
