"""`layers` on the command line: the document it promises, lines for people, and one sentence for bad input."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
import tiny
import torch

from explorer.__main__ import main
from explorer.backbone import Backbone
from explorer.designs import design
from explorer.encoder import PooledEncoder, TextSettings
from explorer.pooling import PoolerConfig, build_pooler

MULTI = "tiny/multi-layer-bidirectional"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A checkpoints folder with three variants of a tiny BERT, and a judged corpus beside it."""
    root = tmp_path_factory.mktemp("layers")
    backbone = Backbone.load(str(tiny.save_backbone(root / "model", "bert")), "cpu", "float32")
    for name in ("multi-layer-bidirectional", "multi-layer-causal", "last-layer-causal"):
        chosen = design(name)
        torch.manual_seed(3)
        pooler = build_pooler(chosen, 32, 3, PoolerConfig(32, 4, 2, 8, 3 if chosen.pooling == "multi-layer" else 0))
        for parameter in pooler.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        PooledEncoder(name, backbone, chosen, pooler, TextSettings(64)).save(root / "checkpoints" / "tiny" / name)
    corpus = root / "corpus"
    (corpus / "qrels").mkdir(parents=True)
    texts = ["red fox runs", "blue cat sleeps", "green dog eats", "grey owl sees"]
    rows = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(texts)]
    (corpus / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    queries = [{"_id": f"q{i}", "text": text} for i, text in enumerate(texts[:3])]
    (corpus / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)) + "\n")
    judged = "".join(f"q{i}\td{i}\t1\n" for i in range(3))
    (corpus / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return root


@pytest.fixture
def run(shelf, home, capsys):
    """Run `layers` and return its exit code, standard output and standard error."""

    def go(*arguments: str):
        options = ["--checkpoints", str(shelf / "checkpoints"), "--device", "cpu", "--dtype", "float32"]
        code = main(["layers", *options, *arguments])
        return (code, *capsys.readouterr())

    return go


def test_one_text_as_json(run):
    code, out, err = run("--variant", MULTI, "--text", "a red fox 👩‍👩‍👧 <script>", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["variant"] == MULTI
    assert found["layers"] == [1, 2, 3]
    assert sum(found["mean"]) == pytest.approx(1, abs=1e-6)
    assert [sum(head) for head in found["heads"]] == pytest.approx([1, 1], abs=1e-6)
    assert [sum(latent) for latent in found["latents"]] == pytest.approx([1] * 4, abs=1e-6)
    assert found["steps"][-1]["name"] == "vector"


def test_two_texts_and_two_variants(run):
    code, out, _ = run(
        "--variant", MULTI, "--text", "red fox", "--text-b", "blue cat", "--versus", "tiny/multi-layer-causal", "--json"
    )  # fmt: skip
    found = json.loads(out)
    assert code == 0
    expected = [a - b for a, b in zip(found["mean"], found["text_b"]["mean"], strict=True)]
    assert found["difference"]["mean"] == pytest.approx(expected, abs=1e-6)
    expected = [a - b for a, b in zip(found["mean"], found["versus"]["mean"], strict=True)]
    assert found["versus"]["difference"]["mean"] == pytest.approx(expected, abs=1e-6)


def test_a_corpus_ablated_and_probed(run, shelf):
    code, out, err = run(
        "--variant", MULTI, "--corpus", str(shelf / "corpus"), "--ablate", "--probe",
        "--query", "red fox", "--off", "1,3", "--document", "d2", "--json",
    )  # fmt: skip
    found = json.loads(out)
    assert code == 0
    assert "ablating: 4/4" in err
    assert found["texts"] == 4
    assert found["queries"]["texts"] == 3
    assert [row["layer"] for row in found["ablation"]["layers"]] == [1, 2, 3]
    assert len(found["probe"]["scores"]) == 3
    assert found["rerank"]["off"] == [1, 3]
    assert found["why_here"]["document"] == "d2"


def test_layers_on_scored_pairs_and_their_picture(run, shelf, tmp_path):
    pairs, picture = tmp_path / "pairs.jsonl", tmp_path / "curves.svg"
    rows = [("red fox", "red fox", 5), ("blue cat", "green dog", 1), ("grey owl sees", "grey owl", 4), ("a", "b c", 2)]
    pairs.write_text("".join(json.dumps({"sentence1": a, "sentence2": b, "score": s}) + "\n" for a, b, s in rows))
    asked = ["--variant", MULTI, "--corpus", str(shelf / "corpus"), "--probe", "--sts", str(pairs)]
    code, out, _ = run(*asked, "--figure", str(picture), "--json")
    assert code == 0
    sts = json.loads(out)["sts"]
    assert (sts["pairs"], sts["layers"], len(sts["scores"])) == (4, [1, 2, 3], 3)
    assert all(-1 <= score <= 1 for score in (*sts["scores"], sts["variant_score"]))
    drawn = ElementTree.parse(picture).getroot()
    assert len(drawn.findall(".//{*}polyline")) == 2
    assert len(drawn.findall(".//{*}circle")) == 6
    code, out, _ = run(*asked)
    assert code == 0
    assert "on 4 pairs of pairs.jsonl" in out


def test_which_token_holds_the_mean(run, shelf):
    corpus = str(shelf / "corpus")
    code, out, _ = run("--variant", MULTI, "--corpus", corpus, "--sinks", "--json")
    found = json.loads(out)["sinks"]
    assert code == 0
    assert (found["texts"], found["queries"], [row["layer"] for row in found["layers"]]) == (4, 3, [1, 2, 3])
    probes = {}
    for tokens in ("all", "without-first"):
        code, out, _ = run("--variant", MULTI, "--corpus", corpus, "--probe", "--tokens", tokens, "--json")
        probes[tokens] = json.loads(out)["probe"]
        assert probes[tokens]["tokens"] == tokens
    assert [row["ndcg"] for row in found["layers"]] == probes["all"]["scores"]
    assert [row["ndcg_without_first"] for row in found["layers"]] == probes["without-first"]["scores"]
    code, out, _ = run("--variant", MULTI, "--corpus", corpus, "--sinks")
    for said in ("nDCG@10 all  without the first", "sinks a text", found["sentence"], "counts as a sink (×)"):
        assert said in out
    code, out, _ = run("--variant", MULTI, "--text", "red fox", "--sinks")
    assert code == 0
    assert "the longest state of each layer" in out
    assert "No token is a sink" in out
    code, out, _ = run(
        "--variant", MULTI, "--corpus", corpus, "--probe", "--tokens", "all", "--token-weights", "unit"
    )  # fmt: skip
    assert "(the mean of all tokens, each brought to length one)" in out


def test_lines_for_people(run, shelf):
    code, out, _ = run("--variant", MULTI, "--text", "red fox", "--text-b", "blue cat")
    assert code == 0
    assert "uniform 0.333" in out
    assert "Attention is not explanation" in out
    code, out, _ = run("--variant", "tiny/last-layer-causal", "--text", "red fox")
    assert code == 0
    assert "(end token)" in out
    code, out, _ = run(
        "--variant", MULTI, "--corpus", str(shelf / "corpus"), "--ablate", "--probe", "--query", "red fox",
        "--off", "2", "--document", "d2",
    )  # fmt: skip
    assert code == 0
    for said in ("weights over 4 texts", "queries minus documents", "without it", "without layers [2]", "d2: rank"):
        assert said in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--variant", MULTI], "give either --text or --corpus"),
        (["--variant", MULTI, "--text", "a", "--corpus", "b"], "give either --text or --corpus"),
        (["--variant", MULTI, "--text", " "], "type a text first"),
        (["--variant", MULTI, "--text", "a", "--ablate"], "--ablate needs --corpus"),
        (["--variant", MULTI, "--corpus", "mteb-tasks", "--off", "1"], "--off needs --query"),
        (["--variant", MULTI, "--corpus", "mteb-tasks", "--query", "a", "--off", "one"], "not 'one'"),
        (["--variant", MULTI, "--text", "a", "--sts", "x.csv"], "--sts needs --probe"),
        (["--variant", MULTI, "--corpus", "CORPUS", "--tokens", "all"], "--tokens needs --probe"),
        (["--variant", MULTI, "--corpus", "CORPUS", "--token-weights", "unit"], "--token-weights needs --probe"),
        (["--variant", MULTI, "--corpus", "CORPUS", "--sinks", "--probe"], "leave out --probe"),
        (["--variant", MULTI, "--text", "a", "--corpus", "CORPUS", "--sinks"], "either --text or --corpus"),
        (["--variant", MULTI, "--corpus", "CORPUS", "--next-token"], "--next-token needs --probe"),
        (["--variant", MULTI, "--corpus", "CORPUS", "--probe", "--next-token"], "does not tell which token comes next"),
        (["--variant", MULTI, "--corpus", "CORPUS", "--figure", "x.svg"], "--figure needs --probe"),
        (["--variant", MULTI, "--corpus", "CORPUS", "--probe", "--figure", "x.png"], "ends with .svg, not 'x.png'"),
        (["--variant", MULTI, "--corpus", "CORPUS", "--probe", "--sts", "none.csv"], "none.csv"),
        (["--variant", "bm25", "--text", "a"], "'bm25' matches words and makes no vectors"),
        (["--variant", "none", "--text", "a"], "no variant 'none' on the shelf"),
        (["--variant", MULTI, "--corpus", "nowhere"], "no corpus 'nowhere'"),
        (["--variant", MULTI, "--corpus", "CORPUS", "--label", "x"], "no label 'x'"),
        (["--variant", MULTI, "--corpus", "CORPUS", "--query", "a", "--off", "1,2,3"], "leave at least one on"),
        (["--variant", "tiny/last-layer-causal", "--corpus", "CORPUS", "--ablate"], "reads the last layer alone"),
    ],
)
def test_bad_input_ends_with_code_2_and_one_line(run, shelf, arguments, sentence):
    code, out, err = run(*(str(shelf / "corpus") if a == "CORPUS" else a for a in arguments))
    assert (code, out) == (2, "")
    said = [line for line in err.splitlines() if line.startswith("python -m explorer layers: ")]
    assert len(said) == 1
    assert sentence in said[0]
