"""Make the README's pictures from the real page: python tests/pictures.py (needs chromium).

Starts app.py with the user's own cache, waits for the worked example, and writes explorer/ui/pictures/*.png.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "explorer" / "ui" / "pictures"
BROWSER = next(p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n)))
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def wait_for(url: str) -> None:
    """Until the page is served."""
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.3)


def main() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = subprocess.Popen([sys.executable, "app.py", "--port", str(port)], cwd=ROOT)
    try:
        wait_for(f"http://127.0.0.1:{port}")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.goto(f"http://127.0.0.1:{port}")
            page.wait_for_selector("#results .hit[data-doc]", timeout=300_000)
            page.wait_for_selector("#queries-table tbody tr", timeout=300_000)
            FOLDER.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=FOLDER / "compare.png")
            page.get_by_role("tab", name="Layers").click()
            page.locator("#heads-a .js-plotly-plot").wait_for(timeout=300_000)
            page.locator("#take-query").click()
            page.locator("#heads-b .js-plotly-plot").wait_for(timeout=300_000)
            page.evaluate("document.querySelector('#words-a').scrollIntoView()")
            page.wait_for_timeout(2000)
            page.screenshot(path=FOLDER / "layers.png")
            browser.close()
    finally:
        app.terminate()
        app.wait(30)


if __name__ == "__main__":
    main()
