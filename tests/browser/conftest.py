"""The real page in a real browser: app.py as a subprocess, Chromium through Playwright."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class App:
    """A running page."""

    url: str
    log: Path
    served_after: float
    home: Path


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """`python app.py` with a home of its own, so that nothing is cached: the very first start."""
    home = tmp_path_factory.mktemp("home")
    log = home / "app.log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port)],
            cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, "POOLING_EXPLORER_HOME": str(home), "OMP_NUM_THREADS": "2"},
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(url, timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() - began < 120, "the page is not served"
                time.sleep(0.2)
        yield App(url, log, time.monotonic() - began, home)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def browser(chromium: str):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield running
        running.close()


def wait_until_finished(page, state: str, timeout: float) -> None:
    """Wait until the run whose state stands in the element `state` has finished.

    Args:
        page: the page that follows the run.
        state: selector of the element with the run's state in words.
        timeout: milliseconds.

    Raises:
        AssertionError: it ended otherwise, or did not end in time; says what stood there.
    """
    from playwright.sync_api import TimeoutError as TooLate

    ended = "s => /Finished|Failed|Interrupted|Stopped/.test(document.querySelector(s).innerText)"
    with contextlib.suppress(TooLate):
        page.wait_for_function(ended, arg=state, timeout=timeout)
    said = page.locator(state).inner_text()
    assert "Finished" in said, f"the run has not finished: {said}"


class Watch:
    """What a page must not do: log errors, open dialogs, ask another host for anything."""

    def __init__(self, page) -> None:
        self.problems: list[str] = []
        page.on("console", self.console)
        page.on("response", self.response)
        page.on("pageerror", lambda e: self.problems.append(f"page error: {e}"))
        page.on("dialog", self.dialog)
        page.on("request", self.request)

    def console(self, message) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text} ({message.location.get('url', '')})")

    def response(self, response) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status} {response.request.method} {response.url}")

    def dialog(self, dialog) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def request(self, request) -> None:
        if not request.url.startswith(("http://127.0.0.1", "data:", "blob:")):
            self.problems.append(f"request to another host: {request.url}")


@pytest.fixture
def page(browser):
    """A fresh visitor on a desktop; at the end nothing may have gone wrong in the browser."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    opened = context.new_page()
    watch = Watch(opened)
    yield opened
    context.close()
    assert watch.problems == []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run a browser test a second time if it failed: a loaded machine may be too slow for a limit of the first.

    A test that needed it is listed at the end of the output.
    """
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=1))
