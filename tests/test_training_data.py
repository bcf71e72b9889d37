"""Training pairs: what is read, what is refused, what is held out, and the plan of batches."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from explorer.errors import InputError
from explorer.training_data import Pair, Pairs, Source, hold_out, plan_batches, read_pairs, split_weight


def jsonl(path: Path, rows: list, extra: str = "") -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + extra, encoding="utf-8")
    return str(path)


def rows(n: int, prefix: str = "", **more) -> list[dict]:
    return [{"query": f"{prefix}query {i}", "positive": f"{prefix}positive {i}", **more} for i in range(n)]


def pairs(n: int, negatives: int = 0, source: int = 0) -> list[Pair]:
    return [
        Pair(f"s{source} q{i}", f"s{source} p{i}", tuple(f"s{source} n{i} {j}" for j in range(negatives)), source)
        for i in range(n)
    ]


def made(*sources: list[Pair], weights: tuple[float, ...] = ()) -> Pairs:
    weights = weights or (1.0,) * len(sources)
    told = [Source(str(i), weights[i], len(found), "") for i, found in enumerate(sources)]
    return Pairs([pair for found in sources for pair in found], told)


# ---- reading


@pytest.mark.parametrize(
    "names",
    [
        ("query", "positive"),
        ("anchor", "positive"),
        ("sentence1", "sentence2"),
        ("Question", "Answer"),
        ("query", "pos"),
    ],
)
def test_known_column_names(tmp_path, names):
    file = jsonl(tmp_path / "a.jsonl", [{names[0]: f"q{i}", names[1]: f"p{i}"} for i in range(3)])
    assert [(p.query, p.positive) for p in read_pairs([file]).pairs] == [("q0", "p0"), ("q1", "p1"), ("q2", "p2")]


def test_columns_can_be_given(tmp_path):
    file = jsonl(tmp_path / "a.jsonl", [{"a": f"q{i}", "b": f"p{i}", "c": "n1", "query": "x"} for i in range(2)])
    data = read_pairs([file], ["query=a", "positive=b", "negative=c"])
    assert data.pairs[1] == Pair("q1", "p1", ("n1",))


def test_the_papers_format_has_lists(tmp_path):
    row = {"query": "q", "pos": ["p1", "p2"], "neg": ["n1", "n2", "p1", "n1"]}
    data = read_pairs([jsonl(tmp_path / "a.jsonl", [row, {"query": "r", "pos": ["s"], "neg": []}])], negatives=5)
    assert data.pairs == [Pair("q", "p1", ("n1", "n2")), Pair("q", "p2", ("n1", "n2")), Pair("r", "s")]
    assert read_pairs([str(tmp_path / "a.jsonl")]).pairs[0].negatives == ("n1",)
    assert read_pairs([str(tmp_path / "a.jsonl")], negatives=0).pairs[0].negatives == ()


def test_numbered_negative_columns(tmp_path):
    file = jsonl(tmp_path / "a.jsonl", rows(2, negative_1="n", negative_2="m"))
    assert read_pairs([file], negatives=2).pairs[0].negatives == ("n", "m")


def test_every_format_gives_the_same_pairs(tmp_path):
    import pyarrow
    import pyarrow.parquet

    wanted = rows(4, prefix="é ")
    plain = jsonl(tmp_path / "a.jsonl", wanted)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(Path(plain).read_bytes()))
    (tmp_path / "c.json").write_text(json.dumps(wanted), encoding="utf-8")
    with (tmp_path / "d.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["query", "positive"])
        writer.writeheader()
        writer.writerows(wanted)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(wanted), tmp_path / "e.parquet")
    first = read_pairs([plain]).pairs
    for name in ("b.jsonl.gz", "c.json", "d.csv", "e.parquet"):
        assert read_pairs([str(tmp_path / name)]).pairs == first


def test_broken_rows_are_counted_and_named(tmp_path):
    broken = [
        json.dumps({"query": "q", "positive": ""}),
        json.dumps({"query": " ", "positive": "p"}),
        "{not json",
        "[1]",
        json.dumps({"query": "same", "positive": "same"}),
        json.dumps({"query": {"a": 1}, "positive": "p"}),
        json.dumps({"query": "half \ud83d", "positive": "p"}),
        json.dumps({"query": "again", "positive": None}),
    ]
    file = jsonl(tmp_path / "a.jsonl", rows(2), "\n".join(broken) + "\n\n")
    data = read_pairs([file])
    assert (len(data), data.sources[0].broken) == (2, 8)
    told = "\n".join(data.notes)
    assert "2 rows were left out (lines 3, 10): no positive" in told
    assert "1 row was left out (line 4): no query" in told
    for line in (
        "(line 5): is not valid JSON",
        "(line 6): holds an array",
        "(line 7): query and positive are the same",
    ):
        assert line in told
    assert "(line 8): the query is no text" in told
    assert "(line 9): the query holds half a character" in told


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        (json.dumps({"query": "q", "positive": "p"}), "fewer than two different"),
        ("\n".join([json.dumps({"query": "q", "positive": "p"})] * 5), "fewer than two different"),
        (json.dumps({"query": "q", "positive": ""}), "no usable pair; 1 row was left out (line 1): no positive"),
        (json.dumps({"foo": "q", "bar": "p"}), "no column known as query; its columns are 'foo', 'bar'"),
        ("nonsense", "no usable pair"),
    ],
)
def test_unfit_files_are_refused_with_a_reason(tmp_path, content, said):
    (tmp_path / "a.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=said.replace("(", r"\(").replace(")", r"\)")):
        read_pairs([str(tmp_path / "a.jsonl")])


@pytest.mark.parametrize(
    ("spec", "columns", "said"),
    [
        ("missing.jsonl", (), "there is no training file"),
        ("a.txt", (), "is no training file; give .jsonl"),
        ("broken.jsonl.gz", (), "no complete gzip file"),
        ("good.jsonl:0", (), "must lie above 0"),
        ("good.jsonl", ("query=nope",), "has no column 'nope'; its columns are 'query', 'positive'"),
        ("good.jsonl", ("other=query",), "maps no column"),
        ("good.jsonl", ("query=query", "query=positive"), "given to two columns"),
        ("hub:not-a-name", (), "not the name of a hub dataset"),
        ("hub:a/b:c:d:e", (), "names no hub dataset"),
    ],
)
def test_unfit_requests_are_refused(tmp_path, spec, columns, said):
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "broken.jsonl.gz").write_bytes(gzip.compress(b'{"query": "q", "positive": "p"}\n' * 99)[:-9])
    jsonl(tmp_path / "good.jsonl", rows(3))
    with pytest.raises(InputError, match=said):
        read_pairs([spec if spec.startswith("hub:") else str(tmp_path / spec)], columns)


def test_instructions_by_row_and_by_source(tmp_path):
    """A row's own goes before the file's, letter by letter; where neither has one there is none."""
    one = jsonl(tmp_path / "one.jsonl", [*rows(2), {**rows(3)[2], "instruction": "Find it:\n"}])
    two = jsonl(tmp_path / "two.jsonl", rows(2, "two "))
    three = jsonl(tmp_path / "three.jsonl", rows(2, "three ", prompt=" "))
    data = read_pairs([one, f"{two}:0.5", three], instructions={one: "Given one: ", "three.jsonl": "Given three: "})
    assert [pair.instruction for pair in data.pairs] == [
        *["Given one: "] * 2, "Find it:\n", *[""] * 2, *["Given three: "] * 2
    ]  # fmt: skip
    assert data.pairs[2].query == "query 2"
    told = [source.to_json() for source in data.sources]
    assert told[0]["instructions"] == ["Given one: ", "Find it:\n"]
    assert "instructions" not in told[1]
    assert not any(str(tmp_path) in json.dumps(source) for source in told)
    mapped = jsonl(tmp_path / "mapped.jsonl", rows(2, "m ", task="Do this. ", prompt="not this"))
    assert {pair.instruction for pair in read_pairs([mapped], ["instruction=task"]).pairs} == {"Do this. "}


def test_instructions_for_nothing_are_refused(tmp_path):
    file = jsonl(tmp_path / "one.jsonl", rows(2))
    with pytest.raises(
        InputError, match=r"instruction for 'two.jsonl', which is no data of this training: 'one.jsonl'"
    ):
        read_pairs([file], instructions={"two.jsonl": "x"})
    broken = jsonl(tmp_path / "lists.jsonl", [*rows(2), {**rows(3)[2], "instruction": ["a"]}])
    assert read_pairs([broken]).sources[0].broken == 1


def test_an_instruction_changes_no_held_out_pair():
    data = pairs(60)
    told = [Pair(p.query, p.positive, p.negatives, p.source, "Find it: ") for p in data]
    assert [p.query for p in hold_out(made(data), 0.2, 10)[1]] == [p.query for p in hold_out(made(told), 0.2, 10)[1]]


def test_weights_are_split_off(tmp_path):
    assert split_weight("a.jsonl:0.5") == ("a.jsonl", 0.5)
    assert split_weight("a.jsonl:2") == ("a.jsonl", 2.0)
    assert split_weight("a.jsonl") == ("a.jsonl", 1.0)
    assert split_weight("hub:owner/name:train") == ("hub:owner/name:train", 1.0)
    assert split_weight("hub:owner/name:train:3") == ("hub:owner/name:train", 3.0)
    odd = tmp_path / "odd:2"
    odd.touch()
    assert split_weight(str(odd)) == (str(odd), 1.0)


def test_hub_rows_become_pairs(monkeypatch):
    from explorer.corpora import readers
    from explorer.corpora.rows import Row

    asked = []

    def rows_of(name, config, split, limit, progress):
        asked.append((name, config, split))
        return iter([Row(1, {"anchor": "a", "positive": "b"}), Row(2, {"anchor": "c", "positive": "d"})])

    monkeypatch.setattr(readers, "hub_rows", rows_of)
    data = read_pairs(["hub:owner/name:validation:2"])
    assert asked == [("owner/name", None, "validation")]
    assert [p.query for p in data.pairs] == ["a", "c"]
    assert data.sources[0].weight == 2
    assert len(data.sources[0].sha256) == 64


def test_the_record_names_no_folder_of_this_machine(tmp_path):
    source = read_pairs([jsonl(tmp_path / "a.jsonl", rows(2))]).sources[0]
    assert source.to_json()["name"] == "a.jsonl"
    assert source.to_json()["pairs"] == 2


# ---- held out


def test_held_out_pairs_share_no_text_with_training():
    found = pairs(60)
    found += [Pair(f"other {i}", "s0 p7") for i in range(5)]  # five more questions about one paragraph
    train, dev = hold_out(made(found), share=0.5, most=20)
    assert len(dev) == 20
    texts = {text for pair in dev for text in pair.texts}
    assert all(texts.isdisjoint(pair.texts) for pair in train.pairs)
    assert len({p.query for p in dev}) == len({p.positive for p in dev}) == 20


def test_the_same_pairs_are_held_out_in_any_order():
    found = pairs(50)
    _, one = hold_out(made(found), 0.2, 100)
    _, two = hold_out(made(found[::-1]), 0.2, 100)
    assert one == two
    assert len(one) == 10


def test_small_sets_hold_nothing_out():
    train, dev = hold_out(made(pairs(4)), 0.02, 300)
    assert (len(train), dev) == (4, ())


# ---- batches


def test_a_plan_repeats_and_depends_on_the_seed():
    data = made(pairs(50), pairs(30, source=1))
    plan = plan_batches(data, 8, 25, seed=3)
    assert plan == plan_batches(data, 8, 25, seed=3)
    assert plan != plan_batches(data, 8, 25, seed=4)
    assert [len(batch) for batch in plan] == [8] * 25
    assert plan[:10] == plan_batches(data, 8, 10, seed=3)


def test_every_pass_uses_every_pair_once():
    plan = plan_batches(made(pairs(40)), 8, 10, seed=0)
    assert sorted(row for batch in plan[:5] for row in batch) == list(range(40))
    assert sorted(row for batch in plan[5:] for row in batch) == list(range(40))
    assert plan[:5] != plan[5:]


def test_no_text_is_twice_in_a_batch():
    found = [Pair(f"q{i}", f"p{i // 4}", (f"p{(i + 9) % 20 // 4}",)) for i in range(80)]
    for batch in plan_batches(made(found), 4, 30, seed=1):
        texts = [text for row in batch for text in set(found[row].texts)]
        assert len(texts) == len(set(texts))


def test_weights_decide_how_often_a_file_is_drawn():
    data = made(pairs(40), pairs(40, source=1), weights=(1.0, 0.25))
    plan = plan_batches(data, 10, 40, seed=0)
    drawn = Counter(data.pairs[row].source for batch in plan for row in batch)
    assert drawn[0] / drawn[1] == pytest.approx(4, rel=0.1)
    assert {row for batch in plan for row in batch} == set(range(80))  # in time all of it is seen


def test_pairs_with_negatives_share_batches():
    data = made(pairs(40), pairs(40, negatives=1, source=1))
    counts = [{len(data.pairs[row].negatives) for row in batch} for batch in plan_batches(data, 8, 20, seed=0)]
    assert all(len(found) == 1 for found in counts)
    assert {0} in counts
    assert {1} in counts


def test_too_few_with_negatives_are_mixed_in():
    data = made(pairs(40), pairs(5, negatives=1, source=1))
    plan = plan_batches(data, 8, 30, seed=0)
    assert {row for batch in plan for row in batch} == set(range(45))


def test_too_few_different_texts_are_refused():
    found = [Pair("q", f"p{i}") for i in range(8)]
    with pytest.raises(InputError, match="smaller batch_size"):
        plan_batches(made(found), 4, 2, seed=0)


@pytest.mark.shared
def test_the_real_training_data_is_whole(shared):
    data = read_pairs([str(path) for path in sorted((shared / "train").glob("*.jsonl.gz"))])
    assert len(data) > 90_000
    assert sum(source.broken for source in data.sources) < 100
