"""The built-in training pairs: what a docstring gives, what is left out, and the cache."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from explorer.corpora import BUILT_IN, Corpus, docstring_pairs
from explorer.corpora.docstring_pairs import LIMIT, MAX_CHARACTERS, PER_PACKAGE, DocstringPair, build, pairs, split
from explorer.errors import InputError
from explorer.training_data import read_pairs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stdlib() -> Corpus:
    return BUILT_IN["python-stdlib"]()


@pytest.fixture(scope="module")
def installed() -> list[DocstringPair]:
    """The pairs of this environment, made once for the whole session (into its cache)."""
    return pairs()


@pytest.fixture
def small(home, monkeypatch, stdlib):
    """`pairs` over an empty folder of packages and the standard library read before: fast."""
    folder = home / "site-packages"
    folder.mkdir(parents=True)
    monkeypatch.setattr(docstring_pairs, "_package_folders", lambda: [folder])
    monkeypatch.setattr(docstring_pairs, "python_stdlib", lambda: stdlib)
    return folder


def module(folder: Path, name: str, *functions: tuple[str, str], head: str = "") -> None:
    """A source file with a docstring a function."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    defined = "".join(f'def {name}():\n    """{doc}"""\n\n' for name, doc in functions)
    path.write_text(head + defined, encoding="utf-8")


def doc(subject: str) -> str:
    return (
        f"Weigh the {subject} of a parcel in grams.\n\nThe scale of the {subject} must be empty and level before use."
    )


def third_party(found: list[DocstringPair], *packages: str) -> list[str]:
    return sorted(pair.name for pair in found if pair.name.partition(".")[0] in packages)


def plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


# ---- one docstring


@pytest.mark.parametrize(
    ("name", "doc", "summary", "rest"),
    [
        (
            "post.weigh",
            "Weigh the parcel in grams.\n\n    The scale must be empty and level.\n    ",
            "Weigh the parcel in grams",
            "The scale must be empty and level.",
        ),
        (
            "post.weigh",
            "Weigh the parcel, e.g. in\n    grams. The scale must be empty and level.",
            "Weigh the parcel, e.g. in grams",
            "The scale must be empty and level.",
        ),
        (
            "post.Parcel.weigh",
            "weigh(unit='g') -> number\n\nGive the weight of a parcel.\nThe scale must be empty and level.",
            "Give the weight of a parcel",
            "The scale must be empty and level.",
        ),
        (
            "post.weigh",
            "weigh: give the weight of a parcel. The scale must be empty and level.",
            "give the weight of a parcel",
            "The scale must be empty and level.",
        ),
        (
            "post.weigh",
            "Weigh the parcel as post.weigh does. The scale must be empty and level.",
            "Weigh the parcel as does",
            "The scale must be empty and level.",
        ),
        (
            "post.weigh_all",
            "Use :func:`weigh_all` to give the ``weight`` of a parcel.\n\n.. versionadded:: 3\n\n"
            ">>> weigh_all()\n\nThe scale must be empty and level.\n-----------",
            "Use to give the weight of a parcel",
            "The scale must be empty and level.",
        ),
    ],
)
def test_first_sentence_and_rest(name, doc, summary, rest):
    assert split(doc, name) == (summary, rest)


@pytest.mark.parametrize("start", ["Seek the end of", "Test whether there is", "Authorize the sender of"])
def test_words_that_only_begin_like_empty_ones(start):
    assert split(f"{start} a parcel.\n\nThe scale must be empty and level.", "post.weigh") is not None


@pytest.mark.parametrize(
    "doc",
    [
        "Weigh the parcel in grams.",  # no rest
        "Weigh it.\n\nThe scale must be empty and level.",  # no query
        "See the manual of the scale.\n\nThe scale must be empty and level.",
        "Deprecated since version 2 of this.\n\nThe scale must be empty and level.",
        "TODO weigh the parcel in grams.\n\nThe scale must be empty and level.",
        "Взвесить посылку на весах.\n\nThe scale must be empty and level.",
        "Wiege das Paket genau nach Gramm.\n\nDie Waage muss davor leer sein.",
        "Weigh the parcel in grams.\n\n>>> weigh(the, parcel, in_grams, of, this)",
        "Weigh the parcel in grams.\n\nWeigh:\n    The parcel, in grams.",  # nothing new
        "",
    ],
)
def test_says_too_little(doc):
    assert split(doc, "post.weigh") is None


def test_a_long_rest_is_cut_after_a_word():
    found = split("Weigh the parcel in grams.\n\n" + "put the scale on a level table " * 100, "post.weigh")
    assert found is not None
    assert MAX_CHARACTERS - 10 <= len(found[1]) <= MAX_CHARACTERS
    assert found[1].endswith((" put", " the", " scale", " on", " a", " level", " table"))


# ---- what is read


def test_names_are_public_and_nothing_is_imported(small):
    module(small, "post/__init__.py", ("weigh", doc("top")), head="raise SystemExit\n")
    module(small, "post/_scales/core.py", ("check", doc("pan")), ("_hidden", doc("secret")))
    module(small, "single.py", ("look", doc("window")))
    (small / "post/shapes.py").write_text(
        f'class Box:\n    """{doc("box")}"""\n\n    def fold(self):\n        """{doc("edge")}"""\n', encoding="utf-8"
    )
    found = build([small])
    names = ["post.check", "post.shapes.Box", "post.shapes.Box.fold", "post.weigh", "single.look"]
    names[0] = "post.core.check"
    assert third_party(found, "post", "single") == sorted(names)
    pair = next(pair for pair in found if pair.name == "post.weigh")
    assert pair.query == "Weigh the top of a parcel in grams"
    assert pair.positive == "post.weigh The scale of the top must be empty and level before use."


def test_what_is_left_out(small):
    module(small, "post/good.py", ("weigh", doc("parcel")), ("twice", doc("parcel")))
    module(small, "post/tests/helpers.py", ("a", doc("apple")))
    module(small, "post/test_good.py", ("b", doc("banana")))
    module(small, "post/_vendor/other.py", ("c", doc("cherry")))
    module(small, "post/made.py", ("d", doc("date")), head="# This file was automatically generated: do not edit\n")
    module(small, "post/template.py", ("e", doc("elder")), head="import {{ name }}.\n")
    module(small, "_private/f.py", ("f", doc("fig")))
    module(small, "typing_extensions.py", ("g", doc("grape")))
    found = build([small])
    assert third_party(found, "post", "_private", "typing_extensions") == ["post.good.weigh"]


def test_no_package_gives_more_than_its_share(small):
    words = ["".join(chr(97 + int(digit)) for digit in f"{i:03}") for i in range(40)]
    module(small, "post/many.py", *((word, doc(word)) for word in words))
    assert len(third_party(build([small]), "post")) == 40
    assert len(third_party(build([small], per_package=25), "post")) == 25


def test_copies_of_judged_docstrings_are_left_out(small, stdlib):
    judged = sorted({id for answers in stdlib.qrels.values() for id in answers})
    copies = [(id.rpartition(".")[2], stdlib.document(id).text.replace("\\", "")) for id in judged if "." in id]
    copies = [(name, text) for name, text in copies if name.isidentifier() and '"' not in text][:100]
    question = next(iter(stdlib.queries.values()))
    asked = ("asked", f"Here is how you {question}.\n\nThe scale must be empty and level before use.")
    module(small, "copied/all.py", *copies, asked, ("weigh", doc("parcel")))
    assert len(copies) == 100
    assert third_party(build([small]), "copied") == ["copied.all.weigh"]


# ---- the pairs of this environment


def test_there_are_enough_of_many_packages(installed):
    assert 3_000 <= len(installed) <= LIMIT
    tops = Counter(pair.name.partition(".")[0] for pair in installed)
    assert len(tops) > 100
    assert max(tops.values()) <= PER_PACKAGE
    assert max(Counter(pair.name.partition(".")[0] for pair in installed[:1000]).values()) < 250


def test_both_sides_say_something_and_differ(installed):
    for pair in installed:
        name, rest = pair.positive.split(" ", 1)
        assert name == pair.name, pair
        assert min(len(pair.query.split()), len(rest.split())) >= 4, pair
        assert len(rest) <= MAX_CHARACTERS, pair
        assert "." not in name or not re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", pair.query), pair
        assert plain(pair.query) != plain(rest), pair
    for field in ("name", "query", "positive"):
        assert max(Counter(getattr(pair, field) for pair in installed).values()) == 1


def test_no_judged_answer_is_inside(installed, stdlib):
    judged = {id for answers in stdlib.qrels.values() for id in answers}
    assert judged.isdisjoint(pair.name for pair in installed)
    everything = "\n".join(plain(f"{pair.query} {pair.positive.split(' ', 1)[1]}") for pair in installed)
    for id in judged:
        text = plain(stdlib.document(id).text)
        assert " " not in text or text not in everything, id
    for query in stdlib.queries.values():
        assert plain(query) not in everything, query


def test_every_process_finds_the_same(tmp_path):
    code = (
        "import sys; from pathlib import Path; from explorer.corpora.docstring_pairs import build;"
        "from explorer.store import content_hash;"
        "found = build([Path(sys.argv[1])]);"
        "print(content_hash(text for p in found for text in (p.name, p.query, p.positive)))"
    )
    module(tmp_path, "post/a.py", *((word, doc(word)) for word in ("apple", "pear", "plum")))
    module(tmp_path, "shop/b.py", *((word, doc(word)) for word in ("desk", "lamp", "plum")))
    hashes = [
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert len(hashes[0].strip()) == 64
    assert hashes[0] == hashes[1]


# ---- the cache


def test_the_cache_is_used_until_something_changes(small, monkeypatch):
    first = pairs()
    monkeypatch.setattr(docstring_pairs, "build", lambda folders: pytest.fail("built again"))
    assert pairs() == first
    assert pairs(10) == first[:10]
    (small / "post-1.0.dist-info").mkdir()
    monkeypatch.setattr(docstring_pairs, "build", lambda folders: first[:3])
    assert pairs() == first[:3]


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "binary", "other json"])
def test_a_damaged_cache_is_made_again(small, home, monkeypatch, damage):
    made = [DocstringPair(f"a.b{i}", f"query {i}", f"positive {i}") for i in range(20)]
    monkeypatch.setattr(docstring_pairs, "build", lambda folders: made)
    assert pairs() == made
    (file,) = (home / "cache/training").iterdir()
    text = file.read_text(encoding="utf-8")
    damaged = {
        "cut": text[: len(text) // 2].encode(),
        "changed": text.replace("positive 7", "positive 8").encode(),
        "empty": b"",
        "binary": b"\xff\xfe\x00",
        "other json": b"[1]\n[2]\n",
    }[damage]
    file.write_bytes(damaged)
    assert pairs() == made
    assert file.read_text(encoding="utf-8") == text
    assert [json.loads(line)["name"] for line in text.splitlines()[1:]] == [pair.name for pair in made]


# ---- as training data


def test_training_reads_them(installed, tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps({"question": "q", "positive": "p"}) + "\n", encoding="utf-8")
    data = read_pairs(["builtin:docstrings:0.5", str(file)], columns=["query=question"])
    assert [(p.query, p.positive) for p in data.pairs[:-1]] == [(p.query, p.positive) for p in installed]
    source = data.sources[0].to_json()
    assert source.pop("sha256") == read_pairs(["builtin:docstrings"]).sources[0].sha256
    assert source == {"name": "builtin:docstrings", "weight": 0.5, "pairs": len(installed), "left_out": 0}


def test_other_built_in_data_is_refused():
    with pytest.raises(InputError, match="there is builtin:docstrings"):
        read_pairs(["builtin:poems"])
