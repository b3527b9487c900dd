"""The command line of `flaskhost` on the host.

`flaskhost STEP APP < documents` is what `pulumi up` calls; `flaskhost status|releases [--json] APP`,
`flaskhost rollback APP [VERSION|DIGEST]`, `flaskhost restore APP FILE`, `flaskhost maintenance --end APP` and
`flaskhost repair|remove APP` are for people; `flaskhost start|reload|fence APP` is what `<app>.service` calls,
`flaskhost settle APP` what the unit of a step calls when it ends, `flaskhost refresh APP` what a timer calls on AWS;
`flaskhost sync|log APP` is what `make dev` talks to.
`flaskhost --sudo STEP APP` is the same step, called by a user who may become root.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Callable, Dict, List, Tuple

from flaskhost import document, layout, sudo, transient
from flaskhost.document import Document
from flaskhost.progress import Progress
from flaskhost.shell import Failure


def _of(name: str) -> ModuleType:
    """Return a module, imported when it is needed: a step's front needs no verb, and all of them take a while."""
    return importlib.import_module(f"flaskhost.{name}")


def _verb(name: str) -> transient.Load:
    """Return what loads a verb, in the mode that its document says."""

    def load(asked: Document) -> transient.Work:
        develops = name in ("stage", "switch") and asked.values.get("mode") == layout.DEVELOPMENT
        found: transient.Work = getattr(_of(f"verbs.{'development' if develops else name}"), name)
        return found

    return load


# Of a server on AWS only.
OF_AWS = ("volume", "connections")
UP = {verb: _verb(verb) for verb in ("base", "site", "environment", "prepare", "stage", "switch", "teardown", *OF_AWS)}
BY_HAND = {verb: _verb(verb) for verb in ("rollback", "restore")}
UNIT: Dict[str, Callable[[str], None]] = {
    "start": lambda app: _of("verbs.umbrella").start(app),
    "reload": lambda app: _of("verbs.umbrella").reload(app),
    "repair": lambda app: _of("verbs.umbrella").repair(app),
    "settle": lambda app: _of("maintenance").ended(app),
    "refresh": lambda app: _of("verbs.connections").refresh(app),
    "fence": lambda app: _of("verbs.development").raise_fence(app),
    "sync": lambda app: _of("verbs.sync").serve(app),
    "log": lambda app: _of("verbs.sync").log(app),
}
# Too little to be worth a unit: one file is written. Pulumi makes the claim, or has it already.
CLAIMS = {"claim": True, "renew": False}
PEOPLE = ("status", "releases", "rollback", "restore", "drift", "remove", "remove --purge", "maintenance --end")
DRIFTED = 2
# A step is one SSH session. All that a release needs is one: each further one would cost a login. Several hosts wait
# for each other before `stage` and before `switch`.
STEPS: Dict[str, Tuple[str, ...]] = {
    **{verb: (verb,) for verb in UP},
    "release": ("prepare", "stage", "switch"),
}


def main(words: List[str]) -> int:
    """Run the command; return its exit status."""
    for stream in (sys.stdin, sys.stdout):
        # The session's locale may say otherwise; the document is UTF-8 on every host.
        stream.reconfigure(encoding="utf-8") if isinstance(stream, io.TextIOWrapper) else None
    try:
        return _run(words)
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; a step that has begun goes on by itself", file=sys.stderr)
        return 130
    except PermissionError as error:
        if not os.geteuid():
            raise
        print(f"error: {error}: only root may do this: sudo flaskhost {' '.join(words)}", file=sys.stderr)
        return 1


def _run(words: List[str]) -> int:
    if words[:1] == ["--sudo"]:
        sudo.again(_called(), words[1:])
    verb, app = words if len(words) == 2 else ("", "")
    if verb == "--worker":
        return transient.worker(app, {**UP, **BY_HAND})
    if verb in STEPS:
        return transient.front(verb, STEPS[verb], app, sys.stdin.read(), _program())
    if verb in UNIT:
        UNIT[verb](app)
        return 0
    if verb in CLAIMS:
        print(json.dumps(_of("verbs.teardown").claim(document.parse(sys.stdin.read()), anew=CLAIMS[verb])))
        return 0
    return _for_people(words)


def _for_people(words: List[str]) -> int:
    from flaskhost import maintenance  # noqa: PLC0415 - see _of
    from flaskhost.verbs import drift, restore, rollback, status, teardown  # noqa: PLC0415 - see _of

    if words[:1] == ["rollback"] and len(words) in (2, 3):
        app, to = words[1], words[2] if len(words) > 2 else None
        asked = rollback.ask(app, to, Progress())
        return transient.front("rollback", ("rollback",), app, asked, _program(), rollback.tell)
    if words[:1] == ["restore"] and len(words) == 3:
        asked = restore.ask(words[1], words[2])
        return transient.front("restore", ("restore",), words[1], asked, _program(), restore.tell)
    as_json = "--json" in words
    words = [word for word in words if word != "--json"]
    verb, app = (" ".join(words[:-1]), words[-1]) if words else ("", "")
    if verb == "status":
        found = status.status(app)
        print(json.dumps(found, indent=2) if as_json else status.told(found))
    elif verb == "releases":
        rows = status.every(app)
        print(json.dumps(rows, indent=2) if as_json else status.listed(rows))
    elif verb == "drift":
        found = drift.drift(app, Progress())
        print(json.dumps(found) if as_json else "\n".join(drift.lines(found)))
        return DRIFTED if found["differences"] and not as_json else 0
    elif verb == "maintenance --end":
        maintenance.by_hand(app)
    elif verb in ("remove", "remove --purge"):
        teardown.by_hand(app, Progress(), purge="--purge" in verb)
    else:
        raise Failure(f"usage: flaskhost {{{'|'.join([*STEPS, *CLAIMS, *UNIT, *PEOPLE])}}} APP")
    return 0


def _called() -> List[str]:
    """Return how this command is called: the archive that was uploaded, or the installed program."""
    here = Path(sys.path[0])
    return [sys.executable, str(here.resolve())] if here.is_file() else [str(Path(sys.argv[0]).resolve())]


def _program() -> str:
    """Return the installed command; an archive that was just uploaded installs itself first."""
    here = Path(sys.path[0] if Path(sys.path[0]).is_file() else sys.argv[0]).resolve()
    if here.is_file() and here.suffix == ".pyz":
        from flaskhost.verbs import base  # noqa: PLC0415 - see _of

        return str(base.install(str(here), here.stem.split("-")[-1]))
    return str(here)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
