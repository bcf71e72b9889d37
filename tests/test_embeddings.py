"""The cache of vectors: computed once, never stale, whole or not there, right under threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from explorer import embeddings
from explorer.corpora import Corpus, Document
from explorer.embeddings import Embeddings, cache_bytes, clear_cache
from explorer.errors import Cancelled


class FakeEncoder:
    """Unit vectors that the text alone decides; counts what it was asked."""

    name, dimension, fingerprint = "fake", 8, "fake"
    notes = ()

    def __init__(self, version: str = "1") -> None:
        self.version = version
        self.asked: list[tuple[str, list[str]]] = []

    def key(self, kind):
        return f"{self.version}-{kind}"

    def encode(self, texts, kind="document", progress=None, cancel=None):
        self.asked.append((kind, list(texts)))
        if cancel is not None and cancel.is_set():
            raise Cancelled("stopped")
        rows = [np.random.default_rng(list(f"{self.key(kind)} {t}".encode())).normal(size=8) for t in texts]
        if progress is not None:
            progress(len(texts), len(texts))
        vectors = np.array(rows, np.float32).reshape(len(texts), 8)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def corpus(*texts: str) -> Corpus:
    return Corpus("c", tuple(Document(str(i), text) for i, text in enumerate(texts)))


@pytest.fixture(autouse=True)
def own_home(home):
    return home


def test_documents_are_encoded_once_and_survive_a_restart():
    encoder, documents = FakeEncoder(), corpus("one", "two")
    cache = Embeddings()
    assert not cache.path(encoder, documents).exists()
    first = cache.documents(encoder, documents)
    assert cache.path(encoder, documents).exists()
    np.testing.assert_array_equal(cache.documents(encoder, documents), first)
    np.testing.assert_array_equal(Embeddings().documents(FakeEncoder(), documents), first)
    assert encoder.asked == [("document", ["one", "two"])]


def test_another_encoder_text_or_id_is_another_entry():
    paths = {
        Embeddings.path(encoder, documents)
        for encoder in (FakeEncoder("1"), FakeEncoder("2"))
        for documents in (corpus("one", "two"), corpus("two", "one"), corpus("one"), corpus("one", "two "))
    }
    assert len(paths) == 6  # a passage is stripped: "two " is "two"


@pytest.mark.parametrize("damage", ["cut", "empty", "other shape", "other type", "nan", "pickle"])
def test_a_damaged_file_is_computed_again(damage):
    encoder, documents = FakeEncoder(), corpus("one", "two")
    expected = Embeddings().documents(encoder, documents)
    path = Embeddings.path(encoder, documents)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        wrong = {
            "other shape": np.ones((2, 9), np.float32),
            "other type": expected.astype(np.float64),
            "nan": np.full((2, 8), np.nan, np.float32),
            "pickle": np.array([{"a": 1}], dtype=object),
        }[damage]
        with path.open("wb") as file:
            np.save(file, wrong, allow_pickle=True)
    np.testing.assert_array_equal(Embeddings().documents(encoder, documents), expected)
    assert len(encoder.asked) == 2
    np.testing.assert_array_equal(Embeddings().documents(encoder, documents), expected)
    assert len(encoder.asked) == 2  # and is whole again


def test_stopping_leaves_nothing_behind():
    encoder, documents, stop = FakeEncoder(), corpus("one", "two"), threading.Event()
    stop.set()
    cache = Embeddings()
    with pytest.raises(Cancelled):
        cache.documents(encoder, documents, cancel=stop)
    assert list(Embeddings.path(encoder, documents).parent.iterdir()) == []
    assert cache.documents(encoder, documents).shape == (2, 8)  # the lock is free


def test_eight_threads_at_once_encode_once():
    encoder, documents, cache = FakeEncoder(), corpus("one", "two"), Embeddings()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cache.documents(encoder, documents), range(8)))
    assert len(encoder.asked) == 1
    assert all(np.array_equal(vectors, found[0]) for vectors in found)


def test_progress_and_shape_reach_the_caller():
    seen = []
    Embeddings().documents(FakeEncoder(), corpus("one", "two", "three"), progress=lambda *done: seen.append(done))
    assert seen == [(3, 3)]


def test_queries_are_encoded_once_each_in_order():
    encoder, cache = FakeEncoder(), Embeddings()
    first = cache.queries(encoder, ["a", "b", "a"])
    assert encoder.asked == [("query", ["a", "b"])]
    np.testing.assert_array_equal(first[0], first[2])
    second = cache.queries(encoder, ["c", "b"])
    assert encoder.asked[1:] == [("query", ["c"])]
    np.testing.assert_array_equal(second[1], first[1])
    np.testing.assert_array_equal(second, FakeEncoder().encode(["c", "b"], "query"))
    assert cache.queries(encoder, []).shape == (0, 8)
    other = FakeEncoder("2")
    assert not np.array_equal(cache.queries(other, ["a"])[0], first[0])


def test_query_memory_is_bounded_and_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr(embeddings, "QUERIES_KEPT", 3)
    encoder, cache = FakeEncoder(), Embeddings()
    cache.queries(encoder, ["a", "b", "c"])
    cache.queries(encoder, ["a"])  # seen lately
    cache.queries(encoder, ["d"])  # pushes "b" out
    encoder.asked.clear()
    cache.queries(encoder, ["a", "c", "d"])
    assert encoder.asked == []
    cache.queries(encoder, ["b"])
    assert encoder.asked == [("query", ["b"])]
    many = [str(i) for i in range(10)]
    np.testing.assert_array_equal(cache.queries(encoder, many), FakeEncoder().encode(many, "query"))


def test_the_cache_can_be_emptied():
    encoder, documents = FakeEncoder(), corpus("one", "two")
    cache = Embeddings()
    cache.documents(encoder, documents)
    size = Embeddings.path(encoder, documents).stat().st_size
    assert cache_bytes() == size > 64
    assert clear_cache() == size
    assert cache_bytes() == 0
    assert cache.documents(encoder, documents).shape == (2, 8)
