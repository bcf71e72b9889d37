"""Where results lie: in mteb's own layout, under a key of the data, and never shown for anything else.

    OUTPUT/by-data/<task>-<key>/results/<model>/<revision>/<task>.json   mteb's result, as mteb.ResultCache writes it
    OUTPUT/by-data/<task>-<key>/rows/<model>/<revision>.json             our row: main score, interval, notes
    OUTPUT/by-data/<task>-<key>/rows/<model>/<revision>.npz              per-example results
    OUTPUT/results/<model>/<revision>/<task>.json                        the same, for mteb.ResultCache(OUTPUT)
    OUTPUT/not-comparable/results/…                                      subsamples, and data that is not official

The key is of the data, split, subset, sample size and version of mteb; the model's name is the variant's, and its
revision is of weights, prompts, length and precision. A row is written last: what has one is whole.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..store import content_hash, whole_file
from .examples import Examples
from .models import LexicalModel, VariantModel, model_name
from .tasks import Task

if TYPE_CHECKING:
    from mteb.results import TaskResult

log = logging.getLogger(__name__)

FORMAT = "2"
"""Changed with the fields of `Row` and `Examples`, so that older files are not taken for newer ones."""


@dataclass(frozen=True)
class Row:
    """One variant on one task."""

    variant: str
    task: str
    type: str
    main_score: float
    metric: str
    split: str
    subset: str
    n: int | None
    """Examples (queries, pairs, texts), where they are known one by one."""
    low: float | None
    """95 % interval of the main score over examples like these; None where there is none."""
    high: float | None
    comparable: bool
    """Whether it may stand beside published scores: official data, whole."""
    data: str
    """Where the data is from and whether it is the official one, in words."""
    sample: int | None
    seconds: float
    revision: str
    folder: str = ""
    """Where it is kept below the output folder."""
    instruction: str = ""
    notes: tuple[str, ...] = ()
    prompts: Mapping[str, str] = field(default_factory=dict)
    """What stood before the texts, letter by letter: "query" and "document", or "text" where all are alike."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Row:
        """KeyError or TypeError if it is something else."""
        found = {f.name: data[f.name] for f in fields(cls) if f.name != "prompts"}
        # Tables of before prompts were recorded can still be shown.
        return cls(**{**found, "notes": tuple(data["notes"]), "prompts": dict(data.get("prompts", {}))})


class ResultStore:
    """The results below one output folder."""

    def __init__(self, output: Path) -> None:
        self.output = output

    def folder(self, task: Task, sample: int | None) -> Path:
        """The folder of a task on its data."""
        version = importlib.metadata.version("mteb")
        key = content_hash((FORMAT, task.name, task.key, task.split, task.subset, task.metric, str(sample), version))
        return self.output / "by-data" / f"{task.name}-{key[:16]}"

    def row_path(self, task: Task, model: VariantModel | LexicalModel, sample: int | None) -> Path:
        """The file of our row, which is there when the result is whole."""
        meta = model.mteb_model_meta
        return self.folder(task, sample) / "rows" / meta.model_name_as_path() / f"{meta.revision}.json"

    def find(self, task: Task, model: VariantModel | LexicalModel, sample: int | None) -> Row | None:
        """The finished row of exactly this data and these weights; None if there is none."""
        path = self.row_path(task, model, sample)
        try:
            return Row.from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("a stored result of %s is damaged and computed again", task.name)
            return None

    def examples(self, task: Task, model: VariantModel | LexicalModel, sample: int | None) -> Examples | None:
        """Per-example results of a finished row."""
        return Examples.load(self.row_path(task, model, sample).with_suffix(".npz"))

    def examples_of(self, row: Row) -> Examples | None:
        """The same by the row alone."""
        model = model_name(row.variant).replace("/", "__")
        return Examples.load(self.output / row.folder / "rows" / model / f"{row.revision}.npz")

    def save(
        self,
        task: Task,
        model: VariantModel | LexicalModel,
        row: Row,
        result: TaskResult,
        examples: Examples | None,
    ) -> None:
        """Keep a finished row with mteb's result and what is known of single examples."""
        from mteb.cache import ResultCache

        ResultCache(self.folder(task, row.sample)).save_to_cache(result, model.mteb_model_meta)
        path = self.row_path(task, model, row.sample)
        if examples is not None:
            examples.save(path.with_suffix(".npz"))
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(row.to_json(), indent=1), encoding="utf-8")

    def hide(self, task: Task, model: VariantModel | LexicalModel) -> None:
        """Take what is shown of a task away before it is computed anew: it is of other data, or of another sample."""
        meta = model.mteb_model_meta
        for where in self._shown:
            file = where / "results" / meta.model_name_as_path() / str(meta.revision) / f"{task.name}.json"
            file.unlink(missing_ok=True)

    @property
    def _shown(self) -> tuple[Path, Path]:
        return self.output, self.output / "not-comparable"

    def show(self, task: Task, model: VariantModel | LexicalModel, row: Row) -> None:
        """Put mteb's result of a row where mteb's own tools look for it."""
        from mteb.cache import ResultCache

        meta = model.mteb_model_meta
        kept = ResultCache(self.folder(task, row.sample)).load_task_result(task.name, meta)
        if kept is not None:
            self.hide(task, model)
            ResultCache(self._shown[0 if row.comparable else 1]).save_to_cache(kept, meta)
