"""Results -> files that other tools read: CSV, TREC runs and qrels, a snippet of code. Each carries its settings."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Mapping
from typing import Any

from .comparison import Comparison, ManyQueries
from .corpora import Qrels
from .measures import METRICS
from .retrieval import Hit


def settings(view: Comparison | ManyQueries) -> dict[str, Any]:
    """What made a view, for the files that carry it."""
    asked = {"query": view.query} if isinstance(view, Comparison) else {"queries": len(view.queries)}
    return {
        "corpus": view.corpus.name,
        "documents": len(view.corpus),
        "corpus_hash": view.corpus.content_hash,
        **asked,
        "variants": list(view.results),
        "k": view.k,
        **_said(view),
    }


def _said(view: Comparison | ManyQueries) -> dict[str, Any]:
    """What a file alone would not tell: what was left out, and who found nothing and why."""
    if isinstance(view, Comparison):
        found: dict[str, Any] = {
            "left_out": sorted(view.left_out),
            "found_nothing": view.why_nothing,
            "notes": view.notes,
        }
    else:
        left_out = {query: sorted(ids) for query, ids in view.left_out.items()}
        found = {"left_out": left_out, "found_nothing": view.found_nothing}
    return {name: value for name, value in found.items() if value}


def ranking_csv(view: Comparison) -> str:
    """One row a hit: variant, rank, score, document, and the settings repeated in every row."""
    rows = [
        {
            "corpus": view.corpus.name,
            "query": view.query,
            "k": view.k,
            "variant": name,
            "rank": hit.rank,
            "score": f"{hit.score:.6f}",
            "id": hit.id,
            "title": view.corpus.document(hit.id).title,
            "text": view.corpus.document(hit.id).text,
        }
        for name, ranking in view.results.items()
        for hit in ranking
    ]
    return _csv(rows)


def measures_csv(many: ManyQueries) -> str:
    """One row a query and variant: disagreement, measures where judged, first hit."""
    rows = []
    for query, disagreement in many.disagreements.items():
        for name, runs in many.results.items():
            scores = many.quality.get(name)
            measured = {m: scores.per_query[m].get(query, "") if scores else "" for m in METRICS}
            first = runs[query][0].id if runs[query] else ""
            rows.append(
                {
                    "corpus": many.corpus.name,
                    "k": many.k,
                    "query_id": query,
                    "query": many.queries[query],
                    "disagreement": f"{disagreement:.6f}",
                    "variant": name,
                    **{f"{m}@{many.k}": value for m, value in measured.items()},
                    "first_hit": first,
                }
            )
    return _csv(rows)


def trec_zip(view: Comparison | ManyQueries, qrels: Qrels) -> bytes:
    """A run file a variant, qrels, and settings.json. White space in ids, which TREC's format forbids, becomes "_"."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, ranking in view.results.items():
            runs = {"typed": ranking} if isinstance(view, Comparison) else ranking
            archive.writestr(f"run-{_file_name(name)}.txt", trec_run(runs, name))  # type: ignore[arg-type]
        archive.writestr("qrels.txt", trec_qrels(qrels))
        archive.writestr("settings.json", json.dumps(settings(view), indent=2))
    return buffer.getvalue()


def trec_run(runs: Mapping[str, list[Hit]], tag: str) -> str:
    """query Q0 document rank score tag, one line a hit."""
    return "".join(
        f"{_token(query)} Q0 {_token(hit.id)} {hit.rank} {hit.score:.6f} {_token(tag)}\n"
        for query, ranking in runs.items()
        for hit in ranking
    )


def trec_qrels(qrels: Qrels) -> str:
    """query 0 document grade, one line a judgment."""
    return "".join(
        f"{_token(query)} 0 {_token(document)} {grade}\n"
        for query, judged in qrels.items()
        for document, grade in judged.items()
    )


def snippet(corpus: str, query: str, variants: list[str], k: int) -> str:
    """Code that makes the view with this package."""
    return f"""from explorer.comparison import Comparer
from explorer.corpora.library import Library
from explorer.variants import Shelf

corpus = Library().open({corpus!r})
view = Comparer(Shelf()).compare(corpus, {query!r}, {variants!r}, k={k})
for variant, ranking in view.results.items():
    print(variant, [(hit.id, round(hit.score, 3)) for hit in ranking])
print(view.agreement.pairs())
"""


def _token(text: str) -> str:
    return re.sub(r"\s+", "_", text.strip()) or "_"


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-.")[-80:] or "variant"


def _csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]) if rows else ["corpus"])
    writer.writeheader()
    writer.writerows({key: _plain(value) for key, value in row.items()} for row in rows)
    return out.getvalue()


def _plain(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets a leading apostrophe."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "@", "\t") else value
