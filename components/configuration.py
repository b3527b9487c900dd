"""Reads the configuration of the stack from Pulumi."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
from typing import TYPE_CHECKING, Any, NoReturn

import pulumi
from pulumi.runtime.config import get_config_env, get_config_secret_keys_env

import settings
import sources
from settings.rules import commit_and_version

if TYPE_CHECKING:
    from pathlib import Path

PASSPHRASE = "local"  # noqa: S105 - that of the stack files in the tree, which hold no real secret
STAND_IN = "FLASKHOST_STAND_IN"
ACCOUNT = "FLASKHOST_AWS_ACCOUNT"
"""Names the made-up account of tests, a folder, whose machines are containers of this one."""

REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
"""Where the aws plugin finds its region, beside the stack's aws:region."""


FOLDER = "FLASKHOST_FOLDER"
"""What `make dev` deploys in development mode, in place of the stack's source."""

KEPT_SECONDS = 30.0

SAID = 32
"""Exit status of a Python program that has told the user all (pulumi-language-python-exec,
PYTHON_PROCESS_EXITED_AFTER_SHOWING_USER_ACTIONABLE_MESSAGE_CODE); `pulumi.RunError` ends with another one, of which the
engine says that it was not handled."""


def load() -> settings.Settings:
    """Return the settings of the stack; end the program with all that is wrong in them, before any resource is made.

    The decrypted values are read as Pulumi hands them to a program (PULUMI_CONFIG): `pulumi.Config` would wrap each
    secret in an Output, and a keyed digest of it could not be in a text that preview shows.
    """
    prefix = f"{pulumi.get_project()}:"
    given: dict[str, Any] = {}
    for key, text in get_config_env().items():
        if key.startswith(prefix):
            name = key.removeprefix(prefix)
            given[name] = _value(text)
    secret = {key.removeprefix(prefix) for key in get_config_secret_keys_env()}
    folder = os.environ.get(FOLDER)
    if folder and isinstance(given.get("app"), dict):
        kept = {name: value for name, value in given["app"].items() if name not in ("version", "commit")}
        given["app"] = {**kept, "source": {"folder": folder}}
    try:
        found = settings.load(given, stack=pulumi.get_stack(), secret_keys=secret, region=region())
    except settings.ConfigurationError as error:
        stop(str(error))
    refuse_public_passphrase(found)
    refuse_stand_in(found.server)
    refuse_dead_agent()
    if folder and found.app.mode != "development":
        stop(f"{FOLDER} is for development mode, and this stack is in production: unset it")
    return found


def region() -> str | None:
    """Return the region of AWS that the plugin will take."""
    named = (get_config_env().get("aws:region"), *(os.environ.get(name) for name in REGIONS))
    return next((one for one in named if one), None)


def _value(text: str) -> Any:
    """Return a value as the stack file has it: groups and lists arrive as JSON, all else as the text that it is."""
    try:
        return json.loads(text) if text.startswith(("{", "[")) else text
    except ValueError:
        return text


def refuse_stand_in(server: settings.Server) -> None:
    """End the program where the stand-in of the command plugin would act on another machine; a preview only says so."""
    if _is_here(server) or not os.environ.get(STAND_IN):
        return
    plugins = {"command": "1.2.1", **({"aws": "7.51.1"} if server.kind == "aws" else {})}
    names = " and ".join(f"`{name}`" for name in plugins)
    get = " and ".join(f"`pulumi plugin install resource {name} {version}`" for name, version in plugins.items())
    if pulumi.runtime.is_dry_run():
        pulumi.warn(f"made with the stand-in of {names}, which asks nobody: `up` needs the official plugin, {get}")
        return
    stop(
        f"flaskhost:server.kind: {server.kind} needs the official plugin {names}, and only the stand-in for tests and "
        f"previews is here, since set-up could not reach Pulumi's site: let this machine reach it and run this again, "
        f"or install what is missing with a Pulumi of your own: {get}"
    )


def refuse_public_passphrase(wanted: settings.Settings) -> None:
    """End the program where keys to a server would be kept with a passphrase that everybody knows."""
    public = os.environ.get("PULUMI_CONFIG_PASSPHRASE") == PASSPHRASE
    if public and not _is_here(wanted.server) and not pulumi.runtime.is_dry_run():
        stop(
            f"the stack {wanted.stack} has the passphrase of the examples, which everybody knows: give it one of its "
            "own as the first lines of Pulumi.prod.yaml say, or take another stack"
        )


def _is_here(server: settings.Server) -> bool:
    """Tell whether the server is on this machine, with all of its hosts."""
    if isinstance(server, settings.AwsServer):
        # The stand-in of the aws plugin then hands out containers (tests/plugins/aws).
        return ACCOUNT in os.environ
    return isinstance(server, settings.LocalServer) or all(_is_loopback(host.address) for host in server.hosts)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def refuse_dead_agent() -> None:
    """End the program where the plugin would fail at an SSH agent that is gone, although every login has its key.

    `./pulumi` takes the variable out of the environment; a Pulumi that was called by itself has it still.
    """
    path = os.environ.get("SSH_AUTH_SOCK")
    if not path:
        return
    with socket.socket(socket.AF_UNIX) as agent:
        try:
            agent.connect(path)
        except OSError as error:
            stop(f"SSH_AUTH_SOCK: no agent answers there ({path}: {error}): use ./pulumi, or unset the variable")


def resolve(found: settings.Settings, *, base: Path, cache: Path) -> sources.Resolved:
    """Return the code that the stack asks for; end the program where it can't be had.

    Args:
        found: the settings of the stack.
        base: folder that relative paths of the stack file start from.
        cache: folder for what is fetched and packed.
    """
    app = found.app
    try:
        code = sources.resolve(
            app.source,
            app.version,
            commit_and_version(app.commit)[0] if app.commit else None,
            base=base,
            cache=cache,
            allow_branch=app.allow_branch,
            credentials=found.credentials,
            kept=kept,
        )
    except sources.SourceError as error:
        stop(str(error))
    if code.warning:
        pulumi.log.warn(code.warning)
    return code


def kept() -> list[sources.Kept]:
    """Return the code of the releases that are on the server still, as the stack's own last update left it.

    The engine is asked from within its own run, and only where the repository is of no help: a program has no other way
    to its stack's state.
    """
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    words = ["pulumi", "stack", "output", "--json", "--stack", name]
    try:
        told = subprocess.run(words, capture_output=True, text=True, check=True, timeout=KEPT_SECONDS).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [sources.Kept(**one) for one in json.loads(told).get("kept") or []]


class Stopped(SystemExit):
    """The program has said why it ends; its text is that message."""

    def __init__(self, message: str) -> None:
        """Take the message, and the status by which the engine knows that a person has read it already."""
        super().__init__(SAID)
        self.message = message

    def __str__(self) -> str:
        """Return the message."""
        return self.message


def stop(message: str) -> NoReturn:
    """End the program with a message, and with nothing of the engine's own beside it.

    Raises:
        Stopped: always.
    """
    pulumi.log.error(message)
    raise Stopped(message)
