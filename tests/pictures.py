"""Make the README's pictures, one a tab, from the real page: python tests/pictures.py (needs chromium; some minutes).

Starts app.py with a home of its own, which encodes its example corpus; trains a variant for a minute and evaluates
three, and writes explorer/ui/pictures/TAB.png, at most 150 KB each. With --home DIR that folder is used and kept.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "explorer" / "ui" / "pictures"
BROWSER = next(p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n)))
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
LIMIT = 150_000
SOON, LONG = 120_000, 1_800_000  # milliseconds; encoding and training take minutes on a busy machine
EVALUATED = ("MtebTasksClustering", "MinimalTriplets")


def wait_for(url: str, app: subprocess.Popen) -> None:
    """Until the page is served."""
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            if app.poll() is not None:
                raise SystemExit("app.py has ended; its message stands above") from None
            time.sleep(0.3)


def save(page: Page, name: str, height: int, show: str | None = None) -> None:
    """The window, so high, as a PNG of few colours, with the element `show` at its top."""
    page.set_viewport_size({"width": 1280, "height": height})
    if show:
        page.evaluate("s => document.querySelector(s).scrollIntoView({ block: 'start' })", show)
    else:
        page.evaluate("window.scrollTo(0, 0)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(2000)  # plots settle
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for colours in (256, 128, 64, 32):
        out = io.BytesIO()
        # Maximum coverage keeps the colours of few pixels: the variants' marks.
        picture.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() <= LIMIT:
            break
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.png").write_bytes(out.getvalue())
    print(f"{name}.png: {out.tell() / 1000:.0f} KB, {colours} colours", flush=True)


def open_tab(page: Page, name: str, ready: str, timeout: float = LONG) -> None:
    page.get_by_role("tab", name=name, exact=True).click()
    page.wait_for_selector(ready, timeout=timeout)


def press_start(page: Page, tab: str) -> None:
    """Start what the tab's form asks for, and wait until it is in the queue."""
    page.wait_for_function(
        "id => (b => b.innerText === 'Start' && !b.disabled)(document.querySelector(id))",
        arg=f"#{tab}-start", timeout=SOON,
    )  # fmt: skip
    page.locator(f"#{tab}-start").click()
    page.wait_for_function(
        "id => document.querySelector(id).innerText.includes('close this page')", arg=f"#{tab}-said", timeout=SOON
    )


def finished(page: Page, state: str) -> None:
    page.wait_for_function("id => document.querySelector(id).innerText.includes('Finished')", arg=state, timeout=LONG)


def begin_runs(page: Page) -> None:
    """A fine-tune and an evaluation, one after the other in the background."""
    open_tab(page, "Fine-tune", "#train-start")
    page.locator("#train-name input, #train-name textarea").first.fill("first-try")
    press_start(page, "train")
    open_tab(page, "Evaluate", "#evaluate-builtin input")
    page.wait_for_function(
        "document.querySelector('#evaluate-builtin').innerText.includes('Retrieval ·')", timeout=LONG
    )
    for box in page.locator("#evaluate-builtin label").all():
        box.locator("input").set_checked(any(name in box.inner_text() for name in EVALUATED))
    press_start(page, "evaluate")


def take(page: Page) -> None:
    """Tab by tab; what takes longest runs meanwhile."""
    page.wait_for_selector("#queries-table tbody tr", timeout=LONG)
    save(page, "compare", 860)
    open_tab(page, "Layers", "#heads-a .main-svg")
    page.locator("#take-query").click()
    page.wait_for_selector("#heads-b .main-svg", timeout=LONG)
    save(page, "layers", 1180, "#words-a")
    open_tab(page, "Map", "#map-numbers table")
    save(page, "map", 1180)
    open_tab(page, "Study", "#study-report .claim")
    save(page, "study", 1180, "#study-report")
    open_tab(page, "Learn", "#lesson-story h3")
    page.locator("#lesson-expected input").nth(1).check()
    page.wait_for_function("!document.querySelector('#lesson-reveal').disabled", timeout=SOON)
    page.locator("#lesson-reveal").click()
    page.wait_for_selector("#lesson-result .answer", timeout=LONG)
    save(page, "learn", 960)
    begin_runs(page)
    finished(page, "#evaluation-state")
    page.wait_for_selector("#evaluation-table .scores", timeout=SOON)
    save(page, "evaluate", 960, "#evaluation-choice")
    open_tab(page, "Fine-tune", "#run-curves .main-svg")
    finished(page, "#run-state")
    save(page, "finetune", 960)
    open_tab(page, "Variants", "#shelf .card")
    save(page, "variants", 860)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument(
        "--home", type=Path, help="cache and data to use; the default is a new one, deleted at the end"
    )
    chosen = options.parse_args().home
    home = chosen or Path(tempfile.mkdtemp(prefix="pooling-explorer-pictures-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)], cwd=ROOT,
        env={**os.environ, "POOLING_EXPLORER_HOME": str(home.resolve())},
    )  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}", app)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
            page.goto(f"http://127.0.0.1:{port}")
            take(page)
            browser.close()
    finally:
        app.terminate()
        app.wait(30)
        if chosen is None:
            shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
