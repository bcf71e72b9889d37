"""Indexes: arithmetic by hand, then invariants, then exact against plain numpy and approximate against exact."""

import logging
import math
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from explorer import retrieval
from explorer.errors import Cancelled, InputError
from explorer.retrieval import DenseIndex, Hit, LexicalIndex, hits


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def random_vectors(n: int, d: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(n, d)))


def clustered(n: int, d: int, clusters: int, seed: int = 0) -> np.ndarray:
    """Unit vectors around random centres: neighbours exist, as in real embeddings."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, d))
    return unit(centres[rng.integers(0, clusters, n)] + 0.8 * rng.normal(size=(n, d)))


def by_hand(vectors: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The matrix product in float64, and a stable sort: ties in order of row."""
    scores = (queries.astype(np.float64) @ vectors.T.astype(np.float64)).astype(np.float32)
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, rows, axis=1), rows


def run_python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    command, root = [sys.executable, "-c", code], Path(__file__).parents[1]
    environment = {**os.environ, **environment}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True).stdout


# ---- arithmetic ----


def test_three_vectors_by_hand():
    index = DenseIndex(np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32))
    scores, rows = index.search(np.array([[1, 0], [0, -1]], np.float32), k=3)
    assert rows.tolist() == [[0, 2, 1], [0, 2, 1]]
    np.testing.assert_allclose(scores, [[1, 0.6, 0], [0, -0.8, -1]], atol=1e-6)
    assert (scores.dtype, rows.dtype) == (np.float32, np.int64)
    assert index.bytes == 3 * 2 * 4
    assert len(index) == 3


def test_hits_are_ranked_and_skip_empty_places():
    found = hits(np.array([0.75, 0.5, 0], np.float32), np.array([2, 0, -1]), ["a", "b", "c"])
    assert found == [Hit("c", 1, 0.75), Hit("a", 2, 0.5)]
    assert hits([], [], ["a"]) == []


def test_bm25_by_hand():
    # 3 passages of 1, 2 and 3 words: 2 on average. "cat" is in two of them.
    index = LexicalIndex(["bird", "cat dog", "cat cat fish"])
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    second = idf * 1 / (1 + 1.5 * (0.25 + 0.75 * 2 / 2))
    third = idf * 2 / (2 + 1.5 * (0.25 + 0.75 * 3 / 2))
    scores, rows = index.search(["cat"], k=3)
    assert rows.tolist() == [[2, 1, -1]]
    np.testing.assert_allclose(scores, [[third, second, 0]], rtol=1e-6)
    assert (scores.dtype, rows.dtype) == (np.float32, np.int64)


# ---- dense: invariants ----


@pytest.mark.parametrize("d", [8, 384])
def test_exact_is_the_matrix_product_sorted(d):
    vectors, queries = random_vectors(3000, d), random_vectors(40, d, seed=1)
    scores, rows = DenseIndex(vectors).search(queries, k=10)
    expected_scores, expected_rows = by_hand(vectors, queries, 10)
    assert (rows == expected_rows).all()
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


@pytest.mark.parametrize("copies", [7, 90])
def test_ties_are_in_order_of_row_even_across_the_cut(copies):
    """Each vector occurs `copies` times; k = 10 cuts through them, and FAISS alone would keep any of them."""
    distinct = random_vectors(300 // copies + 1, 33)
    vectors = distinct[np.random.default_rng(2).integers(0, len(distinct), 1000)]
    queries = random_vectors(64, 33, seed=1)
    scores, rows = DenseIndex(vectors).search(queries, k=10)
    for query, found_scores, found in zip(queries, scores, rows, strict=True):
        product = [np.multiply(v, query, dtype=np.float64).sum() for v in vectors]
        assert found.tolist() == np.argsort(-np.array(product, np.float32), kind="stable")[:10].tolist()
        assert (np.diff(found_scores) <= 0).all()


def test_all_equal_vectors_come_in_order():
    index = DenseIndex(np.repeat(random_vectors(1, 16), 5000, axis=0))
    assert index.search(random_vectors(2, 16, seed=3), k=6)[1].tolist() == [[0, 1, 2, 3, 4, 5]] * 2


def test_results_do_not_depend_on_which_queries_are_searched_together():
    index, queries = DenseIndex(random_vectors(4000, 100)), random_vectors(50, 100, seed=1)
    scores, rows = index.search(queries, k=10)
    for i in range(50):
        one_scores, one_rows = index.search(queries[i : i + 1], k=10)
        assert (one_scores[0] == scores[i]).all()
        assert (one_rows[0] == rows[i]).all()


def test_k_is_clipped_and_all_of_it_is_a_permutation():
    index = DenseIndex(random_vectors(30, 5))
    scores, rows = index.search(random_vectors(4, 5, seed=1), k=1000)
    assert scores.shape == rows.shape == (4, 30)
    assert (np.sort(rows, axis=1) == np.arange(30)).all()
    assert DenseIndex(random_vectors(1, 5)).search(random_vectors(1, 5), k=10)[1].tolist() == [[0]]


def test_no_queries_give_no_rows():
    assert DenseIndex(random_vectors(3, 5)).search(np.empty((0, 5), np.float32), k=2)[1].shape == (0, 2)


def test_the_index_keeps_its_own_copy_and_takes_any_memory_layout():
    vectors = np.asfortranarray(random_vectors(50, 6))
    queries = random_vectors(3, 6, seed=1)
    index, expected = DenseIndex(vectors), by_hand(vectors, queries, 5)[1]
    vectors[:] = 0
    assert (index.search(queries, 5)[1] == expected).all()


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((0, 4), np.float32), "at least one vector"),
        (np.zeros(4, np.float32), r"matrix \[n, d\]"),
        (np.zeros((4, 0), np.float32), r"matrix \[n, d\]"),
        ([[1.0, 0.0]], "got list"),
        (np.zeros((2, 4)), "must be float32; got float64"),
        (np.array([[1, 0], [np.nan, 0]], np.float32), "row 1 holds NaN"),
        (np.array([[-np.inf, np.inf]], np.float32), "row 0 holds NaN"),
    ],
)
def test_unusable_vectors_are_named(vectors, message):
    with pytest.raises(InputError, match=message):
        DenseIndex(vectors)


def test_unusable_queries_and_k_are_named():
    index = DenseIndex(random_vectors(3, 4))
    with pytest.raises(InputError, match="queries have 5 dimensions, but the index has 4"):
        index.search(random_vectors(1, 5), 1)
    with pytest.raises(InputError, match="finite"):
        index.search(np.full((1, 4), np.nan, np.float32), 1)
    for k in (0, -1, 2.5, True, "3"):
        with pytest.raises(InputError, match="k must be a whole number"):
            index.search(random_vectors(1, 4), k)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least one query"):
        index.recall(np.empty((0, 4), np.float32))


def test_approximate_kinds_are_for_large_corpora():
    vectors = random_vectors(50, 8)
    with pytest.raises(InputError, match="more than 100,000 vectors; with 50, use 'exact'"):
        DenseIndex(vectors, "hnsw")
    with pytest.raises(InputError, match="at least 9,984 vectors"):
        DenseIndex(vectors, "ivfpq", force=True)
    with pytest.raises(InputError, match="unknown index kind 'annoy'; known: exact, hnsw, ivfpq"):
        DenseIndex(vectors, "annoy")  # type: ignore[arg-type]


@pytest.mark.parametrize(("d", "parts"), [(384, 24), (768, 48), (300, 15), (64, 8), (17, 1), (4096, 256), (1, 1)])
def test_quantiser_parts_divide_the_vector(d, parts):
    assert retrieval._parts(d) == parts
    assert d % parts == 0


# ---- dense: the approximate kinds ----


@pytest.fixture(scope="module")
def large() -> tuple[np.ndarray, np.ndarray]:
    every = clustered(10_100, 64, clusters=150)
    return every[:10_000], every[10_000:]


@pytest.fixture(scope="module", params=["hnsw", "ivfpq"])
def approximate(request, large) -> DenseIndex:
    return DenseIndex(large[0][: 5000 if request.param == "hnsw" else None], request.param, force=True)


def test_approximate_search_finds_most_and_scores_exactly(approximate, large):
    vectors, queries = large[0][: len(approximate)], large[1]
    assert approximate.recall(queries, k=10) >= 0.95
    scores, rows = approximate.search(queries, k=10)
    true = np.einsum("qd,qkd->qk", queries, vectors[rows])
    np.testing.assert_allclose(scores, true, atol=1e-6)
    assert (np.diff(scores, axis=1) <= 0).all()
    found = [len(set(a) & set(b)) / 10 for a, b in zip(rows, by_hand(vectors, queries, 10)[1], strict=True)]
    assert approximate.recall(queries, k=10) == pytest.approx(np.mean(found))  # no ties here: recall by hand


def test_the_same_vectors_give_the_same_index(approximate, large):
    again = DenseIndex(large[0][: len(approximate)], approximate.kind, force=True)
    faiss = retrieval._faiss()
    assert (faiss.serialize_index(approximate._index) == faiss.serialize_index(again._index)).all()


def test_size_is_near_what_faiss_would_write(approximate):
    written = retrieval._faiss().serialize_index(approximate._index).nbytes
    if approximate.kind == "ivfpq":
        written += 4 * approximate.n * approximate.dimension  # the vectors are kept beside it
    assert approximate.bytes == pytest.approx(written, rel=0.05)


def test_exact_search_has_full_recall(large):
    assert DenseIndex(large[0][:2000]).recall(large[1], k=10) == 1


def test_places_that_an_approximate_index_cannot_fill_hold_no_row(large):
    index = DenseIndex(large[0], "ivfpq", force=True)
    scores, rows = index.search(large[1][:3], k=5000)  # more than the probed cells hold
    for score, row in zip(scores, rows, strict=True):
        found = int((row >= 0).sum())
        assert 10 < found < 5000
        assert (row[found:] == -1).all()
        assert (score[found:] == 0).all()
        assert len(set(row[:found])) == found


def test_building_a_graph_reports_and_can_be_stopped(large):
    seen: list[tuple[int, int]] = []
    stop = threading.Event()

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        stop.set()

    with pytest.raises(Cancelled, match="stopped after 4,096 of 5,000"):
        DenseIndex(large[0][:5000], "hnsw", force=True, progress=progress, cancel=stop)
    assert seen == [(4096, 5000)]


# ---- lexical ----

PASSAGES = [
    "Delete a file or a directory.",
    "Copying files between directories",
    "Parse command line arguments",
    "the of and",
    "",
    "Parse command line arguments",
]


def test_stems_stop_words_and_case_are_folded():
    index = LexicalIndex(PASSAGES)
    assert set(index.search(["the FILES"], 6)[1][0]) == {0, 1, -1}
    assert index.search(["copy"], 6)[1][0].tolist() == [1, -1, -1, -1, -1, -1]


def test_equal_passages_tie_in_order_of_row():
    scores, rows = LexicalIndex(PASSAGES).search(["parsing"], 2)
    assert rows.tolist() == [[2, 5]]
    assert scores[0, 0] == scores[0, 1] > 0
    assert LexicalIndex(["same word"] * 100).search(["word"], 3)[1].tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("text", ["xylophone", "the of and", "", "?", "日本"])
def test_a_query_without_a_known_word_finds_nothing(text):
    scores, rows = LexicalIndex(PASSAGES).search([text, "file"], 4)
    assert rows[0].tolist() == [-1] * 4
    assert scores[0].tolist() == [0] * 4
    assert rows[1, 0] >= 0


def test_small_and_wordless_corpora():
    assert LexicalIndex(["one passage"]).search(["passage"], 10)[1].tolist() == [[0]]
    for wordless in ([""], ["the of", "a"], ["?", "!"]):
        scores, rows = LexicalIndex(wordless).search(["the", "word"], 10)
        assert (rows == -1).all()
        assert (scores == 0).all()
        assert rows.shape == (2, len(wordless))
    assert LexicalIndex(["word"]).search([], 3)[1].shape == (0, 1)
    with pytest.raises(InputError, match="at least one passage"):
        LexicalIndex([])
    with pytest.raises(InputError, match="k must be"):
        LexicalIndex(["word"]).search(["word"], 0)


def test_lexical_search_is_the_same_from_many_threads():
    rng = np.random.default_rng(0)
    words = np.array(["running", "files", "cats", "parser", "nested", "loops", "quickly", "trees", "graphs", "lists"])
    passages = [" ".join(rng.choice(words, 6)) for _ in range(500)]
    texts = [" ".join(rng.choice(words, 3)) for _ in range(200)]
    index = LexicalIndex(passages)
    scores, rows = index.search(texts, 10)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: index.search([text], 10), texts))
    assert (np.concatenate([f[1] for f in found]) == rows).all()
    assert (np.concatenate([f[0] for f in found]) == scores).all()


def test_lexical_index_prints_nothing(capfd, caplog):
    with caplog.at_level(logging.DEBUG):
        LexicalIndex(PASSAGES).search(["file", ""], 3)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_word_order_seeds_do_not_change_a_score():
    """bm25s numbers its words through a set, whose order changes from process to process."""
    code = (
        "from explorer.retrieval import LexicalIndex\n"
        "index = LexicalIndex(['a red fox jumps', 'red red dogs', 'blue fox dogs'] * 9)\n"
        "print([part.tobytes().hex() for part in index.search(['red fox dogs', 'jumping blue'], 20)])"
    )
    runs = {run_python(code, PYTHONHASHSEED=seed) for seed in ("1", "2")}
    assert len(runs) == 1


def test_libraries_are_imported_on_first_use():
    code = (
        "import sys, explorer.retrieval, explorer.measures\n"
        "print({'faiss', 'bm25s', 'Stemmer', 'pytrec_eval', 'scipy', 'gradio', 'plotly'} & set(sys.modules))"
    )
    assert run_python(code) == "set()\n"
