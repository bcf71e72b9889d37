"""The parts of a report as plain rows and sentences, for both its forms. Nothing here is markup; nothing is escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from ..designs import DESIGNS, MEANING, Tokens
from ..run import duration
from .results import ALL, VERDICTS, Entry, Estimate, Latency, Pair, Study

READING = (
    "Scores are means over seeds. ± is half the 95 % t interval over seeds: other trainings of the same design, tested "
    "on the same examples. [ ] is the 95 % interval over examples: other examples of the same kind, with the "
    "same trained weights. Bold is the best design, † are designs not told apart from it; baselines take no part in it."
)
MATRIX = (
    "Each cell is the row's score minus the column's, averaged over seeds and the tasks of the type. ▲ the row is "
    "better, ▼ the column is better, · not told apart, because p is not below 5 % or because other seeds could turn "
    "it round; p after Holm's correction over all pairs of designs, and apart from these over all pairs of a "
    "design and a baseline."
)
ATTENTION = (
    "Mean attention of the pooler over layers at the end of training (dots: seeds). Attention is not explanation: a "
    "layer with much weight need not matter; the Layers tab tests that by switching layers off."
)


def title(study: Study) -> str:
    return f"Study: {len(study.setup['designs'])} designs on {study.setup['backbone']}"


def headline(study: Study) -> list[str]:
    """What came out, a sentence for each task type."""
    found = []
    for kind in [*study.types, *([ALL] if len(study.types) > 1 else [])]:
        entries = [e for e in study.entries if not e.baseline and kind in e.averages]
        best = next((e for e in entries if e.averages[kind].best), None)
        if best is None:
            continue
        tied = [e.name for e in entries if e.averages[kind].tied]
        where = "Over all tasks" if kind == ALL else kind
        said = f"{where}: {best.name} has the highest mean ({best.averages[kind].mean:.4f})"
        if not tied:
            said += "; every other design is told apart from it"
        elif len(tied) == len(entries) - 1:
            said += "; no other design is told apart from it"
        else:
            said += f"; not told apart from it: {', '.join(tied)}"
        found.append(f"{said}.")
    return found or ["Nothing can be said yet: fewer than two designs have all scores of a task type."]


def claims_line(study: Study) -> list[str]:
    """How the paper's claims fared, in one sentence; none without claims."""
    counts = Counter(verdict for verdict, _ in verdicts(study))
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    return [f"Of the paper’s {len(study.claims)} claims here: {said}."] if said else []


def unfinished(study: Study) -> str:
    """How far an unfinished study is."""
    done = sum(run.state == "evaluated" for run in study.runs)
    return f"Not finished: {done} of {len(study.runs)} runs are evaluated."


def tokens_of(study: Study) -> Tokens:
    """Over which tokens all designs of the study take a mean; older studies, which do not say, took all."""
    tokens = study.setup["training"].get("tokens")
    return tokens if tokens in MEANING else "all"


def attention(study: Study) -> str:
    """What is to be known of the pictures of layer weights: they depend on the tokens that a layer's mean is over."""
    if not any(DESIGNS[one.name].states == "layer-means" for one in study.layers if one.name in DESIGNS):
        return ATTENTION
    other = "without the first token" if tokens_of(study) == "all" else "over all tokens"
    return (
        f"{ATTENTION} Where a layer is read by a mean, it is the mean of {MEANING[tokens_of(study)]}; means {other} "
        "give other weights."
    )


def setup_rows(study: Study) -> list[tuple[str, str]]:
    """What was done, field by field."""
    setup, config = study.setup, study.setup["training"]
    rows = [("backbone", setup["backbone"]), ("designs", ", ".join(setup["designs"]))]
    rows.append(("seeds", ", ".join(map(str, setup["seeds"]))))
    rows += [
        ("training data", f"{s['name']}: {s['pairs']:,} pairs, weight {s['weight']:g}, sha256 {s['sha256'][:16]}")
        for s in setup["data"]
    ]
    if setup["pairs"]:
        rows.append(("pairs", f"{setup['pairs']:,} to train with, {setup['held_out']:,} held out"))
    steps = f"{setup['steps'] or config['max_steps']:,} steps of {config['batch_size']} pairs"
    rates = f"learning rate {config['learning_rate']:g}, pooler {config['pooler_learning_rate']:g}"
    rows.append(("training", f"{steps}, {rates}, {config['schedule']}, scale {config['scale']:g}"))
    lora = f"rank {config['lora_rank']}, alpha {config['lora_alpha']}, dropout {config['lora_dropout']:g}"
    rows.append(("adapter", f"LoRA, {lora}; pooler starts {config['pooler_init']}; {config['max_length']} tokens"))
    if any(DESIGNS[name].means for name in setup["designs"] if name in DESIGNS):
        rows.append(("means", f"over {MEANING[tokens_of(study)]}"))
    if config.get("guide_weight"):
        rows.append(("teacher", f"{config['guide']}, weight {config['guide_weight']:g}"))
    for task in study.tasks.values():
        where = task.split if task.subset == "default" else f"{task.split}, {task.subset}"
        count = f", {task.n:,} examples" if task.n else ""
        rows.append((f"task {task.name}", f"{task.type}, {task.metric}, {where}{count}: {task.data}"))
    if setup["sample"]:
        rows.append(("sample", f"at most {setup['sample']:,} examples a task"))
    rows += [("versions", ", ".join(f"{k} {v}" for k, v in versions.items())) for versions in setup["versions"]]
    rows += [
        ("hardware", ", ".join(f"{k} {v}" for k, v in hardware.items() if v is not None))
        for hardware in setup["hardware"]
    ]
    if setup["dtypes"]:
        rows.append(("precision", ", ".join(setup["dtypes"])))
    return rows


def columns(study: Study) -> list[tuple[str, str, bool]]:
    """(head, key, whether it is an average) of the table's columns: a type's tasks, then its mean if it has several."""
    found: list[tuple[str, str, bool]] = []
    for kind in study.types:
        tasks = [t for t in study.tasks.values() if t.type == kind]
        found += [(f"{t.name} ({t.metric})", t.name, False) for t in tasks]
        if len(tasks) > 1:
            found.append((f"mean {kind}", kind, True))
    if len(study.types) > 1:
        found.append(("mean of all tasks", ALL, True))
    return found


def cell(entry: Entry, key: str, average: bool) -> Estimate | None:
    return (entry.averages if average else entry.cells).get(key)


def score(found: Estimate | None) -> str:
    """0.8123 ± 0.0042 [0.7981, 0.8260] †"""
    if found is None:
        return "–"
    said = f"{found.mean:.4f}"
    if found.seed_low is not None:
        said += f" ± {found.mean - found.seed_low:.4f}"
    if found.low is not None and found.high is not None:
        said += f" [{found.low:.4f}, {found.high:.4f}]"
    return f"{said} †" if found.tied else said


def scopes(study: Study) -> list[tuple[str, str, str]]:
    """(heading, scope, how it was tested) of the matrices: task types, then all tasks."""
    found = []
    for name, scope in [*((kind, f"type:{kind}") for kind in study.types), ("All tasks", ALL)]:
        pairs = [pair for pair in study.pairs if pair.scope == scope]
        if pairs:
            first = next((p.test for p in pairs if not p.test.refused), pairs[0].test)
            how = f"{first.method[:1].upper()}{first.method[1:]}. {first.question}"
            if all(pair.test.refused for pair in pairs):
                how = f"Not tested: {pairs[0].test.refused}."
            found.append((name, scope, how))
    return found


def mark(pair: Pair | None, row: str) -> tuple[str, str, str]:
    """(sign, difference, p) of a matrix cell as its row sees it; sign is "", "win", "loss", "open" or "none"."""
    if pair is None:
        return "", "", ""
    difference = pair.test.difference if pair.test.a == row else -pair.test.difference
    p = pair.test.p_holm if pair.test.p_holm is not None else pair.test.p
    said = f"p {p:.2g}" if p is not None else "no test"
    kind = "none" if pair.test.refused else "open"
    if pair.winner:
        kind = "win" if pair.winner == row else "loss"
    return kind, f"{difference:+.4f}", said


SIGNS = {"win": "▲", "loss": "▼", "open": "·", "none": "", "": ""}


@dataclass(frozen=True)
class Cost:
    """What a design or a baseline costs; means over its runs, on one kind of hardware."""

    name: str
    runs: int
    seconds: float | None
    parameters: int | None
    latency: Latency | None
    """The median one over the runs."""
    hardware: str

    @property
    def texts(self) -> list[str]:
        """As cells of a table."""
        seconds = "–" if self.seconds is None else duration(self.seconds)
        parameters = "–" if self.parameters is None else f"{self.parameters:,}"
        spread = self.latency and f"{self.latency.milliseconds:.2f} ms ({self.latency.low:.2f}–{self.latency.high:.2f})"
        return [self.name, str(self.runs), seconds, parameters, spread or "–", self.hardware or "–"]


COST_HEADS = ("", "runs", "training, each", "trained parameters", "one text (middle half)", "hardware")


def costs(study: Study) -> list[Cost]:
    """One line for each design or baseline and kind of hardware."""
    found = []
    for name in dict.fromkeys(run.name for run in study.runs if run.seconds is not None or run.latency):
        runs = [run for run in study.runs_of(name) if run.seconds is not None or run.latency]
        for hardware in dict.fromkeys(run.hardware or (run.latency.hardware if run.latency else "") for run in runs):
            here = [r for r in runs if (r.hardware or (r.latency.hardware if r.latency else "")) == hardware]
            seconds = [run.seconds for run in here if run.seconds is not None]
            latencies = sorted((r.latency for r in here if r.latency), key=lambda one: one.milliseconds)
            found.append(
                Cost(
                    name,
                    len(here),
                    mean(seconds) if seconds else None,
                    next((run.parameters for run in here if run.parameters is not None), None),
                    latencies[len(latencies) // 2] if latencies else None,
                    hardware,
                )
            )
    return found


def names_on(study: Study, scope: str) -> list[str]:
    """Entries that were compared on a scope, in the order of the table."""
    there = {name for pair in study.pairs if pair.scope == scope for name in (pair.test.a, pair.test.b)}
    return [entry.name for entry in study.entries if entry.name in there]


def verdicts(study: Study) -> Sequence[tuple[str, str]]:
    return [(card.verdict, card.title) for card in study.claims]
