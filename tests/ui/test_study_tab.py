"""What the Study tab shows and asks for, with a script in place of real training."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from evil import EVIL, evil_study

from explorer.errors import InputError
from explorer.jobs import Runs
from explorer.study.results import Study
from explorer.ui import study_form, study_view, texts_study
from explorer.ui.html_study import report
from explorer.ui.services import Services
from explorer.ui.study_form import Wanted
from explorer.ui.study_view import Drawn, choices, find, growable, show_study, shown_studies
from explorer.variants import BM25, PUBLISHED, Shelf

SCRIPT = """
import json, sys
from pathlib import Path
from explorer import progress
from explorer.study.plan import StudyPlan
output = Path(sys.argv[sys.argv.index("--output") + 1])
output.mkdir(parents=True, exist_ok=True)
of = {"step": 3, "steps": 9, "loss": 0.5}
progress.report({"share": 0.5, "run": "eos-causal:0", "part": "training", "of": of}, output)
StudyPlan({"data": ["builtin:docstrings"], "max_steps": 7}, ("eos-causal",), (0,), ("MinimalTriplets",)).save(output)
(output / "study.json").write_text(Path(STUDY_FILE).read_text())
print(json.dumps({"stopped": False}))
"""

WANTED = Wanted(
    backbone="sentence-transformers/all-MiniLM-L6-v2",
    built_in=True,
    files=None,
    hub="",
    preset="Custom",
    max_steps=30,
    batch_size=16,
    max_length=64,
    learning_rate=2e-4,
    pooler_learning_rate=1e-3,
    scale=20,
    pooler_init="near-mean",
    tokens="all",
    guide_weight=0,
    grow="",
    designs=["eos-causal", "multi-layer-causal"],
    seeds="0, 1",
    tasks=["MinimalTriplets"],
    further=[],
    data_dir="",
    baselines=[PUBLISHED, BM25],
    sample=0,
    question="",
)


@pytest.fixture
def services(home, tmp_path) -> Services:
    evil_study().save(tmp_path)
    script = tmp_path / "study.py"
    script.write_text(SCRIPT.replace("STUDY_FILE", repr(str(tmp_path / "study.json"))))
    made = Services(Shelf(device="cpu"))
    made.runs = Runs(command=[sys.executable, str(script)])
    return made


def finished(services: Services, wanted: Wanted) -> Path:
    """The folder of a study that was started and came to its end."""
    chosen, said = study_form.start_run(services, wanted)
    assert "You may close this page" in said
    for _ in range(200):
        run = services.runs.list()[0]
        if run.is_over:
            assert run.state == "finished", run.sentence
            return Path(chosen.value)
        time.sleep(0.1)
    raise AssertionError(run.sentence)


# ---- the form ------------------------------------------------------------------------------------------------------


def test_the_command_line_takes_what_the_form_makes(services):
    from explorer.__main__ import build_parser
    from explorer.study.commands import asked
    from explorer.study.plan import plan_for

    wanted = replace(WANTED, further=["sts:a, b.csv"], sample=20, question="Which one?")
    options = build_parser().parse_args(["study", *wanted.arguments("DIR", services)])
    plan = plan_for(Path("DIR"), asked(options))
    assert plan.designs == ("eos-causal", "multi-layer-causal")
    assert plan.seeds == (0, 1)
    assert plan.tasks == ("MinimalTriplets", "sts:a, b.csv")
    assert plan.baselines == (PUBLISHED, BM25)
    assert (plan.sample, plan.question) == (20, "Which one?")
    assert plan.training["max_steps"] == 30
    assert plan.training["data"] == ["builtin:docstrings"]


@pytest.mark.parametrize(
    ("change", "button"),
    [
        ({"designs": []}, "Choose a design first"),
        ({"seeds": " "}, "Give a seed first"),
        ({"tasks": []}, "Choose a task first"),
        ({"built_in": False}, "Choose training data first"),
        ({"seeds": "0, x"}, "A setting is not valid"),
        ({"batch_size": 1}, "A setting is not valid"),
        ({"data_dir": "/nowhere"}, "A setting is not valid"),
        ({"baselines": ["nobody"]}, "A setting is not valid"),
    ],
)
def test_the_start_button_says_what_is_missing(services, change, button):
    _, start, wrong = study_form.described(services, replace(WANTED, **change))
    assert (start.value, start.interactive) == (button, False)
    assert bool(wrong) == (button == "A setting is not valid")
    assert "px-error" in study_form.start_run(services, replace(WANTED, **change))[1]


def test_what_gradio_gives_for_nothing_chosen(services):
    values = vars(replace(WANTED, designs=None, further=None, baselines=None, sample=None)).values()
    wanted = study_form.wanted_of(tuple(values))
    assert (wanted.designs, wanted.further, wanted.baselines) == ([], [], [])
    assert wanted.missing == "Choose a design first"


# ---- runs ----------------------------------------------------------------------------------------------------------


def test_a_study_is_started_followed_grown_and_deleted(services, home):
    folder = finished(services, replace(WANTED, question="A or B?"))
    assert folder.parent == home / "data" / "studies"
    assert folder.name.endswith("-a-or-b")
    shown = show_study(services, str(folder), Drawn())
    assert "Finished" in shown[1]
    assert "evaluated" in shown[7]
    assert (shown[3].interactive, shown[4].interactive, shown[5].interactive) == (False, False, True)
    assert (shown[8].value, shown[8].interactive) == (texts_study.SHELF_NOT, False)
    again = show_study(services, str(folder), shown[-1])
    assert again[7] == {"__type__": "update"}  # what is there is left as it is
    assert "Finished" in again[1]  # said again, should it have been lost on the way

    assert growable(shown_studies(services))[1][1] == str(folder)
    more = replace(WANTED, grow=str(folder), seeds="1", built_in=False, preset="About a minute")
    arguments = more.arguments(folder, services)
    assert "--max-steps" not in arguments
    assert "--data" not in arguments
    assert Path(finished(services, more)) == folder
    assert len([s for s in shown_studies(services) if s.folder == folder]) == 1

    assert "deleted" in study_view.run_action(services, "delete", str(folder))
    assert not folder.exists()
    assert services.runs.list() == []


def test_what_runs_now_is_said(services):
    finished(services, WANTED)
    run = services.runs.list()[0]
    records = services.runs.progress(run.id)
    assert study_view.html_study._doing(records[-1]) == "now training of eos-causal, seed 0: step 3 of 9, loss 0.500"


def test_what_cannot_be_done_is_said(services, tmp_path):
    assert "choose a study of yours" in study_view.run_action(services, "stop", None).lower()
    with pytest.raises(InputError, match="holds no study"):
        find(services, [], str(tmp_path / "nothing"))
    assert "px-error" in show_study(services, "/nowhere", Drawn())[1]
    (tmp_path / "study.json").write_text("{")
    assert "damaged" in show_study(services, str(tmp_path), Drawn())[1]
    evil_study().save(tmp_path)
    with pytest.raises(InputError, match="kept no variants"):
        study_view.put_on_shelf(services, str(tmp_path))


def test_a_study_made_on_the_command_line_opens_by_its_folder(services, tmp_path):
    shown = show_study(services, str(tmp_path), Drawn())
    assert (tmp_path.name, str(tmp_path)) in shown[0].choices
    assert shown[1] == study_view.note(texts_study.FOUND)


def test_a_studys_variants_join_the_shelf(services, tmp_path):
    source = services.shelf.find("multi-layer-causal").path
    target = tmp_path / "runs" / "multi-layer-causal" / "seed-0"
    shutil.copytree(source, target)
    assert "1 variant is on the shelf" in study_view.put_on_shelf(services, str(tmp_path))
    assert services.shelf.find("multi-layer-causal/seed-0").path == target


def test_a_folder_added_again_replaces_what_stood_for_its_names(services, tmp_path):
    source = services.shelf.find("multi-layer-causal").path
    for name in ("a", "b"):
        shutil.copytree(source, tmp_path / name / "one" / "seed-0")
        services.shelf.add_folder(tmp_path / name)
        assert services.shelf.find("one/seed-0").path == tmp_path / name / "one" / "seed-0"
        services.shelf.load("one/seed-0")
    services.shelf.add_folder(tmp_path / "a")
    assert "one/seed-0" not in services.shelf.loaded
    assert services.shelf.find("one/seed-0").path.parent.parent == tmp_path / "a"


# ---- the report ----------------------------------------------------------------------------------------------------


def test_the_report_shows_texts_as_texts():
    html = report(evil_study())
    assert "<img" not in html
    assert "{" not in html.replace("&#123;", "")
    assert "$" not in html
    assert EVIL[:3] in html or "&lt;" in html


def test_the_shipped_study_is_whole(services):
    """Five designs, three seeds each, all evaluated; and it is what the page opens with."""
    shipped = find(services, shown_studies(services), None)
    assert shipped.shipped
    assert shipped.title in dict(choices([shipped]))
    study = Study.load(shipped.folder)
    assert study.finished
    five = [
        "eos-causal",
        "last-layer-causal",
        "multi-layer-causal",
        "last-layer-bidirectional",
        "multi-layer-bidirectional",
    ]
    for name in five:
        assert len(study.entry(name).seeds) >= 3
        assert all(len(cell.scores) >= 3 for cell in study.entry(name).cells.values())
    assert {claim.verdict for claim in study.claims} <= {"supported", "contradicted", "not told apart", "not tested"}
    assert sum(file.stat().st_size for file in shipped.folder.iterdir()) < 2**20
    text = json.dumps(study.to_json())
    assert "/tmp" not in text
    assert "/home" not in text
    html = report(study)
    for heading in ("Answer", "The paper’s claims", "Scores", "Cost", "Set-up"):
        assert f"<h3>{heading}</h3>" in html


def test_the_shipped_study_is_there_before_anything_is_asked(services):
    listed, chosen, said, written, drawn = study_view.first_view(services)
    assert (chosen, said) == (listed[0][1], study_view.note(texts_study.SHIPPED))
    assert "The paper’s claims" in written
    again = show_study(services, chosen, drawn)
    assert again[7] == {"__type__": "update"}  # opening the tab draws nothing anew


def test_downloads_are_the_study(services, tmp_path):
    shipped = str(find(services, shown_studies(services), None).folder)
    for name, begins in (("study.json", "{"), ("report.html", "<!doctype html>"), ("report.md", "# Study")):
        made = Path(study_view.download(services, name)(shipped))
        assert made.name == name
        assert made.read_text(encoding="utf-8").startswith(begins)
    with pytest.raises(InputError):
        study_view.download(services, "report.md")(str(tmp_path / "nothing"))
