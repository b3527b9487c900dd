"""Small readers of the files that flaskhost writes, each from its format's own description and none from our writers.

They are strict: what the real reader would take as something else than plain text is an error here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}
BLANK = " \t\n\r"


def environment_file(text: str) -> dict[str, str]:  # noqa: C901, PLR0912 - one branch for each state of the reader
    """Read a file of EnvironmentFile= (systemd.exec(5)), character by character as systemd's parse_env_file does."""
    found: dict[str, str] = {}
    state, name, value, kept = "before", "", "", 0
    for character in [*text, "\n"]:
        if state == "before" and character in "#;":
            state = "comment"
        elif state == "before" and character not in BLANK:
            state, name = "name", character
        elif state == "name" and character == "=":
            state, value, kept = "assigned", "", 0
        elif state == "name" and character in "\n\r":
            state = "before"
        elif state == "name":
            name += character
        elif state in ("assigned", "value") and character in "\n\r":
            found[name.strip()] = value[:kept] if state == "value" else ""
            state = "before"
        elif state in ("assigned", "value") and character in "'\"" and not value[:kept]:
            state = {"'": "single", '"': "double"}[character]
        elif state in ("assigned", "value") and character == "\\":
            state = "escaped"
        elif state == "assigned" and character in BLANK:
            pass
        elif state in ("assigned", "value"):
            state, value = "value", value + character
            kept = kept if character in BLANK else len(value)
        elif state == "escaped":
            state, value = "value", value if character in "\n\r" else value + character
            kept = len(value)
        elif state in ("single", "double") and character == {"single": "'", "double": '"'}[state]:
            # What comes behind a closing quote, up to the line's end, is put to the value.
            state, kept = "value", len(value)
        elif state == "double" and character == "\\":
            state = "escaped in double"
        elif state in ("single", "double"):
            value += character
        elif state == "escaped in double":
            state = "double"
            value += character if character in '"\\`$' else "" if character == "\n" else "\\" + character
        elif state == "comment":
            state = "before" if character in "\n\r" else "continued" if character == "\\" else "comment"
        elif state == "continued":
            state = "comment"
    assert state == "before", f"the file ends inside of a {state}"
    return found


def unit(text: str) -> dict[str, dict[str, list[str]]]:
    """Read a unit (systemd.syntax(7)): sections, and the values of each name in the order given."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    waiting = ""
    for line in text.split("\n"):
        stripped = line.strip()
        if stripped.startswith(("#", ";")):
            continue
        if line.endswith("\\"):
            waiting += line[:-1] + " "
            continue
        stripped, waiting = (waiting + line).strip(), ""
        if re.fullmatch(r"\[[A-Za-z-]+\]", stripped):
            section = stripped[1:-1]
            found.setdefault(section, {})
        elif stripped:
            name, equals, value = stripped.partition("=")
            assert equals, stripped
            assert section, stripped
            found[section].setdefault(name.rstrip(), []).append(value.lstrip())
    assert not waiting
    return found


def command_line(text: str, instance: str, variables: Mapping[str, str]) -> list[str]:
    """Read ExecStart= (systemd.service(5), "Command lines"): words, without quotes, escapes and specifiers.

    Behind a `:` at the beginning no variable is put in.
    """
    words = []
    for word in _quoted_words(text.removeprefix(":")):
        if word.startswith("${") and word.endswith("}") and not text.startswith(":"):
            words.append(variables[word[2:-1]])
            continue
        plain = re.sub(r"%(.)", lambda found: {"%": "%", "i": instance}[found[1]], word)
        assert not plain.endswith("%") or word.endswith("%%"), word
        if not text.startswith(":"):
            assert not re.search(r"\$(?!\$)", plain.replace("$$", "")), f"a variable would be put in: {word}"
            plain = plain.replace("$$", "$")
        words.append(plain)
    return words


def _quoted_words(text: str) -> list[str]:
    words: list[str] = []
    at, quote, word = 0, "", None
    while at < len(text):
        character = text[at]
        at += 1
        if character == "\\":
            escape = text[at]
            at += 1
            word = (word or "") + (escape if escape in "\\\"'" else ESCAPES[escape])
        elif quote:
            quote, word = ("", word or "") if character == quote else (quote, (word or "") + character)
        elif character in "'\"":
            quote = character
            word = word or ""
        elif character in BLANK:
            words += [word] if word is not None else []
            word = None
        elif character == ";" and word is None:
            assert text[at : at + 1].strip(), "a second command begins here"
            word = character
        else:
            word = (word or "") + character
    assert not quote, "a quote is not closed"
    return words + ([word] if word is not None else [])


@dataclass
class Directive:
    """A directive of Nginx with its arguments, and with what is in its braces."""

    words: list[str]
    inside: list[Directive] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The first word."""
        return self.words[0]

    def values(self, name: str) -> list[list[str]]:
        """Return the arguments of each directive of that name in it."""
        return [one.words[1:] for one in self.inside if one.name == name]

    def blocks(self, name: str) -> list[Directive]:
        """Return each directive of that name in it."""
        return [one for one in self.inside if one.name == name]

    def names(self) -> list[str]:
        """Return the names of all that is in it, at any depth, in the order written."""
        return [name for one in self.inside for name in (one.name, *one.names())]


def nginx(text: str) -> Directive:
    """Read a configuration as Nginx's ngx_conf_read_token does: words, quotes, escapes, comments and braces."""
    top = Directive(["top"])
    open_blocks, words = [top], []
    for kind, token in _nginx_tokens(text):
        if kind == "word":
            words.append(token)
            continue
        assert words or kind == "}", f"a {kind} behind nothing"
        if kind == "}":
            assert not words, f"{words} has no end"
            open_blocks.pop()
            continue
        directive = Directive(words)
        open_blocks[-1].inside.append(directive)
        open_blocks += [directive] if kind == "{" else []
        words = []
    assert open_blocks == [top], "the braces do not match"
    assert not words, f"{words} has no end"
    return top


def _nginx_tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character in BLANK:
            at += 1
        elif character == "#":
            at = text.find("\n", at)
            assert at >= 0
        elif character in ";{}":
            tokens.append((character, ""))
            at += 1
        elif character in "'\"":
            end, word = _nginx_word(text, at + 1, character)
            assert text[end + 1] in BLANK + ";{", "Nginx wants a blank behind a quote"
            tokens.append(("word", word))
            at = end + 1
        else:
            at, word = _nginx_word(text, at, BLANK + ";{")
            tokens.append(("word", word))
    return tokens


def _nginx_word(text: str, at: int, ends: str) -> tuple[int, str]:
    word = ""
    while text[at] not in ends or (text[at] == "{" and word.endswith("$")):
        if text[at] == "\\":
            at += 1
            following = text[at]
            word += {"t": "\t", "r": "\r", "n": "\n"}.get(
                following, following if following in "\"' \\" else "\\" + following
            )
        else:
            word += text[at]
        at += 1
    return at, word
