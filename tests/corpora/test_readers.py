"""Reading the user's own corpora: every format, what is repaired with a note, and what is refused in one sentence."""

from __future__ import annotations

import builtins
import csv
import json
import struct
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from explorer.corpora import Corpus, Document, archives, rows
from explorer.corpora.readers import (
    Columns,
    guess_columns,
    preview,
    read_corpus,
    read_hub,
    read_lines,
    read_qrels,
    read_queries,
    write_beir,
)
from explorer.errors import Cancelled, InputError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

CORPUS = '{"_id": "a", "title": "T", "text": "one"}\n{"_id": "b", "title": "", "text": "two"}\n'
QUERIES = '{"_id": "q", "text": "which?"}\n'
QRELS = "query-id\tcorpus-id\tscore\nq\tb\t2\nq\ta\t0\n"


@pytest.fixture
def file(tmp_path):
    """file(name, text or bytes) -> path of a new file."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def packed(tmp_path):
    """packed({member: text or bytes}) -> path of a new zip file."""

    def write(members: dict[str, str | bytes], name: str = "mine.zip") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        return path

    return write


@pytest.fixture
def refused(tmp_path):
    """refused(function, …) -> the message of its InputError, which is one line and tells no path."""

    def call(function, *args, **kwargs) -> str:
        with pytest.raises(InputError) as caught:
            function(*args, **kwargs)
        message = str(caught.value)
        assert "\n" not in message
        assert str(tmp_path) not in message
        assert len(message) < 700
        return message

    return call


def pairs(corpus: Corpus) -> list[tuple[str, str]]:
    return [(document.id, document.text) for document in corpus.documents]


# --- pasted lines and .txt ----------------------------------------------------------------------------------------


def test_lines_take_their_line_number_as_id():
    corpus = read_lines("first \n\n   \r\nsecond\rthird\u2028still third")
    assert pairs(corpus) == [("1", "first"), ("4", "second"), ("5", "third\u2028still third")]
    assert (corpus.name, corpus.notes) == ("pasted", ())


def test_no_lines(refused):
    assert refused(read_lines, " \n\n") == "there is no text; write one document on each line"


def test_more_lines_than_are_read(refused):
    assert refused(read_lines, "a\n" * 200_001) == "'pasted' has more than 200,000 documents; give a smaller file"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_encodings(file, encoding):
    corpus = read_corpus(file("notes.txt", "naïve café\n\n漢字\n".encode(encoding)))
    assert pairs(corpus) == [("1", "naïve café"), ("3", "漢字")]
    assert (corpus.name, corpus.source) == ("notes", "notes.txt")


def test_utf16_big_endian_csv(file):
    data = b"\xfe\xff" + "id,text\nx,é\n".encode("utf-16-be")
    assert pairs(read_corpus(file("a.csv", data))) == [("x", "é")]


def test_wrong_encoding_is_located(file, refused):
    path = file("a.csv", "id,text\n1,plain\n2,café\n".encode("latin-1"))
    assert refused(read_corpus, path) == (
        "'a.csv' is not UTF-8 text: byte 0xe9 on line 3 (byte 22 of the file) is invalid; save it as UTF-8"
    )


def test_wrong_encoding_is_located_across_chunks(file, refused):
    path = file("a.txt", b"0123456789abcde\n" * 65_535 + b"0123456789abcd\xe2" + b"(\n")  # the chunk ends at 0xe2
    assert "byte 0xe2 on line 65,536 (byte 1,048,575 of the file)" in refused(read_corpus, path)


def test_utf16_cut_in_half(file, refused):
    message = refused(read_corpus, file("a.txt", "ab\ncd".encode("utf-16")[:-1]))
    assert message.startswith("'a.txt' is not UTF-16 text: byte 0x64 on line 2 (byte 11 of the file)")


def test_very_long_documents_are_kept(file):
    text = "word " * 400_000  # 2 million characters, past csv's own limit of 131,072 a cell
    (document,) = read_corpus(file("a.csv", f'id,text\n1,"{text}"\n')).documents
    assert document.text == text
    assert csv.field_size_limit() >= rows.MAX_LINE


def test_endless_line(file, refused):
    message = refused(read_corpus, file("a.txt", "ok\n" + "x" * (rows.MAX_LINE + 1)))
    assert message == "'a.txt' line 2 is longer than 10,000,000 characters; put one document on each line"


def test_nul_far_from_the_start(file, refused):
    path = file("a.txt", "line of text\n" * 6000 + "a\0b\n")
    assert refused(read_corpus, path) == "'a.txt' line 6001 has a NUL character; give a text file in UTF-8"


@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt", "jsonl", "json"])
def test_binary_is_refused_from_its_first_bytes(file, refused, suffix, monkeypatch):
    path = file(f"a.{suffix}", b"PK\x03\x04" + b"\0" * 50_000_000)
    monkeypatch.setattr(Path, "read_text", lambda *a, **k: pytest.fail("the whole file was read"))
    assert refused(read_corpus, path) == f"'a.{suffix}' is not a text file (byte 5 is NUL); give text in UTF-8"


@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt", "jsonl", "json"])
@pytest.mark.parametrize("function", [read_corpus, preview, read_queries])
def test_empty_file(file, refused, suffix, function):
    assert refused(function, file(f"a.{suffix}", "")).startswith(f"'a.{suffix}' is empty; it must ")
    assert refused(function, file(f"b.{suffix}", " \n\n")).startswith(f"'b.{suffix}' ")


def test_too_large_a_file(file, refused, monkeypatch):
    monkeypatch.setattr(rows, "MAX_BYTES", 2**20)
    message = refused(read_corpus, file("a.txt", b"x\n" * 2**20))
    assert message == "'a.txt' is larger than 1 MiB; split it into smaller files"


# --- CSV ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_delimiters(file, delimiter, suffix):
    lines = [
        ["id", "Text", "Category", "year"],
        ["a", '"one, two; three|four"', "x", "1999"],
        ["b", '"say ""hi"""', "", ""],
    ]
    corpus = read_corpus(file(f"a.{suffix}", "\n".join(delimiter.join(line) for line in lines)))
    assert corpus.documents == (
        Document("a", "one, two; three|four", label="x", fields={"year": "1999"}),
        Document("b", 'say "hi"'),
    )
    assert corpus.labels == ["x"]


def test_one_column_and_no_ids(file):
    corpus = read_corpus(file("a.csv", 'text\none\n\n"two\nlines"\nthree\n'))
    assert pairs(corpus) == [("1", "one"), ("2", "two\nlines"), ("3", "three")]


def test_columns_are_chosen(file):
    path = file("a.csv", "n,head,words,kind\n1,H,W,K\n")
    (document,) = read_corpus(path, columns=Columns("words", id="head", label="kind"), name="Mine").documents
    assert document == Document("H", "W", label="K", fields={"n": "1"})


def test_missing_text_column(file, refused):
    path = file("a.csv", "n,words\n1,W\n")
    assert (
        refused(read_corpus, path, columns=Columns("text"))
        == "'a.csv' has no column 'text'; its columns are 'n', 'words'"
    )


def test_a_guess_by_length_is_told(file):
    corpus = read_corpus(file("a.csv", "n,words,id\n1,some words here,x\n"))
    assert pairs(corpus) == [("x", "some words here")]
    assert corpus.notes == ("column 'words' was read as text, for none has a usual name such as 'text'",)


def test_rows_without_text_are_skipped_and_counted(file):
    corpus = read_corpus(file("a.csv", "id,text\n1,one\n2,two\n3,\n4,four\n5,  \n6,six\n7,\n"))
    assert [document.id for document in corpus.documents] == ["1", "2", "4", "6"]
    assert corpus.notes == ("3 rows without text were skipped: lines 4, 6, 8",)


def test_one_and_many_skipped_rows(file):
    assert read_corpus(file("a.csv", "id,text\n1,one\n2,\n")).notes == ("1 row without text was skipped: line 3",)
    corpus = read_corpus(file("b.csv", "id,text\nx,one\n" + "".join(f"{i},\n" for i in range(12))))
    assert corpus.notes == ("12 rows without text were skipped: lines 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 2 more",)


def test_a_title_alone_is_a_document(file):
    (document,) = read_corpus(file("a.csv", "id,title,text\n1,Only a title,\n")).documents
    assert document.passage == "Only a title"


def test_tabs_without_quoting(file):
    corpus = read_corpus(file("a.tsv", 'id\ttext\n1\t"Hello" he said\n2\t5" disk\n'))
    assert pairs(corpus) == [("1", '"Hello" he said'), ("2", '5" disk')]
    assert corpus.notes == ("double quotes were read as text, because they do not pair up",)


def test_delimiters_at_line_ends_and_a_nameless_index(file):
    (document,) = read_corpus(file("a.csv", ",text,,\n0,one,,\n")).documents
    assert document == Document("1", "one", fields={"column 1": "0"})


BAD_CSV = {
    "more cells": (
        "id,text\n1,one\n\n2,two, three\n",
        "'a.csv' line 4 has 3 cells where the header has 2; separate cells with commas and put a cell that holds "
        "one in double quotes",
    ),
    "fewer cells": (
        'id;text\n1;"a\nb"\n2\n',
        "'a.csv' line 4 has 1 cell where the header has 2; separate cells with semicolons and put a cell that holds "
        "one in double quotes",
    ),
    "open quote": (
        'id,text\n1,one\n2,"two\n3,three\n',
        "'a.csv' line 3 begins a row that cannot be read (unexpected end of data); close every double quote, and "
        "write a double quote inside quotes twice",
    ),
    "text after a quote": (
        'id,text\n1,"one" two\n',
        "'a.csv' line 2 begins a row that cannot be read (',' expected after '\"'); close every double quote, and "
        "write a double quote inside quotes twice",
    ),
    "header only": ("id,text\n", "'a.csv' holds a header but no rows; add one row a document"),
    "column twice": ("id,text,text\n1,a,b\n", "'a.csv' has the column 'text' twice in its header; names must differ"),
    "id twice": (
        "id,text\na,one\nb,two\na,three\n",
        "'a.csv' has the id 'a' on lines 2 and 4; every id must be there once",
    ),
    "empty id": ("id,text\na,one\n ,two\n", "'a.csv' line 3 has an empty id in column 'id'; give every document one"),
    "no text": ("id,text\na,\nb,\n", "'a.csv' has no text in column 'text'; choose another column"),
}


@pytest.mark.parametrize(("content", "message"), BAD_CSV.values(), ids=BAD_CSV.keys())
def test_bad_csv(file, refused, content, message):
    assert refused(read_corpus, file("a.csv", content)) == message


def test_limit(file, refused):
    path = file("a.csv", "id,text\n1,a\n2,b\n3,\n4,c\n")
    assert len(read_corpus(path, limit=3)) == 3  # the row without text does not count
    assert refused(read_corpus, path, limit=2) == "'a.csv' has more than 2 documents; give a smaller file"


# --- JSON ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson"])
def test_json_lines(file, suffix):
    corpus = read_corpus(
        file(
            f"a.{suffix}",
            '\ufeff{"_id": "x", "title": "T", "text": "one", "n": 3, "tags": ["é", null], "ok": true, "no": null}\n\n'
            '{"_id": 7, "text": "two", "late": 1.5, "metadata": {"url": "u", "n": 1}}\n',
        )
    )
    assert corpus.documents == (
        Document("x", "one", "T", fields={"n": "3", "tags": '["é", null]', "ok": "true"}),
        Document("7", "two", fields={"late": "1.5", "url": "u", "n": "1"}),
    )


def test_json_array(file):
    corpus = read_corpus(file("a.json", '[{"content": "one", "topic": "x"},\n {"content": "two"}]'))
    assert corpus.documents == (Document("1", "one", label="x"), Document("2", "two"))


BAD_JSONL = {
    "invalid": (
        '{"text": "a"}\n{"text": b}\n',
        "'a.jsonl' line 2 is not valid JSON (expecting value at column 10); write valid JSON there",
    ),
    "array": ('{"text": "a"}\n[1]\n', "'a.jsonl' line 2 holds an array; each line must be one JSON object"),
    "null": ("null\n", "'a.jsonl' line 1 holds null; each line must be one JSON object"),
    "NaN": ('{"text": "a", "n": NaN}\n', "'a.jsonl' line 1 holds NaN, which is not JSON; write a number or null"),
    "infinity": ('{"n": -Infinity}\n', "'a.jsonl' line 1 holds -Infinity, which is not JSON; write a number or null"),
    "deep": (
        '{"text": "a"}\n{"text": ' + "[" * 100_000 + "]" * 100_000 + "}\n",
        '\'a.jsonl\' line 2 is nested too deep; use plain objects such as {"text": "…"}',
    ),
    "rather deep": (
        '{"text": ' + "[" * 60 + "]" * 60 + "}\n",
        '\'a.jsonl\' line 1 is nested too deep; use plain objects such as {"text": "…"}',
    ),
    "digits": (
        '{"text": ' + "1" * 5000 + "}\n",
        "'a.jsonl' line 1 holds a number with too many digits; write it as text in quotes",
    ),
    "half a character": (
        '{"text": "\\ud83d"}\n',
        "'a.jsonl' line 1 holds half a character (\\ud83d); write it whole or leave it out",
    ),
    "no columns": ("{}\n", "'a.jsonl' has no columns; each object must hold a text"),
    "id missing": (
        '{"_id": "1", "text": "a"}\n{"text": "b"}\n',
        "'a.jsonl' line 2 has an empty id in column '_id'; give every document one",
    ),
    "id with a line end": (
        '{"_id": "x\\ny", "text": "a"}\n{"_id": "x\\ny", "text": "b"}\n',
        "'a.jsonl' has the id 'x\\ny' on lines 1 and 2; every id must be there once",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_JSONL.values(), ids=BAD_JSONL.keys())
def test_bad_json_lines(file, refused, content, message):
    assert refused(read_corpus, file("a.jsonl", content)) == message


BAD_JSON = {
    "invalid": (
        '[{"text": "a"},\n {"text": }]',
        "'a.json' line 2 is not valid JSON (expecting value at column 11); write valid JSON there",
    ),
    "object": ('{"text": "a"}', "'a.json' holds an object; it must be an array of objects [{…}, …]"),
    "number": ('[{"text": "a"}, 3]', "'a.json' item 2 is a number; each item must be an object"),
    "empty": ("[]", "'a.json' holds an empty array; it must hold objects"),
    "NaN": ('[{"text": NaN}]', "'a.json' holds NaN, which is not JSON; write a number or null"),
    "deep": ("[" * 100_000, '\'a.json\' is nested too deep; use plain objects such as {"text": "…"}'),
    "id twice": (
        '[{"id": 1, "text": "a"}, {"id": "1", "text": "b"}]',
        "'a.json' has the id '1' on items 1 and 2; every id must be there once",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_JSON.values(), ids=BAD_JSON.keys())
def test_bad_json(file, refused, content, message):
    assert refused(read_corpus, file("a.json", content)) == message


# --- Parquet ------------------------------------------------------------------------------------------------------


def test_parquet(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"id": [1, 2, 3], "text": ["a", None, "c"], "score": [0.5, 1.0, float("nan")], "raw": [b"x", None, None]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    corpus = read_corpus(tmp_path / "a.parquet")
    assert corpus.documents == (Document("1", "a", fields={"score": "0.5", "raw": "x"}), Document("3", "c"))
    assert corpus.notes == ("1 row without text was skipped: row 2",)


def test_no_parquet(file, refused):
    message = refused(read_corpus, file("a.parquet", b"PAR1 not really PAR1"))
    assert message == "'a.parquet' is not a readable Parquet file; write it again or save it as CSV"


# --- columns and preview ------------------------------------------------------------------------------------------

GUESSES = [
    (["_id", "title", "text"], Columns("text", "_id", "title")),
    (["DocNo", "Headline", "Body", "Category"], Columns("Body", "DocNo", "Headline", "Category")),
    (["doc id", "document", "class"], Columns("document", "doc id", label="class")),
    (["description", "text", "name"], Columns("text", title="name")),
    (["title"], Columns("title")),
    (["title", "label"], Columns("title", label="label")),
    (["id"], Columns("id")),
    (["id", "review", "stars"], Columns("review", "id")),
]


@pytest.mark.parametrize(("header", "columns"), GUESSES)
def test_guesses_by_name(header, columns):
    assert guess_columns(header) == columns


def test_guess_by_length_of_text():
    assert guess_columns(["stars", "review"], [{"stars": 5, "review": "Quite good."}]) == Columns("review")


def test_columns_are_checked(refused):
    assert refused(guess_columns, []).startswith("there are no columns")
    assert refused(Columns, "").startswith("no text column was chosen")
    assert refused(Columns, "a", title="a").startswith("column 'a' was chosen as text and as title")


def test_preview_reads_only_the_beginning(file):
    path = file("a.csv", "id,text\n" + "".join(f"{i},text {i}\n" for i in range(500)) + "ragged\n")
    look = preview(path)
    assert look.columns == ("id", "text")
    assert look.rows == tuple({"id": str(i), "text": f"text {i}"} for i in range(5))
    assert look.guessed == Columns("text", "id")


def test_preview_cuts_long_cells_and_unites_columns(file):
    look = preview(file("a.jsonl", json.dumps({"text": "x" * 1000}) + '\n{"text": "\\ud83d", "late": 1}\n'))
    assert look.columns == ("text", "late")
    assert look.rows == ({"text": "x" * 299 + "…", "late": ""}, {"text": "?", "late": "1"})


def test_preview_of_text_and_zip(file, packed):
    assert preview(file("a.txt", "one\n")).rows == ({"id": "1", "text": "one"},)
    assert preview(packed({"x/corpus.jsonl": CORPUS})).guessed == Columns("text", "_id", "title")


# --- BEIR folders -------------------------------------------------------------------------------------------------


def beir(file, **files: str) -> Path:
    content = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels/test.tsv": QRELS, **files}
    written = [file(f"mine/{name}", text) for name, text in content.items() if text]
    return written[0].parent


def test_beir_folder(file):
    corpus = read_corpus(beir(file))
    assert corpus.documents == (Document("a", "one", "T"), Document("b", "two"))
    assert corpus.queries == {"q": "which?"}
    assert corpus.qrels == {"q": {"b": 2, "a": 0}}
    assert (corpus.name, corpus.source, corpus.notes) == ("mine", "mine", ())


def test_documents_alone_are_a_corpus(file):
    corpus = read_corpus(beir(file, **{"queries.jsonl": "", "qrels/test.tsv": ""}))
    assert (len(corpus), corpus.queries, corpus.qrels) == (2, {}, {})


def test_the_test_split_is_preferred(file):
    other = QRELS.replace("\t2", "\t1")
    corpus = read_corpus(beir(file, **{"qrels/train.tsv": other, "qrels/dev.tsv": other}))
    assert corpus.qrels["q"]["b"] == 2
    assert corpus.notes == ("split 'test' of qrels was read, not dev, train",)


def test_dev_is_preferred_to_train(file):
    folder = beir(file, **{"qrels/train.tsv": QRELS, "qrels/dev.tsv": QRELS.replace("\t2", "\t1")})
    (folder / "qrels" / "test.tsv").unlink()
    assert read_corpus(folder).qrels["q"]["b"] == 1


def test_judgments_of_skipped_documents_are_left_out(file):
    corpus = read_corpus(beir(file, **{"corpus.jsonl": CORPUS.replace("two", "")}))
    assert corpus.qrels == {"q": {"a": 0}}
    assert corpus.notes == (
        "1 row without text was skipped: line 2",
        "judgments of skipped rows were left out: 1",
    )


def test_hub_layout(file, refused):
    file("mine/README.md", "---\n---\n")
    file("mine/en-corpus/validation.jsonl", CORPUS)
    file("mine/en-queries/validation.jsonl", QUERIES)
    path = file("mine/en-qrels/validation.jsonl", '{"query-id": "q", "corpus-id": "b", "score": 1}\n')
    assert read_corpus(path.parents[1]).qrels == {"q": {"b": 1}}
    file("mine/de-corpus/validation.jsonl", CORPUS)
    assert refused(read_corpus, path.parents[1]) == (
        "'mine' holds several corpora ('de-corpus', 'en-corpus'); give one of them"
    )


def test_a_folder_with_one_readable_file(file, refused):
    path = file("mine/data.csv", "text\none\n")
    file("mine/.hidden.txt", "no")
    assert pairs(read_corpus(path.parent)) == [("1", "one")]
    file("mine/more.txt", "two")
    assert refused(read_corpus, path.parent).startswith(
        "'mine' holds 2 readable files ('data.csv', 'more.txt'); it must hold corpus.jsonl, or exactly one of .txt, "
    )


def test_bad_folders(file, refused, monkeypatch):
    folder = beir(file, **{"queries.jsonl": ""})
    assert refused(read_corpus, folder) == "'mine' has qrels but no queries; add queries.jsonl beside corpus.jsonl"
    assert refused(read_corpus, folder / "nothing") == "there is no file or folder 'nothing'; check the name"
    assert refused(read_corpus, file("a.pdf", "%PDF")).startswith("'a.pdf' cannot be read; give .txt, .csv, ")
    assert refused(read_corpus, file("empty/.keep", "").parent).startswith("'empty' holds 0 readable files; it must")
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    assert refused(read_corpus, folder) == "'mine' holds more than 2 files; give the folder of one corpus"


def test_what_the_system_refuses(file, refused, monkeypatch):
    path = file("a.txt", "one")

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    assert refused(read_corpus, path) == "'a.txt' cannot be read: Permission denied"
    assert refused(read_corpus, path.with_name("x" * 300)).endswith("cannot be read: File name too long")


# --- zip ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["", "scifact/", "a/b/c/"])
def test_zip_at_any_depth(packed, root):
    members = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels/test.tsv": QRELS}
    junk: dict[str, str | bytes] = {"__MACOSX/._corpus.jsonl": b"\0\5", "logo.png": b"\x89PNG"}
    corpus = read_corpus(packed({root + name: text for name, text in members.items()} | junk))
    assert (len(corpus), corpus.queries, corpus.qrels) == (2, {"q": "which?"}, {"q": {"b": 2, "a": 0}})
    assert (corpus.name, corpus.source) == ("mine", "mine.zip")


def test_zip_with_one_file(packed):
    assert pairs(read_corpus(packed({"d/data.csv": "text\none\n", "d/README.md": "hello"}))) == [("1", "one")]


def test_zip_with_several(packed, refused):
    message = refused(read_corpus, packed({"a.csv": "text\none\n", "b.txt": "two"}))
    assert message.startswith("'mine.zip' holds 2 readable files ('a.csv', 'b.txt'); it must hold corpus.jsonl")
    message = refused(read_corpus, packed({"a/corpus.jsonl": CORPUS, "b/corpus.jsonl": CORPUS}))
    assert message == "'mine.zip' holds several corpora ('a/corpus.jsonl', 'b/corpus.jsonl'); give one of them"


@pytest.mark.parametrize(
    "name", ["../a.txt", "/etc/a.txt", "x/../../a.txt", "C:\\a.txt", "c:a.txt", "..\\a.txt", "\\a.txt"]
)
def test_zip_paths_that_lead_outside(packed, refused, name):
    message = refused(read_corpus, packed({"ok.txt": "fine", name: "bad"}))
    assert message.startswith("'mine.zip' holds '")
    assert message.endswith("', a path that leads outside; pack plain file names")


def test_zip_with_a_link(tmp_path, refused):
    link = zipfile.ZipInfo("a.txt")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    message = refused(read_corpus, tmp_path / "mine.zip")
    assert message == "'mine.zip' holds 'a.txt', which is a link or no file; pack files only"


def test_zip_encrypted(packed, refused):
    path = packed({"a.txt": "one"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag in the table of contents
    path.write_bytes(data)
    assert refused(read_corpus, path) == "'mine.zip' is encrypted ('a.txt'); pack it without a password"


def test_zip_bomb_by_ratio(packed, refused):
    path = packed({"a.txt": b"\n" * 60_000_000})
    message = refused(read_corpus, path)
    assert message == (
        f"'mine.zip' would unpack to {60_000_000 // path.stat().st_size:,} times its size; at most 200 times is read"
    )


def test_zip_bomb_by_size(packed, refused, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    message = refused(read_corpus, packed({"a.txt": "x" * 600, "b.png": "x" * 600}))
    assert message == "'mine.zip' would unpack to 1,200 bytes; at most 1,000 are read"


def test_zip_that_declares_less_than_it_holds(packed, refused):
    path = packed({"a.txt": "line\n" * 1000})
    data = path.read_bytes().replace(struct.pack("<I", 5000), struct.pack("<I", 10))
    path.write_bytes(data)
    assert refused(read_corpus, path).startswith("'mine.zip' ")


def test_bytes_are_counted_while_unpacking(packed, refused, monkeypatch):
    path = packed({"a.txt": "line\n" * 1000})
    whole = zipfile.ZipFile.open
    monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda self: [_declaring(i, 10) for i in self.filelist])
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda self, info: whole(self, info.filename))
    assert refused(read_corpus, path) == "'mine.zip' unpacks to more than it declares; pack it again"


def _declaring(info: zipfile.ZipInfo, size: int) -> zipfile.ZipInfo:
    copy = zipfile.ZipInfo(info.filename)
    copy.file_size = size
    return copy


def test_zip_with_too_many_files(packed, refused):
    message = refused(read_corpus, packed({f"{i}.txt": "" for i in range(1001)}))
    assert message == "'mine.zip' holds 1,001 files; at most 1,000 are read"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_with_a_file_twice(tmp_path, refused):
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr("a.txt", "one")
        archive.writestr("a.txt", "two")
    message = refused(read_corpus, tmp_path / "mine.zip")
    assert message == "'mine.zip' holds 'a.txt' twice; pack every file once"


def test_not_a_zip(file, packed, refused):
    assert refused(read_corpus, file("a.zip", "hello")) == "'a.zip' is not a whole zip file; pack it again"
    assert refused(read_corpus, file("b.zip", "")) == "'b.zip' is not a whole zip file; pack it again"
    whole = packed({"a.txt": "some text " * 100})
    data = bytearray(whole.read_bytes())
    data[40:44] = b"\xff\xff\xff\xff"  # inside the packed text
    whole.write_bytes(data)
    assert refused(read_corpus, whole).startswith("'mine.zip' is ")


def test_nothing_unpacked_stays_behind(packed, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    read_corpus(packed({"a.txt": "one"}))
    with pytest.raises(InputError):
        read_corpus(packed({"a.csv": "id,text\n"}, "bad.zip"))
    assert list(temporary.iterdir()) == []


# --- queries ------------------------------------------------------------------------------------------------------


def test_pasted_queries():
    assert read_queries("first?\n\n second? \n") == {"1": "first?", "3": "second?"}
    assert read_queries("q1\tfirst?\nq2\tsecond?\twith a tab\n") == {"q1": "first?", "q2": "second?\twith a tab"}
    assert read_queries(QUERIES) == {"q": "which?"}


QUERY_FILES = [
    ("q.txt", "a?\nb?\n", {"1": "a?", "2": "b?"}),
    ("q.tsv", "x\ta?\ny\tb?\n", {"x": "a?", "y": "b?"}),
    ("q.tsv", "qid\tquery\nx\ta?\n", {"x": "a?"}),
    ("q.csv", 'id,query\nx,"a, b?"\n', {"x": "a, b?"}),
    ("q.csv", "question\na?\nb?\n", {"1": "a?", "2": "b?"}),
    ("queries.jsonl", QUERIES, {"q": "which?"}),
    ("q.json", '[{"query-id": 1, "text": "a?"}]', {"1": "a?"}),
]


@pytest.mark.parametrize(("name", "content", "queries"), QUERY_FILES)
def test_query_files(file, name, content, queries):
    assert read_queries(file(name, content)) == queries


BAD_QUERIES = [
    ("", "'pasted queries' holds no query; write one on each line"),
    ("x\ta\nb\n", "'pasted queries' line 2 has no tab, unlike line 1; write 'query' or 'id, tab, query' on every line"),
    ("a\nx\tb\n", "'pasted queries' line 2 has a tab, unlike line 1; write 'query' or 'id, tab, query' on every line"),
    ("x\ta\n\nx\tb\n", "'pasted queries' has the query id 'x' on lines 1 and 3; give each its own"),
    ('{"_id": "x", "text": " "}', "'pasted queries' line 1 has an empty query; write one or remove the line"),
    ('{"_id": "", "text": "a"}', "'pasted queries' line 1 has an empty query id; give every query one"),
    ('{"_id": "x", "words": "a"}', "'pasted queries' has no column 'query' or 'text'; its columns are '_id', 'words'"),
    ('{"text": "\\ud83d"}', "'pasted queries' line 1 holds half a character; write it whole or leave it out"),
]


@pytest.mark.parametrize(("text", "message"), BAD_QUERIES)
def test_bad_queries(refused, text, message):
    assert refused(read_queries, text) == message


def test_no_query_file(tmp_path, refused):
    assert refused(read_queries, tmp_path / "q.txt") == "there is no file 'q.txt'; give a file of queries"


# --- qrels --------------------------------------------------------------------------------------------------------

QREL_FILES = [
    ("test.tsv", QRELS),
    ("qrels.txt", "q 0 b 2\nq Q0 a 0\n"),
    ("run.qrels", "q\t0\tb\t2\n\nq\t0\ta\t-2\n"),  # TREC's mark for junk
    ("test.csv", "query_id,doc_id,relevance\nq,b,2.0\nq,a,0\nq,b,2\n"),
    (
        "test.jsonl",
        '{"query-id": "q", "corpus-id": "b", "score": 2}\n{"query-id": "q", "corpus-id": "a", "score": 0}\n',
    ),
]


@pytest.mark.parametrize(("name", "content"), QREL_FILES)
def test_qrels(file, name, content):
    assert read_qrels(file(name, content), {"q"}, {"a", "b"}) == {"q": {"b": 2, "a": 0}}


HEADER = "query-id\tcorpus-id\tscore\n"
BAD_QRELS = [
    (HEADER + "q\ta\t1\nx\ta\t1\n", "'t.tsv' line 3 names the unknown query 'x'; judge queries that are there"),
    (HEADER + "q\tx\t1\n", "'t.tsv' line 2 names the unknown document 'x'; judge documents of the corpus"),
    (HEADER + "q\ta\tyes\n", "'t.tsv' line 2 has the grade 'yes'; a grade is a whole number from 0 to 1000"),
    (HEADER + "q\ta\t0.5\n", "'t.tsv' line 2 has the grade '0.5'; a grade is a whole number from 0 to 1000"),
    (HEADER + "q\ta\tnan\n", "'t.tsv' line 2 has the grade 'nan'; a grade is a whole number from 0 to 1000"),
    (HEADER + "q\ta\t1e400\n", "'t.tsv' line 2 has the grade '1e400'; a grade is a whole number from 0 to 1000"),
    (HEADER + "q\ta\t-1e400\n", "'t.tsv' line 2 has the grade '-1e400'; a grade is a whole number from 0 to 1000"),
    (HEADER + "q\ta\t1001\n", "'t.tsv' line 2 has the grade '1001'; a grade is a whole number from 0 to 1000"),
    (
        HEADER + "q\ta\t1\nq\ta\t0\n",
        "'t.tsv' line 3 judges document 'a' for query 'q' again with another grade; keep one",
    ),
    (HEADER, "'t.tsv' holds a header but no rows; add one row a document"),
    ("q\ta\t1\nq\tb\t1\n", "'t.tsv' has the columns 'q', 'a', '1'; judgments need query-id, corpus-id and score"),
    ("q 0 a 1\nq 0 b\n", "'t.tsv' line 2 has 3 words; a TREC judgment has four: query id, 0, document id, grade"),
]


@pytest.mark.parametrize(("content", "message"), BAD_QRELS)
def test_bad_qrels(file, refused, content, message):
    assert refused(read_qrels, file("t.tsv", content), {"q"}, {"a", "b"}) == message


# --- writing ------------------------------------------------------------------------------------------------------


def odd_corpus() -> Corpus:
    documents = (
        Document(
            "a\tb", ' tabs\tand "quotes"\nand lines ', "Titel é", "x", {"url": "u", "empty": "", "label": "inner"}
        ),
        Document('"b', "", "title only \u2028", ""),
        Document("3", "plain", "", "y", {"_id": "7"}),
    )
    qrels = {"q\n1": {"a\tb": 2, '"b': 0}, '"q"': {"3": 1}}
    return Corpus("odd", documents, {"q\n1": "first\nquery", '"q"': " second ", "unjudged": "third"}, qrels)


def test_what_is_written_is_read(tmp_path):
    corpus = odd_corpus()
    write_beir(corpus, tmp_path / "odd")
    back = read_corpus(tmp_path / "odd")
    assert back.documents == corpus.documents
    assert back.content_hash == corpus.content_hash
    assert (back.labels, back.queries, back.qrels) == (corpus.labels, corpus.queries, corpus.qrels)
    assert (back.name, back.notes) == ("odd", ())
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["odd/corpus.jsonl", "odd/qrels/test.tsv", "odd/queries.jsonl"]


def test_ids_with_carriage_returns_come_back(tmp_path):
    corpus = Corpus(
        "c", (Document("a\rb", "x\r\ny"), Document(" p ", "z")), {"q\r": "?"}, {"q\r": {"a\rb": 1, " p ": 0}}
    )
    write_beir(corpus, tmp_path / "c")
    back = read_corpus(tmp_path / "c")
    assert (back.documents, back.queries, back.qrels) == (corpus.documents, corpus.queries, corpus.qrels)


def test_labels_after_the_first_hundred_rows_come_back(tmp_path):
    documents = tuple(Document(str(i), "text", label="late" if i > 150 else "") for i in range(200))
    write_beir(Corpus("late", documents), tmp_path / "late")
    assert read_corpus(tmp_path / "late").documents == documents


def test_an_existing_corpus_is_replaced_and_nothing_else(tmp_path, refused):
    write_beir(odd_corpus(), tmp_path / "odd")
    write_beir(read_lines("one"), tmp_path / "odd")
    assert [path.name for path in (tmp_path / "odd").iterdir()] == ["corpus.jsonl"]
    (tmp_path / "odd" / "thesis.docx").write_text("years of work")
    message = refused(write_beir, odd_corpus(), tmp_path / "odd")
    assert message == "'odd' is there and is not a corpus folder; choose another name"
    (tmp_path / "file").write_text("a file")
    assert "is not a corpus folder" in refused(write_beir, odd_corpus(), tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "odd"]


def test_nothing_half_written(tmp_path, refused, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(csv, "writer", full)  # the last of the three files
    assert refused(write_beir, odd_corpus(), tmp_path / "odd") == "'odd' cannot be written: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_what_would_not_come_back_is_not_written(tmp_path, refused):
    empty = Corpus("c", (Document("a", " "),))
    assert refused(write_beir, empty, tmp_path / "c").startswith("document 'a' lacks a text or a visible id")
    silent = Corpus("c", (Document("a", "b"),), {"q": ""})
    assert refused(write_beir, silent, tmp_path / "c").startswith("query 'q' lacks a text or a visible id")
    assert list(tmp_path.iterdir()) == []


# --- progress -----------------------------------------------------------------------------------------------------


def test_progress_ends_at_the_total(file):
    path = file("a.txt", "some text\n" * 5000)
    calls: list[tuple[int, int]] = []
    read_corpus(path, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (50_000, 50_000)
    assert calls == sorted(calls)
    assert len(calls) == 6


def test_progress_can_stop_the_reading(file):
    def stop(done, total):
        raise Cancelled

    with pytest.raises(Cancelled):
        read_corpus(file("a.csv", "text\n" + "one\n" * 2000), progress=stop)


# --- the hub ------------------------------------------------------------------------------------------------------


class Stream(list):
    """What `load_dataset(streaming=True)` gives: rows and, maybe, features."""

    features = None


@pytest.fixture
def hub(monkeypatch):
    """hub(rows or exception) -> the list of calls that load_dataset will have got."""
    datasets = pytest.importorskip("datasets")

    def answer(result):
        calls: list[tuple[tuple, dict]] = []

        def load_dataset(*args, **kwargs):
            calls.append((args, kwargs))
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return calls

    return answer


def test_hub(hub):
    stream = Stream([{"text": "one", "label": 1, "n": 3}, {"text": None, "label": 0}, {"text": "two", "label": 0}])
    stream.features = {"text": SimpleNamespace(), "label": SimpleNamespace(names=["world", "sports"])}
    calls = hub(stream)
    corpus = read_hub("owner/some-data", config="en", split="test")
    assert corpus.documents == (
        Document("1", "one", label="sports", fields={"n": "3"}),
        Document("3", "two", label="world"),
    )
    assert corpus.notes == ("1 row without text was skipped: row 2",)
    assert (corpus.name, corpus.source) == ("owner/some-data", "hub dataset owner/some-data en test")
    # Streamed, and nothing that would let the dataset run code.
    assert calls == [(("owner/some-data", "en"), {"split": "test", "streaming": True})]


def test_hub_stops_at_the_limit(hub):
    def endless():
        number = 0
        while True:
            number += 1
            yield {"id": number, "text": "x"}

    hub(endless())
    calls: list[tuple[int, int]] = []
    corpus = read_hub("owner/data", limit=250, progress=lambda *call: calls.append(call))
    assert len(corpus) == 250
    assert corpus.notes == ("reading stopped at the limit of 250 rows; the dataset may have more",)
    assert calls == [(100, 250), (200, 250)]


@pytest.mark.parametrize(
    "name", ["", "imdb", "csv", "../data", "a/b/c", "/etc/passwd", "a/..", "a b/c", "https://x/y", "a/b\n"]
)
def test_hub_names(hub, refused, name):
    calls = hub(Stream())
    assert refused(read_hub, name).endswith(" is not the name of a hub dataset; write it as owner/name")
    assert calls == []


def test_hub_name_that_is_a_folder_here(hub, refused, file, tmp_path, monkeypatch):
    calls = hub(Stream())
    file("owner/data/a.csv", "text\none\n")
    monkeypatch.chdir(tmp_path)
    assert refused(read_hub, "owner/data").startswith("'owner/data' is also a folder here")
    assert calls == []


def test_hub_configuration_and_split_names(hub, refused):
    calls = hub(Stream())
    assert refused(read_hub, "a/b", config="../x").startswith("'../x' is not the name of a configuration")
    assert refused(read_hub, "a/b", split="train[:10]").startswith("'train[:10]' is not the name of a split")
    assert calls == []


def failing(error: Exception):
    yield {"text": "one"}
    raise error


def hub_failures():
    errors = pytest.importorskip("datasets.exceptions")
    unreachable = "dataset 'a/b' cannot be reached; check its name and the network"
    unreadable = "dataset 'a/b' cannot be read ({}); check its configuration and split"
    return [
        (ConnectionError("Couldn't reach 'a/b' on the Hub"), unreachable),
        (errors.DatasetNotFoundError("x"), "there is no dataset 'a/b' on the hub, or it is private; check its name"),
        (ValueError("Bad split: train.\nAvailable: test."), unreadable.format("Bad split: train. Available: test")),
        (
            RuntimeError("Dataset scripts are no longer supported"),
            unreadable.format("Dataset scripts are no longer supported"),
        ),
        (failing(TimeoutError()), unreachable),
        (failing(KeyError()), unreadable.format("KeyError")),
        (Stream(), "dataset 'a/b' has no rows in split 'train'; choose another split"),
    ]


@pytest.mark.parametrize("case", range(7))
def test_hub_failures(hub, refused, case):
    result, message = hub_failures()[case]
    hub(result)
    assert refused(read_hub, "a/b") == message


def test_hub_columns_are_checked(hub, refused):
    hub(Stream([{"text": "one"}]))
    assert refused(read_hub, "a/b", columns=Columns("body")) == "'a/b' has no column 'body'; its columns are 'text'"


def test_stopping_is_no_failure_of_the_hub(hub):
    def stop(done, total):
        raise Cancelled

    hub(Stream([{"text": "x"}] * 100))
    with pytest.raises(Cancelled):
        read_hub("a/b", progress=stop)


def test_hub_offline(refused, monkeypatch):
    """The library itself, told that there is no network."""
    datasets, hub_library = pytest.importorskip("datasets"), pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub_library.constants, "HF_HUB_OFFLINE", True)
    message = refused(read_hub, "nobody-here/no-such-dataset")
    assert message == "dataset 'nobody-here/no-such-dataset' cannot be reached; check its name and the network"


def test_heavy_libraries_are_imported_on_use(file, monkeypatch):
    real = builtins.__import__

    def guarded(name, *args, **kwargs):
        assert name.split(".")[0] not in {"datasets", "pyarrow", "torch"}
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", guarded)
    assert len(read_corpus(file("a.csv", "text\none\n"))) == 1


# --- the real thing -----------------------------------------------------------------------------------------------


@pytest.fixture
def shared():
    """shared("custom/cranfield") -> that folder of the evaluation data; the test is skipped where it is absent."""

    def folder(name: str) -> Path:
        if not (SHARED / name).is_dir():
            pytest.skip(f"needs {name} in shared/data beside the project")
        return SHARED / name

    return folder


@pytest.mark.shared
def test_cranfield(shared, tmp_path):
    corpus = read_corpus(shared("custom/cranfield"))
    assert (len(corpus), len(corpus.queries)) == (1398, 225)
    assert sum(map(len, corpus.qrels.values())) == 1611
    assert corpus.qrels["1"]["184"] == 1
    assert (
        corpus.document("2").title
        == "simple shear flow past a flat plate in an incompressible fluid of small viscosity ."
    )
    assert (corpus.name, corpus.notes) == ("cranfield", ())
    write_beir(corpus, tmp_path / "copy")
    back = read_corpus(tmp_path / "copy")
    assert back.content_hash == corpus.content_hash
    assert (back.documents, back.queries, back.qrels) == (corpus.documents, corpus.queries, corpus.qrels)


@pytest.mark.shared
def test_xquad_in_the_layout_of_the_hub(shared):
    corpus = read_corpus(shared("mteb/XQuADRetrieval"))
    assert (len(corpus), len(corpus.queries), len(corpus.qrels)) == (240, 1185, 1185)
    assert corpus.qrels["56beb4343aeaaa14008c925b"] == {"56d9992fdc89441400fdb5a0": 1}


@pytest.mark.shared
def test_labelled_titles(shared):
    corpus = read_corpus(shared("custom/biomedical_clustering"))
    assert (len(corpus), len(corpus.labels)) == (4000, 20)
