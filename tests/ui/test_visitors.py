"""Who asks, and what that person sees: one's own machine, users with a login, open pages of a public demo."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from gradio.context import LocalContext
from torture_visitors import VARIANTS, Crowd, Reference
from visitor import Refused, Visitor

from explorer.corpora import BUILT_IN, Corpus, Document
from explorer.errors import InputError
from explorer.jobs import Runs
from explorer.policy import DEMO_LIMITS, Policy
from explorer.store import data_dir
from explorer.ui import build_app, visitors
from explorer.ui.api import MAX_TEXTS, _texts
from explorer.ui.services import Services
from explorer.ui.visitors import Visitors
from explorer.variants import Shelf


def corpus(text: str, name: str = "mine", count: int = 2) -> Corpus:
    return Corpus(name, tuple(Document(str(i), f"{text} {i}") for i in range(count)))


@contextmanager
def asking(page: str | None = None, user: str | None = None):
    """As if the call came from that page or user."""
    token = LocalContext.request.set(SimpleNamespace(session_hash=page, username=user))  # type: ignore[arg-type]
    yield
    LocalContext.request.reset(token)


@pytest.fixture
def demo(home):
    made = Visitors(Policy.public_demo())
    yield made
    made.close()


def test_on_ones_own_machine_everybody_is_the_same_person(home):
    mine = Visitors(Policy())
    with asking(page="a"):
        mine.library().add(corpus("x"))
    with asking(page="b"):
        assert mine.library().open("mine").ids == ["0", "1"]
    assert (data_dir("corpora") / "mine").is_dir()


def test_pages_of_a_demo_do_not_see_one_another(demo):
    for page in ("a", "b"):
        with asking(page):
            assert demo.library().add(corpus(f"of {page}")) == "mine"
            demo.library().judge("everyday", f"asked by {page}", demo.library().open("everyday").ids[0], 1)
    for page, other in ("ab", "ba"):
        with asking(page):
            found = demo.library()
            assert found.open("mine").documents[0].text == f"of {page} 0"
            judged = found.open("everyday").queries.values()
            assert f"asked by {page}" in judged
            assert f"asked by {other}" not in judged
    with asking("c"):
        assert demo.library().names == list(BUILT_IN)
        with pytest.raises(InputError, match="no corpus 'mine'"):
            demo.library().open("mine")


def test_what_is_built_in_is_read_once_for_all(demo):
    with asking("a"):
        first = demo.library().open("everyday")
    with asking("b"):
        assert demo.library().open("everyday") is first


def test_nothing_of_a_visitor_lies_in_the_data_directory_or_the_cache(demo, home):
    with asking("a"):
        demo.library().add(corpus("x"))
        demo.library().judge("mine", "q", "0", 1)
        folder = demo.library().open("mine").vectors
    assert folder.is_relative_to(demo.temporary("visitors"))
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_a_call_of_no_page_keeps_nothing(demo):
    with asking(None):
        assert demo.library().names == list(BUILT_IN)
        for refused in (
            lambda: demo.library().add(corpus("x")),
            lambda: demo.library().judge("everyday", "q", "e001", 1),
        ):
            with pytest.raises(InputError, match="no page of the demo"):
                refused()


def test_limits_of_a_visitor(demo):
    with asking("a"):
        with pytest.raises(InputError, match="2,001 documents; here 2,000"):
            demo.library().add(corpus("x", count=2001))
        for name in "abc":
            demo.library().add(corpus("x", name))
        with pytest.raises(InputError, match="3 corpora here"):
            demo.library().add(corpus("x", "d"))
        demo.library().add(corpus("x", "c"))  # the same again takes no further place
        demo.library().remove("a")
        demo.library().add(corpus("x", "d"))


def test_a_closed_page_is_forgotten_unless_it_comes_back(demo, monkeypatch):
    monkeypatch.setattr(visitors, "GRACE", 0.05)
    for page in "ab":
        with asking(page):
            demo.library().add(corpus(page))
    folders = sorted(demo.temporary("visitors").iterdir())
    assert len(folders) == 2
    demo.leave("a")
    demo.leave("b")
    with asking("b"):
        demo.library()  # it was only the connection
    time.sleep(0.1)
    demo.sweep()
    assert len(list(demo.temporary("visitors").iterdir())) == 1
    with asking("b"):
        assert "mine" in demo.library().names
    with asking("a"):
        assert "mine" not in demo.library().names
    late = folders[0].parent / "visitor-of-nobody"  # a computation that ended after its page had gone
    late.mkdir()
    demo.sweep()
    assert not late.exists()


def test_the_page_that_was_idle_longest_gives_way(demo, monkeypatch):
    monkeypatch.setattr(visitors, "MOST", 2)
    for page in "abac":
        with asking(page):
            demo.library()
    with asking("a"):
        demo.library().add(corpus("a"))
    assert len(list(demo.temporary("visitors").iterdir())) == 2
    root = demo.temporary("visitors")
    demo.close()
    assert not root.exists()


def test_users_keep_their_own_and_find_it_again(home):
    for name in ("Ann", "ann", "../ann", "Ann "):
        with asking("p", name):
            Visitors(Policy(login=True)).library().add(corpus(f"of <{name}>"))
    for name in ("Ann", "ann", "../ann", "Ann "):
        with asking("another page", name):
            assert Visitors(Policy(login=True)).library().open("mine").documents[0].text == f"of <{name}> 0"
    folders = list(data_dir("users").iterdir())
    assert len(folders) == 4
    assert not list(data_dir("corpora").iterdir())
    with asking("p", None):
        assert Visitors(Policy(login=True)).library().names == list(BUILT_IN)


def test_work_in_a_thread_knows_who_called(home):
    services = Services(Shelf(device="cpu"), Policy.public_demo())
    for page in "ab":
        with asking(page):
            services.library.add(corpus(page))
            *_, last = services.watch(page, lambda *_: services.library.open("mine").passages[0])
        assert last == ("", f"{page} 0")
    services.visitors.close()


def test_runs_of_a_demo_are_refused_by_the_service_and_those_of_the_machine_not_shown(home):
    Runs()  # the machine's own folder of runs
    services = Services(Shelf(device="cpu"), Policy.public_demo())
    assert services.runs.root != Runs().root
    for kind in ("train", "evaluate", "study"):
        with pytest.raises(InputError, match="public demo"):
            services.runs.start(kind, [], "x")
    services.visitors.close()


@contextmanager
def page_of(policy: Policy, home: Path, **options):
    """A page served from this process: its address."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("POOLING_EXPLORER_HOME", str(home))
        services = Services(Shelf(device="cpu", dtype="float32"), policy)
        app = build_app(services)
        app.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **options)
        yield app.local_url
        app.close()
        services.visitors.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A demo's page."""
    with page_of(Policy.public_demo(), tmp_path_factory.mktemp("home"), max_file_size=2_000_000) as url:
        yield url


def test_eight_visitors_at_once(served, capfd):
    """As tests/torture_visitors.py does with fifty."""
    crowd = Crowd(served, Reference(Shelf(device="cpu", dtype="float32")), 8, built_in="")
    crowd.run(4)
    assert crowd.wrong == []
    assert {"use-documents", "search", "layers"} <= set(crowd.done)
    assert "Traceback" not in capfd.readouterr().err


def test_a_file_that_is_too_large_is_refused_before_it_is_kept(served, tmp_path):
    large = tmp_path / "large.txt"
    large.write_bytes(b"x" * 2_500_000)
    with pytest.raises(Refused, match=r"[Mm]aximum"):
        Visitor(served).upload(large)


def test_too_much_is_refused_where_it_is_asked_for(served):
    page = Visitor(served)
    for data, sentence in (
        (["x" * 2001, "bm25", "everyday", 3], "2,001 characters"),
        (["x", "bm25", "everyday", 21], "between 1 and 20"),
        (["x", ",".join(v.name for v in Shelf().variants[:7]), "everyday", 3], "7 variants"),
    ):
        with pytest.raises(Refused, match=sentence):
            page.call("search", data)
    with pytest.raises(Refused, match="2,001 characters"):
        page.call("layers", ["x" * 2001, VARIANTS[1], "query"])


def test_closing_the_page_is_noticed(served, monkeypatch):
    left: list[str] = []
    monkeypatch.setattr(Visitors, "leave", lambda self, key: left.append(key))
    page = Visitor(served)
    with page.present():
        page.call("search", ["x", "bm25", "everyday", 1])
    for _ in range(100):
        if left:
            break
        time.sleep(0.1)
    assert left == [page.session]


def upload_notes(page: Visitor, text: str) -> str:
    """Paste documents and use them; what was said."""
    use = page.handler("use-documents", "click")
    return str(page.call(use, page.fill(use, {"pasted": f"{text}\nand more"})))


def test_a_login_guards_everything_and_keeps_users_apart(tmp_path):
    with page_of(Policy(login=True), tmp_path, auth=[("ann", "1"), ("bo", "2")]) as url:
        stranger, ann, bo, elsewhere = (Visitor(url) for _ in range(4))
        asked = {"data": ["x", "bm25", "everyday", 1], "fn_index": 0, "session_hash": "s"}
        for way, path in (
            ("get", "/config"), ("get", "/gradio_api/info"), ("get", "/gradio_api/queue/data?session_hash=s"),
            ("get", "/gradio_api/file=/etc/passwd"), ("post", "/gradio_api/queue/join"),
            ("post", "/gradio_api/run/search"), ("post", "/gradio_api/call/search"),
            ("post", "/gradio_api/component_server"),
        ):  # fmt: skip
            answer = getattr(stranger.http, way)(path, **({"json": asked} if way == "post" else {}))
            assert answer.status_code == 401, path
        assert stranger.http.post("/gradio_api/mcp/", json={}).status_code in (401, 404, 405)
        assert stranger.login("ann", "2") == 400
        assert stranger.login("", "") in (400, 422)
        assert [ann.login("ann", "1"), bo.login("bo", "2"), elsewhere.login("ann", "1")] == [200, 200, 200]
        assert "active corpus" in upload_notes(ann, "the zebra of ann")
        assert "pasted" in str(elsewhere.call("search", ["zebra", "bm25", "pasted", 1]))
        with pytest.raises(Refused, match="no corpus 'pasted'"):
            bo.call("search", ["zebra", "bm25", "pasted", 1])
        upload_notes(bo, "the zebra of bo")
        for page, name in ((ann, "ann"), (bo, "bo"), (elsewhere, "ann")):
            assert f"the zebra of {name}" in str(page.call("search", ["zebra", "bm25", "pasted", 1]))
    assert len(list((tmp_path / "data" / "users").iterdir())) == 2


def test_texts_to_encode_are_limited_as_well():
    assert _texts(["a", "b"], DEMO_LIMITS) == ["a", "b"]
    for bad in ([], "a", [1], ["a"] * (MAX_TEXTS + 1), ["a" * 2001]):
        with pytest.raises(InputError):
            _texts(bad, DEMO_LIMITS)
