"""Which stack a Pulumi command means, and what the stacks of the tree need to work at once.

`local` and `dev`, and `prod` as long as its file is the example, hold no real secret: their passphrase is the word
`local`, and their stack files are encrypted with it. Every other stack is the user's own, with a passphrase or a
provider of secrets that set-up never sees.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ops.setup import cache, plugins, workplace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OPEN_STACKS = ("local", "dev")
EXAMPLE_SALT = "v1:5Cy0wfFdHyY=:v1:ptmjiRWmHW9gQWtl:yD9L/b3MfbSyMYDock/9oomSdV4s0w=="
"""Stands in Pulumi.prod.yaml while its secrets are those of the example; a stack of the user's own has another one."""

PASSPHRASE = "local"  # noqa: S105 - it guards nothing, see above

PASSPHRASE_VARIABLES = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")

NEED_A_STACK = ("up", "update", "preview", "pre", "refresh", "destroy", "down", "config")
"""The commands before which a stack that was never initialised is initialised."""

PREVIEWS = ("preview", "pre")
ACTING = ("up", "update", "refresh", "destroy", "down")

PROJECT_FILE = cache.TREE / "Pulumi.yaml"


def prepare(words: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for `pulumi <words>`, after the stack that it means was made ready."""
    variables = dict(environment)
    stack = meant(words, environment)
    if stack is None or not _is_open(stack):
        return variables
    if EXAMPLE_SALT in _stack_file(stack):
        # Whatever passphrase of a stack of one's own is exported: this one is known.
        variables = {name: value for name, value in variables.items() if name not in PASSPHRASE_VARIABLES}
        variables["PULUMI_CONFIG_PASSPHRASE"] = PASSPHRASE
        if any(word in PREVIEWS for word in words):
            # It has no account on AWS, and stand-ins ask nobody.
            plugins.write_stand_ins("for previews of the example")
            variables |= workplace.standing_in(str(plugins.stand_in_home()))
    elif not any(name in environment for name in PASSPHRASE_VARIABLES):
        variables["PULUMI_CONFIG_PASSPHRASE"] = PASSPHRASE
    if _needs_a_stack(words):
        _initialise(stack, variables)
    return variables


def meant(words: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Return the stack that a command line means: named in it, by PULUMI_STACK, or selected earlier."""
    for index, word in enumerate(words):
        if word == "--":
            break
        if word in ("--stack", "-s"):
            return words[index + 1] if index + 1 < len(words) else None
        if word.startswith("--stack="):
            return word.removeprefix("--stack=")
        if re.match(r"-s[^-]", word):
            return word[2:].removeprefix("=")
    return _chosen(words) or environment.get("PULUMI_STACK") or _selected(environment)


def makes_container(words: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Tell whether a command may make a server of kind `local`, for which a container engine has to be there."""
    stack = meant(words, environment)
    if stack is None or not any(word in ("up", "update") for word in words):
        return False
    return _has_kind(stack, "local")


def needs_official_plugins(words: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Tell whether a command acts on a server elsewhere, for which no stand-in will do."""
    stack = meant(words, environment)
    if stack is None or not any(word in ACTING for word in words) or "FLASKHOST_AWS_ACCOUNT" in environment:
        return False
    return _has_kind(stack, "aws|existing")


def _has_kind(stack: str, kinds: str) -> bool:
    """Tell whether the server of a stack is of one of these kinds, which are a part of a pattern."""
    return re.search(rf"\bkind:\s*[\"']?({kinds})\b", _stack_file(stack)) is not None


def _is_open(stack: str) -> bool:
    """Tell whether everybody may know the stack's passphrase."""
    return stack.rsplit("/", 1)[-1] in OPEN_STACKS or EXAMPLE_SALT in _stack_file(stack)


def _stack_file(stack: str) -> str:
    """Return the text of a stack's file; nothing where there is none."""
    try:
        return PROJECT_FILE.with_name(f"Pulumi.{stack.rsplit('/', 1)[-1]}.yaml").read_text()
    except OSError:
        return ""


def _needs_a_stack(words: Sequence[str]) -> bool:
    if any(word in ("-h", "--help") for word in words):
        return False
    return any(word in NEED_A_STACK for word in words) or bool(_chosen(words))


def _chosen(words: Sequence[str]) -> str | None:
    """Return the stack of `pulumi stack select STACK`."""
    plain = [word for word in words if not word.startswith("-")]
    return plain[2] if plain[:2] == ["stack", "select"] and len(plain) > 2 else None


def _selected(environment: Mapping[str, str]) -> str | None:
    """Return the stack that `pulumi stack select` chose, from the file where the CLI keeps it."""
    home = Path(environment.get("PULUMI_HOME") or Path.home() / ".pulumi")
    # The CLI names the file after the project and the digest of the path of its Pulumi.yaml.
    place = hashlib.sha1(str(PROJECT_FILE).encode(), usedforsecurity=False).hexdigest()
    try:
        kept = json.loads((home / "workspaces" / f"{_project('name')}-{place}-workspace.json").read_text())
    except (OSError, ValueError):
        return None
    stack = kept.get("stack")
    return stack if isinstance(stack, str) and stack else None


def _project(key: str) -> str:
    """Return a plain value of Pulumi.yaml (`name`, or `url` of the backend); set-up has no parser of YAML."""
    try:
        text = PROJECT_FILE.read_text()
    except OSError:
        return ""
    pattern = r"^name:\s*(\S+)" if key == "name" else r"^backend:\s*(?:\n\s+|\{\s*)url:\s*([^\s}]+)"
    found = re.search(pattern, text, flags=re.MULTILINE)
    return found.group(1).strip("\"'") if found else ""


def state_file(stack: str, environment: Mapping[str, str]) -> Path | None:
    """Return where a backend of files keeps the stack's state, None for any other backend."""
    url = environment.get("PULUMI_BACKEND_URL") or _project("url")
    if not url.startswith("file://"):
        return None
    place = Path(url.removeprefix("file://")).expanduser()
    root = place if place.is_absolute() else cache.TREE / place
    return root / ".pulumi" / "stacks" / _project("name") / f"{stack.rsplit('/', 1)[-1]}.json"


def _initialise(stack: str, variables: Mapping[str, str]) -> None:
    """Make the stack where the backend does not know it yet, so that `./pulumi up --stack local` works at once."""
    state = state_file(stack, variables)
    if state is None or state.exists() or state.with_name(f"{state.name}.gz").exists():
        return
    words = ["pulumi", "stack", "init", stack, "--no-select", "--non-interactive"]
    made = subprocess.run(
        words,
        env=dict(variables),
        cwd=cache.TREE,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    # That it exists is no news: the CLI may look elsewhere (it asks the account for the home folder, not HOME).
    if made.returncode != 0 and not state.exists() and "already exists" not in made.stderr:
        # Not the end: the command itself says what is wrong, in its own words.
        print(f"set-up: the stack {stack} could not be initialised: {made.stderr.strip()}", file=sys.stderr)
    elif made.returncode == 0:
        print(f"set-up: initialised the stack {stack} in {state.parent}", file=sys.stderr)
