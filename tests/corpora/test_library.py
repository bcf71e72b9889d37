"""The library: the user's corpora are kept, named safely, found again; judgments lie over a corpus and survive."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from explorer import corpora
from explorer.corpora import BUILT_IN, Corpus, Document
from explorer.corpora.library import Library, open_anything, query_id, safe_name
from explorer.errors import InputError
from explorer.store import data_dir


@pytest.fixture(autouse=True)
def own_home(home):
    return home


@pytest.fixture
def built_in(monkeypatch):
    """A built-in corpus that costs nothing."""
    made = []

    def build() -> Corpus:
        made.append(1)
        return corpus("tiny")

    monkeypatch.setitem(BUILT_IN, "tiny", build)
    return made


def corpus(name: str = "Mine", *more: str) -> Corpus:
    texts = ("one text", "two, with a comma", 'three "quoted"\nover two lines', "四つ", *more)
    documents = tuple(
        Document(f"d/{i}", text, title=f"title {i}" if i % 2 else "", label="odd" if i % 2 else "even")
        for i, text in enumerate(texts)
    )
    return Corpus(name, documents, {"q1": "first?", "q2": "second?"}, {"q1": {"d/0": 2, "d/1": 0}})


# ------------------------------------------------------------------------------------------------- keeping corpora


def test_a_kept_corpus_comes_back_the_same():
    name = Library().add(corpus())
    assert name == "mine"
    back = Library().open(name)  # after a restart
    assert back.name == "mine"
    assert back.content_hash == corpus().content_hash
    for attribute in ("documents", "queries", "qrels"):
        kept, given = getattr(back, attribute), getattr(corpus(), attribute)
        assert kept == given, attribute


def test_names_are_built_in_first(built_in):
    library = Library()
    library.add(corpus("b"))
    library.add(corpus("a"))
    assert library.names == [*BUILT_IN, "a", "b"]


def test_another_corpus_of_that_name_is_numbered(built_in):
    library = Library()
    assert library.add(corpus("x")) == "x"
    assert library.add(corpus("x", "more")) == "x-2"
    assert library.add(corpus("X", "more", "still more")) == "x-3"
    assert library.add(corpus("tiny", "more")) == "tiny-2"  # never in the place of a built-in one
    assert library.add(corpus("x", "more")) == "x-2"  # the same documents again
    assert [n for n in library.names if n not in BUILT_IN] == ["tiny-2", "x", "x-2", "x-3"]


def test_the_same_documents_again_bring_their_new_queries():
    library = Library()
    name = library.add(corpus())
    library.open(name)
    new = Corpus("Mine", corpus().documents, {"q9": "ninth?"}, {"q9": {"d/3": 1}})
    assert library.add(new) == name
    assert library.open(name).queries == {"q9": "ninth?"}


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("My Documents (2)", "my-documents-2"),
        ("../../etc/passwd", "etc-passwd"),
        ("C:\\Users\\x", "c-users-x"),
        (".hidden", "hidden"),
        ("日本", "corpus"),
        ("", "corpus"),
        ("a" * 200, "a" * 60),
        ("v1.5", "v1.5"),
    ],
)
def test_safe_names(name, safe):
    assert safe_name(name) == safe
    kept = Library().add(corpus(name))
    assert kept == safe
    assert [path.name for path in data_dir("corpora").iterdir()] == [safe]


def test_removing():
    library = Library()
    name = library.add(corpus())
    library.open(name)
    library.remove(name)
    assert name not in library.names
    for action in (library.open, library.remove):
        with pytest.raises(InputError, match=r"no corpus 'mine'|'mine' is not a corpus of yours"):
            action(name)


def test_a_built_in_corpus_cannot_be_removed(built_in):
    with pytest.raises(InputError, match="'tiny' is not a corpus of yours"):
        Library().remove("tiny")


@pytest.mark.parametrize("name", ["..", ".", "", "../data", "mine/../.."])
def test_no_name_leads_outside_the_folder(name):
    library = Library()
    library.add(corpus())
    with pytest.raises(InputError, match="is not a corpus of yours"):
        library.remove(name)
    with pytest.raises(InputError, match="no corpus"):
        library.open(name)
    assert library.open("mine").ids


def test_an_unknown_name_lists_the_valid_ones(built_in):
    library = Library()
    library.add(corpus())
    with pytest.raises(InputError, match=rf"no corpus 'other'; there are: {', '.join(BUILT_IN)}, mine"):
        library.open("other")


def test_a_built_in_corpus_is_built_once(built_in):
    library = Library()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: library.open("tiny"), range(8)))
    assert len(built_in) == 1
    assert len({id(c) for c in found}) == 1


def test_open_anything(built_in, tmp_path):
    assert open_anything("tiny").name == "tiny"
    file = tmp_path / "lines.txt"
    file.write_text("one\ntwo\n")
    assert [d.text for d in open_anything(str(file)).documents] == ["one", "two"]
    with pytest.raises(InputError, match="no corpus"):
        open_anything(str(tmp_path / "not there"))
    with pytest.raises(InputError, match="no corpus 'xxx"):
        open_anything("x" * 5000)  # longer than any path may be


# ------------------------------------------------------------------------------------------------------- judgments


def test_a_judgment_is_laid_over_the_corpus_and_survives(built_in):
    library = Library()
    judged = library.judge("tiny", "first?", "d/3", 1)
    assert judged.qrels["q1"] == {"d/0": 2, "d/1": 0, "d/3": 1}
    assert library.judge("tiny", "first?", "d/1", 2).qrels["q1"]["d/1"] == 2  # the user's own word counts
    assert Library().open("tiny").qrels == {"q1": {"d/0": 2, "d/1": 2, "d/3": 1}}
    assert corpora.BUILT_IN["tiny"]().qrels == corpus().qrels


def test_a_typed_query_gets_an_id_and_keeps_it(built_in):
    library = Library()
    library.judge("tiny", "  my own query ", "d/0", 1)
    judged = library.judge("tiny", "my own query", "d/1", 0)
    (id,) = set(judged.queries) - {"q1", "q2"}
    assert id.startswith("typed-")
    assert judged.queries[id] == "my own query"
    assert judged.qrels[id] == {"d/0": 1, "d/1": 0}
    assert query_id(judged, "my own query") == id
    assert query_id(judged, " second? ") == "q2"


def test_a_judgment_can_be_taken_back(built_in):
    library = Library()
    library.judge("tiny", "mine", "d/0", 1)
    library.judge("tiny", "first?", "d/1", 2)
    library.judge("tiny", "mine", "d/0", None)
    judged = library.judge("tiny", "first?", "d/1", None)
    assert (judged.queries, judged.qrels) == (corpus().queries, corpus().qrels)
    library.judge("tiny", "mine", "d/0", None)  # what is not there is nothing to take back
    assert Library().open("tiny").qrels == corpus().qrels


def test_judgments_belong_to_the_documents_not_to_the_name(built_in):
    library = Library()
    name = library.add(corpus("copy"))
    library.judge("tiny", "first?", "d/3", 1)
    assert Library().open(name).qrels["q1"]["d/3"] == 1
    other = library.add(corpus("other", "one more"))
    assert "d/3" not in library.open(other).qrels["q1"]


@pytest.mark.parametrize("grade", [-1, 3, 0.5])
def test_an_unfit_grade_is_refused(built_in, grade):
    with pytest.raises(InputError, match=f"a judgment is one of 0, 1, 2, not {grade}"):
        Library().judge("tiny", "first?", "d/0", grade)


def test_an_unknown_document_is_refused(built_in):
    with pytest.raises(InputError, match="has no document 'd/99'"):
        Library().judge("tiny", "first?", "d/99", 1)
    assert list(data_dir("judgments").iterdir()) == []


def test_judging_at_once_loses_nothing(built_in):
    library = Library()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: library.judge("tiny", f"query {i}", "d/0", 1), range(16)))
    assert len(Library().open("tiny").qrels) == 1 + 16


@pytest.mark.parametrize("content", ["", "{", "[]", '{"queries": {}}', '{"queries": {}, "qrels": {"q": 1}}'])
def test_damaged_judgments_are_said_in_one_sentence(built_in, content):
    Library().judge("tiny", "first?", "d/0", 1)
    (file,) = data_dir("judgments").iterdir()
    file.write_text(content)
    with pytest.raises(InputError, match=r"the stored judgments of 'tiny' are damaged: \w+\.json"):
        Library().open("tiny")
