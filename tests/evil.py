"""Texts that try to be markup, in a study, a corpus, and the names of variants; and how to see that they stay texts."""

from __future__ import annotations

from html.parser import HTMLParser

from explorer.corpora import Corpus, Document
from explorer.significance import Test
from explorer.study.results import (
    ClaimCard,
    Entry,
    Estimate,
    LayerPicture,
    Pair,
    Part,
    RunInfo,
    SeedGap,
    Study,
    TaskInfo,
)

EVIL = '<img src=x onerror="alert(1)">|`*'

PROBES = (
    EVIL,
    "</script><script>alert(2)</script>",
    "\"'><svg onload=alert(3)>",
    "{{7*7}} ${alert(4)} `${x}`",
    "javascript:alert(5)",
)
WORST = " ".join(PROBES)


class Markup(HTMLParser):
    """What a browser would make of it: elements, attributes, and the text between."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.found = "", []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [tag, *(f"{tag} {name}" for name, _ in attrs if name.startswith("on"))]
        links = [str(value).strip() for name, value in attrs if name in ("href", "src", "action")]
        self.found += [f"link to {place}" for place in links if not place.startswith(("https://", "?", "#"))]

    def handle_data(self, data: str) -> None:
        self.text += data


def check_text_stays_text(markup: str, said: str = "alert(1)") -> None:
    """Fails where a probe became an element, an attribute, a link, or part of a template of gradio's; `said` is
    read."""
    found = Markup(markup)
    bad = [x for x in found.found if x in ("img", "script", "svg", "iframe") or " " in x]
    assert not bad, (bad, markup)
    assert not [braces for braces in ("{{", "${", "`") if braces in markup], markup
    assert said in found.text, markup


def evil_corpus(count: int = 3, name: str = "evil") -> Corpus:
    """Ids, titles, texts, labels, fields and queries are probes; all of it is judged."""
    documents = tuple(
        Document(f"{i} {WORST}", f"{i} {WORST}", WORST, WORST, {"year": "1", WORST: WORST}) for i in range(count)
    )
    return Corpus(name, documents, {WORST: WORST}, {WORST: {documents[0].id: 1}}, WORST, (WORST,))


def evil_study() -> Study:
    cells = {EVIL: Estimate(0.5, (0.4, 0.6), 0.1, 0.2, 0.8, 0.4, 0.6, best=True)}
    entries = tuple(Entry(f"{EVIL}{i}", i == 2, (0, 1), cells, {EVIL: cells[EVIL]}) for i in range(3))
    names = [entry.name for entry in entries]
    test = Test(names[0], names[1], EVIL, EVIL, 9, 0.5, 0.4, 0.1, 0.05, 0.2, 0.01, 0.01)
    setup = {
        **{key: [EVIL] for key in ("designs", "dtypes", "seeds", "baselines")},
        "backbone": EVIL, "versions": [{EVIL: EVIL}], "hardware": [{EVIL: EVIL}], "pairs": 9, "held_out": 1, "steps": 3,
        "data": [{"name": EVIL, "pairs": 9, "weight": 1.0, "sha256": EVIL}], "sample": 10, "decoder": None,
        "training": {
            "batch_size": 2, "max_steps": 3, "learning_rate": 0.1, "pooler_learning_rate": 0.1, "schedule": EVIL,
            "scale": 20.0, "lora_rank": 1, "lora_alpha": 1, "lora_dropout": 0.0, "pooler_init": EVIL, "max_length": 9,
            "guide": EVIL, "guide_weight": 1.0,
        },
    }  # fmt: skip
    return Study(
        EVIL,
        setup,
        {EVIL: TaskInfo(EVIL, EVIL, EVIL, EVIL, EVIL, EVIL, False, 9)},
        tuple(RunInfo(name, 0, "waiting", seconds=1.0, hardware=EVIL) for name in names),
        entries,
        (Pair(f"type:{EVIL}", test, SeedGap(0.01, 0.2, 0.01, 2, 2)),),
        (ClaimCard(EVIL, EVIL, EVIL, EVIL, EVIL, "supported", EVIL, (Part(EVIL, EVIL, EVIL, "supported", EVIL),)),),
        (LayerPicture(EVIL, (0, 1), ((0.5, 0.5), (0.4, 0.6))),),
        (EVIL,),
        (EVIL,),
    )
