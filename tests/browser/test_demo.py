"""A public demo: what is closed says why, and no call reaches it; what a visitor brings is that visitor's alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from torture_visitors import serving
from visitor import Refused, Visitor

pytestmark = pytest.mark.browser

SOON = 60_000
FIRST = 240_000
SECRET = "only whoever runs this knows the umbrella"


@dataclass
class Demo:
    """A running demo."""

    url: str
    log: Path
    home: Path
    temporary: Path


@pytest.fixture(scope="module")
def demo(app, tmp_path_factory) -> Iterator[Demo]:
    """`app.py --demo` on the home that the other tests have filled, with a run, a corpus and a study of its owner's."""
    folder = tmp_path_factory.mktemp("demo")
    temporary = folder / "temporary"
    temporary.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TMPDIR", str(temporary))
        patched.delenv("SPACE_ID", raising=False)
        with serving(app.home, folder / "demo.log", "--demo") as (url, process):
            yield Demo(url, folder / "demo.log", app.home, temporary)
        assert process.returncode in (-15, 143)
    assert not list(temporary.glob("pooling-explorer*")), "what visitors kept is still there"


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def open_page(page, url: str) -> None:
    page.goto(f"{url}/?corpus=everyday")
    page.wait_for_selector("#results .hit[data-doc]", timeout=FIRST)


def test_a_walk_through_all_tabs(demo, page, browser, tmp_path):
    before = files(demo.home / "data")
    open_page(page, demo.url)
    page.locator("#own button").first.click()
    assert "seen by this page alone" in page.locator("#own").inner_text()
    assert not page.locator("#hub").is_visible()
    mine = tmp_path / "diary.csv"
    mine.write_text("id,text\nd1,the llama ate my homework\nd2,soup again\n")
    page.locator("#upload input[type=file]").set_input_files(mine)
    page.wait_for_function("[...document.querySelectorAll('#own input')].some(i => i.value === 'text')", timeout=SOON)
    page.locator("#use-documents").click()
    page.wait_for_function("document.querySelector('#corpus input').value === 'diary'", timeout=SOON)
    page.wait_for_function("document.querySelector('#results').innerText.includes('llama')", timeout=SOON)
    page.locator('#results .j1[data-doc="d1"]').first.click()
    page.wait_for_function("document.querySelector('#corpus-note').innerText.includes('1 judged')", timeout=SOON)

    for tab, closed, gone in (
        ("Fine-tune", "train", "#train-start"),
        ("Evaluate", "evaluate", "#evaluate-start"),
        ("Study", "study", "#study-start"),
        ("Variants", "hub", "#add-contender"),
    ):
        page.get_by_role("tab", name=tab, exact=True).click()
        note = page.locator(f"#closed-{closed}")
        note.wait_for(timeout=SOON)
        assert "public demo" in note.inner_text()
        assert "on your own machine" in note.inner_text()
        assert page.locator(gone).count() == 0 or not page.locator(gone).is_visible()
    assert not page.locator("#unload").is_visible()
    assert not page.locator("#clear-cache").is_visible()
    page.get_by_role("tab", name="Study", exact=True).click()
    assert "The paper’s claims" in page.locator("#study-report").inner_text()
    for tab, there in (("Layers", "#read"), ("Map", "#map-view"), ("Learn", "#lesson-story")):
        page.get_by_role("tab", name=tab, exact=True).click()
        page.locator(there).wait_for(timeout=SOON)
    page.wait_for_timeout(500)

    other = browser.new_page()
    other.goto(f"{demo.url}/?corpus=diary&query=homework&variants=bm25")
    other.wait_for_selector("#results .column:not([aria-busy])", timeout=FIRST)
    assert other.locator("#corpus input").input_value() == "python-stdlib"
    assert "homework" not in other.locator("body").inner_text()
    other.close()
    assert files(demo.home / "data") == before
    assert "Traceback" not in demo.log.read_text()


@pytest.fixture
def planted(tmp_path) -> Path:
    """A folder of the server with everything that a path could name: a corpus, a study, training data, a task."""
    folder = tmp_path / "planted"
    folder.mkdir()
    row = json.dumps({"_id": "1", "text": SECRET, "query": SECRET, "positive": SECRET})
    for name in ("corpus.jsonl", "queries.jsonl", "pairs.jsonl", "study.json", "secret.txt"):
        (folder / name).write_text(f"{row}\n")
    return folder


def hostile(component: dict, text: str, file: Path) -> object:
    """What an attacker puts into an input."""
    kind = component["type"]
    if kind == "file":
        return {"path": str(file), "orig_name": file.name, "meta": {"_type": "gradio.FileData"}}
    if kind in ("textbox", "dropdown", "radio", "code"):
        return [text] if component["props"].get("multiselect") else text
    if kind == "checkboxgroup":
        return [text]
    return component["props"].get("value")


def test_no_handler_reaches_what_is_closed(demo, planted):
    """Every handler of the page, by its number, with paths of the server and hub ids in all its inputs."""
    page = Visitor(demo.url)
    before, shelf = files(demo.home), page.call("variants", [])
    parts = {c["id"]: c for c in page.config["components"]}
    refused = 0
    for text, file in (
        (str(planted), planted / "secret.txt"),
        (str(planted / "corpus.jsonl"), planted / "corpus.jsonl"),
        ("mteb/scifact", Path("/etc/passwd")),
    ):
        for handler in page.handlers:
            data = [hostile(parts[id], text, file) for id in handler["inputs"]]
            try:
                answer = page.call(handler, data, {"document": text, "grade": 1, "query": text, "door": "compare"})
            except Refused as error:
                answer, refused = [str(error)], refused + 1
            assert SECRET not in str(answer), handler
            assert "root:" not in str(answer), handler
    assert refused > 20
    assert page.call("variants", []) == shelf
    assert files(demo.home) == before
    ids = {c["props"].get("elem_id") for c in page.config["components"]}
    assert not {"train-start", "train-estimate", "evaluate-start", "evaluate-folder", "study-start", "study-data"} & ids


def test_what_is_closed_refuses_by_itself(demo, planted):
    """The handlers that are there because something else of them is open."""
    page = Visitor(demo.url)
    for button, event, values in (
        ("add-contender", "click", {"model-id": "intfloat/e5-small-v2"}),
        ("add-contender", "click", {"model-id": str(planted)}),
        ("unload", "click", {"variant-choice": "minilm-published"}),
        ("clear-cache", "click", {}),
        ("use-documents", "click", {"hub": "mteb/scifact, train"}),
        ("study-shelf", "click", {}),
    ):
        handler = page.handler(button, event)
        said = str(page.call(handler, page.fill(handler, values)))
        assert "public demo" in said, (button, said)
    choice = page.handler("study-choice", "input")
    with pytest.raises(Refused, match="not in the list of choices"):
        page.call(choice, page.fill(choice, {"study-choice": str(planted)}))
    server = {"session_hash": page.session, "component_id": page.component("upload")["id"], "fn_name": "preprocess"}
    answer = page.http.post("/gradio_api/component_server", json={**server, "data": "/etc/passwd"})
    assert answer.status_code == 404
    for path in ("/etc/passwd", str(planted / "secret.txt"), str(demo.home / "app.log")):
        assert page.http.get(f"/gradio_api/file={path}").status_code in (403, 404)
    assert page.http.get("/monitoring/summary").status_code == 403
    assert re.search("no page of the demo", str(_kept_without_a_page(page)))


def _kept_without_a_page(page: Visitor) -> str:
    """A call that names no page: nothing can be kept for it."""
    handler = page.handler("use-documents", "click")
    data = page.fill(handler, {"pasted": "one\ntwo"})
    return page.http.post("/gradio_api/run/predict", json={"fn_index": handler["id"], "data": data}).text
