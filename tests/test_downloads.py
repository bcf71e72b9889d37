"""Files that other tools read: by hand, and by those tools."""

from __future__ import annotations

import csv
import io
import json
import zipfile

from explorer.comparison import Comparison, ManyQueries
from explorer.corpora import Corpus, Document
from explorer.downloads import measures_csv, ranking_csv, settings, snippet, trec_qrels, trec_run, trec_zip
from explorer.retrieval import Hit

CORPUS = Corpus(
    "tiny",
    (Document("a b", "first", title="=SUM(A1)"), Document("c", "second")),
    queries={"q 1": "what", "q2": "which"},
    qrels={"q 1": {"a b": 2, "c": 0}},
)
RANKED = [Hit("a b", 1, 0.75), Hit("c", 2, 0.5)]


def test_a_trec_run_has_six_columns_and_no_white_space_in_ids():
    assert trec_run({"q 1": RANKED}, "my variant") == (
        "q_1 Q0 a_b 1 0.750000 my_variant\nq_1 Q0 c 2 0.500000 my_variant\n"
    )
    assert trec_qrels(CORPUS.qrels) == "q_1 0 a_b 2\nq_1 0 c 0\n"


def test_pytrec_eval_reads_our_files():
    import pytrec_eval

    run = pytrec_eval.parse_run(io.StringIO(trec_run({"q 1": RANKED}, "v")))
    qrels = pytrec_eval.parse_qrel(io.StringIO(trec_qrels(CORPUS.qrels)))
    assert pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10"}).evaluate(run) == {"q_1": {"ndcg_cut_10": 1.0}}


def test_the_zip_carries_its_settings():
    view = Comparison(CORPUS, "what", 2, {"minilm/x": RANKED, "bm25": []})
    with zipfile.ZipFile(io.BytesIO(trec_zip(view, CORPUS.qrels))) as archive:
        assert sorted(archive.namelist()) == ["qrels.txt", "run-bm25.txt", "run-minilm-x.txt", "settings.json"]
        told = json.loads(archive.read("settings.json"))
    assert (told["corpus"], told["query"], told["k"]) == ("tiny", "what", 2)
    assert told["corpus_hash"] == CORPUS.content_hash
    assert told["found_nothing"] == {"bm25": "no word of the query occurs in these documents"}


def test_csv_rows_repeat_the_settings_and_hold_no_formula():
    rows = list(csv.DictReader(io.StringIO(ranking_csv(Comparison(CORPUS, "what", 2, {"v": RANKED})))))
    assert [(r["corpus"], r["query"], r["variant"], r["rank"], r["id"]) for r in rows] == [
        ("tiny", "what", "v", "1", "a b"),
        ("tiny", "what", "v", "2", "c"),
    ]
    assert rows[0]["title"] == "'=SUM(A1)"  # a spreadsheet would compute it


def test_measures_are_empty_where_nothing_is_judged():
    many = ManyQueries(CORPUS, CORPUS.queries, 2, {"v": {"q 1": RANKED, "q2": []}})
    rows = {r["query_id"]: r for r in csv.DictReader(io.StringIO(measures_csv(many)))}
    assert float(rows["q 1"]["nDCG@2"]) == 1.0
    assert rows["q2"]["nDCG@2"] == ""
    assert rows["q2"]["first_hit"] == ""


def test_what_was_left_out_and_found_nothing_is_told():
    many = ManyQueries(CORPUS, CORPUS.queries, 2, {"v": {"q 1": RANKED, "q2": []}}, {"q2": frozenset({"c"})})
    assert settings(many)["found_nothing"] == {"v": ["q2"]}
    assert settings(many)["left_out"] == {"q2": ["c"]}


def test_the_snippet_is_code_whatever_the_query_holds():
    code = snippet("tiny", 'it\'s "quoted"\n${x}', ["a", "b"], 5)
    compile(code, "snippet", "exec")
    assert repr('it\'s "quoted"\n${x}') in code
