"""The command line: one JSON document on standard output, or exit code 2 and one line that says what was wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

from explorer.__main__ import main
from explorer.designs import DESIGNS, MINILM
from explorer.variants import BM25, PUBLISHED

TEXTS = {
    "shutil": "Recursively delete a directory tree.",
    "random": "Choose a random element from a non-empty sequence.",
    "csv": "Read rows of a comma separated file.",
    "zip": "Pack files into an archive and compress them.",
}


@pytest.fixture
def corpus(tmp_path):
    file = tmp_path / "docs.jsonl"
    rows = [json.dumps({"_id": id, "title": "", "text": text}) for id, text in TEXTS.items()]
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(file)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The real thing, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "explorer", *arguments],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_variants_json():
    done = command("variants", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = {v["name"]: v for v in json.loads(done.stdout)["variants"]}
    assert set(found) >= {PUBLISHED, "minilm-untrained/eos-causal", BM25}
    assert found[PUBLISHED] == {
        "name": PUBLISHED,
        "source": "published",
        "design": "mean-bidirectional",
        "pooling": "mean",
        "attention": "bidirectional",
        "backbone": MINILM,
        "tokens": "all",
        "trained": True,
        "how": found[PUBLISHED]["how"],
        "scores": found[PUBLISHED]["scores"],
    }
    assert found["minilm-untrained/eos-causal"]["trained"] is False
    assert found[BM25]["design"] is None
    assert json.loads(done.stdout)["problems"] == []


def test_search_json(corpus):
    done = command("search", "--corpus", corpus, "--query", "remove a folder", "--top-k", "3", "--json")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    document = json.loads(done.stdout)
    assert set(document) == {"query", "corpus", "results", "agreement", "notes"}
    assert (document["query"], document["corpus"]) == ("remove a folder", "docs")
    assert list(document["results"]) == [PUBLISHED, "minilm/multi-layer-bidirectional", "minilm/eos-causal", BM25]
    for name, ranking in document["results"].items():
        assert len(ranking) == 3 or name == BM25
        assert [hit["rank"] for hit in ranking] == list(range(1, len(ranking) + 1))
        assert [hit["score"] for hit in ranking] == sorted((hit["score"] for hit in ranking), reverse=True)
        for hit in ranking:
            assert set(hit) == {"rank", "id", "score", "text"}
            assert hit["text"] == TEXTS[hit["id"]]
    best = document["results"][PUBLISHED][0]
    assert best["id"] == "shutil"
    assert best["score"] == pytest.approx(0.628, abs=0.01)
    assert document["agreement"]["k"] == 3
    assert len(document["agreement"]["pairs"]) == 6
    assert set(document["agreement"]["pairs"][0]) == {"a", "b", "overlap", "rbo"}
    assert document["results"][BM25] == []
    assert document["notes"][BM25] == ["no word of the query occurs in these documents"]


def test_people_get_text(corpus, capsys):
    assert main(["search", "--corpus", corpus, "--query", "a random element", "--variants", "bm25"]) == 0
    out = capsys.readouterr().out
    assert "bm25" in out
    assert TEXTS["random"] in out
    assert main(["variants"]) == 0
    out = capsys.readouterr().out
    assert f"{BM25} " in out
    assert "The published model, untouched." in out


SEARCH = ["search", "--corpus", "CORPUS", "--query", "x"]
OFFLINE = "the model 'no/such' is not on this machine and the hub cannot be reached"
BAD = {
    "no command": ([], "required: COMMAND"),
    "unknown command": (["serach"], "invalid choice: 'serach'"),
    "no query": (["search"], "required: --query"),
    "unknown option": (["variants", "--colour"], "unrecognized arguments: --colour"),
    "empty query": (["search", "--corpus", "CORPUS", "--query", " "], "type a query first"),
    "unknown variant": ([*SEARCH, "--variants", "nope"], f"no variant 'nope' on the shelf; there are: {PUBLISHED}"),
    "no variant": ([*SEARCH, "--variants", ","], "choose at least one variant"),
    "top-k 0": ([*SEARCH, "--top-k", "0"], "top-k must be between 1 and 50, not 0"),
    "top-k word": ([*SEARCH, "--top-k", "ten"], "invalid int value: 'ten'"),
    "unknown corpus": (["search", "--query", "x", "--corpus", "nope"], "no corpus 'nope'; there are: python-stdlib"),
    "endless corpus": (["search", "--query", "x", "--corpus", "x" * 5000], "no corpus 'xxx"),
    "dtype": (["variants", "--dtype", "int8"], "invalid choice: 'int8' (choose from"),
    "device": ([*SEARCH, "--device", "tpu"], "device 'tpu' is not available here; valid: auto, cpu"),
    "checkpoints": (["variants", "--checkpoints", "nowhere"], "the checkpoints folder 'nowhere' does not exist"),
    "backbone": ([*SEARCH, "--backbone", "no/such", "--variants", "such-untrained/eos-causal"], OFFLINE),
    "contender": ([*SEARCH, "--contender", "no/such", "--variants", "no/such"], OFFLINE),
}


@pytest.mark.parametrize(("arguments", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_exit_code_2(arguments, sentence, corpus, capsys, home):
    with pytest.raises(SystemExit) as ended:
        sys.exit(main([corpus if a == "CORPUS" else a for a in arguments]))
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert sentence in printed.err
    lines = [line for line in printed.err.splitlines() if line.strip()]
    assert len(lines) == 1, printed.err
    assert lines[0].startswith("python -m explorer")


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "--corpus", "nope", "--query", "x"),
        ("search", "--query", "x", "--variants", "multi-layer-nonsense"),
        ("search", "--query", "x", "--top-k", "-3"),
        ("frobnicate",),
    ],
    ids=lambda a: " ".join(a),
)
def test_bad_input_in_a_process_of_its_own(arguments):
    done = command(*arguments, *(["--json"] if arguments[0] == "search" else []))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x01\x02\xff\xfe", b'{"text": '], ids=["empty", "binary", "half a line"]
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, capsys, content):
    file = tmp_path / "bad.jsonl"
    file.write_bytes(content)
    assert main(["search", "--corpus", str(file), "--query", "x", "--variants", "bm25", "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.strip().splitlines()) == 1


def test_broken_variants_are_told_and_do_no_harm(tmp_path, capsys):
    folder = tmp_path / "checkpoints" / "mine" / "broken"
    folder.mkdir(parents=True)
    (folder / "variant.json").write_text('{"design": "mean-causal", "backbone"')
    assert main(["variants", "--json", "--checkpoints", str(tmp_path / "checkpoints")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == ["mine/broken: variant.json of 'broken' is not valid JSON"]
    assert "mine/broken" not in {v["name"] for v in found["variants"]}


@pytest.mark.parametrize("name", [n for n, d in DESIGNS.items() if not d.trainable_pooler])
def test_every_design_that_needs_no_training_searches(name, corpus, capsys):
    assert main(["search", "--corpus", corpus, "--query", "pack files", "--variants", name, "--json"]) == 0
    (ranking,) = json.loads(capsys.readouterr().out)["results"].values()
    assert {hit["id"] for hit in ranking} == set(TEXTS)
