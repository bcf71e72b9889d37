"""`map` on the command line: positions and numbers, as one JSON document, a table, or a page with the figure."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..store import whole_file
from . import neighbours, shading
from .lab import MapLab, MapSettings, Space

FORMATS = (".json", ".csv", ".html")
MOST_MOVED = 10
COLOURS = ("label", "cluster", "change", "trust")


def add_options(parser: argparse.ArgumentParser, names: Callable[[str], list[str]]) -> None:
    """The options of `map`."""
    parser.add_argument(
        "--corpus", default="python-stdlib", help="a built-in corpus, one of yours, or a file or folder"
    )
    parser.add_argument("--variants", type=names, help="comma-separated, up to four; default: as the page starts with")
    parser.add_argument("--method", default="umap", choices=("umap", "pca"))
    parser.add_argument("--neighbours", type=int, default=15, metavar="K", help="nearest neighbours, 2 to 100")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--query", help="draw this query as a star, and name its best documents")
    parser.add_argument(
        "--colour",
        default="label",
        metavar="BY",
        help="of the figure: label, cluster, change, trust, or a numeric field",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="positions of all documents: .json, .csv or .html (the figure)"
    )


def run(options: argparse.Namespace, shelf: Any) -> dict[str, Any]:
    """The document that --json prints."""
    settings = MapSettings(options.method, options.neighbours, options.seed)
    output = Path(options.output) if options.output else None
    if output is not None and output.suffix.lower() not in FORMATS:
        raise InputError(f"--output must end in {', '.join(FORMATS)}, not '{output.name[-40:]}'")
    from ..comparison import Comparer
    from ..corpora.library import open_anything

    lab = MapLab(Comparer(shelf))
    variants = shelf.defaults if options.variants is None else options.variants
    lab.names(variants)
    corpus = open_anything(options.corpus)
    space = lab.draw(corpus, variants, settings, progress)
    result = document(lab, space)
    if options.query is not None:
        result["query"] = {"text": options.query, "variants": stars_json(lab, space, options.query)}
    if output is not None:
        write(lab, space, output, result, options.colour, options.query)
        result["output"] = str(output)
    return result


def progress(stage: str, done: int, total: int) -> None:
    """How far the work is, on standard error."""
    if total:
        print(f"\r{stage}: {done:,}/{total:,}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def document(lab: MapLab, space: Space) -> dict[str, Any]:
    """Settings and numbers of a space, without positions."""
    measured = lab.measure(space, progress)
    return {
        "corpus": space.corpus.name,
        "documents": len(space.corpus),
        "corpus_hash": space.corpus.content_hash,
        "method": space.drawn,
        "neighbours": space.settings.neighbours,
        "seed": space.settings.seed,
        "notes": list(space.notes),
        "variants": {
            name: {**q.to_json(), "explained_variance": space.explained[name]} for name, q in measured.items()
        },
        "change": changes(lab, space),
    }


def changes(lab: MapLab, space: Space) -> list[dict[str, Any]]:
    """Every pair of variants: the mean change of neighbourhoods, and the documents that changed most."""
    found, ids = [], space.corpus.ids
    for i, a in enumerate(space.names):
        for b in space.names[i + 1 :]:
            values = lab.change(space.corpus, a, b, space.settings.neighbours)
            most = [{"id": ids[r], "change": float(values[r])} for r in neighbours.most_changed(values, MOST_MOVED)]
            found.append({"a": a, "b": b, "mean": float(values.mean()), "most": most})
    return found


def stars_json(lab: MapLab, space: Space, query: str) -> dict[str, Any]:
    """Where a query stands and what it finds, by variant."""
    ids = space.corpus.ids
    return {
        name: {
            "x": star.xy[0],
            "y": star.xy[1],
            "nearest": [{"id": ids[r], "score": s} for r, s in zip(star.rows, star.scores, strict=True)],
        }
        for name, star in lab.stars(space, query).items()
    }


def shade(lab: MapLab, space: Space, by: str, pair: tuple[str, str] | None = None, count: int = 12) -> shading.Shading:
    """What points are coloured by: one of `COLOURS` or a numeric field. Raises `InputError`."""
    corpus, names, k = space.corpus, space.names, space.settings.neighbours
    if by == "label":
        return shading.by_label(corpus)
    if by == "cluster":
        first = pair[0] if pair and pair[0] in names else names[0]
        return shading.by_cluster(lab.clusters(first, corpus, count, space.settings.seed), first)
    if by == "trust":
        return shading.by_trust({name: q.point_trust for name, q in lab.measure(space).items()})
    if by == "change":
        a, b = pair or (names[0], names[-1])
        if a == b:
            raise InputError("neighbourhoods change between two variants; choose a second one")
        return shading.by_change(lab.change(corpus, a, b, k), a, b, k)
    fields = shading.numeric_fields(corpus)
    shading.check_field(by, [*COLOURS, *fields] if by not in fields else fields)
    return shading.by_number(by, fields[by])


# --------------------------------------------------------------------------------------------------------------- files


def write(lab: MapLab, space: Space, output: Path, result: dict[str, Any], colour: str, query: str | None) -> None:
    """The file that was asked for, whole or not at all."""
    if output.suffix.lower() == ".csv":
        content = positions_csv(space)
    elif output.suffix.lower() == ".json":
        content = json.dumps({**result, "positions": positions_json(space)}, ensure_ascii=False, allow_nan=False)
    else:
        content = figure_html(lab, space, shade(lab, space, colour), query)
    try:
        with whole_file(output) as temporary:
            temporary.write_text(content, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write '{output}': {error.strerror or error}") from error


def figure_html(lab: MapLab, space: Space, by: shading.Shading, query: str | None = None) -> str:
    """The maps as a page that needs nothing else."""
    from ..figures.space import space_figure

    stars = lab.stars(space, query) if query and query.strip() else None
    figure = space_figure(space, by, lab.measure(space), stars, query or "")
    return figure.to_html(include_plotlyjs=True, config={"scrollZoom": True, "displaylogo": False})


def positions_json(space: Space) -> dict[str, Any]:
    """{"ids": [n], variant: {"x": [n], "y": [n]}}"""
    return {
        "ids": space.corpus.ids,
        **{name: {"x": rounded(xy[:, 0]), "y": rounded(xy[:, 1])} for name, xy in space.positions.items()},
    }


def rounded(values: np.ndarray) -> list[float]:
    """Six digits are more than a picture shows."""
    return [round(float(v), 6) for v in values]


def positions_csv(space: Space) -> str:
    """One row a document: id, title, label, x and y on every map, and the settings repeated in every row."""
    out = io.StringIO()
    table = csv.writer(out)
    names, settings = space.names, space.settings
    head = [f"{axis} {name}" for name in names for axis in "xy"]
    table.writerow(["corpus", "method", "neighbours", "seed", "id", "title", "label", *head])
    columns = [rounded(space.positions[name][:, i]) for name in names for i in (0, 1)]
    made = [space.corpus.name, space.drawn, settings.neighbours, settings.seed]
    for document_, *xy in zip(space.corpus.documents, *columns, strict=True):
        texts = [plain_cell(t) for t in (document_.id, document_.title, document_.label)]
        table.writerow([*made, *texts, *xy])
    return out.getvalue()


def plain_cell(text: str) -> str:
    """Text that a spreadsheet would run as a formula gets a leading apostrophe."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text


# ---------------------------------------------------------------------------------------------------------- for people


def show(result: dict[str, Any]) -> None:
    """Print what `run` made."""
    print(f"{result['method'].upper()} of {result['corpus']}, {result['documents']:,} documents\n")
    rows = (
        ("trustworthiness", "trustworthiness"),
        ("neighbours kept", "preservation"),
        ("silhouette (space)", "silhouette_space"),
        ("silhouette (map)", "silhouette_map"),
        ("mean cosine", "mean_cosine"),
        ("effective rank", "effective_rank"),
    )
    for name, numbers in result["variants"].items():
        print(name)
        for shown, key in rows:
            why = numbers["reasons"].get(key, "not defined here")
            value = f"{numbers[key]:.3f}" if numbers[key] is not None else f"– ({why})"
            print(f"  {shown:19} {value}")
    for pair in result["change"]:
        print(f"\nneighbourhood change, {pair['a']} / {pair['b']}: mean {pair['mean']:.3f}; most moved:")
        for row in pair["most"]:
            print(f"  {row['change']:.3f}  {row['id']}")
    for name, found in result.get("query", {}).get("variants", {}).items():
        print(f"\n{name}: nearest to the query: " + ", ".join(hit["id"] for hit in found["nearest"][:5]))
    for note in result["notes"]:
        print(f"\n{note}")
    if "output" in result:
        print(f"\nwritten: {result['output']}")
