"""The real page in a real browser: app.py as a subprocess, Chromium through Playwright."""

from __future__ import annotations

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
            env={**os.environ, "POOLING_EXPLORER_HOME": str(home)},
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


class Watch:
    """What a page must not do: log errors, open dialogs, ask another host for anything."""

    def __init__(self, page) -> None:
        self.problems: list[str] = []
        page.on("console", self.console)
        page.on("pageerror", lambda e: self.problems.append(f"page error: {e}"))
        page.on("dialog", self.dialog)
        page.on("request", self.request)

    def console(self, message) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text} {message.location.get('url', '')}")

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
