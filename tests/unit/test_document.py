"""What the workstation writes is what the host reads: nothing is lost, changed or cut off unseen."""

from __future__ import annotations

from typing import Any

import pytest
from flaskhost import document as reader
from flaskhost.shell import Failure
from hypothesis import given
from hypothesis import strategies as st

import document

NAMES = st.from_regex(r"[a-z][A-Za-z_.]{0,20}", fullmatch=True).filter(lambda name: name != "end")
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0")).map(lambda text: text + "\n")
FILE_NAMES = st.from_regex(r"/?[a-z][A-Za-z0-9@./_-]{0,40}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
EXAMPLE = document.write(
    "prepare",
    "guestbook",
    {"release": "4f1c", "keep": 5, "env.A": "Grüße"},
    {"one": "a\n\n  b\n\n", "two": "end\nfile x\n"},
)


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.dictionaries(FILE_NAMES, TEXTS, max_size=4))
def test_what_is_written_is_read_back_exactly(values: dict[str, Any], files: dict[str, str]) -> None:
    """Promise: any values and any texts arrive as they were, whatever lines are in them."""
    found = reader.parse(document.write("prepare", "guestbook", values, files))
    assert (found.verb, found.app) == ("prepare", "guestbook")
    assert found.values == values
    assert found.files == files


@given(TEXTS)
def test_a_text_that_looks_like_a_document_stays_a_text(text: str) -> None:
    """Promise: a file that holds a document, or any part of one, ends nothing and starts nothing."""
    inner = document.write("switch", "other", {"release": "x"}, {"inner": text})
    found = reader.parse(document.write("prepare", "guestbook", {"a": inner}, {"one": inner, "two": text}))
    assert found.files == {"one": inner, "two": text}
    assert found.values == {"a": inner}


def test_a_document_that_was_cut_off_is_refused_at_every_length() -> None:
    """Promise: a connection that broke while the document was sent makes nothing happen."""
    for length in range(len(EXAMPLE)):
        with pytest.raises(Failure):
            reader.parse(EXAMPLE[:length])
    assert reader.parse(EXAMPLE).files["two"] == "end\nfile x\n"


def test_a_changed_line_of_a_file_is_one_changed_line_of_the_document() -> None:
    """Promise: a preview shows a reviewer the line that changes, and no other."""
    one = document.write("site", "guestbook", {}, {"f": "a\nb\nc\n"}).split("\n")
    two = document.write("site", "guestbook", {}, {"f": "a\nB\nc\n"}).split("\n")
    assert [pair for pair in zip(one, two, strict=True) if pair[0] != pair[1]] == [("    b", "    B")]


@pytest.mark.parametrize("text", ["no newline", "carriage\r\n", "nul\0\n", ""])
def test_a_text_that_could_not_be_read_back_is_refused_where_it_is_written(text: str) -> None:
    """Promise: what the host would read differently is an error here, with the file's name."""
    with pytest.raises(ValueError, match="gunicorn"):
        document.write("prepare", "guestbook", {}, {"gunicorn.service": text})


@pytest.mark.parametrize("head", ["", "flaskhost 2 base guestbook", "flaskhost 1 base", "GET / HTTP/1.1"])
def test_another_format_is_refused(head: str) -> None:
    """Promise: a command of another version says that it cannot read this, instead of guessing."""
    with pytest.raises(Failure, match="format 1"):
        reader.parse(f"{head}\n\nend\n")


def test_a_missing_value_or_file_is_named_with_the_next_step() -> None:
    """Promise: a document of an older program does not end in a traceback."""
    found = reader.parse(EXAMPLE)
    with pytest.raises(Failure, match=r"no value 'login'.*pulumi up"):
        found["login"]
    with pytest.raises(Failure, match=r"no file 'gunicorn\.socket'.*pulumi up"):
        found.file("gunicorn.socket")


def test_several_documents_are_read_one_after_the_other() -> None:
    """Promise: one session can do several verbs; a word `end` in a file ends nothing, and a cut is noticed."""
    other = document.write("stage", "guestbook", {"keep": 6}, {"one": "end\n\nend\n"})
    for between in ("", "\n", "\n\n"):
        both = reader.parse_all(EXAMPLE + between + other)
        assert [one.verb for one in both] == ["prepare", "stage"]
        assert both[0].files == reader.parse(EXAMPLE).files
        assert both[1].file("one") == "end\n\nend\n"
    for broken in ("", other[:-1], f"{EXAMPLE}{other[:-5]}", f"{EXAMPLE}more\n"):
        with pytest.raises(Failure):
            reader.parse_all(broken)
