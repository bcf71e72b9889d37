"""What a study consists of: designs x seeds on one configuration, tasks, baselines. Kept in plan.json.

    OUTPUT/plan.json                            what was asked for
    OUTPUT/runs/<design>/seed-<n>/              a trained variant, as `train` writes it
    OUTPUT/runs/<design>/seed-<n>/evaluation/   its scores, as `evaluate` writes them
    OUTPUT/runs/<design>/seed-<n>/latency.json  milliseconds a text takes
    OUTPUT/baselines/<name>/                    the last two for what needs no training
    OUTPUT/study.json, report.html, report.md   all that came out (results.py, report.py)

Designs, seeds, tasks and baselines may be added; what decides how a variant is trained or scored may not change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..designs import DEFAULT_BACKBONE, MINILM, STUDY_DESIGNS, design
from ..errors import InputError
from ..store import content_hash, whole_file
from ..training import MAY_CHANGE
from ..training_config import BEFORE, TrainingConfig, from_given, from_saved, portable
from ..variants import BM25, PUBLISHED, short_name

PLAN = "plan.json"
OF_A_RUN = ("design", "seed")
"""Fields of the training configuration that differ between the runs of a study."""
POOLER_SIZES = ("latents", "heads", "head_dim")
NOT_COMPARED = (*OF_A_RUN, *MAY_CHANGE, "data_card")
GROWS = ("designs", "seeds", "tasks", "baselines")
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Cell:
    """One run of a study: a design trained with a seed, or a baseline that needs no training (`seed` is None)."""

    name: str
    seed: int | None = None

    @property
    def key(self) -> str:
        """How --only names it: DESIGN:SEED, or the baseline's name."""
        return self.name if self.seed is None else f"{self.name}:{self.seed}"

    @property
    def title(self) -> str:
        return self.name if self.seed is None else f"{self.name}, seed {self.seed}"

    @property
    def variant(self) -> str:
        """Its name on the shelf."""
        return self.name if self.seed is None else f"{self.name}/seed-{self.seed}"

    def folder(self, output: Path) -> Path:
        """Where it lies in a study."""
        if self.seed is not None:
            return output / "runs" / self.name / f"seed-{self.seed}"
        plain = all(c.isalnum() or c in "-._" for c in self.name) and not self.name.startswith(".")
        slug = self.name.replace("/", "--")
        if not plain and not all(c.isalnum() or c in "-._/" for c in self.name):
            slug = f"model-{content_hash([self.name])[:12]}"
        return output / "baselines" / slug.lstrip(".-")


@dataclass(frozen=True)
class StudyPlan:
    """A study. Raises `InputError` for what cannot be one."""

    training: Mapping[str, Any]
    """Options of `TrainingConfig` without design and seed; what is not here has its default."""
    designs: tuple[str, ...] = STUDY_DESIGNS
    seeds: tuple[int, ...] = SEEDS
    tasks: tuple[str, ...] = ()
    """Names as `evaluation.tasks.make_task` takes them; none: the built-in ones."""
    baselines: tuple[str, ...] | None = None
    """Variants on the shelf to stand beside the designs; None: the backbone as it was published, and BM25."""
    data_dir: str | None = None
    sample: int | None = None
    instructions: str = "paper"
    question: str = ""
    """What the study is to answer, in the words of whoever asks; for the report."""

    def __post_init__(self) -> None:
        for name in GROWS:
            object.__setattr__(self, name, _distinct(getattr(self, name)) if getattr(self, name) is not None else None)
        if not self.designs:
            raise InputError("a study needs at least one design")
        if not self.seeds:
            raise InputError("a study needs at least one seed, such as 0; three tell more")
        for name in self.designs:
            design(name)
        if not self.tasks:
            from ..evaluation.builtin import BUILT_IN

            object.__setattr__(self, "tasks", tuple(BUILT_IN))
        for seed in self.seeds:  # says what is wrong with the training options, too
            self.config(Cell(self.designs[0], seed))
        if self.baselines is None:
            object.__setattr__(self, "baselines", default_baselines(self.backbone))

    def config(self, cell: Cell) -> TrainingConfig:
        """How a run is trained: sizes of the pooler only where there is one to train. Raises `InputError`."""
        options = {**self.training, "design": cell.name, "seed": cell.seed}
        if not design(cell.name).trainable_pooler:
            options = {name: value for name, value in options.items() if name not in POOLER_SIZES}
        return from_given(options)

    @property
    def backbone(self) -> str:
        return str(self.training.get("backbone", DEFAULT_BACKBONE))

    @property
    def shared(self) -> TrainingConfig:
        """The configuration all runs share, as of one that has all of it: with a trainable pooler if there is any."""
        return self.config(self._typical)

    @property
    def _typical(self) -> Cell:
        return Cell(next((d for d in self.designs if design(d).trainable_pooler), self.designs[0]), self.seeds[0])

    @property
    def trained(self) -> list[Cell]:
        """Runs to train, all designs with the first seed before the second one: a first comparison is there soon."""
        return [Cell(name, seed) for seed in self.seeds for name in self.designs]

    @property
    def untrained(self) -> list[Cell]:
        """Baselines."""
        return [Cell(name) for name in self.baselines or ()]

    def chosen(self, only: Sequence[str]) -> list[Cell]:
        """The cells that --only names; without it all, baselines first. Raises `InputError`."""
        cells = {cell.key: cell for cell in (*self.untrained, *self.trained)}
        for key in only:
            if key not in cells:
                raise InputError(f"the study has no run '{key[:60]}'; there are: {', '.join(cells)}")
        return [cells[key] for key in only] if only else list(cells.values())

    def to_json(self) -> dict[str, Any]:
        told = {**asdict(self), "training": {"layer_matrix": self.shared.layer_matrix, **self.training}}
        return json.loads(json.dumps(told))

    def save(self, output: Path) -> None:
        """Write plan.json. Raises `InputError` where that is not possible."""
        try:
            with whole_file(output / PLAN) as temporary:
                temporary.write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False), encoding="utf-8")
        except OSError as error:
            raise InputError(f"'{output}' cannot be written: {error.strerror or type(error).__name__}") from error

    @classmethod
    def load(cls, output: Path) -> StudyPlan | None:
        """What `save` wrote; None if there is none. Raises `InputError` if it is damaged."""
        try:
            told = json.loads((output / PLAN).read_text(encoding="utf-8"))
            told["training"] = {**BEFORE, **told["training"]}
            return cls(**{f.name: told[f.name] for f in fields(cls)})
        except FileNotFoundError:
            return None
        except (NotADirectoryError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            if isinstance(error, NotADirectoryError):
                raise InputError(f"'{output}' is a file; --output names a folder") from error
            raise InputError(f"{PLAN} in '{output}' is damaged; begin the study in another folder") from error


@dataclass(frozen=True)
class Asked:
    """What one call of the command gives; what it leaves out stays as the folder has it."""

    training: Mapping[str, Any] = field(default_factory=dict)
    designs: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    tasks: tuple[str, ...] | None = None
    baselines: tuple[str, ...] | None = None
    data_dir: str | None = None
    sample: int | None = None
    instructions: str | None = None
    question: str | None = None


def plan_for(output: Path, asked: Asked) -> StudyPlan:
    """The study that a folder holds, grown by what is asked for; a new one where it holds none.

    Raises `InputError` if the folder's study is another one: what was trained with one configuration is not compared
    with what another one would give.
    """
    given = {f.name: getattr(asked, f.name) for f in fields(asked) if getattr(asked, f.name) is not None}
    if output.exists() and not output.is_dir():
        raise InputError(f"'{output}' is a file; --output names a folder")
    saved = StudyPlan.load(output)
    if saved is None:
        return StudyPlan(**given)
    for name in GROWS:
        if name in given:
            given[name] = (*(getattr(saved, name) or ()), *given[name])
    grown = replace(saved, **{**given, "training": {**saved.training, **asked.training}})
    before, now = comparable(saved.shared), comparable(grown.config(saved._typical))
    for name in ("sample", "instructions"):
        before[name], now[name] = getattr(saved, name), getattr(grown, name)
    for name, value in before.items():
        if now[name] != value:
            raise InputError(
                f"the study in '{output}' has {name} {_show(value)}, not {_show(now[name])}; "
                "give another --output for another configuration"
            )
    return grown


def comparable(config: TrainingConfig | Mapping[str, Any]) -> dict[str, Any]:
    """What decides how a variant is trained, without folders of a machine: equal for all runs of a study."""
    if not isinstance(config, TrainingConfig):
        config = from_saved({**config, "data": tuple(config["data"]), "columns": tuple(config["columns"])})
    return {name: value for name, value in portable(config).to_json().items() if name not in NOT_COMPARED}


def default_baselines(backbone: str) -> tuple[str, ...]:
    """The backbone before any training of ours, and BM25, where it applies."""
    before = PUBLISHED if backbone == MINILM else f"{short_name(backbone)}-untrained/mean-bidirectional"
    return (before, BM25)


def _distinct(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _show(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))[:120] or "none"
    return str(value)[:120] if value not in (None, "") else "none"
