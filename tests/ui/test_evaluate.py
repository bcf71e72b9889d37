"""What the Evaluate tab decides: command, menu, runs, table, tests in words, worst examples, a query for Compare."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import tiny

from explorer.errors import InputError
from explorer.evaluation.engine import EvaluationConfig, evaluate
from explorer.evaluation.from_rows import sts_task
from explorer.evaluation.results import Cell, Column, Evaluation, Line, Table
from explorer.jobs import Runs
from explorer.significance import Test
from explorer.ui import evaluate_form as form
from explorer.ui import evaluate_runs as runs
from explorer.ui import html_evaluate
from explorer.ui import texts_evaluate as texts
from explorer.ui.evaluate_form import Wanted
from explorer.ui.evaluate_menu import Menu, card, cards, folder_of, rough, speeds_of, time_of
from explorer.ui.evaluate_runs import Drawn, Results
from explorer.ui.services import Services
from explorer.variants import Shelf

MEAN, EOS = "model-untrained/mean-bidirectional", "model-untrained/eos-causal"
WANTED = Wanted(["minilm-published", "bm25"], ["PythonStdlibRetrieval"], [], [], [])
WORDS = "river bridge light garden stone music paper window winter summer letter engine market forest island".split()

EVALUATOR = """
import json, shutil, sys
from pathlib import Path
from explorer import progress
output = Path(sys.argv[sys.argv.index("--output") + 1])
shutil.copytree(MADE, output, dirs_exist_ok=True)
told = json.loads((output / "evaluation.json").read_text())
for of in told["scores"].values():
    for row in of.values():
        progress.report({"share": 0.5, "task": row["task"], "variant": row["variant"], "texts": 7, "texts_total": 9,
                         "row": row}, output)
progress.report({"task": "Lost", "variant": "", "problem": "the data of Lost cannot be had"}, output)
print(json.dumps({"stopped": False}))
"""


def write_rows(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def sentence(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(WORDS, 6))


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    """A BEIR folder with 25 judged queries, one of which wants to be HTML."""
    rng, folder = np.random.default_rng(1), tmp_path_factory.mktemp("own") / "library"
    write_rows(folder / "corpus.jsonl", [{"_id": f"d{i}", "title": "", "text": sentence(rng)} for i in range(60)])
    queries = [{"_id": f"q{i}", "text": sentence(rng) if i else "<b>river</b> {x}"} for i in range(25)]
    write_rows(folder / "queries.jsonl", queries)
    (folder / "qrels").mkdir()
    judged = "".join(f"q{i}\td{2 * i}\t1\n" for i in range(25))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> Shelf:
    folder = tiny.save_backbone(tmp_path_factory.mktemp("tiny") / "model", "bert")
    return Shelf("cpu", "float32", backbones=[str(folder)])


@pytest.fixture(scope="module")
def made(library, shelf, tmp_path_factory) -> Path:
    """A real evaluation of three variants on own data: retrieval and scored pairs."""
    rng, folder = np.random.default_rng(2), tmp_path_factory.mktemp("made")
    rows = [{"sentence1": sentence(rng), "sentence2": sentence(rng), "score": i % 6} for i in range(40)]
    write_rows(folder / "similar.jsonl", rows)
    tasks = (f"retrieval:{library}", f"sts:{folder / 'similar.jsonl'}")
    evaluate(shelf, EvaluationConfig((MEAN, EOS, "bm25"), tasks), folder / "out", quiet=True)
    return folder / "out"


@pytest.fixture
def evaluation(made) -> Evaluation:
    return Evaluation.load(made)


@pytest.fixture
def services(home, tmp_path, made, shelf) -> Services:
    script = tmp_path / "evaluator.py"
    script.write_text(EVALUATOR.replace("MADE", repr(str(made))))
    found = Services(shelf)
    found.runs = Runs(command=[sys.executable, str(script)])
    return found


def finished(services: Services, id: str):
    for _ in range(300):
        run = services.runs.get(id)
        if run.is_over:
            return run
        time.sleep(0.1)
    raise AssertionError(run.sentence)


def start(services: Services, library: Path):
    wanted = replace(WANTED, variants=[MEAN, EOS, "bm25"], built_in=[], own=[f"retrieval:{library}"])
    chosen, said = form.start_run(services, Menu(), wanted)
    assert "You may close this page" in said
    return finished(services, chosen.value)


# ---- the form ------------------------------------------------------------------------------------------------------


def test_the_command_line_takes_what_the_form_makes(tmp_path, shelf):
    from explorer.__main__ import build_parser

    wanted = replace(
        WANTED, further=["STS15"], own=["sts:a, b.csv"], data_dir=str(tmp_path), sample=50, instructions="all",
        instruct="STS15 = Find it\nPythonStdlibRetrieval = as it was", defaults={"PythonStdlibRetrieval": "as it was"},
    )  # fmt: skip
    options = build_parser().parse_args(["evaluate", *wanted.arguments("DIR", shelf)])
    assert options.variants == ["minilm-published", "bm25"]
    assert (options.tasks, options.task) == (["PythonStdlibRetrieval", "STS15"], ["sts:a, b.csv"])
    assert (options.data_dir, options.sample, options.instructions) == (str(tmp_path), 50, "all")
    assert options.instruct == ["STS15=Find it"]  # the other line says what the task says by itself
    assert (options.dtype, options.backbone, options.output) == ("float32", shelf.backbone_ids[-1:], "DIR")


@pytest.mark.parametrize(
    ("change", "button"),
    [
        ({"variants": []}, "Choose a variant first"),
        ({"built_in": []}, "Choose a task first"),
        ({"sample": 3}, "A setting is not valid"),
        ({"data_dir": "no/such/folder"}, "A setting is not valid"),
        ({"instruct": "no equals sign"}, "A setting is not valid"),
    ],
)
def test_the_start_button_says_what_is_missing(home, shelf, change, button):
    _, start, told = form.described(Services(shelf), Menu(), replace(WANTED, **change), {})
    assert (start.value, start.interactive) == (button, False)
    assert ("px-error" in told) == (button == "A setting is not valid")


def test_titles_count_what_they_do_not_name():
    assert WANTED.title == "2 variants on PythonStdlibRetrieval"
    many = replace(WANTED, variants=["bm25"], further=["A", "B"], own=["sts:x/pairs.csv"], sample=20)
    assert many.title == "bm25 on PythonStdlibRetrieval, A + 2, sample of 20"


def test_what_was_changed_in_the_instructions_stays(library):
    menu, own = Menu(), f"retrieval:{library}"
    menu.task(own)
    lines = form.instruction_lines(menu, "", "", [[own]])
    assert lines == "library-retrieval = Given a query, retrieve documents that answer it"
    assert form.instruction_lines(menu, "", "library-retrieval = mine = yours", [[own]]) == (
        "library-retrieval = mine = yours"
    )


def test_own_data_is_read_when_it_is_added(library, tmp_path):
    update, said, path, upload = form.add_own(Menu(), str(library), "", None, [])
    assert (update.value, path, upload) == ([str(library)], "", None)
    assert "library-retrieval · Retrieval · English · 85 texts" in said
    assert "px-error" in form.add_own(Menu(), str(tmp_path / "missing.csv"), "sts", None, [])[1]
    assert "name a folder" in form.add_own(Menu(), " ", "", None, [])[1].lower()
    assert "already" in form.add_own(Menu(), "MinimalTriplets", "", None, [])[1]


def test_an_upload_is_kept_for_a_later_resume(home, tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text("sentence1,sentence2,score\na b,a b,1\na,c,0\n")
    update, said, *_ = form.add_own(Menu(), "", "sts", str(file), None)
    file.unlink()
    assert "STS" in said
    assert Path(update.value[0].removeprefix("sts:")).is_relative_to(home / "data")
    assert Path(update.value[0].removeprefix("sts:")).exists()


def test_a_misspelled_task_is_said_at_the_start(services):
    _, said = form.start_run(services, Menu(), replace(WANTED, further=["STSBenchmarc"]))
    assert "did you mean STSBenchmark?" in said
    assert not services.runs.list()


# ---- the menu ------------------------------------------------------------------------------------------------------


def test_cards_say_type_language_size_and_time():
    task = replace(sts_task("mine", [("a", "b", 1), ("c", "d", 2)], "", "own"), languages=("eng", "xyz", "deu"))
    assert card(task) == "mine\nSTS · English, xyz + 1 · 2 texts"
    assert cards([task], {"a": 2.0, "b": 4.0}, None) == [("mine\nSTS · English, xyz + 1 · 2 texts · about 3 s", "mine")]
    assert [rough(s) for s in (0.1, 59, 100, 5000, 9000)] == ["1 s", "59 s", "2 min", "83 min", "2 h"]


def test_time_is_told_of_what_was_measured(home, shelf):
    services, menu = Services(shelf), Menu()
    task = sts_task("mine", [("a", "b", 1), ("c", "d", 2)], "", "own")
    shelf.load(MEAN)
    shelf.unload(EOS)
    assert list(speeds_of(services, menu, [MEAN, EOS, "bm25"])) == [MEAN]
    assert "Not loaded yet: " + EOS in time_of(services, [task], [MEAN, EOS], {MEAN: 1.0}, None)
    assert "About 4 s" in time_of(services, [task], [MEAN, "bm25"], {MEAN: 1.0}, None)
    assert time_of(services, [], [MEAN], {MEAN: 1.0}, None) == ""


def test_a_folder_that_does_not_exist_is_said(tmp_path):
    assert folder_of(" ") is None
    assert folder_of(str(tmp_path)) == tmp_path
    with pytest.raises(InputError, match="does not exist"):
        folder_of(str(tmp_path / "no"))
    message, update = form.look_into(Menu(), str(tmp_path / "no"))
    assert "px-error" in message
    assert isinstance(update, dict)  # nothing is changed


# ---- runs ----------------------------------------------------------------------------------------------------------


def test_a_run_is_followed_shown_and_deleted(services, library):
    results = Results()
    assert texts.NO_RUNS in runs.show_run(services, results, None, Drawn(), None, None)[1]
    run = start(services, library)
    shown = runs.show_run(services, results, None, Drawn(), None, None)
    listing, state, stop, resume, delete, _, table, more, tests, task, variant, worst, drawn = shown
    assert listing.value == run.id
    assert "Finished" in state
    assert "5 results" in state
    assert "The data of Lost cannot be had." in state
    assert (stop.interactive, resume.interactive, delete.interactive) == (False, False, True)
    assert "library" in table
    assert more.visible
    assert "Over all 2 tasks" in tests
    assert (task.value, variant.value) == ("library-retrieval", MEAN)
    assert worst.count("open in Compare</button>") == 10
    again = runs.show_run(services, results, run.id, drawn, "library-retrieval", MEAN)
    assert again[1] == state  # said again, should it have been lost on the way
    assert all(isinstance(update, dict) for update in again[6:12])  # nothing new: nothing is drawn again
    other = runs.show_run(services, results, run.id, drawn, "similar-sts", EOS)
    assert "places apart" in other[11]
    assert "deleted" in runs.run_action(services, "delete", run.id)
    assert not run.output.exists()
    assert texts.NO_RUNS in runs.show_run(services, results, run.id, drawn, None, None)[1]


def test_what_cannot_be_done_is_said(services):
    assert "choose a run first" in runs.run_action(services, "stop", None).lower()
    assert "px-error" in runs.run_action(services, "resume", "../../etc")
    with pytest.raises(InputError, match="choose a run first"):
        runs.download(services, Results(), "csv")(None)


def test_downloads_hold_the_table(services, library):
    run = start(services, library)
    found = {kind: Path(runs.download(services, Results(), kind)(run.id)) for kind in ("csv", "json", "tex", "md")}
    assert found["csv"].read_text().count("library-retrieval") == 3
    assert len(json.loads(found["json"].read_text())["lines"]) == 3
    assert r"\toprule" in found["tex"].read_text()
    assert "| variant |" in found["md"].read_text()


def test_a_worst_query_goes_to_compare_with_its_documents(services, library):
    run, results = start(services, library), Results()
    data = {"query": "<b>river</b> {x}"}
    opened = runs.asked_query(services, results, run.id, "library-retrieval", data)
    assert opened == ([MEAN, EOS, "bm25"], "library", "<b>river</b> {x}")
    assert len(services.library.open("library").queries) == 25
    for task, bad in (("similar-sts", data), ("no task", data), ("library-retrieval", {"query": 7})):
        with pytest.raises(InputError, match="no query"):
            runs.asked_query(services, results, run.id, task, bad)


def test_a_query_of_an_official_task_goes_to_compare_with_its_documents(home, tmp_path, shelf, shared):
    task, data = "XQuADRetrieval", str(shared / "mteb")
    evaluate(shelf, EvaluationConfig(("bm25",), (task,), shared / "mteb"), tmp_path / "out", quiet=True)
    script = tmp_path / "evaluator.py"
    script.write_text(EVALUATOR.replace("MADE", repr(str(tmp_path / "out"))))
    services, results = Services(shelf), Results()
    services.runs = Runs(command=[sys.executable, str(script)])
    asked = ["--variants", "bm25", "--tasks", task, "--data-dir", data, "--output", str(tmp_path / "page")]
    run = finished(services, services.runs.start("evaluate", asked, "official").id)
    worst = results.get(run)[1].worst("bm25", task)[0]
    opened = runs.asked_query(services, results, run.id, task, {"query": worst["text"]})
    corpus = services.library.open(opened.corpus)
    assert (len(corpus.documents), len(corpus.queries)) == (240, 1185)
    id = next(id for id, text in corpus.queries.items() if text == opened.query)
    there = {document.id for document in corpus.documents}
    assert corpus.qrels[id]
    assert set(corpus.qrels[id]) <= there
    again = runs.asked_query(services, results, run.id, task, {"query": worst["text"]})
    assert again.corpus == opened.corpus  # not added twice


def test_documents_that_are_gone_are_said(services, library, evaluation):
    run = replace(start(services, library), arguments=("--tasks", "Other"))
    with pytest.raises(InputError, match="not at hand"):
        runs.corpus_of(run, evaluation.tasks["library-retrieval"])


# ---- what is shown -------------------------------------------------------------------------------------------------


def test_the_table_names_marks_and_sources():
    columns = (
        Column("A", "STS", "cosine_spearman", "test", "default", 30, True, "official"),
        Column("B", "Retrieval", "ndcg_at_10", "validation", "en", 20, False, "a sample of 20 examples"),
        Column("C", "STS", "cosine_spearman", "test", "default", None, True, "official"),
    )
    first = (Cell(0.8, 0.7, 0.9, best=True), Cell(0.5, tied=True), Cell(0.6))
    lines = (
        Line("bm25", "", first, {"STS": 0.7, "Retrieval": 0.5, "all": 0.633}),
        Line("some/model", "their <paper>", (Cell(0.81), None, None), {"STS": None, "all": None}),
    )
    shown = html_evaluate.table(Table(columns, lines, ("STS", "Retrieval"), ("a <note>",), {"mteb": "2", "sample": 20}))
    assert '<th scope="colgroup" colspan="3">STS</th>' in shown  # A, C and their mean
    assert shown.index("<b>A</b>") < shown.index("<b>C</b>") < shown.index("<b>B</b>")
    assert "nDCG@10, validation, en, n = 20" in shown
    assert '<b>.800</b> <small>± .100</small><br><em class="flag">best</em>' in shown
    assert '.500<br><em class="flag">tied</em>' in shown
    assert '<td class="mean">.700</td>' in shown
    assert "their &lt;paper&gt;" in shown
    assert "a &lt;note&gt;" in shown
    assert "B: a sample, or not the official data; not comparable with the leaderboard." in shown
    assert html_evaluate.table(Table((), (), (), (), {})).count(texts.NO_ROWS) == 1


def test_the_better_variant_comes_first_in_a_test():
    test = Test(
        "x", "bm25", "Is it?", "a test", 30, 0.2, 0.5, -0.3, low=-0.4, high=-0.1, p=0.0001, p_holm=0.02, effect=-0.6,
        effect_name="d", wins=3, ties=7, losses=20,
    )  # fmt: skip
    shown = html_evaluate._test(test)
    assert shown.index("bm25") < shown.index("is better than") < shown.index("<b>x</b>")
    assert ".300 <small>[+0.100, +0.400]</small>" in shown
    assert "<td>&lt; .001</td><td>.020</td><td>+0.60" in shown
    assert "20 / 7 / 3 <small>of 30</small>" in shown
    assert "which may be chance" in html_evaluate._test(replace(test, p_holm=0.2))
    ranked = html_evaluate._test(replace(test, lean=0.7, effect=0.7, low=0.01, high=0.02))
    assert (
        ranked.index("<b>x</b>") < ranked.index("is better than") < ranked.index("bm25") < ranked.index("mean is low")
    )
    assert "-.300 <small>[+0.010, +0.020]</small>" in ranked
    assert "Too few." in html_evaluate._test(replace(test, refused="too few"))


def test_nothing_from_outside_is_taken_for_html(evaluation):
    rows = [row for row in evaluation.worst(MEAN, "library-retrieval", 25) if "river</b>" in row["text"]]
    shown = html_evaluate.worst(rows, evaluation.tasks["library-retrieval"], MEAN, True)
    assert "<b>river" not in shown
    assert 'data-query="&lt;b&gt;river&lt;/b&gt; &#123;x&#125;"' in shown


def test_long_names_may_break_where_a_word_begins():
    assert html_evaluate._breakable("XQuADRetrieval<x>") == "XQuAD<wbr>Retrieval&lt;x&gt;"
    assert html_evaluate._breakable("PythonStdlibClustering") == "Python<wbr>Stdlib<wbr>Clustering"


def test_one_variant_alone_is_not_compared(evaluation):
    alone = replace(evaluation, rows={MEAN: evaluation.rows[MEAN]}, variants=[MEAN])
    assert "second variant" in html_evaluate.tests(alone)
    assert 'flag">best' not in html_evaluate.table(alone.table())


def test_the_tab_is_drawn(services):
    from explorer.ui.evaluate import build_evaluate
    from explorer.ui.sidebar import build_sidebar

    with gr.Blocks():
        sidebar = build_sidebar(services)
        with gr.Tabs(), gr.Tab("Evaluate") as tab:
            drawn = build_evaluate(services, sidebar, tab.select)
    assert drawn.timer.active is False
    assert len(drawn.inputs) == 2
