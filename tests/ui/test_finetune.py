"""What the Fine-tune tab decides, with a script in place of real training."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import plotly.io
import pytest

from explorer.jobs import Runs
from explorer.ui import finetune
from explorer.ui.finetune import Wanted
from explorer.ui.services import Services
from explorer.variants import Shelf

TRAINER = """
import json, sys
from explorer import progress
output = sys.argv[sys.argv.index("--output") + 1]
for step in (1, 2):
    progress.report({"step": step, "steps": 2, "loss": 1 / step, "dev": {"ndcg@10": step / 4},
                     "layer_weights": [0.25, 0.75]}, output)
print(json.dumps({"output": output, "stopped": False}))
"""

WANTED = Wanted(
    design="multi-layer-causal",
    backbone="sentence-transformers/all-MiniLM-L6-v2",
    built_in=True,
    files=None,
    hub="",
    preset="Custom",
    name="",
    max_steps=30,
    batch_size=16,
    max_length=64,
    learning_rate=2e-4,
    pooler_learning_rate=1e-3,
    scale=20,
    pooler_init="near-mean",
    tokens="all",
    guide_weight=0,
    seed=3,
)


@pytest.fixture
def services(home, tmp_path) -> Services:
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER)
    made = Services(Shelf(device="cpu"))
    made.runs = Runs(command=[sys.executable, str(script)])
    return made


def wait(services: Services, id: str):
    for _ in range(200):
        run = services.runs.get(id)
        if run.is_over:
            return run
        time.sleep(0.1)
    raise AssertionError(run.sentence)


def test_the_command_says_what_the_form_says():
    arguments = WANTED.arguments("DIR")
    assert arguments[: 2 * 2] == ["--design", "multi-layer-causal", "--backbone", WANTED.backbone]
    assert arguments[arguments.index("--max-steps") + 1] == "30"
    assert arguments[arguments.index("--data") + 1 :] == ["builtin:docstrings", "--output", "DIR"]


def test_the_command_line_takes_what_the_form_makes():
    from explorer.__main__ import build_parser

    options = build_parser().parse_args(["train", *WANTED.arguments("DIR")])
    assert (options.design, options.seed, options.pooler_init) == ("multi-layer-causal", 3, "near-mean")


def test_a_preset_wins_over_custom_fields():
    arguments = replace(WANTED, preset="About a minute").arguments("DIR")
    assert arguments[arguments.index("--max-steps") + 1] == "20"


@pytest.mark.parametrize(
    ("change", "button"),
    [
        ({"built_in": False}, "Choose training data first"),
        ({"backbone": " "}, "Name a backbone first"),
        ({"batch_size": 1}, "A setting is not valid"),
        ({"max_steps": 0}, "A setting is not valid"),
    ],
)
def test_the_start_button_says_what_is_missing(change, button):
    _, start = finetune._described(*vars(replace(WANTED, **change)).values())
    assert (start.value, start.interactive) == (button, False)


def test_names_become_folders_of_their_own(home):
    first = replace(WANTED, name="../../My try!").output()
    assert first.name == "my-try"
    assert first.parent.parent.parent.parent == home / "data"
    first.mkdir(parents=True)
    assert replace(WANTED, name="my try").output().name == "my-try-2"


def test_a_run_is_started_followed_and_deleted(services):
    chosen, said = finetune.start_run(services, WANTED)
    assert "You may close this page" in said
    run = wait(services, chosen.value)
    assert run.state == "finished", run.sentence
    _, card, stop, resume, delete, figure, drift, *_ = finetune.show_run(services, run.id, finetune.Drawn())
    assert "step 2 of 2, loss 0.500" in card
    assert "held-out ndcg@10 .500" in card
    assert (stop.interactive, resume.interactive, delete.interactive) == (False, False, True)
    assert list(plotly.io.from_json(figure.value["plot"]).data[0].y) == [1.0, 0.5]
    assert drift.visible
    assert "has made no variant" in finetune.before_and_after(services, run.id, "python-stdlib", "x")[0]
    finetune.run_action(services, "delete", run.id)
    assert finetune.show_run(services, None, finetune.Drawn())[1].count("No runs yet")


def test_what_cannot_be_done_is_said(services):
    assert "choose a run first" in finetune.run_action(services, "stop", None).lower()
    assert "px-error" in finetune.run_action(services, "resume", "../../etc")
    assert "px-error" in finetune.start_run(services, replace(WANTED, built_in=False))[1]


def test_runs_are_laid_over_one_another_with_their_differences(services):
    ids = [finetune.start_run(services, replace(WANTED, seed=s, name=f"s{s}"))[0].value for s in (1, 2)]
    for id in ids:
        wait(services, id)
    _, table = finetune.overlaid(services, ids)
    assert '<th scope="row">seed</th><td>1</td><td>2</td>' in table
    assert table.count("<tr>") == 2  # head and seed: all else is the same
