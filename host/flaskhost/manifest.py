"""What flaskhost has last written on a host, part by part: `flaskhost drift` compares it with what is there now.

Each part is a file that only root reads. It holds the text of what is no secret, so that a difference can be shown.
"""

from __future__ import annotations

import difflib
import grp
import hashlib
import json
import os
import pwd
import stat
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence

from flaskhost import packages, releases, systemd, wanted
from flaskhost.files import directory, remove, write
from flaskhost.layout import Layout

# Of a longer file only the digest is kept: nobody reads such a difference.
LONGEST_TEXT = 64 * 1024
RELEASE = "release"
"""The part about the active release."""
# Drop-ins for all units of a kind are the distribution's or the container's (systemd.unit(5), "type.d").
FOR_ALL = ("service.d", "socket.d", "timer.d", "mount.d")


class Difference(NamedTuple):
    """What is not as flaskhost has left it.

    Attributes:
        what: a path, a unit or a package.
        how: what is different, for the end of a sentence that begins with `what`.
        detail: the difference in the text of a file, if it may be read.
    """

    what: str
    how: str
    detail: str = ""


def remember(
    paths: Layout,
    part: str,
    *,
    files: Iterable[Path] = (),
    secret: Iterable[Path] = (),
    units: Optional[Mapping[str, Sequence[str]]] = None,
    **facts: Any,
) -> None:
    """Note how a verb has left what it takes care of.

    Args:
        paths: layout of the application.
        part: the verb, or what else is told by itself.
        files: files, links and folders.
        secret: files whose content is for nobody.
        units: what each unit has to be: `enabled`, `active`.
        facts: what else belongs to it.
    """
    found = {str(path): look(path, readable=True) for path in files}
    found.update({str(path): look(path, readable=False) for path in secret})
    text = json.dumps({**facts, "files": found, "units": units or {}}, indent=1, sort_keys=True) + "\n"
    directory(_folder(paths), mode=0o700)
    write(_folder(paths) / f"{part}.json", text, mode=0o600)


def recall(paths: Layout, part: str) -> Dict[str, Any]:
    """Return what was noted; nothing if that never happened."""
    try:
        found: Dict[str, Any] = json.loads((_folder(paths) / f"{part}.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def forget(paths: Layout, part: str) -> None:
    """Have a part not looked at any more: what it was about is gone."""
    remove(_folder(paths) / f"{part}.json")


def _folder(paths: Layout) -> Path:
    return paths.etc / "written"


def look(path: Path, *, readable: bool) -> Optional[Dict[str, Any]]:
    """Return what a path is like now; None if nothing is there.

    Args:
        path: a file, link or folder; a link is not followed.
        readable: whether the text of a file is told as well, and not its digest alone.
    """
    try:
        now = path.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(now.st_mode):
        return {"kind": "link", "leads to": os.readlink(path)}
    owner = f"{_name(pwd.getpwuid, now.st_uid)}:{_name(grp.getgrgid, now.st_gid)}"
    facts = {"mode": f"{stat.S_IMODE(now.st_mode):04o}", "owner": owner}
    if not stat.S_ISREG(now.st_mode):
        return {"kind": "folder" if stat.S_ISDIR(now.st_mode) else "special file", **facts}
    data = path.read_bytes()
    text = {"text": data.decode("utf-8", "replace")} if readable and len(data) <= LONGEST_TEXT else {}
    return {"kind": "file", **facts, "digest": hashlib.sha256(data).hexdigest(), **text}


def _name(find: Callable[[int], Any], number: int) -> str:
    """Return the name of a user or group; the number where it has none."""
    try:
        return str(find(number)[0])
    except KeyError:
        return str(number)


def differences(paths: Layout) -> List[Difference]:
    """Return what is different from what was last written, part by part."""
    found: List[Difference] = []
    for part in sorted(path.stem for path in _folder(paths).glob("*.json")):
        written = recall(paths, part)
        other = _other_release(paths) if part == RELEASE else None
        if other:
            # What the slot of the wanted release is like is no news then.
            found.append(other)
            continue
        for name, before in sorted(written["files"].items()):
            found += _of_file(name, before)
        for unit, wishes in sorted(written["units"].items()):
            found += _of_unit(unit, wishes)
            # Those of Nginx are its owner's.
            own = str(paths.units / unit) in written["files"]
            # Its text may hold anything; a person who wants to see it has the path.
            found += [Difference(unit, f"has an added {path}") for path in (_drop_ins(unit) if own else ())]
        missing = packages.lacking(written.get("packages", []))
        found += [Difference(f"package {name}", "is not installed") for name in missing]
    return list(dict.fromkeys(found))


def _other_release(paths: Layout) -> Optional[Difference]:
    """Return that another release is the active one than the last `up` has made it."""
    wish, now = wanted.read(paths), releases.active(paths)
    if wish is None or (now and now.digest == wish["release"]):
        return None
    label = releases.read(paths, wish["release"]).label
    return Difference("active release", f"is {now.label if now else 'none'} instead of {label}")


def _of_file(name: str, before: Optional[Mapping[str, Any]]) -> Iterator[Difference]:
    path = Path(name)
    now = look(path, readable=before is not None and "text" in before)
    if before is None or now is None:
        if before != now:
            yield Difference(name, "is missing" if now is None else "was not there")
        return
    if before["kind"] != now["kind"]:
        yield Difference(name, f"is a {now['kind']} instead of a {before['kind']}")
        return
    if before.get("digest") != now.get("digest"):
        yield Difference(name, "has another content", _diff(before.get("text"), now.get("text")))
    for fact, words in (("leads to", "leads to"), ("mode", "has the mode"), ("owner", "belongs to")):
        if before.get(fact) != now.get(fact):
            yield Difference(name, f"{words} {now[fact]} instead of {before[fact]}")


def _diff(before: Optional[str], now: Optional[str]) -> str:
    if before is None or now is None:
        return ""
    lines = difflib.unified_diff(before.splitlines(), now.splitlines(), "as written", "as it is", n=2, lineterm="")
    return "\n".join(lines)


def _of_unit(unit: str, wishes: Sequence[str]) -> Iterator[Difference]:
    facts = systemd.show(unit, "UnitFileState", "ActiveState")
    state, active = facts.get("UnitFileState"), facts.get("ActiveState")
    if "enabled" in wishes and state != "enabled":
        yield Difference(unit, f"is {state or 'not there'} instead of enabled")
    if "active" in wishes and active not in systemd.RUNNING:
        yield Difference(unit, f"is {active} instead of active")


def added(paths: Layout) -> Dict[str, List[str]]:
    """Return the drop-ins of the application's units, none of which flaskhost has written, by unit."""
    parts = [recall(paths, path.stem) for path in _folder(paths).glob("*.json")]
    own = [unit for part in parts for unit in part["units"] if str(paths.units / unit) in part["files"]]
    return {unit: found for unit, found in ((unit, _drop_ins(unit)) for unit in own) if found}


def _drop_ins(unit: str) -> List[str]:
    found = systemd.show(unit, "DropInPaths").get("DropInPaths", "").split()
    return [path for path in found if os.path.basename(os.path.dirname(path)) not in FOR_ALL]
