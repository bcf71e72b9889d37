"""Studies: interrupted anywhere they go on without repeating, and every verdict follows from numbers."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
import xml.etree.ElementTree
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import mteb
import numpy as np
import pytest
import tiny
import torch
from evil import EVIL, evil_study
from scipy import stats

from explorer import svg, training_run
from explorer.__main__ import build_parser, main
from explorer.designs import MEANING
from explorer.errors import Cancelled, InputError
from explorer.evaluation.examples import Examples
from explorer.jobs import KINDS
from explorer.mean_tests import careful, skewed_t
from explorer.measures import interval
from explorer.significance import Test
from explorer.study import execute as execution
from explorer.study import words
from explorer.study.analysis import Analysis, Measured
from explorer.study.claims import MARGIN, judge
from explorer.study.collect import collect
from explorer.study.commands import asked
from explorer.study.estimates import estimate, gap
from explorer.study.execute import execute, report_only, unevaluated
from explorer.study.markdown import to_markdown
from explorer.study.plan import Asked, Cell, StudyPlan, comparable, plan_for
from explorer.study.report import to_html
from explorer.study.results import (
    ClaimCard,
    LayerPicture,
    Pair,
    SeedGap,
    Study,
)

WORDS = "river bridge light garden stone music paper window winter summer letter engine market forest".split()
MULTI, MEAN, EOS = "multi-layer-bidirectional", "mean-bidirectional", "eos-causal"


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_rows(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def sentence(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(WORDS, 5))


@dataclass
class Ground:
    """Tiny backbone and data, and what was done with them."""

    root: Path
    backbone: str
    pairs: str
    similar: str
    finished: list[str] = field(default_factory=list)
    """Trainings that came to their end."""
    scored: list[tuple[str, str]] = field(default_factory=list)
    """(model, task) that mteb was asked for."""

    def asked(self, **more) -> Asked:
        training = {
            "backbone": self.backbone, "data": (self.pairs,), "max_steps": 3, "batch_size": 6, "max_length": 24,
            "device": "cpu", "dtype": "float32", "estimate_steps": 0, "eval_every": 3, "dev_share": 0.2,
            "save_every": 1, "heads": 2, "head_dim": 16, "latents": 4, **more.pop("training", {}),
        }  # fmt: skip
        given = {"designs": (MEAN, MULTI), "seeds": (0,), "tasks": (f"sts:{self.similar}",), "baselines": ("bm25",)}
        return Asked(training=training, **{**given, **more})


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Ground:
    root, rng = tmp_path_factory.mktemp("study"), np.random.default_rng(0)
    rows = [{"query": sentence(rng) + f" {i}", "positive": f"{sentence(rng)} and {i}"} for i in range(40)]
    scored = [{"sentence1": sentence(rng), "sentence2": sentence(rng), "score": i % 6} for i in range(40)]
    model = str(tiny.save_backbone(root / "model", "bert"))
    return Ground(root, model, write_rows(root / "pairs.jsonl", rows), write_rows(root / "similar.jsonl", scored))


@pytest.fixture(scope="module")
def output(ground) -> Path:
    """A study of two designs that was interrupted while training, after training and while evaluating, then grown."""
    output = ground.root / "output"
    with pytest.MonkeyPatch.context() as patch:
        count(patch, ground)
        patch.setattr(execution, "LATENCY_TEXTS", 4)
        plan = plan_for(output, ground.asked())
        with pytest.MonkeyPatch.context() as inner:
            stop_in_training(inner)
            assert execute(plan, output).stopped
        assert ground.finished == []
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(execution._Execution, "_evaluate", cancelled)
            assert execute(plan, output).stopped
        assert ground.finished == [f"{MEAN}/seed-0"]
        assert Study.load(output).stopped
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(execution, "measure_latency", cancelled)
            assert execute(plan, output).stopped
        study = execute(plan, output)
        assert study.finished
        assert not study.stopped
        execute(plan_for(output, Asked(seeds=(1,), designs=(EOS,))), output)
    return output


def count(patch: pytest.MonkeyPatch, ground: Ground) -> None:
    train, evaluate = execution.train, mteb.evaluate

    def counted_train(config, folder, **options):
        result = train(config, folder, **options)
        if not result.stopped:
            ground.finished.append(f"{config.design}/seed-{config.seed}")
        return result

    def counted_evaluate(model, task, **options):
        ground.scored.append((model.mteb_model_meta.name, task.metadata.name))
        return evaluate(model, task, **options)

    patch.setattr(execution, "train", counted_train)
    patch.setattr(mteb, "evaluate", counted_evaluate)


def cancelled(*_, **__):
    raise Cancelled("stopped by the test")


def stop_in_training(patch: pytest.MonkeyPatch) -> None:
    inner = training_run.Follower.on_step_end

    def on_step_end(self, args, state, control, **more):
        self.run.stop.asked = True
        return inner(self, args, state, control, **more)

    patch.setattr(training_run.Follower, "on_step_end", on_step_end)


# ---- running -------------------------------------------------------------------------------------------------------


def test_interrupted_anywhere_nothing_is_made_twice(ground, output):
    wanted = [f"{design}/seed-{seed}" for seed in (0, 1) for design in (MEAN, MULTI, EOS)]
    assert sorted(ground.finished) == sorted(wanted)
    assert max(Counter(ground.scored).values()) == 1
    assert len(ground.scored) == 6
    assert not list(output.glob("runs/*/*/checkpoint-*"))


def test_a_finished_study_is_not_made_again(ground, output, monkeypatch):
    monkeypatch.setattr(execution, "train", cancelled)
    monkeypatch.setattr(mteb, "evaluate", cancelled)
    before = Study.load(output)
    again = execute(plan_for(output, Asked()), output)
    assert not again.stopped
    assert again == before


def test_what_a_study_holds(output):
    started = time.perf_counter()
    study = Study.load(output)
    assert time.perf_counter() - started < 0.5
    assert study.finished
    assert study.problems == ()
    assert study.designs == [MEAN, MULTI, EOS]
    assert [task.type for task in study.tasks.values()] == ["STS"]
    assert {run.state for run in study.runs} == {"evaluated"}
    cell = study.entry(MULTI).cells["similar-sts"]
    runs = {run.seed: run for run in study.runs_of(MULTI)}
    assert cell.scores == tuple(runs[seed].scores["similar-sts"] for seed in (0, 1))
    assert cell.mean == pytest.approx(np.mean(cell.scores))
    assert cell.low < cell.mean < cell.high
    assert study.layers[0].name == MULTI
    assert sum(study.layers[0].mean) == pytest.approx(1, abs=1e-3)
    assert runs[0].steps == 3
    assert runs[0].latency.milliseconds > 0
    assert runs[0].parameters > study.runs_of(MEAN)[0].parameters
    assert study.setup["data"][0]["sha256"]
    assert study.setup["decoder"] is False
    assert Study.from_json(json.loads(json.dumps(study.to_json()))) == study


def test_no_folder_of_this_machine_stands_in_what_is_published(ground, output):
    for name in ("study.json", "report.html", "report.md"):
        assert str(ground.root) not in (output / name).read_text(encoding="utf-8")


def test_progress_is_of_the_whole_study(output):
    records = [json.loads(line) for line in (output / "progress.jsonl").read_text().splitlines()]
    assert all(0 <= record["share"] <= 1 for record in records)
    assert records[-1]["share"] == 1
    assert {record["part"] for record in records if "part" in record} == {"training", "evaluation"}
    assert (output / "runs" / MULTI / "seed-0" / "progress.jsonl").exists()


def test_changed_test_data_is_scored_again(ground, output, tmp_path, monkeypatch):
    plan = plan_for(output, Asked())
    cell = Cell(MULTI, 0)
    tasks = execution.study_tasks(plan)
    assert unevaluated(cell, output, tasks, None) == []
    other = shutil.copy(ground.similar, tmp_path / "similar.jsonl")
    with Path(other).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"sentence1": "a", "sentence2": "b", "score": 1}) + "\n")
    tasks = execution.study_tasks(dataclasses.replace(plan, tasks=(f"sts:{other}",)))
    assert unevaluated(cell, output, tasks, None) == ["similar-sts"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"training": {"max_steps": 4}}, "max_steps 3, not 4"),
        ({"training": {"heads": 4}}, "heads 2, not 4"),
        ({"sample": 20}, "sample none, not 20"),
    ],
)
def test_another_configuration_is_refused(ground, output, more, said):
    with pytest.raises(InputError, match=said):
        plan_for(output, ground.asked(**more))


def test_what_is_not_given_stays(ground, output):
    plan = plan_for(output, Asked(seeds=(7,)))
    assert plan.seeds == (0, 1, 7)
    assert plan.designs == (MEAN, MULTI, EOS)
    assert plan.training["max_steps"] == 3
    assert [cell.key for cell in plan.chosen([f"{EOS}:7", "bm25"])] == [f"{EOS}:7", "bm25"]
    assert plan_for(output, Asked(training={"device": "cuda", "micro_batch": 2})).shared.micro_batch == 2


def test_changed_training_data_is_refused(ground, output, tmp_path):
    other = tmp_path / "pairs.jsonl"  # the same name with other content
    other.write_text(Path(ground.pairs).read_text().replace("and", "or"), encoding="utf-8")
    plan = plan_for(output, Asked(seeds=(7,), training={"data": (str(other),)}))
    with pytest.raises(InputError, match="the training data changed"):
        execute(plan, output)


def test_a_run_that_fails_leaves_the_others(ground, tmp_path, monkeypatch):
    def failing(config, folder, **_):
        raise InputError("the loss is nan at step 2; use smaller learning rates")

    monkeypatch.setattr(execution, "train", failing)
    plan = plan_for(tmp_path / "out", ground.asked(baselines=("model-untrained/eos-causal",)))
    study = execute(plan, tmp_path / "out")
    assert [entry.name for entry in study.entries] == ["model-untrained/eos-causal"]
    assert study.problems[0] == f"{MEAN}, seed 0: the loss is nan at step 2; use smaller learning rates"
    assert not study.finished


# ---- several machines ----------------------------------------------------------------------------------------------


def test_collected_runs_are_not_made_again(ground, output, tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "train", cancelled)
    monkeypatch.setattr(mteb, "evaluate", cancelled)
    plan = plan_for(tmp_path / "here", ground.asked(seeds=(0, 1), baselines=("bm25",)))
    taken = collect(plan, tmp_path / "here", [output])
    assert {cell.key for cell in taken} >= {f"{d}:{s}" for d in (MEAN, MULTI) for s in (0, 1)}
    assert collect(plan, tmp_path / "here", [output]) == []
    study = execute(plan, tmp_path / "here")
    assert study.finished
    assert study.entry(MULTI) == dataclasses.replace(
        Study.load(output).entry(MULTI), cells=study.entry(MULTI).cells, averages=study.entry(MULTI).averages
    )
    assert study.entry(MULTI).cells["similar-sts"].scores == Study.load(output).entry(MULTI).cells["similar-sts"].scores


def test_one_variant_is_collected(ground, output, tmp_path):
    plan = plan_for(tmp_path / "here", ground.asked())
    alone = shutil.copytree(output / "runs" / MULTI / "seed-0", tmp_path / "first-try")
    assert collect(plan, tmp_path / "here", [alone]) == [Cell(MULTI, 0)]
    assert [run.state for run in report_only(plan, tmp_path / "here").runs] == ["waiting", "evaluated", "waiting"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda training: training["config"].update(max_steps=99), "max_steps 99, not 3"),
        (lambda training: training["data"][0].update(sha256="0" * 64), "its training data is not that of the other"),
    ],
)
def test_runs_of_another_study_are_not_taken(ground, output, tmp_path, change, said):
    plan = plan_for(tmp_path / "here", ground.asked(seeds=(0, 1)))
    other = shutil.copytree(output, tmp_path / "other")
    file = other / "runs" / MULTI / "seed-1" / "variant.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    change(record["training"])
    file.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        collect(plan, tmp_path / "here", [other])
    assert not (tmp_path / "here" / "runs").exists()
    told = report_only(plan_for(other, Asked()), other)  # found within the study it is left out, and told
    assert said.split(",")[0] in told.problems[0]
    assert told.entry(MULTI).seeds == (0,)


def test_nothing_to_collect(ground, tmp_path):
    plan = plan_for(tmp_path / "here", ground.asked())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no finished run"):
        collect(plan, tmp_path / "here", [tmp_path / "empty"])
    with pytest.raises(InputError, match="there is no folder"):
        collect(plan, tmp_path / "here", [tmp_path / "nowhere"])


# ---- numbers -------------------------------------------------------------------------------------------------------


def accuracy(values: np.ndarray) -> Examples:
    ids = tuple(str(i) for i in range(len(values)))
    return Examples("ranking", "ndcg_at_10", ids, values)


def line(name: str, tasks: dict[str, list[np.ndarray]], baseline: bool = False) -> Measured:
    """A design with per-example values [seed][n] on each task."""
    seeds = [] if baseline else list(range(len(next(iter(tasks.values())))))
    scores = {task: [float(v.mean()) for v in of] for task, of in tasks.items()}
    return Measured(name, baseline, seeds, scores, {task: [accuracy(v) for v in of] for task, of in tasks.items()})


def test_an_estimate_by_hand():
    found = estimate([0.5, 0.6, 0.7], (0.4, 0.9))
    half = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert (found.mean, found.sd) == (pytest.approx(0.6), pytest.approx(0.1))
    assert (found.seed_low, found.seed_high) == (pytest.approx(0.6 - half), pytest.approx(0.6 + half))
    assert (found.low, found.high) == (0.4, 0.9)
    assert estimate([0.5], None).seed_low is None


def test_seeds_are_compared_as_scipy_does():
    x, y = [0.5, 0.6, 0.7, 0.65], [0.4, 0.55, 0.5]
    known = stats.ttest_ind(x, y, equal_var=False)
    found = gap(x, y, np.mean(x) - np.mean(y))
    ends = known.confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(ends.low), pytest.approx(ends.high))
    assert found.p == pytest.approx(known.pvalue)
    one = stats.ttest_1samp(x, 0.5)
    assert gap(x, None, np.mean(x) - 0.5).p == pytest.approx(one.pvalue)
    assert gap([0.5], y, 0.1) is None


def test_the_same_weights_are_not_told_apart():
    rng = np.random.default_rng(0)
    tasks = {task: [rng.random(60) for _ in range(3)] for task in "abc"}
    lines = [line(EOS, tasks), line(MULTI, tasks), line(MEAN, tasks)]
    analysis = Analysis(lines, {"Retrieval": ["a", "b"], "STS": ["c"]})
    pairs = analysis.pairs()
    assert not any(pair.told_apart for pair in pairs)
    entries = analysis.entries(pairs)
    assert all(e.cells[t].best or e.cells[t].tied for e in entries for t in "abc")
    between = Study("", {}, {}, (), pairs=tuple(pairs)).between
    assert not {"contradicted"} & {card.verdict for card in judge([EOS, MULTI, MEAN], ["Retrieval", "STS"], between)}


def test_chance_in_training_is_seldom_taken_for_a_difference():
    """The same design twice: seeds that differ by more than examples do fool a test over examples, not the gap."""
    rng, rounds, wrong, fooled = np.random.default_rng(0), 400, 0, 0
    for _ in range(rounds):
        hard = rng.normal(0.5, 0.2, 80)
        a, b = ([hard + rng.normal(0, 0.03) + rng.normal(0, 0.05, 80) for _ in range(3)] for _ in range(2))
        d = np.mean(a, axis=0) - np.mean(b, axis=0)
        found = gap(np.mean(a, axis=1), np.mean(b, axis=1), d.mean())
        wrong += not found.low <= 0 <= found.high
        fooled += stats.ttest_1samp(d, 0).pvalue < 0.05
    assert wrong / rounds < 0.07
    assert fooled / rounds > 0.5


def test_a_true_difference_is_found_whatever_the_baselines():
    rng = np.random.default_rng(2)
    hard = {task: rng.normal(0.5, 0.2, 80) for task in "ab"}

    def made(shift: float, seeds: int = 3) -> dict[str, list[np.ndarray]]:
        return {t: [h + shift + rng.normal(0, 0.02, 80) for _ in range(seeds)] for t, h in hard.items()}

    lines = [line(EOS, made(0)), line(MULTI, made(0.1)), line("bm25", made(-0.1, 1), baseline=True)]
    analysis = Analysis(lines, {"Retrieval": ["a", "b"]})
    pairs = analysis.pairs()
    found = {(pair.scope, pair.test.a, pair.test.b): pair for pair in pairs}
    design = found["type:Retrieval", EOS, MULTI]
    assert design.winner == MULTI
    assert design.test.p_holm == design.test.p  # one pair of designs: the baselines are another family
    assert design.test.difference == pytest.approx(-0.1, abs=0.01)
    assert found["task:a", EOS, "bm25"].winner == EOS
    assert found["all", EOS, MULTI].test.refused
    entries = {entry.name: entry for entry in analysis.entries(pairs)}
    assert entries[MULTI].averages["Retrieval"].best
    assert not entries[EOS].averages["Retrieval"].tied
    assert not entries["bm25"].averages["Retrieval"].tied


def test_six_tasks_are_tested_as_in_the_paper():
    rng = np.random.default_rng(3)
    names = [f"t{i}" for i in range(7)]
    a, b = ({t: [rng.random(30) + shift for _ in range(2)] for t in names} for shift in (0, 0.3))
    pairs = Analysis([line(EOS, a), line(MULTI, b)], {"STS": names}).pairs()
    pair = next(pair for pair in pairs if pair.scope == "type:STS")
    x, y = ([np.mean([v.mean() for v in of[t]]) for t in names] for of in (a, b))
    assert pair.test.method.startswith("Wilcoxon")
    assert pair.test.p == pytest.approx(stats.wilcoxon(x, y).pvalue)


def test_ranks_and_means_that_disagree_tell_nothing_apart():
    """Twelve tasks a little better, one much worse: the ranks speak for one, the mean for the other."""
    names = [f"t{i}" for i in range(13)]

    def made(name: str, gain: float, loss: float) -> Measured:
        scores = {t: [0.5 + s + (gain * (i + 1) if i < 12 else loss) for s in (0, 1e-5, 2e-5)]
                  for i, t in enumerate(names)}  # fmt: skip
        return Measured(name, False, [0, 1, 2], scores)

    pairs = Analysis([made(EOS, 0.001, -0.4), made(MULTI, 0, 0)], {"STS": names}).pairs()
    pair = next(pair for pair in pairs if pair.scope == "type:STS")
    assert pair.test.significant
    assert pair.test.winner == EOS
    assert pair.seeds is not None
    assert pair.seeds.high < 0  # EOS has the lower mean, with whatever seeds
    assert pair.winner is None
    assert f"{EOS} is ahead of {MULTI} on STS by ranks, but its mean is lower by 0.0248; Wilcoxon" in pair.sentence
    assert pair.sentence.endswith(": not told apart.")


def test_means_over_few_tasks_are_tested_and_given_as_means():
    rng = np.random.default_rng(5)
    made = {name: {t: [rng.random(n) ** 3] * 2 for t, n in (("a", 25), ("b", 60))} for name in (EOS, MULTI)}
    analysis = Analysis([line(name, of) for name, of in made.items()], {"Retrieval": ["a", "b"]})
    pairs = analysis.pairs()
    test = next(pair.test for pair in pairs if pair.scope == "type:Retrieval")
    found = careful([(made[EOS][t][0] - made[MULTI][t][0])[None] for t in "ab"])
    assert (test.p, test.low, test.high) == pytest.approx((found.p[0], found.low[0], found.high[0]))
    assert test.method == "paired test of means (sign flips and Hall's t), by task"
    entry = next(entry for entry in analysis.entries(pairs) if entry.name == EOS)
    t = skewed_t([made[EOS][task][0][None] for task in "ab"])
    assert (entry.averages["Retrieval"].low, entry.averages["Retrieval"].high) == (t.low[0], t.high[0])
    alone = interval(made[EOS]["a"][0])
    assert (entry.cells["a"].low, entry.cells["a"].high) == (alone.low, alone.high)


def test_a_shipped_study_of_an_older_version_is_read_as_it_was():
    path = Path(__file__).parents[1] / "checkpoints" / "minilm" / "study"
    told = json.loads((path / "study.json").read_text(encoding="utf-8"))
    study = Study.load(path)
    for pair, before in zip(study.pairs, told["pairs"], strict=True):
        assert pair.told_apart == before["told_apart"]
        assert pair.sentence == before["sentence"]
        assert pair.test.winner is None or (pair.test.winner == pair.test.a) == (pair.test.difference > 0)
    again = Study.from_json(json.loads(json.dumps(study.to_json())))
    assert again.pairs == study.pairs


def test_one_seed_decides_nothing():
    rng = np.random.default_rng(4)
    a, b = rng.random(80), rng.random(80) + 1
    pair = Analysis([line(EOS, {"t": [a]}), line(MULTI, {"t": [b]})], {"STS": ["t"]}).pairs()[0]
    assert pair.test.significant
    assert not pair.told_apart
    card = judge([EOS, MULTI], ["STS"], lambda *_: pair)[0]
    assert card.verdict == "not tested"
    assert "at least two seeds" in card.parts[1].numbers


def test_without_examples_seeds_are_what_is_left():
    a = Measured(EOS, False, [0, 1, 2], {"c": [0.50, 0.51, 0.52]})
    b = Measured(MULTI, False, [0, 1, 2], {"c": [0.60, 0.61, 0.62]})
    pair = Analysis([a, b], {"Clustering": ["c"]}).pairs()[0]
    assert pair.test.method == "Welch's t test over seeds"
    assert pair.winner == MULTI
    two = [Measured(m.name, False, [0, 1], {"c": m.scores["c"][:2]}) for m in (a, b)]
    assert "2 of 3 seeds" in Analysis(two, {"Clustering": ["c"]}).pairs()[0].test.refused


# ---- claims --------------------------------------------------------------------------------------------------------


def pair(a: str, b: str, difference: float, half: float = 0.005, p: float = 0.001, seeds: float = 0.005) -> Pair:
    test = Test(a, b, "?", "a test", 100, 0.5 + difference, 0.5, difference, difference - half, difference + half, p, p)
    return Pair("type:X", test, SeedGap(difference - seeds, difference + seeds, 0.01, 3, 3))


def verdict(id: str, answers: dict[str, Pair], types: tuple[str, ...] = ("STS", "Retrieval")) -> ClaimCard:
    """A claim judged where every comparison of a type has this answer, whichever pair is asked for."""

    def between(a: str, b: str, scope: str) -> Pair | None:
        found = answers.get(scope.partition(":")[2])
        return found and dataclasses.replace(found, test=dataclasses.replace(found.test, a=a, b=b))

    designs = [EOS, "last-layer-causal", "multi-layer-causal", "last-layer-bidirectional", MULTI]
    return next(card for card in judge(designs, list(types), between) if card.id == id)


def test_verdicts_follow_the_numbers():
    up, down, open_ = pair("a", "b", 0.02), pair("a", "b", -0.02), pair("a", "b", 0.02, 0.05, p=0.4)
    for id in ("trainable-bidirectional", "attention-alone", "pooling-alone", "all-layers"):
        assert verdict(id, {"STS": up, "Retrieval": up}).verdict == "supported"
        assert verdict(id, {"STS": up, "Retrieval": open_}).verdict == "not told apart"
        assert verdict(id, {"STS": up, "Retrieval": down}).verdict == "contradicted"
        assert verdict(id, {}).verdict == "not tested"
    card = verdict("all-layers", {"STS": up})
    assert card.verdict == "supported"
    assert "2 supported, 2 not tested" in card.reason
    assert "+0.0200" in card.parts[0].numbers
    assert "over seeds +0.0150 to +0.0250" in card.parts[0].numbers


def test_the_interval_over_seeds_can_undo_a_test():
    assert verdict("all-layers", {"STS": pair("a", "b", 0.02, seeds=0.03)}).verdict == "not told apart"


def test_no_better_needs_more_than_no_difference():
    types = ("Clustering", "Classification")

    def judged(one: Pair) -> str:
        return verdict("simple-is-enough", dict.fromkeys(types, one), types).verdict

    assert judged(pair("a", "b", 0.02)) == "contradicted"
    assert judged(pair("a", "b", -0.02)) == "supported"
    assert judged(pair("a", "b", 0.001, MARGIN / 2, p=0.5)) == "supported"
    assert judged(pair("a", "b", 0.001, 0.03, p=0.9)) == "not told apart"
    assert judged(pair("a", "b", 0.001, MARGIN / 2, p=0.5, seeds=0.03)) == "not told apart"


def test_a_comparison_is_read_from_either_side():
    turned = pair(EOS, MULTI, -0.02)
    card = next(c for c in judge([EOS, MULTI], ["STS"], lambda *_: turned) if c.id == "trainable-bidirectional")
    part = next(part for part in card.parts if part.a == MULTI and part.type == "STS")
    assert part.verdict == "supported"
    assert f"{MULTI} minus {EOS}: +0.0200" in part.numbers


def test_no_single_best():
    def card(sts: float, retrieval: float) -> ClaimCard:
        def between(a: str, b: str, scope: str) -> Pair:
            difference = {"type:STS": sts, "type:Retrieval": retrieval}.get(scope, 0.0)
            return pair(a, b, difference, p=0.001 if difference else 0.9)

        return judge([EOS, MULTI], ["STS", "Retrieval"], between)[-1]

    assert card(0.02, -0.02).verdict == "supported"
    assert card(0.02, 0.02).verdict == "contradicted"
    assert EOS in card(0.02, 0.02).reason
    assert card(0.02, 0.0).verdict == "not told apart"
    assert judge([EOS], ["STS"], lambda *_: None)[-1].verdict == "not tested"


# ---- report --------------------------------------------------------------------------------------------------------


def test_no_text_of_a_user_is_markup():
    html = to_html(evil_study())
    assert "<img" not in html
    assert "&lt;img src=x" in html
    body = html[html.index("<body>") : html.index("</html>")]
    xml.etree.ElementTree.fromstring(body)  # every element is closed, every attribute quoted
    text = to_markdown(evil_study())
    assert "<img" not in text
    assert {
        line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("| ") and EVIL[:4] in line
    } <= {len(evil_study().entries)}


def test_a_report_says_over_which_tokens_means_were_taken():
    study = evil_study()
    setup = {**study.setup, "designs": [EOS, MULTI]}
    layers = (LayerPicture(MULTI, (0,), ((0.4, 0.6),)),)
    for tokens, told in ((None, "all tokens"), ("text", MEANING["text"])):  # older studies do not say
        training = {**setup["training"], **({"tokens": tokens} if tokens else {})}
        made = dataclasses.replace(study, setup={**setup, "training": training}, layers=layers)
        assert ("means", f"over {told}") in words.setup_rows(made)
        for report in (to_html(made), to_markdown(made)):
            assert f"it is the mean of {told}" in report
    ends = dataclasses.replace(study, setup={**setup, "designs": [EOS]}, layers=())
    assert "means" not in dict(words.setup_rows(ends))
    assert words.attention(ends) == words.ATTENTION


def test_the_report_of_a_study(output):
    html = (output / "report.html").read_text(encoding="utf-8")
    assert len(html) < 2**20
    assert "http" not in html.replace('http-equiv="', "")  # nothing is loaded from anywhere
    assert "<script" not in html
    for part in ("Answer", "Scores", "The paper’s claims", "Cost", "What can and cannot be concluded", "Set-up"):
        assert f"<h2>{part}</h2>" in html
    xml.etree.ElementTree.fromstring(html[html.index("<body>") : html.index("</html>")])
    text = (output / "report.md").read_text(encoding="utf-8")
    study = Study.load(output)
    assert f"{study.entry(MULTI).cells['similar-sts'].mean:.4f}" in text
    assert "The backbone is an encoder" in text


def test_pictures_are_on_a_true_scale():
    bars = [svg.Bar("a", "#000", "●", 0.2, (0.1, 0.3), (0.1, 0.3), (0.15, 0.25)), svg.Bar("b", "#000", "▲", 0.4)]
    root = xml.etree.ElementTree.fromstring(svg.intervals(bars, "scores"))
    x = {float(c.get("r")): [] for c in root.iter("circle")}
    for circle in root.iter("circle"):
        x[float(circle.get("r"))].append(float(circle.get("cx")))
    (mean_a, mean_b), (low, high) = x[5.0], x[2.5]
    assert mean_a == pytest.approx((low + high) / 2, abs=0.1)
    assert mean_b - mean_a == pytest.approx(high - low, abs=0.1)
    assert svg.intervals([], "nothing") == ""
    assert svg.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    root = xml.etree.ElementTree.fromstring(svg.columns([0.1, 0.4, 0.5], [[0.1, 0.4, 0.5]], 1 / 3, "layers", "#000"))
    heights = [float(bar.get("height")) for bar in root.iter("rect")]
    assert heights[1] / heights[0] == pytest.approx(4, abs=0.05)


# ---- command line --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--designs", "eos-causal,nope"], "unknown design 'nope'; valid designs: eos-causal"),
        (["--seeds", "0,x"], "seed 'x' is not a whole number"),
        (["--seeds", "99999999999"], "seed must be below 2 to the power of 32"),
        (["--tasks", "NoSuchTask"], "no task 'NoSuchTask'"),
        (["--only", "eos-causal:9"], "the study has no run 'eos-causal:9'; there are: "),
        (["--baselines", "nobody"], "no variant 'nobody' on the shelf"),
        (["--max-steps", "0"], "max_steps must be at least 1"),
        (["--data", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--report-only"], "holds no study to report on"),
        (["--collect", "nowhere"], "there is no folder 'nowhere' to collect runs from"),
        (["--data-dir", "nowhere"], "the data folder 'nowhere' does not exist"),
    ],
)
def test_bad_input_is_one_line(ground, tmp_path, capsys, options, said):
    given = ["--data", ground.pairs, "--task", f"sts:{ground.similar}", "--backbone", ground.backbone]
    given += ["--designs", EOS, "--baselines", "bm25", "--device", "cpu"]
    assert main(["study", *given, *options, "--output", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_data_is_asked_for(tmp_path, capsys):
    assert main(["study", "--output", str(tmp_path / "out")]) == 2
    assert "--data is missing" in capsys.readouterr().err


def test_report_only_json(ground, output, capsys, monkeypatch):
    monkeypatch.setattr(execution, "train", cancelled)
    assert main(["study", "--report-only", "--output", str(output), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["finished"] is True
    assert found["stopped"] is False
    assert {card["verdict"] for card in found["claims"]} <= {
        "supported",
        "contradicted",
        "not told apart",
        "not tested",
    }
    assert main(["study", "--report-only", "--output", str(output)]) == 0
    assert "report: " in capsys.readouterr().out


def test_an_estimate_makes_nothing(ground, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--designs", MEAN, "--seeds", "0,1", "--backbone", ground.backbone, "--data", ground.pairs]
    options += ["--task", f"sts:{ground.similar}", "--max-steps", "50", "--batch-size", "6", "--device", "cpu"]
    assert main(["study", *options, "--output", str(out), "--estimate-only", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert not out.exists()
    assert found["runs_to_train"] == [f"{MEAN}:0", f"{MEAN}:1"]
    assert found["seconds"] == pytest.approx(found["training_seconds"] + found["evaluation_seconds"], abs=0.2)
    assert found["designs"][MEAN]["seconds_per_step"] > 0


def test_a_background_run_can_be_a_study():
    assert "study" in KINDS
    given = ["study", "--output", "x", "--designs", "all", "--seeds", "0,1", "--device", "cpu", "--json", "--resume"]
    found = asked(build_parser().parse_args(given))
    assert len(found.designs) == 7
    assert found.seeds == (0, 1)
    assert dict(found.training) == {"device": "cpu"}
    assert StudyPlan({"data": ("a.jsonl",)}).seeds == (0, 1, 2)


def test_a_plan_from_before_an_option_does_what_it_did(tmp_path):
    """Its runs added the layer matrix before the norm; runs that are added to it must not differ."""
    plan = StudyPlan({"data": ("x.jsonl",)}, designs=("multi-layer-causal",), seeds=(0,), baselines=())
    assert plan.to_json()["training"]["layer_matrix"] == "auto"
    plan.save(tmp_path)
    told = json.loads((tmp_path / "plan.json").read_text())
    del told["training"]["layer_matrix"]
    (tmp_path / "plan.json").write_text(json.dumps(told))
    old = StudyPlan.load(tmp_path)
    assert old.config(Cell("multi-layer-causal", 0)).layer_matrix == "before-norm"
    recorded = {k: v for k, v in old.shared.to_json().items() if k != "layer_matrix"}
    assert comparable(recorded) == comparable(old.shared)
