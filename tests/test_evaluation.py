"""Running evaluations: right numbers, nothing shared that must not be, stop and resume, bad input."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import mteb
import numpy as np
import pytest
import tiny
from scipy import stats

from explorer import variants
from explorer.__main__ import main
from explorer.backbone import Backbone
from explorer.comparison import Comparer
from explorer.designs import design
from explorer.encoder import PooledEncoder
from explorer.errors import InputError
from explorer.evaluation import engine
from explorer.evaluation.builtin import BUILT_IN
from explorer.evaluation.engine import EvaluationConfig, evaluate
from explorer.evaluation.models import model_name
from explorer.evaluation.results import Evaluation
from explorer.evaluation.tasks import make_task
from explorer.measures import quality
from explorer.retrieval import DenseIndex, hits
from explorer.variants import Shelf

WORDS = (
    "river bridge light garden stone music paper window winter summer letter engine market forest island doctor".split()
)
MEAN, EOS = "model-untrained/mean-bidirectional", "model-untrained/eos-causal"


def sentence(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(WORDS, 6))


def write_rows(path: Path, rows: list[dict]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def pair_rows(count: int = 40, seed: int = 0) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [{"sentence1": sentence(rng), "sentence2": sentence(rng), "score": i % 6} for i in range(count)]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    return tiny.save_backbone(tmp_path_factory.mktemp("tiny") / "model", "bert")


@pytest.fixture(scope="module")
def shelf(model_folder) -> Shelf:
    return Shelf("cpu", "float32", backbones=[str(model_folder)])


@pytest.fixture
def pairs(tmp_path) -> str:
    return "sts:" + write_rows(tmp_path / "similar.jsonl", pair_rows())


@pytest.fixture
def beir(tmp_path) -> str:
    rng = np.random.default_rng(1)
    folder = tmp_path / "library"
    write_rows(folder / "corpus.jsonl", [{"_id": f"d{i}", "title": "", "text": sentence(rng)} for i in range(60)])
    write_rows(folder / "queries.jsonl", [{"_id": f"q{i}", "text": sentence(rng)} for i in range(25)])
    (folder / "qrels").mkdir()
    judged = "".join(f"q{i}\td{2 * i}\t{1 + i % 2}\n" for i in range(25))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged, encoding="utf-8")
    return f"retrieval:{folder}"


@pytest.fixture
def labelled(tmp_path) -> str:
    rng = np.random.default_rng(2)
    rows = [{"text": f"{sentence(rng)} {i}", "label": ["a", "b", "c"][i % 3]} for i in range(90)]
    return write_rows(tmp_path / "sorted.jsonl", rows)


@pytest.fixture
def counted(monkeypatch) -> list[tuple[str, str]]:
    """What mteb was asked to evaluate: (model, task)."""
    asked: list[tuple[str, str]] = []
    inner = mteb.evaluate

    def evaluate(model, task, **options):
        asked.append((model.mteb_model_meta.name, task.metadata.name))
        return inner(model, task, **options)

    monkeypatch.setattr(mteb, "evaluate", evaluate)
    return asked


def config(*tasks: str, variants: tuple[str, ...] = (MEAN,), **more) -> EvaluationConfig:
    return EvaluationConfig(variants, tasks, **more)


# ---- numbers -------------------------------------------------------------------------------------------------------


def test_scored_pairs_by_hand(home, shelf, pairs, tmp_path):
    row = evaluate(shelf, config(pairs), tmp_path / "out", quiet=True).rows[MEAN]["similar-sts"]
    encoder = shelf.load(MEAN)
    a, b = ([r[side] for r in pair_rows()] for side in ("sentence1", "sentence2"))
    cosines = (encoder.encode(a) * encoder.encode(b)).sum(1)
    expected = stats.spearmanr(cosines, [r["score"] for r in pair_rows()]).statistic
    assert row.main_score == pytest.approx(expected, abs=1e-6)
    assert (row.metric, row.split, row.n) == ("cosine_spearman", "test", 40)
    assert row.low < row.main_score < row.high
    assert row.data == "own data"


def test_retrieval_is_our_own_ndcg(home, shelf, beir, tmp_path):
    done = evaluate(shelf, config(beir, variants=(MEAN, "bm25")), tmp_path / "out", quiet=True)
    corpus = done.tasks["library-retrieval"].corpus()
    encoder = shelf.load(MEAN)
    scores, rows = DenseIndex(encoder.encode(corpus.passages)).search(encoder.encode(list(corpus.queries.values())), 10)
    run = {q: hits(scores[i], rows[i], corpus.ids) for i, q in enumerate(corpus.queries)}
    expected = quality(run, corpus.qrels, 10)
    assert done.rows[MEAN]["library-retrieval"].main_score == pytest.approx(expected.mean("nDCG"), abs=1e-5)
    examples = done.examples["library-retrieval"][MEAN]
    by_query = dict(zip(examples.ids, examples.values, strict=True))
    assert by_query == pytest.approx(dict(expected.per_query["nDCG"]), abs=1e-5)
    assert examples.top[0][0] == run[examples.ids[0]][0].id
    assert done.rows["bm25"]["library-retrieval"].n == 25


def write_beir(folder: Path, corpus: dict[str, str], queries: dict[str, str], judged: dict[str, dict[str, int]]) -> str:
    write_rows(folder / "corpus.jsonl", [{"_id": id, "text": text} for id, text in corpus.items()])
    write_rows(folder / "queries.jsonl", [{"_id": id, "text": text} for id, text in queries.items()])
    lines = "".join(f"{q}\t{d}\t{grade}\n" for q, of in judged.items() for d, grade in of.items())
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}", encoding="utf-8")
    return f"retrieval:{folder}"


@pytest.fixture
def duplicates() -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Questions searched among questions, as QuoraRetrieval does: each has a duplicate that differs by one word."""
    rng = np.random.default_rng(7)
    first = {f"a{i}": f"{sentence(rng)} {sentence(rng)}" for i in range(30)}
    second = {f"b{i}": text.rpartition(" ")[0] for i, text in enumerate(first.values())}
    return {**first, **second}, first, {f"a{i}": {f"b{i}": 1} for i in range(30)}


def test_queries_that_are_documents_do_not_find_themselves(home, shelf, duplicates, tmp_path):
    """As mteb's tasks of that kind have it; with itself in front the best is 1 / log2(3) = .631."""
    corpus, queries, judged = duplicates
    own = write_beir(tmp_path / "questions", corpus, queries, judged)
    done = evaluate(shelf, config(own, variants=(MEAN, "bm25")), tmp_path / "out", quiet=True)
    rows = {name: done.rows[name]["questions-retrieval"] for name in (MEAN, "bm25")}
    assert rows["bm25"].main_score == 1
    assert rows[MEAN].main_score > 0.8
    assert rows[MEAN].notes == ("30 of the queries are documents, which do not find themselves",)
    examples = done.examples["questions-retrieval"][MEAN]
    assert examples.ids[0] == "a0"
    assert all(id not in top for id, top in zip(examples.ids, examples.top, strict=True))
    task = done.tasks["questions-retrieval"]
    many = Comparer(shelf).compare_many(task.corpus(), task.corpus().queries, [MEAN, "bm25"])  # Compare says the same
    for name, row in rows.items():
        assert many.quality[name].mean("nDCG") == pytest.approx(row.main_score, abs=1e-5)
    made = task.load()
    made.ignore_identical_ids = False  # what it was before
    assert mteb.evaluate(engine.LexicalModel("bm25"), made, cache=None, co2_tracker=False).task_results[
        0
    ].get_score() == pytest.approx(1 / np.log2(3), abs=1e-5)


def test_ids_that_are_mere_numbers_lose_no_answer(home, shelf, duplicates, tmp_path):
    """The answer of query 3 is document 3; and where some queries are documents, the others keep theirs."""
    corpus, queries, judged = duplicates
    numbered = write_beir(
        tmp_path / "numbered",
        {str(i): text for i, text in enumerate(queries.values())},
        {str(i): f"{text} how" for i, text in enumerate(list(corpus.values())[30:])},
        {str(i): {str(i): 1} for i in range(30)},
    )
    mixed = write_beir(
        tmp_path / "mixed", corpus, {**queries, "b0": f"{corpus['b0']} how"}, {**judged, "b0": {"a0": 1, "b0": 2}}
    )
    done = evaluate(shelf, config(numbered, mixed, variants=("bm25",)), tmp_path / "out", quiet=True)
    assert done.rows["bm25"]["numbered-retrieval"].main_score > 0.9
    assert not done.rows["bm25"]["numbered-retrieval"].notes
    assert done.rows["bm25"]["mixed-retrieval"].main_score == 1
    assert done.rows["bm25"]["mixed-retrieval"].n == 31
    examples = done.examples["mixed-retrieval"]["bm25"]
    assert dict(zip(examples.ids, examples.top, strict=True))["query b0"][0] == "b0"


def test_bm25_that_matches_no_word_scores_nothing(home, shelf, tmp_path):
    """The first document is right for every query, and no word leads to it."""
    corpus = {"right": "aubergine", **{f"d{i}": f"river bridge {i}" for i in range(20)}}
    queries = {f"q{i}": f"zebra{i}" for i in range(9)} | {"found": "aubergine", "d3": "river bridge 3"}
    judged = {q: {"right": 1} for q in queries}
    own = write_beir(tmp_path / "words", corpus, queries, judged)
    done = evaluate(shelf, config(own, variants=("bm25", MEAN)), tmp_path / "out", quiet=True)
    row, examples = done.rows["bm25"]["words-retrieval"], done.examples["words-retrieval"]["bm25"]
    assert row.main_score == pytest.approx(1 / 11, abs=1e-5)
    assert row.n == 11
    assert dict(zip(examples.ids, examples.top, strict=True))["q0"] == ()
    assert any("no word of 9 of the queries occurs" in note for note in row.notes)
    assert "in common" not in done.comparisons["words-retrieval"][0].refused  # all queries are there to be paired
    mean = done.rows[MEAN]["words-retrieval"]
    assert mean.n == 11


def test_bm25_reranks_by_words_alone():
    from datasets import Dataset

    model = engine.LexicalModel("bm25")
    model.index(Dataset.from_dict({"id": ["a", "b", "c"], "text": ["red fox", "red dog", "blue cat"]}))
    queries = Dataset.from_dict({"id": ["q1", "q2", "q3"], "text": ["fox", "zebra", "cat"]})
    found = model.search(queries, top_k=10, top_ranked={"q1": ["b", "a"], "q2": ["a", "b"], "q3": ["a", "b"]})
    assert found["q1"]["a"] > found["q1"]["b"] == 0
    assert found["q2"] == found["q3"] == {}
    assert model.nothing == 2


def test_a_sentence_transformers_model_uses_its_own_prompts(home, pairs, beir, model_folder, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    modules = [Transformer(str(model_folder)), Pooling(tiny.WIDTH, "mean")]
    model = SentenceTransformer(modules=modules, prompts={"query": "find: ", "document": "read: "}, device="cpu")
    model.save(str(tmp_path / "theirs"))
    name = str(tmp_path / "theirs")
    done = evaluate(
        Shelf("cpu", "float32", contenders=[name]), config(pairs, beir, variants=(name,)), tmp_path / "out", quiet=True
    )
    plain = mteb.evaluate(model, done.tasks["similar-sts"].load(), cache=None, co2_tracker=False)
    assert done.rows[name]["similar-sts"].main_score == pytest.approx(plain.task_results[0].get_score(), abs=1e-5)
    search = mteb.evaluate(model, done.tasks["library-retrieval"].load(), cache=None, co2_tracker=False)
    assert done.rows[name]["library-retrieval"].main_score == pytest.approx(
        search.task_results[0].get_score(), abs=1e-5
    )


def test_labelled_texts(home, shelf, labelled, tmp_path):
    done = evaluate(shelf, config(f"classification:{labelled}", f"clustering:{labelled}"), tmp_path / "out", quiet=True)
    rows = done.rows[MEAN]
    examples = done.examples["sorted-classification"][MEAN]
    assert rows["sorted-classification"].main_score == pytest.approx(examples.values.mean())
    assert examples.labels == ("a", "b", "c")
    assert examples.predicted.shape == (10, 45)
    assert rows["sorted-clustering"].metric == "v_measure"
    assert rows["sorted-clustering"].low is None
    assert "sorted-clustering" not in done.examples


def test_the_same_evaluation_twice_is_the_same(home, shelf, labelled, pairs, tmp_path):
    tasks = (f"clustering:{labelled}", f"classification:{labelled}", pairs)
    one = evaluate(shelf, config(*tasks), tmp_path / "one", quiet=True)
    two = evaluate(shelf, config(*reversed(tasks)), tmp_path / "two", quiet=True)
    scores = [{t: row.main_score for t, row in e.rows[MEAN].items()} for e in (one, two)]
    assert scores[0] == scores[1]


@pytest.mark.shared
def test_published_scores(home, shared, tmp_path, capsys):
    names = "STSBenchmark,STS15,Banking77Classification,XQuADRetrieval"
    options = ["--variants", "minilm-published", "--data-dir", str(shared / "mteb"), "--tasks", names]
    assert main(["evaluate", *options, "--dtype", "float32", "--output", str(tmp_path / "out"), "--json"]) == 0
    said = capsys.readouterr()
    scores = json.loads(said.out)["scores"]["minilm-published"]
    assert set(scores) == set(names.split(",")), said.err[-3000:]
    known = json.loads((shared / "mteb" / "published.json").read_text(encoding="utf-8"))["scores"]
    for name in names.split(","):
        assert scores[name]["main_score"] == pytest.approx(known[name]["published"], abs=1e-4)
        assert scores[name]["comparable"]
        assert scores[name]["subset"] == known[name].get("subset", "default")
    assert "not letter by letter" in scores["STSBenchmark"]["data"]
    assert scores["XQuADRetrieval"]["data"] == "the official data, from local files"


# ---- nothing stale, nothing shared ---------------------------------------------------------------------------------


def test_same_weights_under_two_names_share_no_results(home, model_folder, pairs, counted, tmp_path, monkeypatch):
    monkeypatch.setattr(variants, "CHECKPOINTS", tmp_path / "none")
    backbone = Backbone.load(str(model_folder), "cpu", "float32")
    folder = tmp_path / "checkpoints"
    PooledEncoder.untrained(backbone, design("mean-causal")).save(folder / "tiny" / "one")
    shutil.copytree(folder / "tiny" / "one", folder / "tiny" / "two")
    shelf = Shelf("cpu", "float32", checkpoints=[folder])
    out = tmp_path / "out"
    evaluate(shelf, config(pairs, variants=("tiny/one",)), out, quiet=True)
    done = evaluate(shelf, config(pairs, variants=("tiny/one", "tiny/two")), out, quiet=True)
    assert [name for name, _ in counted] == ["pooling-explorer/tiny--one", "pooling-explorer/tiny--two"]
    one, two = (done.rows[name]["similar-sts"] for name in ("tiny/one", "tiny/two"))
    assert one.revision == two.revision
    assert one.main_score == two.main_score
    assert len(list(out.glob("results/*/*/similar-sts.json"))) == 2


def test_a_finished_evaluation_opens_without_computing(home, shelf, pairs, beir, counted, tmp_path):
    done = evaluate(shelf, config(pairs, beir, variants=(MEAN, EOS)), tmp_path / "out", quiet=True)
    counted.clear()
    opened = Evaluation.load(tmp_path / "out")
    assert opened.table() == done.table()
    assert opened.worst(EOS, "library-retrieval") == done.worst(EOS, "library-retrieval")
    assert opened.to_json() == done.to_json()
    assert not counted
    with pytest.raises(InputError, match="holds no evaluation"):
        Evaluation.load(tmp_path)
    (tmp_path / "out" / "evaluation.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="damaged"):
        Evaluation.load(tmp_path / "out")


def test_model_names_never_collide():
    names = ["a/b", "a--b", "a__b", "a b", "a_b", "a-b", "A/b", "ä/b", "a/b/", "a//b", "a"]
    assert len({model_name(name).lower() + name[:1] for name in names}) == len(names)


def test_other_weights_are_another_revision(home, shelf, pairs, tmp_path):
    done = evaluate(shelf, config(pairs, variants=(MEAN, EOS)), tmp_path / "out", quiet=True)
    assert len({done.rows[name]["similar-sts"].revision for name in (MEAN, EOS)}) == 2


def test_changed_data_is_evaluated_again(home, shelf, pairs, counted, tmp_path):
    out = tmp_path / "out"
    before = evaluate(shelf, config(pairs), out, quiet=True).rows[MEAN]["similar-sts"]
    write_rows(
        tmp_path / "similar.jsonl", [{**row, "score": (row["score"] + i) % 6} for i, row in enumerate(pair_rows())]
    )
    after = evaluate(shelf, config(pairs), out, quiet=True).rows[MEAN]["similar-sts"]
    assert after.main_score != before.main_score
    assert len(counted) == 2
    assert len(list(out.glob("by-data/similar-sts-*"))) == 2
    shown = mteb.ResultCache(out).load_task_result("similar-sts", model_name(MEAN), after.revision)
    assert shown.get_score() == pytest.approx(after.main_score, abs=1e-6)  # mteb writes six digits


def test_mteb_reads_the_results(home, shelf, pairs, beir, tmp_path):
    done = evaluate(shelf, config(pairs, beir), tmp_path / "out", quiet=True)
    found = mteb.ResultCache(tmp_path / "out").load_results()
    scores = {r.task_name: r.get_score() for model in found.model_results for r in model.task_results}
    assert scores == pytest.approx({t: row.main_score for t, row in done.rows[MEAN].items()}, abs=1e-6)
    assert found.model_results[0].model_name == model_name(MEAN)


# ---- stop and resume -----------------------------------------------------------------------------------------------


def test_stop_keeps_what_is_finished_and_resume_does_not_repeat_it(
    home, shelf, pairs, beir, counted, tmp_path, monkeypatch
):
    cancel, out = threading.Event(), tmp_path / "out"
    inner = engine.Tracker.row
    monkeypatch.setattr(engine.Tracker, "row", lambda self, row: (inner(self, row), cancel.set()))
    stopped = evaluate(shelf, config(pairs, beir), out, cancel, quiet=True)
    assert stopped.stopped
    assert list(stopped.rows[MEAN]) == ["similar-sts"]
    told = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert told["stopped"] is True
    monkeypatch.undo()
    counted.clear()
    asked = []
    whole = mteb.evaluate
    monkeypatch.setattr(
        mteb, "evaluate", lambda model, task, **o: (asked.append(task.metadata.name), whole(model, task, **o))[1]
    )
    done = evaluate(shelf, config(pairs, beir), out, quiet=True)
    assert asked == ["library-retrieval"]
    assert not done.stopped
    assert list(done.rows[MEAN]) == ["similar-sts", "library-retrieval"]
    assert set(done.examples) == {"similar-sts", "library-retrieval"}


def test_stop_within_a_task_leaves_no_result(home, shelf, pairs, tmp_path, monkeypatch):
    cancel = threading.Event()
    monkeypatch.setattr(engine.Tracker, "begin", lambda self, characters: cancel.set())
    done = evaluate(shelf, config(pairs), tmp_path / "out", cancel, quiet=True)
    assert done.stopped
    assert not done.rows
    assert not list((tmp_path / "out").rglob("*-sts.json"))


def test_progress_and_rows(home, shelf, pairs, beir, tmp_path):
    evaluate(shelf, config(pairs, beir, variants=(MEAN, EOS)), tmp_path / "out", quiet=True)
    records = [json.loads(line) for line in (tmp_path / "out" / "progress.jsonl").read_text().splitlines()]
    rows = [record["row"] for record in records if "row" in record]
    assert [(row["task"], row["variant"]) for row in rows] == [
        ("similar-sts", MEAN), ("similar-sts", EOS), ("library-retrieval", MEAN), ("library-retrieval", EOS)
    ]  # fmt: skip
    shares = [record["share"] for record in records]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert all(record["seconds_left"] >= 0 for record in records if "seconds_left" in record)


def test_texts_are_encoded_once_for_all_tasks(home, shelf, labelled, tmp_path, monkeypatch):
    encoded: list[str] = []
    inner = PooledEncoder.encode

    def encode(self, texts, *rest, **more):
        encoded.extend(texts)
        return inner(self, texts, *rest, **more)

    monkeypatch.setattr(PooledEncoder, "encode", encode)
    evaluate(shelf, config(f"clustering:{labelled}", f"classification:{labelled}"), tmp_path / "out", quiet=True)
    assert len(encoded) == len(set(encoded)) == 90
    evaluate(shelf, config(f"clustering:{labelled}"), tmp_path / "elsewhere", quiet=True)
    assert len(encoded) == 90


# ---- samples -------------------------------------------------------------------------------------------------------


def test_a_sample_says_so_and_is_kept_apart(home, shelf, pairs, beir, tmp_path):
    out = tmp_path / "out"
    done = evaluate(shelf, config(pairs, beir, sample=20), out, quiet=True)
    for row in done.rows[MEAN].values():
        assert row.n == 20
        assert not row.comparable
        assert row.data.endswith("a sample of 20 examples; not comparable with the leaderboard")
    assert not (out / "results").exists()
    assert len(list(out.glob("not-comparable/results/*/*/*-*.json"))) == 2
    assert evaluate(shelf, config(pairs), out, quiet=True).rows[MEAN]["similar-sts"].n == 40


def test_built_in_tasks(home, shelf, tmp_path, monkeypatch):
    from mteb.abstasks import AbsTaskClassification

    monkeypatch.setattr(AbsTaskClassification, "n_experiments", 2)

    done = evaluate(shelf, config(*BUILT_IN, variants=(MEAN, "bm25"), sample=40), tmp_path / "out", quiet=True)
    assert not done.problems
    assert {t: row.type for t, row in done.rows[MEAN].items()} == {
        "PythonStdlibRetrieval": "Retrieval",
        "PythonStdlibClustering": "Clustering",
        "PythonStdlibClassification": "Classification",
        "MtebTasksClustering": "Clustering",
        "MinimalTriplets": "Triplets",
    }
    assert list(done.rows["bm25"]) == ["PythonStdlibRetrieval"]
    assert "does not apply to Clustering" in done.not_applicable["bm25"]["MtebTasksClustering"]
    assert done.tasks["PythonStdlibRetrieval"].corpus_name == "python-stdlib"


# ---- bad input -----------------------------------------------------------------------------------------------------


def one_sentence(text: str) -> None:
    assert "\n" not in text
    assert len(text) < 500


def test_bad_tasks_are_told_and_the_others_go_on(home, shelf, pairs, tmp_path):
    empty = "sts:" + write_rows(
        tmp_path / "empty.jsonl", [*pair_rows(20), {"sentence1": " ", "sentence2": "b", "score": 1}]
    )
    broken = tmp_path / "data" / "stsbenchmark-sts"
    write_rows(broken / "test.jsonl", [{"wrong": 1}])
    tasks = ("NoSuchTask", "STS15@dev", "STS12", "STSBenchmark", empty, "sts:/nowhere/at/all.csv", pairs)
    done = evaluate(shelf, config(*tasks, data_dir=tmp_path / "data"), tmp_path / "out", quiet=True)
    assert list(done.rows[MEAN]) == ["similar-sts"]
    told = {problem["task"]: problem["problem"] for problem in done.problems}
    for problem in told.values():
        one_sentence(problem)
    assert told["NoSuchTask"].startswith("no task 'NoSuchTask'")
    assert told["STS15@dev"] == "task STS15 has no split 'dev'; it has: test"
    assert "STS12" in told["STS12"]
    assert "the hub, which does not answer" in told["STS12"]
    assert "STSBenchmark" in told["STSBenchmark"]
    assert "line 21 has an empty sentence1" in told[empty]
    assert "there is no file or folder" in told["sts:/nowhere/at/all.csv"]


def test_data_that_is_not_the_official_one_says_so(home, shelf, tmp_path):
    write_rows(tmp_path / "data" / "stsbenchmark-sts" / "test.jsonl", pair_rows(30))
    done = evaluate(shelf, config("STSBenchmark", data_dir=tmp_path / "data"), tmp_path / "out", quiet=True)
    row = done.rows[MEAN]["STSBenchmark"]
    assert not row.comparable
    assert row.data.startswith("this is not the official data: in its test split num samples is 30, not 1,379")
    assert not (tmp_path / "out" / "results").exists()


@pytest.mark.parametrize(
    ("task", "folder", "files", "words"),
    [
        ("STSBenchmark", "stsbenchmark-sts", {}, "local data of STSBenchmark in 'stsbenchmark-sts' cannot be read"),
        ("STSBenchmark", "stsbenchmark-sts", {"test.jsonl": '{"score'}, "JSON"),
        ("STSBenchmark", "stsbenchmark-sts", {"train.jsonl": '{"a": 1}'}, "has no split 'test'; it has: train"),
        ("Banking77Classification", "banking77", {"test.jsonl": '{"text": "a", "label": 1}'}, "has no split 'train'"),
        ("XQuADRetrieval", "XQuADRetrieval", {"en-corpus/validation.jsonl": '{"_id": "a"}'}, "local data of XQuAD"),
    ],
)
def test_broken_local_files(home, task, folder, files, words, tmp_path):
    (tmp_path / folder).mkdir()
    for name, text in files.items():
        (tmp_path / folder / name).parent.mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(text + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=words) as told:
        make_task(task, tmp_path).load()
    one_sentence(str(told.value))


def test_texts_of_no_length(home, shelf, tmp_path):
    rows = [{**row, "sentence1": ""} for row in pair_rows(30)]
    write_rows(tmp_path / "data" / "stsbenchmark-sts" / "test.jsonl", rows)
    asked = config("STSBenchmark", data_dir=tmp_path / "data")
    with pytest.raises(InputError, match="STSBenchmark has no words: all 30 texts of one part are empty"):
        evaluate(shelf, asked, tmp_path / "out", quiet=True)
    rows = [{**row, "sentence1": row["sentence1"] * (i > 1)} for i, row in enumerate(pair_rows(30))]
    write_rows(tmp_path / "data" / "stsbenchmark-sts" / "test.jsonl", rows)
    row = evaluate(shelf, asked, tmp_path / "out", quiet=True).rows[MEAN]["STSBenchmark"]
    assert row.notes == ("2 of the texts are empty",)


def test_no_main_score(home, shelf, pairs, tmp_path, monkeypatch):
    from mteb.abstasks import AbsTaskSTS

    monkeypatch.setattr(AbsTaskSTS, "_calculate_scores", lambda self, scores, gold: {"cosine_spearman": float("nan")})
    with pytest.raises(InputError, match="similar-sts gives no main score"):
        evaluate(shelf, config(pairs), tmp_path / "out", quiet=True)
    monkeypatch.setattr(AbsTaskSTS, "_calculate_scores", lambda self, scores, gold: {})
    with pytest.raises(InputError, match="computes no 'cosine_spearman'"):
        evaluate(shelf, config(pairs), tmp_path / "out", quiet=True)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"variants": ()}, "at least one variant"),
        ({"tasks": ()}, "at least one task"),
        ({"sample": 3}, "at least 10 examples"),
        ({"instructions": "none"}, "valid: own, paper, all"),
        ({"data_dir": Path("nowhere")}, "does not exist"),
    ],
)
def test_bad_configuration(more, words):
    with pytest.raises(InputError, match=words):
        EvaluationConfig(**{"variants": (MEAN,), "tasks": ("STS12",), **more})


def test_command_line(home, pairs, tmp_path, capsys):
    assert main(["evaluate", "--tasks", "NoSuchTask", "--output", str(tmp_path / "out"), "--json"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    one_sentence(told.err.strip())
    assert main(["evaluate", "--variants", "nobody", "--tasks", pairs, "--output", str(tmp_path / "out")]) == 2
    assert "no variant 'nobody'" in capsys.readouterr().err
    assert main(["evaluate", "--tasks", pairs]) == 2
    assert "--output" in capsys.readouterr().err
    assert main(["evaluate", "--tasks", pairs, "--output", str(tmp_path), "--export", "a.docx"]) == 2
    assert ".csv, .json, .tex, .md" in capsys.readouterr().err
    assert main(["evaluate", "--list-tasks", "--type", "STS", "--language", "eng", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["tasks"]
    found = next(task for task in listed if task["name"] == "STSBenchmark")
    assert (found["type"], found["languages"], found["characters"]) == ("STS", ["eng"], 147886)
