"""How long until a map of 4,000 and of 50,000 documents stands there, how large is it, and does it stay fluid?

    python tests/benchmarks/bench_map.py                   # from the project's folder; minutes, about 1.5 GB
    python tests/benchmarks/bench_map.py --browser DIR     # also draws 50,000 documents in chromium: pictures, a trace

Vectors are generated, unit length, around 40 centres. Seconds are those of the clock and, in brackets, of the processor
(user and system of this process): on a busy machine only the second says what the work costs. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import spaces

from explorer.comparison import Comparer
from explorer.corpora import Corpus, Document
from explorer.projection import layout, shading
from explorer.projection.lab import MapLab, MapSettings
from explorer.ui import map_view

D = 384
SECONDS: dict[str, float] = {}


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long a block takes."""
    clock, processor = time.perf_counter(), time.process_time()
    yield
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    SECONDS[what] = clock
    print(f"{what:58} {clock:7.2f} s  ({processor:6.2f} s)", flush=True)


def corpus(n: int) -> Corpus:
    """n generated documents with 40 labels and a numeric field."""
    documents = (
        Document(f"d{i}", f"The text of document {i}.", f"Document {i}", f"label {i % 40}", {"year": str(i % 97)})
        for i in range(n)
    )  # fmt: skip
    return Corpus(f"generated-{n}", tuple(documents))


def lab_of(n: int, variants: int) -> MapLab:
    """Variants of the same centres with noise of their own."""
    given = {chr(ord("a") + v): noisy(n, v) for v in range(variants)}
    return MapLab(Comparer(spaces.Shelf(given)))  # type: ignore[arg-type]


def noisy(n: int, seed: int) -> np.ndarray:
    """Unit vectors [n, D] around the 40 centres, with the falling spectrum that text embeddings have."""
    spectrum = (1 / np.sqrt(1 + np.arange(D) / 10)).astype(np.float32)
    centres = np.random.default_rng(7).standard_normal((40, D), dtype=np.float32)
    alike = np.random.default_rng(8).standard_normal((n, D), dtype=np.float32)  # the same for all variants
    own = np.random.default_rng(seed).standard_normal((n, D), dtype=np.float32)
    points = (0.25 * centres[np.arange(n) % 40] + 0.8 * alike + 0.5 * own) * spectrum
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def run(n: int, variants: int) -> None:
    """One corpus: from stored vectors to picture, to UMAP, to numbers; and the payload."""
    print(f"\n{n:,} documents x {variants} variants, {D} dimensions, {os.cpu_count()} cores")
    lab, documents = lab_of(n, variants), corpus(n)
    names = list(lab.comparer.shelf.defaults) if variants < 3 else list("abcd"[:variants])
    for name in names:
        lab.vectors(name, documents)  # stored, as after a first visit
    with timed("vectors and PCA of all variants (first picture)"):
        lab.draw(documents, names, MapSettings("pca"))
    for name in names:
        with timed(f"exact neighbours of variant {name}"):
            lab.neighbours(name, documents, 15)
    with timed(f"UMAP of {len(names)} variants, given the neighbours"):
        space = lab.draw(documents, names, MapSettings())
    with timed("all numbers of all maps"):
        lab.measure(space)
    with timed("the same maps again, from disk"):
        MapLab(lab.comparer).draw(documents, names, MapSettings())
    drawings = map_view.Drawings(lab)
    colours = shading.by_label(documents)
    message = map_view.message(space, drawings.keep(map_view.shade_key(colours), colours), lab.measure(space), None)
    drawings.keep(space.key, space)
    answers = {f.__name__: f for f in drawings.functions}
    points = len(json.dumps(answers["points"](space.key)))
    codes = len(json.dumps(answers["codes"](map_view.shade_key(colours))))
    print(f"payload: message {len(message):,} bytes, positions {points:,}, colour codes {codes:,}; no texts")


def in_browser(folder: Path, n: int = 50_000) -> None:
    """Draw n documents by two variants in chromium: time to pictures, frames while moving, screenshots, a trace."""
    import socket

    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browser"))
    from conftest import ARGUMENTS  # type: ignore[import-not-found]

    from explorer.ui import build_app, services
    from explorer.ui.theme import CSS, theme

    folder.mkdir(parents=True, exist_ok=True)
    print(f"\n{n:,} documents x 2 variants in chromium, drawn without a graphics card")
    serving = services.Services(spaces.Shelf({"a": noisy(n, 0), "b": noisy(n, 1)}))  # type: ignore[arg-type]
    documents = corpus(n)
    serving.library.add(documents)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = build_app(serving)
    app.launch(server_port=port, prevent_thread_lock=True, theme=theme(), css=CSS, quiet=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        errors: list[str] = []
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.goto(f"http://127.0.0.1:{port}/?corpus={documents.name}&variants=a,b")
        page.get_by_role("tab", name="Map").wait_for(timeout=300_000)
        shown = "n => document.querySelector('#corpus-note').innerText.includes(n)"
        page.wait_for_function(shown, arg=f"{n:,} documents", timeout=300_000)  # the address has been read
        began = time.perf_counter()
        page.get_by_role("tab", name="Map").click()
        page.wait_for_selector(".map-stage[data-drawn]", timeout=600_000)
        print(f"first picture after {time.perf_counter() - began:.1f} s (clock)")
        page.screenshot(path=folder / "pca.png")
        print(f"while UMAP is computed: {moving(page)}")
        page.wait_for_selector(".map-stage[data-drawn=umap]", timeout=1_200_000)
        print(f"UMAP after {time.perf_counter() - began:.1f} s (clock)")
        page.screenshot(path=folder / "umap.png")
        page.wait_for_selector("#map-numbers table", timeout=600_000)
        print(f"numbers after {time.perf_counter() - began:.1f} s (clock)")
        page.wait_for_timeout(1500)
        browser.start_tracing(page=page, path=folder / "moving.json")
        print(f"at rest otherwise: {moving(page)}")
        browser.stop_tracing()
        page.screenshot(path=folder / "moved.png")
        print(f"JavaScript's memory: {page.evaluate('performance.memory.usedJSHeapSize') / 2**20:.0f} MiB")
        print(f"console errors: {errors or 'none'}; pictures and moving.json in {folder}")
        browser.close()
    app.close()


FRAMES = """() => { window.frames_ = []; let last = performance.now();
  const tick = (now) => { window.frames_.push(now - last); last = now; requestAnimationFrame(tick); };
  requestAnimationFrame(tick); }"""  # fmt: skip


def moving(page) -> str:
    """Drag the map to and fro, and zoom in and out; the times between frames as a sentence."""
    page.locator(".map-stage").scroll_into_view_if_needed()
    box = page.locator(".map-frame").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.evaluate(FRAMES)
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(120):
        page.mouse.move(x + 90 * np.sin(step / 6), y + 50 * np.cos(step / 6))
    page.mouse.up()
    for step in range(40):
        page.mouse.wheel(0, -100 if step < 20 else 100)
    page.wait_for_timeout(300)
    times = np.array(page.evaluate("window.frames_.splice(0)")[1:])
    return (
        f"{len(times)} frames of dragging and zooming, median {np.median(times):.0f} ms, "
        f"95 % below {np.quantile(times, 0.95):.0f} ms, longest {times.max():.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--browser", type=Path, metavar="DIR")
    parser.add_argument("--only-browser", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("POOLING_EXPLORER_HOME", tempfile.mkdtemp(prefix="bench-map-"))
    if not options.only_browser:
        with timed("compiling UMAP, once in a process (not warm)"):
            layout.prepare()
        run(4_000, 4)
        run(50_000, 2)
    if options.browser:
        in_browser(options.browser)


if __name__ == "__main__":
    main()
