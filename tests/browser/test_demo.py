"""A public demo: what is closed says why, and no call reaches it; what a visitor brings is that visitor's alone."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from torture_visitors import ROOT, serving
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
            yield Demo(url, folder / "demo.log", app.home)
        assert process.returncode == 128 + signal.SIGTERM
    assert not list(temporary.glob("*pooling-explorer*")), "what visitors kept is still there"


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
    assert other.locator("#corpus input").input_value() == "everyday"
    assert "llama" not in other.locator("body").inner_text()
    other.close()
    assert files(demo.home / "data") == before
    assert "Traceback" not in demo.log.read_text()


def plant(folder: Path) -> None:
    """A folder of the server that is everything a path could name: a corpus, a task, a study, a model's folder."""
    shutil.copytree(ROOT / "checkpoints" / "minilm" / "study", folder)
    row = json.dumps({"_id": "1", "text": SECRET, "query": SECRET, "positive": SECRET})
    for name in ("corpus.jsonl", "queries.jsonl", "config.json", "modules.json"):
        (folder / name).write_text(f"{row}\n")
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\t1\t1\n")


GIVEN = {"corpus": "everyday", "variants": ["bm25"], "reference": "bm25"}
"""What keeps the open handlers quick."""


def answer(page: Visitor, handler: dict, text: str) -> str:
    """What a handler says to a text in all its free inputs; numbers and the places of files made for us left out."""
    parts = {c["id"]: c for c in page.config["components"]}
    data = []
    for id, value in zip(handler["inputs"], page.fill(handler, GIVEN), strict=True):
        props = parts[id]["props"]
        free = parts[id]["type"] == "textbox" or (parts[id]["type"] == "dropdown" and props.get("allow_custom_value"))
        data.append(([text] if props.get("multiselect") else text) if free else value)
    try:
        said = page.call(handler, data, {"document": text, "grade": 1, "query": text, "door": "compare", "key": text})
    except Refused as error:
        said = [str(error)]
    return re.sub(r"[0-9.]+", "0", re.sub(r"'(path|url)': '[^']*'", "", str(said)))


def reached(page: Visitor, folder: Path) -> list[str]:
    """Handlers whose answer changes when a folder that they are told of comes to be: those that looked at it."""
    found = []
    for handler in page.handlers:
        without = answer(page, handler, str(folder))
        plant(folder)
        if answer(page, handler, str(folder)) != without:
            found.append(f"{handler['id']} {handler['targets']}")
        shutil.rmtree(folder)
    return found


def test_no_handler_looks_at_a_path(demo, tmp_path):
    """Every handler of the page by its number. (Without --demo 28 do.)"""
    page = Visitor(demo.url)
    before, shelf = files(demo.home / "data"), page.call("variants", [])
    assert reached(page, tmp_path / "planted") == []
    assert page.call("variants", []) == shelf
    assert files(demo.home / "data") == before
    ids = {c["props"].get("elem_id") for c in page.config["components"]}
    assert not {"train-start", "train-estimate", "evaluate-start", "evaluate-folder", "study-start", "study-data"} & ids


def test_a_file_of_the_server_is_not_read_as_an_upload(demo, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text(f"id,text\n1,{SECRET}\n")
    page = Visitor(demo.url)
    given = {"path": str(secret), "orig_name": secret.name, "meta": {"_type": "gradio.FileData"}}
    parts = {c["id"]: c for c in page.config["components"]}
    takers = [h for h in page.handlers if any(parts[id]["type"] == "file" for id in h["inputs"])]
    assert len(takers) >= 4
    for handler in takers:
        values = page.fill(handler, GIVEN)
        data = [given if parts[id]["type"] == "file" else v for id, v in zip(handler["inputs"], values, strict=True)]
        with pytest.raises(Refused):
            page.call(handler, data)


def test_what_is_closed_refuses_by_itself(demo, tmp_path):
    """The handlers that are there because something else of them is open."""
    page, planted = Visitor(demo.url), tmp_path / "planted"
    plant(planted)
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
    for path in ("/etc/passwd", str(planted / "corpus.jsonl"), str(demo.home / "app.log")):
        assert page.http.get(f"/gradio_api/file={path}").status_code in (403, 404)
    assert page.http.get("/monitoring/summary").status_code == 403
    assert re.search("no page of the demo", str(_kept_without_a_page(page)))


def _kept_without_a_page(page: Visitor) -> str:
    """A call that names no page: nothing can be kept for it."""
    handler = page.handler("use-documents", "click")
    data = page.fill(handler, {"pasted": "one\ntwo"})
    return page.http.post("/gradio_api/run/predict", json={"fn_index": handler["id"], "data": data}).text
