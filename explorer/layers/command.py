"""`layers` on the command line: one text, two texts, or a corpus, as one JSON document or as lines to read."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, get_args

from ..designs import Tokens
from ..errors import InputError

SINKS_ON = "everyday"
"""The corpus of `--sinks` where none is named."""

WEIGHTS = ("uniform", "position", "unit")
"""`token_selection.TokenWeights`, which would bring torch."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `layers`."""
    parser.add_argument("--variant", required=True, metavar="NAME")
    parser.add_argument("--text", help="a text to read")
    parser.add_argument("--text-b", metavar="TEXT", help="a second text, to be compared with the first")
    kinds = ("query", "document")
    parser.add_argument("--kind", default="query", choices=kinds, help="whose prompt goes before --text")
    parser.add_argument("--kind-b", default="document", choices=kinds, help="whose prompt goes before --text-b")
    parser.add_argument("--versus", metavar="NAME", help="a second variant: weights of the first minus those of it")
    parser.add_argument("--corpus", help="a built-in corpus, one of yours, or a file or folder")
    parser.add_argument("--label", help="only documents with this label")
    parser.add_argument("--label-b", metavar="LABEL", help="a second label, to be compared with the first")
    parser.add_argument("--ablate", action="store_true", help="quality without each layer, and with each one alone")
    parser.add_argument("--probe", action="store_true", help="quality of every layer's own vector")
    parser.add_argument(
        "--tokens", choices=get_args(Tokens),
        help="with --probe: over which tokens a layer's mean is taken (without-first, or what the variant leaves out)",
    )  # fmt: skip
    parser.add_argument(
        "--token-weights", default="uniform", choices=WEIGHTS,
        help="with --probe: tokens count alike, by their position, or each brought to length one",
    )  # fmt: skip
    parser.add_argument(
        "--sinks", action="store_true",
        help=f"which token holds the mean of each layer, of --text or of --corpus (default: {SINKS_ON})",
    )  # fmt: skip
    parser.add_argument("--sts", metavar="FILE", help="with --probe: also how each layer orders these scored pairs")
    parser.add_argument("--next-token", action="store_true", help="with --probe: also the tokens each layer guesses")
    parser.add_argument("--figure", metavar="FILE.svg", help="with --probe: its curves as a picture")
    parser.add_argument("--query", help="rank the corpus for this query, with the layers --off switched off")
    parser.add_argument("--off", default="", metavar="N,…", help="layers to switch off, numbered from 1")
    parser.add_argument("--document", metavar="ID", help="with --query: why this document stands where it does")
    parser.add_argument("--top-k", type=int, default=10)


def check(options: argparse.Namespace) -> list[int]:
    """The layers that are off. Raises `InputError` for options that do not go together."""
    if options.sinks:
        return check_sinks(options)
    if (options.text is None) == (options.corpus is None):
        raise InputError("give either --text or --corpus")
    for name, needs in (
        ("text_b", "text"), ("label", "corpus"), ("label_b", "label"), ("ablate", "corpus"),
        ("probe", "corpus"), ("tokens", "probe"), ("sts", "probe"), ("next_token", "probe"), ("figure", "probe"),
        ("query", "corpus"), ("off", "query"), ("document", "query"),
    ):  # fmt: skip
        if getattr(options, name) and not getattr(options, needs):
            raise InputError(f"--{name.replace('_', '-')} needs --{needs}")
    if options.token_weights != "uniform" and not options.probe:
        raise InputError("--token-weights needs --probe")
    if options.figure and not options.figure.endswith(".svg"):
        raise InputError(f"--figure names a file that ends with .svg, not '{options.figure}'")
    if not 1 <= options.top_k <= 50:
        raise InputError(f"top-k must be between 1 and 50, not {options.top_k}")
    parts = [part.strip() for part in options.off.split(",") if part.strip()]
    for part in parts:
        if not part.isascii() or not part.isdigit():
            raise InputError(f"--off takes layer numbers separated by commas, not '{part[:40]}'")
    return [int(part) for part in parts]


def check_sinks(options: argparse.Namespace) -> list[int]:
    """No layer is off. Raises `InputError` for options that do not go with --sinks."""
    if options.text is not None and options.corpus is not None:
        raise InputError("give --sinks either --text or --corpus")
    for name in (
        "text_b", "versus", "label", "label_b", "ablate", "probe", "tokens", "sts", "next_token", "figure", "query",
        "off", "document",
    ):  # fmt: skip
        if getattr(options, name):
            raise InputError(f"--sinks makes a table of its own: leave out --{name.replace('_', '-')}")
    return []


def run(options: argparse.Namespace, shelf: Any) -> dict[str, Any]:
    """The document that --json prints."""
    off = check(options)
    from ..comparison import Comparer
    from .lab import LayerLab

    lab = LayerLab(Comparer(shelf))
    if options.sinks:
        return of_sinks(options, lab)
    return of_text(options, lab) if options.text is not None else of_corpus(options, lab, off)


def progress(stage: str, done: int, total: int) -> None:
    """One line on standard error that counts up."""
    print(f"\r{stage}: {done:,}/{total:,}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def of_sinks(options: argparse.Namespace, lab: Any) -> dict[str, Any]:
    """Which token holds the mean, of one text or over a corpus."""
    if options.text is not None:
        return {"sinks": lab.sinks(options.variant, options.text, options.kind).to_json()}
    from ..corpora.library import open_anything

    corpus = open_anything(options.corpus or SINKS_ON)
    return {"sinks": lab.sink_table(options.variant, corpus, options.top_k, progress).to_json()}


def of_text(options: argparse.Namespace, lab: Any) -> dict[str, Any]:
    """One text, and what it is compared with."""
    from .reading import difference

    reading = lab.read(options.variant, options.text, options.kind)
    result = reading.to_json()
    if options.text_b is not None:
        other = lab.read(options.variant, options.text_b, options.kind_b)
        d = difference(reading.layers, other.layers)
        result["text_b"] = other.to_json()
        result["difference"] = {"mean": d.mean.tolist(), "heads": listed(d.heads)}
    if options.versus is not None:
        other = lab.read(options.versus, options.text, options.kind)
        d = difference(reading.layers, other.layers)
        result["versus"] = {
            "variant": other.variant,
            "mean": other.layers.mean.tolist(),
            "difference": {"mean": d.mean.tolist(), "heads": listed(d.heads)},
        }
    return result


def listed(array: Any) -> Any:
    """An array as lists, None as None."""
    return None if array is None else array.tolist()


def scored_pairs(file: str) -> list[tuple[str, str, float]]:
    """The pairs of a file. Raises `InputError`."""
    from ..evaluation.scored_pairs import read_scored_pairs

    return read_scored_pairs(Path(file))[0]


def draw_probes(file: Path, result: dict[str, Any]) -> None:
    """The curves of the probes over the layers as an SVG file."""
    from ..store import whole_file
    from ..svg import Curve, alone, curves

    found = [result[key] for key in ("probe", "sts", "next_token") if key in result]
    names = [f"{p['metric']}, {p.get('corpus') or p['name']}" for p in found]
    lines = [Curve(name, p["scores"]) for name, p in zip(names, found, strict=True)]
    title = f"{result['variant']}: every layer's own vector"
    full = f"{title} ({found[0].get('vector', 'states')})"
    try:
        with whole_file(file) as temporary:
            temporary.write_text(alone(curves(lines, title), full), encoding="utf-8")
    except OSError as error:
        raise InputError(f"the picture '{file}' cannot be written: {error.strerror or 'no such folder'}") from error


def of_corpus(options: argparse.Namespace, lab: Any, off: list[int]) -> dict[str, Any]:
    """Weights over a corpus, and what else was asked for."""
    from ..corpora.library import open_anything
    from .reading import NOT_EXPLANATION
    from .samples import contrast

    pairs = scored_pairs(options.sts) if options.sts else []
    how = {"tokens": options.tokens, "weights": options.token_weights}
    corpus = open_anything(options.corpus)
    first = lab.documents(options.variant, corpus, options.label, progress)
    result: dict[str, Any] = {
        "variant": lab.encoder(options.variant).name,
        "corpus": corpus.name,
        "layers": list(range(1, len(first.mean) + 1)),
        **first.to_json(),
    }
    if options.label_b is not None:
        second = lab.documents(options.variant, corpus, options.label_b, progress)
        result["label_b"], result["difference"] = second.to_json(), contrast(first, second).to_json()
    elif corpus.queries:
        queries = lab.queries(options.variant, corpus)
        result["queries"], result["difference"] = queries.to_json(), contrast(queries, first).to_json()
    if options.versus is not None:
        other = lab.documents(options.versus, corpus, options.label, progress)
        difference = contrast(first, other).to_json()
        result["versus"] = {"variant": lab.encoder(options.versus).name, **other.to_json(), "difference": difference}
    if options.ablate:
        result["ablation"] = lab.ablate(options.variant, corpus, options.top_k, progress).to_json()
    if options.probe:
        result["probe"] = lab.probe(options.variant, corpus, None, options.top_k, progress, **how).to_json()
    if pairs:
        result["sts"] = lab.probe_pairs(options.variant, Path(options.sts).name, pairs, **how).to_json()
    if options.next_token:
        result["next_token"] = lab.next_token(options.variant, corpus, progress).to_json()
    if options.figure:
        draw_probes(Path(options.figure), result)
    if options.query is not None:
        if off or options.document is None:
            result["rerank"] = lab.rerank(options.variant, corpus, options.query, off, progress).to_json(options.top_k)
        if options.document is not None:
            result["why_here"] = lab.why_here(
                options.variant, corpus, options.query, options.document, progress
            ).to_json()
    return {**result, "caution": NOT_EXPLANATION}


# -- for people


def bar(share: float, width: int = 30) -> str:
    """A bar of blocks for a share of 1."""
    return "█" * round(share * width)


def show(result: dict[str, Any]) -> None:
    """Print what `run` made."""
    if "sinks" in result:
        show_sinks(result["sinks"])
        return
    if "text" in result:
        show_text(result)
    else:
        show_corpus(result)
    print(f"\n{result['caution']}")


def show_text(result: dict[str, Any]) -> None:
    print(f"{result['variant']}: weight of each layer (uniform {result['uniform']:.3f})\n")
    added = result["contributions"]["share"] if result["over"] == "layers" else None
    other = result.get("text_b")
    columns = "  layer  weight" + ("  text b" if other else "") + ("  contribution" if added else "")
    print(columns)
    for i, (layer, weight) in enumerate(zip(result["layers"], result["mean"], strict=True)):
        second = f"   {other['mean'][i]:.3f}" if other else ""
        third = f"         {added[i]:.3f}" if added else ""
        print(f"  {layer:>5}   {weight:.3f}{second}{third}  {bar(weight)}")
    if result["over"] == "tokens":
        print("\nweight of each word")
        for word in result["words"]:
            mark = "" if word["role"] == "text" else f"  ({word['role']} token)"
            print(f"  {word['weight']:.3f}  {word['word']}{mark}")
    sentences = [result["sentence"], result["token_weights"]["sentence"], *result["notes"]]
    for sentence in filter(None, sentences):
        print(f"\n{sentence}")


def show_corpus(result: dict[str, Any]) -> None:
    print(f"{result['variant']} on {result['corpus']}: weights over {result['texts']:,} texts ({result['name']})\n")
    first, third = result["quartiles"]
    print("  layer  median  quartiles")
    for i, layer in enumerate(result["layers"]):
        spread = f"{first[i]:.3f}–{third[i]:.3f}"
        print(f"  {layer:>5}   {result['median'][i]:.3f}  {spread}  {bar(result['median'][i])}")
    if result["sentence"]:
        print(f"\n{result['sentence']}")
    if "difference" in result:
        d = result["difference"]
        print(f"\n{d['a']} minus {d['b']}: " + ", ".join(f"{v:+.3f}" for v in d["mean"]))
    if "ablation" in result:
        show_ablation(result["ablation"])
    if "probe" in result:
        p = result["probe"]
        print(f"\n{p['metric']} of every layer's own vector ({p['vector']}), {p['queries']} queries; ", end="")
        print(f"the variant itself: {p['variant_score']:.3f}")
        show_scores(p)
    if "sts" in result:
        p = result["sts"]
        print(f"\n{p['metric']} of every layer's own vector ({p['vector']}) on {p['pairs']:,} pairs of {p['name']}")
        print(f"the variant itself: {p['variant_score']:.3f}")
        show_scores(p)
    if "next_token" in result:
        p = result["next_token"]
        print(f"\nshare of {p['tokens']:,} next tokens that every layer guesses ({p['texts']} texts of {p['corpus']})")
        show_scores(p)
    if "rerank" in result:
        r = result["rerank"]
        print(
            f"\nwithout layers {r['off'] or 'none'}: cosine of the query to its intact vector {r['query_cosine']:.3f}"
        )
        for hit in r["ablated"]:
            print(f"  {hit['rank']:>2}  {hit['score']:.3f}  {hit['moved']:+d}  {hit['id']}")
    if "why_here" in result:
        w = result["why_here"]
        print(f"\n{w['document']}: rank {w['rank']} of {w['candidates']}, score {w['score']:.3f}")
        for m in w["without"]:
            print(
                f"  without layer {m['layer']:>2}: rank {m['rank']}, score {m['score']:.3f} ({m['score_change']:+.3f})"
            )


def show_sinks(found: dict[str, Any]) -> None:
    """A line a layer: of one text its longest state, of a corpus its first token and what the means retrieve."""
    if "text" in found:
        print(f"{found['variant']}: the longest state of each layer, and what it holds of the mean of all tokens\n")
        print("  layer      norm  median of others  share of the mean  cosine  token")
        for i, layer in enumerate(found["layers"]):
            top = found["longest"][i]
            mark = "  sink" if top["sink"] else ""
            print(
                f"  {layer:>5} {top['norm']:>9,.1f} {top['norm_others'] or 0:>17,.1f} {top['share']:>18.1%} "
                f"{top['cosine']:>7.4f}  {top['token']}{mark}"
            )
        print("\n" + "\n".join(found["sentences"]))
    else:
        scored = f"  {found['metric']} all  without the first" if found["metric"] else ""
        print(f"{found['variant']} on {found['corpus']}: the first token of {found['texts']:,} texts, layer by layer\n")
        print(f"  layer      norm  median of others  share of the mean  cosine  sinks a text{scored}")
        for row in found["layers"]:
            scores = f"{row['ndcg']:>13.3f} {row['ndcg_without_first']:>18.3f}" if scored else ""
            norms = f"{row['norm_first']:>9,.1f} {row['norm_others']:>17,.1f}"
            print(
                f"  {row['layer']:>5} {norms} {row['share_first']:>18.1%} {row['cosine_first']:>7.4f} "
                f"{row['sinks']:>13.2f}{scores}"
            )
        print(f"\n{found['sentence']}")
    print(found["rule"])


def show_scores(p: dict[str, Any]) -> None:
    """A line a layer of a probe; a score below 0 has no bar."""
    for layer, score in zip(p["layers"], p["scores"], strict=True):
        print(f"  {layer:>5}   {score:.3f}  {bar(max(0.0, score))}")


def show_ablation(a: dict[str, Any]) -> None:
    print(f"\n{a['metric']} over {a['queries']} queries, all layers: {a['intact']:.3f}\n")
    print("  layer  weight  without it  alone")
    for row in a["layers"]:
        print(f"  {row['layer']:>5}   {row['weight']:.3f}       {row['removed']:.3f}  {row['alone']:.3f}")
    for name, c in a["correlation_of_weight"].items():
        what = "what removing costs" if name == "removed" else "quality alone"
        told = f"{c['rho']:+.2f} (p {c['p']:.2f}, {c['layers']} layers)" if c else "not defined here"
        print(f"rank correlation of weight and {what}: {told}")
