"""Prompts and instructions: which string stands before which text, told before a run, kept with its results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny

from explorer import variants
from explorer.__main__ import main
from explorer.backbone import Backbone
from explorer.designs import design
from explorer.encoder import PooledEncoder, TextSettings
from explorer.errors import InputError
from explorer.evaluation.commands import show_prompts
from explorer.evaluation.engine import EvaluationConfig, evaluate
from explorer.evaluation.prompts import RULE, prompted, shown
from explorer.evaluation.store import Row
from explorer.instructions import BARE, E5, read_instructions, template_of
from explorer.variants import Shelf

DO = r"Do \1 {this}."
MINE = "Instruct: Find it\nQuery: "


# ---- the rule ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "always", "query"),
    [
        (TextSettings(), False, ""),  # trained without: as it is
        (TextSettings(query_prompt="query: "), False, "query: "),
        (TextSettings(), True, f"Instruct: {DO}\nQuery: "),
        (TextSettings(query_prompt=MINE), False, f"Instruct: {DO}\nQuery: "),
        (TextSettings(query_prompt=f"<s>{MINE}"), True, f"<s>Instruct: {DO}\nQuery: "),
        (TextSettings(instruction_template=BARE), False, DO),  # the paper: prompt + text
        (TextSettings(query_prompt="Represent this.", instruction_template=BARE), True, DO),
        (TextSettings(instruction_template="[{instruction}] "), False, f"[{DO}] "),
    ],
)
@pytest.mark.parametrize("type", ["Retrieval", "STS", "Classification", "Clustering"])
def test_where_an_instruction_goes(texts, always, query, type):
    found = prompted(texts, DO, type, always)
    assert (found.query_prompt, found.document_prompt) == (query, "")
    assert (found is texts) == (query == texts.query_prompt)
    assert prompted(texts, "", type, always) is texts


def test_the_papers_code_puts_it_before_reranked_documents_too():
    paper = prompted(TextSettings(instruction_template=BARE), DO, "Reranking", False)
    assert (paper.query_prompt, paper.document_prompt) == (DO, DO)
    assert prompted(TextSettings(query_prompt=MINE), DO, "Reranking", False).document_prompt == ""


def test_texts_that_are_alike_have_the_query_prompt():
    texts = TextSettings(query_prompt="q: ", document_prompt="d: ")
    assert shown(texts, symmetric=True) == {"text": "q: "}
    assert shown(texts, symmetric=False) == {"query": "q: ", "document": "d: "}


def test_a_template_has_a_place_for_the_instruction():
    with pytest.raises(InputError, match=r"has no \{instruction\}"):
        TextSettings(instruction_template="Instruct: ")


@pytest.mark.parametrize(
    ("instructions", "template"),
    [
        ([], ""),
        (["Find it. ", "Find that. "], BARE),
        ([MINE, "Instruct: Find that\nQuery: "], E5),
        ([MINE, "Find that: "], BARE),
    ],
)
def test_templates_are_seen_in_what_was_trained_with(instructions, template):
    assert template_of(instructions) == template


# ---- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no file of instructions"),
        ("{", "not valid JSON"),
        ("[]", "one object of texts"),
        ("{}", "one object of texts"),
        ('{"a": 1}', "one object of texts"),
    ],
)
def test_files_that_hold_no_instructions(tmp_path, content, said):
    if content is not None:
        (tmp_path / "i.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=said) as told:
        read_instructions(str(tmp_path / "i.json"))
    assert str(tmp_path) not in str(told.value)


def config(*tasks: str, **more) -> EvaluationConfig:
    return EvaluationConfig(("v",), tasks, **more)


def test_a_table_may_name_other_tasks_but_not_only_others():
    asked = config("STS12", table={"STS12": "a", "STS13": "b"}, instruct={"STS12": "c"})
    assert asked.for_tasks(["STS12"]).table == {"STS12": "a"}
    with pytest.raises(InputError, match="'STS13', which is no task of: STS14"):
        config("STS14", table={"STS13": "b"}).for_tasks(["STS14"])
    with pytest.raises(InputError, match="'STS12', which is no task"):
        asked.for_tasks(["STS13"])


# ---- shown, used and kept ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> str:
    return str(tiny.save_backbone(tmp_path_factory.mktemp("tiny") / "model", "bert"))


@pytest.fixture
def checkpoints(home, model_folder, tmp_path, monkeypatch) -> Path:
    """Variants without prompt, with one, with an instruction, and as the paper's release is imported."""
    monkeypatch.setattr(variants, "CHECKPOINTS", tmp_path / "none")
    backbone = Backbone.load(model_folder, "cpu", "float32")
    settings = {
        "plain": TextSettings(120),
        "prompt": TextSettings(120, "query: ", "passage: "),
        "instructed": TextSettings(120, MINE),
        "paper": TextSettings(120, "Represent this sentence.", instruction_template=BARE),
    }
    for name, texts in settings.items():
        made = PooledEncoder.untrained(backbone, design("mean-bidirectional"), texts=texts)
        made.save(tmp_path / "checkpoints" / "tiny" / name)
    return tmp_path / "checkpoints"


@pytest.fixture
def tasks(tmp_path) -> tuple[str, str]:
    """Scored pairs and a search."""
    rows = [{"sentence1": f"red {i}", "sentence2": f"blue {i * i}", "score": i} for i in range(12)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    folder = tmp_path / "library"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": f"d{i}", "text": f"a text {i}"}) + "\n" for i in range(9)), encoding="utf-8"
    )
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "which text?"}\n', encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td3\t1\n", encoding="utf-8")
    return f"sts:{tmp_path / 'pairs.jsonl'}", f"retrieval:{folder}"


ALL = ("tiny/plain", "tiny/prompt", "tiny/instructed", "tiny/paper")
STS, SEARCH = "Retrieve semantically similar text", "Given a query, retrieve documents that answer it"


def e5(text: str) -> str:
    return f"Instruct: {text}\nQuery: "


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (
            {"instructions": "paper"},
            {
                "tiny/plain": ("", "", ""),
                "tiny/prompt": ("query: ", "query: ", "passage: "),
                "tiny/instructed": (e5(STS), e5(SEARCH), ""),
                "tiny/paper": (STS, SEARCH, ""),
            },
        ),
        (
            {"instructions": "own"},
            {
                "tiny/plain": ("", "", ""),
                "tiny/instructed": (MINE, MINE, ""),
                "tiny/paper": ("Represent this sentence.", "Represent this sentence.", ""),
            },
        ),
        (
            {"instructions": "all"},
            {"tiny/plain": (e5(STS), e5(SEARCH), ""), "tiny/prompt": (e5(STS), e5(SEARCH), "passage: ")},
        ),
        (
            {"table": {"pairs-sts": "Mine."}, "instruct": {"library-retrieval": ""}},
            {"tiny/plain": (e5("Mine."), "", ""), "tiny/paper": ("Mine.", "Represent this sentence.", "")},
        ),
    ],
)
def test_what_is_shown_is_what_is_read_and_what_is_kept(checkpoints, tasks, tmp_path, monkeypatch, mode, expected):
    shelf = Shelf("cpu", "float32", checkpoints=[checkpoints])
    asked = EvaluationConfig(tuple(expected), tasks, **mode)
    told = show_prompts(shelf, asked)
    assert not shelf.loaded  # nothing is loaded for it
    assert told["rule"] == list(RULE)
    read: set[str] = set()  # by any of them: the same weights and prompt are not read twice
    tokenize = Backbone.tokenize

    def listening(self, texts, *rest, **more):
        read.update(texts)
        return tokenize(self, texts, *rest, **more)

    monkeypatch.setattr(Backbone, "tokenize", listening)
    for name, (text, query, document) in expected.items():
        done = evaluate(shelf, EvaluationConfig((name,), tasks, **mode), tmp_path / "out", quiet=True)
        kept = {task: row.prompts for task, row in done.rows[name].items()}
        assert kept == {"pairs-sts": {"text": text}, "library-retrieval": {"query": query, "document": document}}
        assert {t: {k: row[k] for k in kept[t]} for t, row in told["prompts"][name].items()} == kept
        assert {f"{text}red 3", f"{text}blue 9", f"{query}which text?", f"{document}a text 3"} <= read
        assert json.loads(json.dumps(done.to_json()))["scores"][name]["pairs-sts"]["prompts"] == {"text": text}


def test_a_result_made_with_other_prompts_is_not_used_again(checkpoints, tasks, tmp_path):
    shelf, out = Shelf("cpu", "float32", checkpoints=[checkpoints]), tmp_path / "out"

    def run(**mode) -> Row:
        return evaluate(shelf, EvaluationConfig(("tiny/paper",), tasks[:1], **mode), out, quiet=True).rows[
            "tiny/paper"
        ]["pairs-sts"]

    first, other, again = run(), run(table={"pairs-sts": "Say something else altogether."}), run()
    assert first.revision == again.revision != other.revision
    assert first == again
    assert first.main_score != other.main_score
    assert first.instruction == STS


def test_an_instruction_that_leaves_no_room_is_told(checkpoints, tasks, tmp_path):
    shelf = Shelf("cpu", "float32", checkpoints=[checkpoints])
    asked = EvaluationConfig(("tiny/paper",), tasks, table={"pairs-sts": "so long " * 20})
    done = evaluate(shelf, asked, tmp_path / "out", quiet=True)
    assert list(done.rows["tiny/paper"]) == ["library-retrieval"]
    assert "leaves no room for a text" in done.problems[0]["problem"]


def test_rows_of_before_prompts_were_kept_are_read():
    row = Row("v", "t", "STS", 0.5, "m", "test", "default", 9, None, None, True, "own data", None, 1.0, "r")
    old = {key: value for key, value in row.to_json().items() if key != "prompts"}
    assert Row.from_json(old) == row


def test_on_the_command_line(checkpoints, tasks, tmp_path, capsys):
    words = ["evaluate", "--checkpoints", str(checkpoints), "--tasks", ",".join(tasks), "--variants", ",".join(ALL)]
    assert main([*words, "--variants", f"{','.join(ALL)},bm25", "--show-prompts", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["prompts"]["tiny/paper"]["pairs-sts"] == {"type": "STS", "instruction": STS, "text": STS}
    assert told["prompts"]["tiny/plain"]["pairs-sts"]["instruction"] == ""
    assert told["prompts"]["bm25"] == {}
    (tmp_path / "mine.json").write_text('{"pairs-sts": "Mine.", "STS12": "unused"}', encoding="utf-8")
    assert main([*words, "--show-prompts", "--instructions", str(tmp_path / "mine.json")]) == 0
    shown = capsys.readouterr().out
    assert "pairs-sts (STS): text 'Instruct: Mine.\\nQuery: '" in shown
    assert "pairs-sts (STS): text 'Mine.'" in shown
    assert RULE[0] in shown
    assert main([*words, "--show-prompts", "--instructions", "none", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prompts"]["tiny/instructed"]["pairs-sts"]["text"] == MINE
    for bad, said in (("nonsense", "valid: own, paper, all"), ("nowhere.json", "there is no file of instructions")):
        assert main([*words, "--show-prompts", "--instructions", bad]) == 2
        assert said in capsys.readouterr().err


def test_a_sentence_transformers_model_keeps_its_own(home, model_folder, tasks, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    modules = [Transformer(model_folder), Pooling(tiny.WIDTH, "mean")]
    prompts = {"query": "find: ", "passage": "read: ", "alike": "text: "}
    model = SentenceTransformer(modules=modules, prompts=prompts, default_prompt_name="alike", device="cpu")
    model.save(str(tmp_path / "theirs"))
    name = str(tmp_path / "theirs")
    shelf = Shelf("cpu", "float32", contenders=[name])
    told = show_prompts(shelf, EvaluationConfig((name,), tasks, instructions="all"))["prompts"][name]
    assert told["pairs-sts"] == {"type": "STS", "instruction": "", "text": "text: "}
    expected = {"type": "Retrieval", "instruction": "", "query": "find: ", "document": "text: "}
    assert {**told["library-retrieval"], "document": ""} == {**expected, "document": ""}
    assert told["library-retrieval"]["document"] == _read_by(shelf.load(name), "document")


def _read_by(encoder, kind: str) -> str:
    """The prompt that the model itself puts before a document."""
    seen = []
    inner = encoder.model.preprocess
    encoder.model.preprocess = lambda texts, *rest, **more: (
        seen.append((texts, rest, more)),
        inner(texts, *rest, **more),
    )[1]
    encoder.encode(["x"], kind)
    texts, rest, more = seen[-1]
    return more.get("prompt") or (rest[0] if rest else "") or texts[0].removesuffix("x")
