"""The parts of an evaluation: tasks by name, vectors of texts, prompts, examples, the table and its exports."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import tiny

from explorer.corpora import Corpus, Document
from explorer.designs import design
from explorer.embeddings import cache_bytes, clear_cache
from explorer.encoder import PooledEncoder, TextSettings
from explorer.errors import Cancelled, InputError
from explorer.evaluation.builtin import labelled, split
from explorer.evaluation.catalogue import QUICK, local_tasks, official_tasks, quick_menu
from explorer.evaluation.estimates import measure_speed, remember_speed, seconds_of
from explorer.evaluation.examples import Examples
from explorer.evaluation.exports import EXPORTS, export
from explorer.evaluation.from_rows import sts_task
from explorer.evaluation.models import VariantModel, with_instruction
from explorer.evaluation.official import registry
from explorer.evaluation.published import published
from explorer.evaluation.results import Evaluation, score_interval
from explorer.evaluation.store import Row
from explorer.evaluation.tasks import make_task, make_tasks
from explorer.evaluation.vectors import TextVectors

# ---- vectors -------------------------------------------------------------------------------------------------------


class Counting:
    """Vectors that say the text's length, and how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts, progress, cancel):
        self.asked += texts
        if progress:
            progress(len(texts), len(texts))
        return np.array([[len(text), 1.0] for text in texts], np.float32)


def test_vectors_are_encoded_once_in_this_process_and_the_next(home):
    count = Counting()
    vectors = TextVectors("key", 2, count)
    assert vectors.get(["a", "ccc", "a", "bb"])[:, 0].tolist() == [1, 3, 1, 2]
    assert count.asked == ["ccc", "bb", "a"]  # longest first, each once
    assert vectors.get(["dddd", "a"])[:, 0].tolist() == [4, 1]
    assert TextVectors("key", 2, count).get(["bb", "dddd"])[:, 0].tolist() == [2, 4]
    assert count.asked == ["ccc", "bb", "a", "dddd"]
    assert TextVectors("other", 2, count).missing(["a"]) == ["a"]


def test_damaged_vectors_are_computed_again(home):
    TextVectors("key", 2, Counting()).get(["a", "bb"])
    next(home.rglob("*.npy")).write_bytes(b"damaged")
    count = Counting()
    assert TextVectors("key", 2, count).get(["a"])[0, 0] == 1
    assert count.asked == ["a"]


def test_vectors_that_are_no_numbers_are_refused(home):
    broken = TextVectors("key", 2, lambda texts, progress, cancel: np.full((len(texts), 2), np.nan, np.float32))
    with pytest.raises(InputError, match="not finite numbers"):
        broken.get(["a"])
    assert not list(home.rglob("*.ids"))


def test_the_cache_tells_its_size_and_is_cleared_with_the_others(home):
    TextVectors("key", 2, Counting()).get(["a", "bb"])
    assert cache_bytes() > 0
    clear_cache()
    assert TextVectors("key", 2, Counting()).missing(["a"]) == ["a"]


def test_progress_counts_what_was_known(home):
    told: list[tuple[int, int]] = []
    vectors = TextVectors("key", 2, Counting())
    vectors.get(["a"])
    vectors.get(["a", "bb", "ccc"], lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (3, 3)]


def test_a_stop_keeps_whole_blocks(home, monkeypatch):
    monkeypatch.setattr("explorer.evaluation.vectors.BLOCK", 2)
    count = Counting()

    def encode(texts, progress, cancel):
        if "a" in texts:
            raise Cancelled("stopped")
        return count(texts, progress, cancel)

    with pytest.raises(Cancelled):
        TextVectors("key", 2, encode).get(["a", "bb", "ccc", "dddd"])
    assert TextVectors("key", 2, count).missing(["a", "bb", "ccc", "dddd"]) == ["a", "bb"]


# ---- prompts -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backbone():
    return tiny.backbone("bert")


def encoder(backbone, query_prompt: str = "") -> PooledEncoder:
    texts = TextSettings(64, query_prompt)
    return PooledEncoder.untrained(backbone, design("mean-bidirectional"), "tiny", texts)


def test_instructions_go_where_there_is_a_place_for_them(backbone):
    plain, prompted = encoder(backbone), encoder(backbone, "Instruct: find it\nQuery: ")
    assert with_instruction(plain, "Do this", always=False) is plain
    assert with_instruction(plain, "Do this", always=True).texts.query_prompt == "Instruct: Do this\nQuery: "
    changed = with_instruction(prompted, r"Do \1 this", always=False)
    assert changed.texts.query_prompt == "Instruct: Do \\1 this\nQuery: "
    assert prompted.texts.query_prompt == "Instruct: find it\nQuery: "
    assert changed.key("query") != prompted.key("query")
    assert changed.key("document") == prompted.key("document")
    assert with_instruction(encoder(backbone, "query: "), "Do this", always=False).texts.query_prompt == "query: "


def test_another_prompt_is_another_revision(backbone, home):
    one, two = (VariantModel("v", encoder(backbone, prompt)) for prompt in ("", "query: "))
    assert one.mteb_model_meta.revision != two.mteb_model_meta.revision
    assert one.mteb_model_meta.name == two.mteb_model_meta.name


def test_the_papers_instructions():
    assert (
        make_task("Banking77Classification").instruction
        == "Given a online banking query, find the corresponding intents"
    )
    assert make_task("STS15").instruction == "Retrieve semantically similar text."


# ---- tasks ---------------------------------------------------------------------------------------------------------


def test_official_tasks_know_themselves_without_data():
    task = make_task("XQuADRetrieval@validation/de")
    assert (task.type, task.metric, task.split, task.subset) == ("Retrieval", "ndcg_at_10", "validation", "de")
    assert task.languages == ("deu",)
    assert task.source == "hub"
    assert make_task("XQuADRetrieval").subset == "en"
    assert make_task("STSBenchmark").characters == 147886
    assert not task.symmetric


def test_names_that_are_almost_right():
    with pytest.raises(InputError, match=r"did you mean STSBenchmark\?"):
        make_task("STSBenchmarc")
    with pytest.raises(InputError, match="has no subset 'xx'; it has: ar, de"):
        make_task("XQuADRetrieval@validation/xx")


def test_the_quick_menu_exists_and_is_of_the_types_it_says():
    for kind, names in QUICK.items():
        assert {registry()[name].metadata.type for name in names} == {kind}


def test_lists(tmp_path):
    german = official_tasks("Classification", "deu")
    assert all("deu" in task.languages for task in german)
    with pytest.raises(InputError, match="there are: "):
        official_tasks("Nonsense")
    (tmp_path / "banking77").mkdir()
    assert "Banking77Classification" in local_tasks(tmp_path)
    assert quick_menu(tmp_path)[-1] == "Banking77Classification"


def test_two_tasks_of_one_name_are_refused(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        rows = [{"sentence1": f"{folder} {i}", "sentence2": "b", "score": i} for i in range(5)]
        (tmp_path / folder / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    names = [f"sts:{tmp_path / folder / 'mine.jsonl'}" for folder in ("one", "two", "one")]
    tasks, problems = make_tasks(names)
    assert list(tasks) == ["mine-sts"]
    assert "another task is called 'mine-sts' too" in problems[names[1]]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "text,label\nx,1\ny,2\n", "does not say what kind of task"),
        ("sts:a.csv", "sentence1,sentence2\nx,y\n", "needs the columns sentence1, sentence2 and score"),
        ("sts:a.csv", "sentence1,sentence2,score\nx,y,high\n", "line 2 has the score 'high'; it must be a number"),
        ("sts:a.csv", "sentence1,sentence2,score\nx,y,1\nz,y,1\n", "two pairs with different scores"),
        ("clustering:a.csv", "text\nx\ny\n", "has no labels"),
        ("clustering:a.csv", "text,label\nx,a\ny,a\n", "at least two different labels"),
        ("classification:a.csv", "text,label\nx,a\ny,b\n", "a label of its own for every text"),
        ("classification:a.csv", "text,label\nx,a\ny,a\nz,b\n", "at least two different labels; it has 1"),
        ("retrieval:a.csv", "id,text\n1,x\n", "no query with a relevant document"),
    ],
)
def test_own_data_that_cannot_be_used(tmp_path, name, content, words):
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        make_task(name.replace("a.csv", str(tmp_path / "a.csv")))


def test_train_and_test_folders(tmp_path):
    for part, label in (("train", "ab"), ("test", "ab")):
        rows = [{"text": f"{part} {i}", "label": label[i % 2]} for i in range(8)]
        (tmp_path / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    made = make_task(f"classification:{tmp_path}").load()
    assert {part: len(rows) for part, rows in made.dataset["default"].items()} == {"train": 8, "test": 8}
    (tmp_path / "test.jsonl").write_text('{"text": "x", "label": "z"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="the label 'z', which its train part lacks"):
        make_task(f"classification:{tmp_path}")


def test_labels_are_balanced_and_not_given_away():
    documents = [Document(f"m{i % 3}.f{i}", f"text {i}", f"m{i % 3}.f{i}", f"m{i % 3}") for i in range(150)]
    documents.append(Document("rare.f", "rare text", "rare.f", "rare"))
    rows = labelled(Corpus("c", tuple(documents)))
    assert {label for _, label in rows} == {"m0", "m1", "m2"}
    assert not any("m0" in text for text, _ in rows)
    train, test = split(rows)
    assert len(train) == len(test) == 75
    assert not {t for t, _ in train} & {t for t, _ in test}


# ---- examples ------------------------------------------------------------------------------------------------------


def pairs_of(values, gold) -> Examples:
    ids = tuple(map(str, range(len(values))))
    return Examples("pairs", "spearman", ids, np.array(values, float), np.array(gold, float), texts=ids)


def test_worst_pairs_are_furthest_from_their_place():
    # Places of the similarities 1 2 3 4, of the gold scores 4 2 3 1.
    rows = pairs_of([0.1, 0.2, 0.3, 0.4], [5, 2, 3, 1]).worst(2)
    assert [row["id"] for row in rows] == ["0", "3"]
    assert rows[0]["badness"] == pytest.approx(3 / 4)


def test_worst_texts_say_what_was_said():
    predicted = np.array([[0, 1, 1], [0, 0, 1]])
    gold = np.array([0, 0, 0])
    found = Examples(
        "classification", "accuracy", ("1", "2", "3"), np.array([1, 0.5, 0]), gold, predicted, labels=("x", "y")
    )
    worst = found.worst(1)[0]
    assert (worst["id"], worst["gold"], worst["said"], worst["right"]) == ("3", "x", "y", 0.0)


def test_examples_are_written_and_read(tmp_path):
    one = Examples(
        "ranking", "ndcg_at_10", ("q1", "q2"), np.array([0.5, 1]), top=(("d1", "d2"), ("d3",)), texts=("ä", "b")
    )
    one.save(tmp_path / "x.npz")
    read = Examples.load(tmp_path / "x.npz")
    assert (read.ids, read.top, read.texts, read.values.tolist()) == (one.ids, one.top, one.texts, [0.5, 1])
    (tmp_path / "x.npz").write_bytes(b"damaged")
    assert Examples.load(tmp_path / "x.npz") is None


def test_intervals_are_only_given_for_what_the_examples_make_up():
    values = np.linspace(0, 1, 50)
    one = Examples("ranking", "ndcg_at_10", tuple(map(str, range(50))), values)
    low, high = score_interval(one, 0.5)
    assert low < 0.5 < high
    assert score_interval(one, 0.7) == (None, None)  # another metric than the main score
    assert score_interval(None, 0.5) == (None, None)


# ---- table ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def evaluation(tmp_path) -> Evaluation:
    """Three variants on two tasks: a and b alike, c worse; c lacks the second task."""
    rng = np.random.default_rng(0)
    gold = rng.normal(size=200)
    noise = rng.normal(0, 0.3, (2, 200))
    made = {"a": gold + noise[0], "b": gold + noise[0] + noise[1] / 50, "c": gold + 5 * noise[1]}
    one = sts_task("one", [("x", "y", 0.0), ("x", "z", 1.0)], "", "own")
    two = replace(one, name="two_%", type="Retrieval")
    found = Evaluation({"tasks": ["one", "two_%"]}, {"one": one, "two_%": two}, ["a", "b", "c"], tmp_path)
    for name, values in made.items():
        examples = pairs_of(values, gold)
        score = float(np.corrcoef(examples.badness, gold)[0, 1]) + 1 - 0.1 * "abc".index(name)
        row = Row(
            name,
            "one",
            "STS",
            score,
            "cosine_spearman",
            "test",
            "default",
            200,
            0.1,
            0.9,
            True,
            "own data",
            None,
            1,
            "r",
        )
        found.add(row, examples)
        if name != "c":
            found.add(replace(row, task="two_%", type="Retrieval", main_score=0.5, low=None, high=None), None)
    return found


def test_best_and_tied_group(evaluation):
    table = evaluation.table()
    marks = [(line.cells[0].best, line.cells[0].tied) for line in table.lines]
    assert marks == [(True, False), (False, True), (False, False)]
    assert table.lines[2].cells[1] is None
    assert table.columns[0].head == "Spearman of cosine, test"


def test_averages_need_all_tasks(evaluation):
    a = evaluation.averages("a")
    assert a["all"] == pytest.approx((a["STS"] + a["Retrieval"]) / 2)
    assert evaluation.averages("c")["all"] is None
    assert evaluation.averages("c")["STS"] is not None


def test_comparisons_tell_or_refuse(evaluation):
    tests = {(t["task"], t["a"], t["b"]): t for t in evaluation.to_json()["comparisons"]}
    assert tests["one", "a", "c"]["significant"]
    assert not tests["one", "a", "b"]["significant"]
    assert "no single examples" in tests["two_%", "a", "b"]["refused"]
    assert "too few" in tests["", "a", "b"]["refused"]


def test_exports_hold_scores_and_settings(evaluation):
    table = evaluation.table()
    for kind in EXPORTS:
        text = export(table, kind)
        assert "two" in text
        assert "own data" in text
        assert '"tasks"' in text.replace('""', '"')
    rows = list(csv.DictReader(io.StringIO(export(table, "csv"))))
    assert len(rows) == 5
    assert float(rows[0]["score"]) == evaluation.rows["a"]["one"].main_score
    assert json.loads(export(table, "json"))["lines"][0]["name"] == "a"
    assert r"two\_\%" in export(table, "tex")
    assert r"\textbf{" in export(table, "tex")
    assert "**" in export(table, "md")
    with pytest.raises(InputError, match="valid: csv, json, tex, md"):
        export(table, "xls")


def test_what_is_published_fits_split_subset_and_metric(tmp_path):
    minilm = "sentence-transformers/all-MiniLM-L6-v2"
    tasks = [make_task("STSBenchmark"), make_task("XQuADRetrieval@validation/de")]
    assert [(p.model, p.task, p.score) for p in published(tasks)] == [(minilm, "STSBenchmark", 0.820325)]
    own = {
        "model": "mine",
        "note": "my lab",
        "scores": {"STSBenchmark": {"metric": "cosine_spearman", "split": "test", "published": 0.5}},
    }
    (tmp_path / "published.json").write_text(json.dumps(own), encoding="utf-8")
    assert ("mine", 0.5, "my lab") in [(p.model, p.score, p.source) for p in published(tasks, data_dir=tmp_path)]
    (tmp_path / "published.json").write_text("[{]", encoding="utf-8")
    assert len(published(tasks, data_dir=tmp_path)) == 1


def test_estimates_use_the_measured_speed(backbone, home):
    one = encoder(backbone)
    assert measure_speed(one) > 0
    remember_speed(one, 1_000_000, 10.0)
    assert measure_speed(one) == 100_000
    assert seconds_of([make_task("STSBenchmark")], {"tiny": 100_000.0}) == {"STSBenchmark": pytest.approx(1.47886)}
