"""Many visitors at once: every answer is the one that a single thread gives, and nobody sees what is somebody else's.

    python tests/torture_visitors.py [--clients 50] [--seconds 60] [--home DIR]

Not part of the tests, which run `Crowd` with few clients for seconds. Starts `app.py --demo`; every client opens a
page, brings documents of its own (all under the same name), and then mixes searches by page and by API, layers,
judgments, attempts at what is somebody else's, further uploads, and closing the page and opening another.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from visitor import Refused, Visitor  # noqa: E402

from explorer.comparison import Comparer  # noqa: E402
from explorer.corpora import Corpus, Document  # noqa: E402
from explorer.corpora.library import Library  # noqa: E402
from explorer.layers.lab import LayerLab  # noqa: E402
from explorer.variants import Shelf  # noqa: E402

VARIANTS = ["minilm-published", "minilm/multi-layer-bidirectional", "bm25"]
LAYERED = "minilm/multi-layer-bidirectional"
QUERIES = ("what to cook in the evening", "repair of a bicycle", "rain on the garden")
BUILT_IN = "everyday"
CLOSE = 1e-4
"""Scores are the same to this: documents in float32, batched by the same rule."""
SAID = (
    "boil the potatoes in salted water", "oil the chain of the bicycle", "plant tomatoes after the last frost",
    "the tram was late again", "a letter from the tax office", "tune the guitar before playing",
    "the cat sleeps on the radiator", "rain is expected in the evening",
)  # fmt: skip


def mark(client: int) -> str:
    """A word that stands in the documents of one client alone."""
    return f"zq{client}qz"


def documents(client: int, edition: int) -> list[Document]:
    """What a client brings: the same ids as everybody else, other texts."""
    dice = random.Random(client * 1000 + edition)
    said = dice.sample(SAID, len(SAID))
    return [Document(str(i), f"{text}, says {mark(client)}, edition {edition}") for i, text in enumerate(said)]


class Reference:
    """The right answers, by one thread in this process. What was asked before is remembered."""

    def __init__(self, shelf: Shelf) -> None:
        self.comparer = Comparer(shelf)
        self.lab = LayerLab(self.comparer)
        self._lock = threading.Lock()
        self._known: dict[Any, Any] = {}

    def search(self, client: int | None, edition: int, query: str, k: int) -> dict[str, list[tuple[str, float]]]:
        """(id, score) by variant, of a client's documents or of the built-in ones."""
        key = (client, edition, query, k)
        with self._lock:
            if key not in self._known:
                own = client is not None and Corpus("notes", tuple(documents(client, edition)))
                view = self.comparer.compare(own or Library().open(BUILT_IN), query, VARIANTS, k)
                self._known[key] = {n: [(h.id, h.score) for h in hits] for n, hits in view.results.items()}
            return self._known[key]

    def layers(self, text: str) -> list[float]:
        """Weight of each layer."""
        with self._lock:
            if text not in self._known:
                self._known[text] = self.lab.read(LAYERED, text, "query").to_json()["mean"]
            return self._known[text]


@dataclass
class Crowd:
    """Clients that use a page at once. `wrong` holds a sentence for everything that should not have been."""

    url: str
    reference: Reference
    clients: int
    built_in: str = BUILT_IN
    """A corpus that all search beside their own; empty for none."""
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    took: list[float] = field(default_factory=list)

    def run(self, seconds: float, seed: int = 0) -> None:
        """All clients, each for so long."""
        ends = time.monotonic() + seconds
        with ThreadPoolExecutor(self.clients) as pool:
            for found in [pool.submit(self._client, client, ends, seed) for client in range(self.clients)]:
                found.result()

    def _client(self, client: int, ends: float, seed: int) -> None:
        dice, edition = random.Random(f"{seed} {client}"), 0
        while time.monotonic() < ends:
            page = Page(self, client, dice, edition)
            with page.visitor.present():
                try:
                    page.bring()
                    stays = time.monotonic() + dice.uniform(10, 40)
                    while time.monotonic() < min(stays, ends):
                        page.act()
                except Refused as error:
                    self.wrong.append(f"client {client} was refused: {error}")
            edition = page.edition + 1


class Page:
    """One client's open page."""

    def __init__(self, crowd: Crowd, client: int, dice: random.Random, edition: int) -> None:
        self.crowd, self.client, self.dice, self.edition = crowd, client, dice, edition
        self.visitor = Visitor(crowd.url)
        self.judged: set[str] = set()

    def act(self) -> None:
        """One thing that a visitor does."""
        ways = [self.ask, self.ask, self.look, self.look, self.read, self.judge, self.pry, self.bring]
        self.dice.choices(ways, [6, 6, 4, 4, 4, 2, 1, 1])[0]()

    def check(self, right: bool, what: str) -> None:
        if not right:
            self.crowd.wrong.append(f"client {self.client}: {what}")

    def call(self, handler: Any, data: list[Any], event: Any = None) -> list[Any]:
        """Call, count, time, and look for the words of others."""
        began = time.monotonic()
        answer = self.visitor.call(handler, data, event)
        self.crowd.took.append(time.monotonic() - began)
        self.crowd.done[handler if isinstance(handler, str) else handler["name"]] += 1
        others = set(re.findall(r"zq\d+qz", str(answer))) - {mark(self.client)}
        self.check(not others, f"saw the words of {others}")
        return answer

    def bring(self) -> None:
        """Upload documents, in place of those brought before."""
        handler = self.visitor.handler("use-documents", "click")
        if "notes" in self.own():
            remove = self.visitor.handler("remove-corpus", "click")
            self.call(remove, self.visitor.fill(remove, {"corpus": "notes"}))
            self.edition += 1
        self.judged.clear()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "notes.csv"
            rows = [f'{d.id},"{d.text}"' for d in documents(self.client, self.edition)]
            file.write_text("\n".join(["id,text", *rows]), encoding="utf-8")
            answer = self.call(handler, self.visitor.fill(handler, {"upload": self.visitor.upload(file)}))
        self.check("notes" in self.own(answer), f"the upload failed: {answer}")

    def own(self, answer: list[Any] | None = None) -> list[str]:
        """Corpora that the page offers, after an upload or by the sidebar."""
        if answer is None:
            try:
                self.visitor.call("search", ["x", "bm25", "notes", 1])
            except Refused:
                return []
            return ["notes"]
        update = answer[0] if isinstance(answer[0], dict) else {}
        return [value for _, value in update.get("choices", [])]

    def wanted(self) -> tuple[str, int | None]:
        """A corpus, and whose it is."""
        if self.crowd.built_in and self.dice.random() < 0.3:
            return self.crowd.built_in, None
        return "notes", self.client

    def ask(self) -> None:
        """Search by the API."""
        (corpus, whose), query, k = self.wanted(), self.dice.choice(QUERIES), self.dice.choice((1, 3, 8))
        found = self.call("search", [query, ",".join(VARIANTS), corpus, k])[0]
        right = self.crowd.reference.search(whose, self.edition, query, k)
        same = {name: [(hit["id"], hit["score"]) for hit in hits] for name, hits in found["results"].items()}
        self.check(agree(same, right), f"search of {corpus} for '{query}' gave {same}, not {right}")

    def look(self) -> None:
        """Search by the page: the columns."""
        (corpus, whose), query, k = self.wanted(), self.dice.choice(QUERIES), self.dice.choice((1, 3, 8))
        handler = self.visitor.handler("search", "click")
        given = {"query": query, "corpus": corpus, "variants": VARIANTS, "k": k, "reference": VARIANTS[0]}
        columns = self.call(handler, self.visitor.fill(handler, given))[1]
        found = [re.findall(r'class="hit" data-doc="([^"]*)"', part) for part in columns.split("<section")[1:]]
        right = self.crowd.reference.search(whose, self.edition, query, k)
        self.check(found == [[id for id, _ in hits] for hits in right.values()], f"columns {found}, not {right}")
        if whose is not None:
            self.check(mark(self.client) in columns, "the own documents are not shown")

    def read(self) -> None:
        """Layers of a text."""
        text = self.dice.choice(QUERIES)
        mean = self.call("layers", [text, LAYERED, "query"])[0]["mean"]
        right = self.crowd.reference.layers(text)
        self.check(max(abs(a - b) for a, b in zip(mean, right, strict=True)) < CLOSE, f"weights {mean}, not {right}")

    def judge(self) -> None:
        """Mark a document: nobody else's count of judgments grows."""
        query = self.dice.choice(QUERIES)
        self.judged.add(query)
        handler = self.visitor.handler("results", "click")
        data = self.visitor.fill(handler, {"query": query, "corpus": "notes"})
        said = self.call(handler, data, {"document": "1", "grade": 1})[0]
        self.check(f"{len(self.judged)} judged" in said, f"{len(self.judged)} judgments, the page says: {said}")

    def pry(self) -> None:
        """What is closed, or somebody else's, is refused."""
        for name in (f"notes-{self.client + 1}", "../notes", "/etc"):
            try:
                answer = self.call("search", ["x", "bm25", name, 3])
                self.check(False, f"opened '{name}': {answer}")
            except Refused as error:
                self.check("no corpus" in str(error), f"refused '{name}' with: {error}")
                self.crowd.done["refused"] += 1


def agree(found: dict[str, list[tuple[str, float]]], right: dict[str, list[tuple[str, float]]]) -> bool:
    """The same documents in the same order with the same scores; the order of equal scores may differ."""
    if list(found) != list(right) or any(len(found[name]) != len(right[name]) for name in right):
        return False
    for name in right:
        score = dict(right[name])
        for (id, got), (_, expected) in zip(found[name], right[name], strict=True):
            if abs(got - expected) > CLOSE or abs(score.get(id, got) - got) > CLOSE:
                return False
    return True


@contextmanager
def serving(home: Path, log: Path, *flags: str):
    """`app.py` on a free port: (address, process). It is told to end afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "POOLING_EXPLORER_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    with log.open("w") as out:
        command = [sys.executable, "app.py", "--port", str(port), *flags]
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert process.poll() is None, log.read_text()
            try:
                httpx.get(url, timeout=5, trust_env=False)
                break
            except httpx.HTTPError:
                time.sleep(0.3)
        yield url, process
    finally:
        process.terminate()
        process.wait(60)


def main() -> None:
    import psutil

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--home", type=Path, help="a warm home; default: an empty one")
    parser.add_argument("--dtype", default="float32", help="of both; auto finds what a warm home has")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home = options.home or folder / "home"
        os.environ["POOLING_EXPLORER_HOME"] = str(folder / "reference")
        reference = Reference(Shelf(device="cpu", dtype=options.dtype))
        for client in range(options.clients):
            for query in QUERIES:
                reference.search(client, 0, query, 8)
        log = folder / "app.log"
        url, process = stack.enter_context(serving(home, log, "--demo", "--device", "cpu", "--dtype", options.dtype))
        crowd = Crowd(url, reference, options.clients)
        crowd.reference.search(None, 0, QUERIES[0], 8)
        first = Visitor(url, timeout=600)
        first.call("search", [QUERIES[0], "", "everyday", 3])  # the worked example is ready
        first.call("search", [QUERIES[0], ",".join(VARIANTS), BUILT_IN, 8])
        memory = [psutil.Process(process.pid).memory_info().rss]
        watching = threading.Event()

        def watch() -> None:
            while not watching.wait(2):
                memory.append(psutil.Process(process.pid).memory_info().rss)

        threading.Thread(target=watch, daemon=True).start()
        began = time.monotonic()
        crowd.run(options.seconds, options.seed)
        lasted = time.monotonic() - began
        watching.set()
        text = log.read_text()
    took = sorted(crowd.took)
    print(f"{options.clients} clients, {lasted:.0f} s, {len(took)} calls: {dict(crowd.done)}")
    half, most = took[len(took) // 2], took[int(len(took) * 0.95)]
    print(f"seconds a call: median {half:.2f}, 95 % below {most:.2f}, worst {took[-1]:.2f}")
    quarters = [memory[round(i * (len(memory) - 1) / 4)] / 2**20 for i in range(5)]
    print(f"memory (MiB), start, quarters, end: {', '.join(f'{size:.0f}' for size in quarters)}")
    print(f"{text.count('Traceback')} tracebacks, {len(crowd.wrong)} wrong")
    for sentence in crowd.wrong[:20]:
        print("  ", sentence[:1000])
    sys.exit(bool(crowd.wrong or "Traceback" in text))


if __name__ == "__main__":
    main()
