"""What an application is connected to on AWS: plain variables, and secrets that AWS keeps and changes by itself.

`connections` and `refresh` write them into /etc/flaskhost/<app>/connections.env, and each release has them in its own
environment, beside what it was deployed with. So a release that is started again has those of now, whenever it was
deployed.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple
from urllib.parse import quote

from flaskhost import caller, envfile, releases
from flaskhost.files import remove, write
from flaskhost.layout import Layout
from flaskhost.progress import Progress
from flaskhost.releases import Release
from flaskhost.shell import Failure

HEAD = "# made by flaskhost from what the stack and AWS have said; edits here are overwritten"
# A role that was just made takes some seconds until AWS hands out what it may have.
TRIES, PAUSE_SECONDS = 10, 3.0
CONNECT_SECONDS, READ_SECONDS = 3, 5
# What does not change by waiting.
FINAL = ("ResourceNotFoundException", "InvalidRequestException", "InvalidParameterException")
# The account's name is no secret, and often the application's: without it no message could be read.
OPEN = ("username",)
FIELD = re.compile(r"\{(\w+)\}")
# What did not come up with the values of now may do so later: when a database has started, say. The first pause ends
# before the timer's next minute, each one is twice as long, and none is longer than the last.
FIRST_AGAIN_SECONDS, LAST_AGAIN_SECONDS = 50, 600


def ask(wanted: Mapping[str, Any], progress: Progress, tries: int = TRIES) -> str:
    """Return the text that connections.env has to have; AWS is asked for each secret.

    Args:
        wanted: region, values (plain variables) and secrets: of each variable the ARN of its `secret`, and the `url`
            that the fields of it are put into.
        progress: hides from here on what nobody may read.
        tries: how often a secret is asked for that AWS does not hand out yet.

    Raises:
        Failure: it could not be had; the message is one line, with the ARN and AWS's own word for it.
    """
    variables: Dict[str, str] = dict(wanted["values"])
    library = _library() if wanted["secrets"] else None
    for name, one in wanted["secrets"].items():
        arn = one["secret"]
        fields = _fields(_secret(library, wanted["region"], arn, progress, tries), arn, progress)
        variables[name] = _filled(one["url"], fields, arn)
        progress.scrubber.add([variables[name]])
    return envfile.rendered(HEAD, dict(sorted(variables.items())), wanted["secrets"])


def _library() -> Any:
    """Return the client library of AWS.

    Raises:
        Failure: its package is missing.
    """
    try:
        return importlib.import_module("boto3.session")
    except ImportError:
        raise Failure(
            "the package python3-boto3 is not on this host, by which AWS is asked for secrets: `flaskhost base` "
            "installs it, run `pulumi up` again; by hand: sudo apt-get install python3-boto3"
        ) from None


def _secret(library: Any, region: str, arn: str, progress: Progress, tries: int) -> str:
    """Return the text of a secret, which the role of the instance may read."""
    for left in reversed(range(tries)):
        text, error = _answer(library, region, arn)
        if error is None:
            return text
        code = _code(error)
        if not left or code in FINAL:
            said = " ".join(str(error).split())
            raise Failure(
                f"AWS Secrets Manager does not hand out {arn}: {code}: {said}: look at the role of this instance "
                "(secretsmanager:GetSecretValue, and kms:Decrypt where the key is your own), at its way to Secrets "
                "Manager and at the secret, then run `pulumi up` again"
            )
        if left == tries - 1:
            progress.say(f"connections: AWS does not hand out {arn} yet ({code}): asking again")
        time.sleep(PAUSE_SECONDS)
    raise AssertionError(tries)


def _answer(library: Any, region: str, arn: str) -> Tuple[str, Optional[Exception]]:
    """Ask once, anew: a client that has found no role never looks for one again."""
    try:
        limits = importlib.import_module("botocore.config").Config(
            connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"max_attempts": 1}
        )
        client = library.Session(region_name=region).client("secretsmanager", config=limits)
        return str(client.get_secret_value(SecretId=arn).get("SecretString", "")), None
    except Exception as error:  # noqa: BLE001 - its classes are of a package that is imported when it is needed
        return "", error


def _code(error: Exception) -> str:
    """Return AWS's word for what is wrong; where it has not answered, that of its library."""
    answer = getattr(error, "response", None) or {}
    return str(answer.get("Error", {}).get("Code") or type(error).__name__)


def _fields(text: str, arn: str, progress: Progress) -> Dict[str, str]:
    """Return the fields of a secret; all of them but the account's name are hidden first."""
    progress.scrubber.add([text])
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Failure(f"the secret {arn} is no JSON object, with username and password, as Amazon RDS writes it")
    fields = {str(name): str(value) for name, value in found.items()}
    hidden = [value for name, value in fields.items() if name not in OPEN]
    progress.scrubber.add([*hidden, *(quote(value, safe="") for value in hidden)])
    return fields


def _filled(url: str, fields: Mapping[str, str], arn: str) -> str:
    """Return a URL with the fields of a secret in it, as RFC 3986 writes what is no part of its syntax."""
    missing = [name for name in FIELD.findall(url) if name not in fields]
    if missing:
        raise Failure(f"the secret {arn} has no {' and no '.join(map(repr, missing))}, which its URL needs")
    return FIELD.sub(lambda found: quote(fields[found[1]], safe=""), url)


def wanted(paths: Layout) -> Optional[Dict[str, Any]]:
    """Return what the stack has asked for, or None."""
    try:
        found: Dict[str, Any] = json.loads(wanted_file(paths).read_text())
    except FileNotFoundError:
        return None
    return found


def want(paths: Layout, asked: Mapping[str, Any]) -> None:
    """Keep what the stack has asked for."""
    write(wanted_file(paths), json.dumps(asked, indent=2, sort_keys=True) + "\n", mode=0o600)


def wanted_file(paths: Layout) -> Path:
    """Return where that is kept."""
    return paths.etc / "connections.json"


def keep(paths: Layout, text: str) -> bool:
    """Keep the values of now; return whether they were others before."""
    return write(paths.connections, text, mode=0o600)


def kept(paths: Layout) -> Optional[str]:
    """Return the text of the values that are kept, or None."""
    try:
        return paths.connections.read_text()
    except FileNotFoundError:
        return None


def forget(paths: Layout) -> bool:
    """Keep nothing any more; return whether there was something."""
    there = kept(paths) is not None
    for path in (paths.connections, wanted_file(paths), _waiting(paths)):
        remove(path)
    return there


def compose(paths: Layout, release: Release) -> bool:
    """Write a release's environment: what it was deployed with, and the connections of now.

    Returns:
        Whether it was another one before; a slot that holds the release is marked as altered then.
    """
    text = _composed(paths, release)
    if text is None or not write(environment(paths, release), text, mode=0o640, group=paths.app):
        return False
    slot = releases.slot_of(paths, release.digest)
    if slot:
        # What runs there has read the one before, and is started anew.
        release.update(altered=slot)
    return True


def environment(paths: Layout, release: Release) -> Path:
    """Return the file of a release's environment."""
    return paths.config(release.digest) / "env"


def _composed(paths: Layout, release: Release) -> Optional[str]:
    """Return what a release's environment has to be; None where what it was deployed with is not here any more."""
    try:
        own = (paths.environments / str(release.facts.get("environment"))).read_text()
    except FileNotFoundError:
        return None
    more = kept(paths)
    return own if more is None else envfile.merged(own, more)


def names(paths: Layout) -> List[str]:
    """Return the names of all variables that the stack has asked for."""
    now = wanted(paths) or {"values": {}, "secrets": {}}
    return sorted([*now["values"], *now["secrets"]])


def are_new_to(paths: Layout, release: Release) -> bool:
    """Tell whether the active release runs with other values of its variables than those of now.

    One that was made for other variables is no matter: the release that comes with them is started in its own time.
    """
    if names(paths) != release.facts.get("connections", []):
        return False
    text, file = _composed(paths, release), environment(paths, release)
    if text is None:
        return False
    there = file.exists() and file.read_text() == text
    return not there or release.facts.get("altered") == paths.active_slot()


def waiting(paths: Layout) -> Optional[Dict[str, Any]]:
    """Return that the active release did not come up with the values of now: since, why; None if nothing waits."""
    try:
        found: Dict[str, Any] = json.loads(_waiting(paths).read_text())
    except FileNotFoundError:
        return None
    return found


def wait(paths: Layout, release: Release, why: str) -> None:
    """Note that a release did not come up with the values of now."""
    before, state = waiting(paths) or {}, _state(paths, release)
    tries = before.get("tries", 1) + 1 if before.get("of") == state else 1
    found = {"at": time.time(), "since": caller.now(), "of": state, "tries": tries, "why": why}
    write(_waiting(paths), json.dumps(found, indent=2) + "\n", mode=0o600)


def wait_no_more(paths: Layout) -> None:
    """Note that the active release has the values of now."""
    remove(_waiting(paths))


def is_early(paths: Layout, release: Release) -> bool:
    """Tell whether a release did not come up with these values a while ago that is too short for another try."""
    found = waiting(paths)
    if found is None or found["of"] != _state(paths, release):
        return False
    pause = min(FIRST_AGAIN_SECONDS << (int(found.get("tries", 1)) - 1), LAST_AGAIN_SECONDS)
    # A clock that was set back makes it no longer.
    return 0 <= time.time() - float(found["at"]) < pause


def _waiting(paths: Layout) -> Path:
    return paths.etc / "connections.waiting"


def _state(paths: Layout, release: Release) -> str:
    """Return a digest for a release with the values of now."""
    return hashlib.sha256(f"{release.digest} {kept(paths)}".encode()).hexdigest()
