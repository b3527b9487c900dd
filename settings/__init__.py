"""The configuration of a stack: validated as a whole, before any resource is made, into one frozen object.

Pure: it imports no pulumi, reads no file and opens no connection. `load` takes what Pulumi's configuration holds,
already decrypted, and returns `Settings` or raises `ConfigurationError` with every problem at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from settings import aws_checks, rules
from settings.aws import AwsServer, Balancer, Database, Dns, Media, Network, Redis
from settings.base import Bastion, Group
from settings.models import (
    App,
    Credentials,
    Development,
    ExistingHost,
    ExistingServer,
    ExistingServers,
    FolderSource,
    Gunicorn,
    Health,
    Job,
    Layout,
    LocalServer,
    Process,
    RepositorySource,
    Server,
    Settings,
    StaticFiles,
    Watch,
    Web,
)
from settings.problems import NAMESPACE, NOTHING, ConfigurationError, Given, Problem, group_in, shown, translated
from settings.rules import (
    DATABASE_URLS,
    HOST_LABEL,
    LONGEST_ENVIRONMENT,
    SshPlace,
    accepts,
    commit_and_version,
    database_kind,
    is_commit,
    repository,
    ssh_place,
)

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "NAMESPACE",
    "App",
    "AwsServer",
    "Balancer",
    "Bastion",
    "ConfigurationError",
    "Credentials",
    "Database",
    "Development",
    "Dns",
    "ExistingHost",
    "ExistingServer",
    "ExistingServers",
    "FolderSource",
    "Group",
    "Gunicorn",
    "Health",
    "Job",
    "Layout",
    "LocalServer",
    "Media",
    "Network",
    "Problem",
    "Process",
    "Redis",
    "RepositorySource",
    "Server",
    "Settings",
    "StaticFiles",
    "Watch",
    "Web",
    "container_name",
    "load",
]

STACKS_ON_BRANCHES = ("dev", "local")
"""Stacks that may follow a branch without saying so: nobody but the developer depends on them."""

DEVELOPMENT_STACK = "dev"
"""The stack that is in development mode without saying so."""


def load(
    config: Mapping[str, Any],
    *,
    stack: str,
    secret_keys: Collection[str] | None = None,
    region: str | None = None,
) -> Settings:
    """Return the settings of a stack.

    Args:
        config: The values below the namespace flaskhost, decrypted: {"server": {…}, "app": {…}, …}.
        stack: Name of the stack.
        secret_keys: Top-level keys that hold anything encrypted: no value below them is shown in an error, and
            what must be encrypted is looked for among them. None where that is not known.
        region: Region of AWS that resources are made in (aws:region), None where nothing says so.

    Raises:
        ConfigurationError: Something is wrong; its text lists everything that is.
    """
    # Pulumi.yaml has an empty default for each.
    config = {key: value for key, value in config.items() if value not in (None, "", {})}
    given = Given(config, frozenset(secret_keys or ()))
    problems = list(_together(given, stack, region))
    # What is wrong as a whole is not taken apart below.
    whole = {problem.place for problem in problems}
    if secret_keys is not None:
        problems += _encrypted(given, stack)
    filled = dict(config)
    app = config.get("app")
    if isinstance(app, Mapping):
        filled["app"] = {"allow_branch": stack in STACKS_ON_BRANCHES, "mode": _usual_mode(stack), **app}
    # A stack's name is no setting of the file, so it cannot be given there.
    if "stack" in filled:
        del filled["stack"]
        problems.append(Problem(("stack",), "is not a setting", "'stack'", "remove it: it is the name of the stack"))
    try:
        settings = Settings.model_validate({**filled, "stack": stack})
    except ValidationError as found:
        parts = [translated(error, given) for error in found.errors(include_url=False)]
        problems += [
            part for part in parts if not any(part.place[: length + 1] in whole for length in range(len(part.place)))
        ]
        settings = None
    if problems or settings is None:
        # Outside of the handler, so that no traceback shows pydantic's error and the values in it.
        raise ConfigurationError(problems)
    return settings


def _together(given: Given, stack: str, region: str | None) -> Iterator[Problem]:
    """Yield what is wrong between settings.

    This works on the configuration as it was given, because pydantic stops before such rules as soon as one
    field is wrong, and all problems are to be shown at once.
    """
    server, app, web, env, secrets = (
        group_in(given.config, name) for name in ("server", "app", "web", "env", "secrets")
    )
    mode = app.get("mode", _usual_mode(stack))
    if server.get("kind") == "aws":
        yield from aws_checks.together(given, mode, stack, region)
        if aws_checks.machines(server) > 1:
            yield from _shared(given)
    else:
        yield from _off_aws(given, server, mode, stack)
    if given.config.get("drift") == "preview" and server.get("kind") in ("local", "aws"):
        rule = f"must be off for a server of kind {server['kind']}, whose keys Pulumi makes"
        yield given.problem(("drift",), rule, "remove it: `python3 -m ops drift` looks at any server")
    yield from _version(given, app, stack)
    yield from _fetched_by_server(given, app, stack)
    yield from _logs(given, app)
    yield from _processes(given, app, mode)
    yield from _migrations(given, app, mode)
    for name in sorted(set(env) & set(secrets), key=str):
        yield given.problem(("env", name), "must not be in secrets as well", "remove it from one of the two")
    for name, value in env.items():
        if isinstance(value, str) and value.startswith("\n"):
            rule = "must not begin with a line end, for Pulumi loses one there where it is not encrypted"
            fix = f"take it out, and set it with: ./pulumi config set --secret --path {NAMESPACE}:secrets.NAME"
            yield given.problem(("env", name), rule, f"{fix} --stack {stack}")
    if secrets and not given.config.get("digest_key"):
        command = f"openssl rand -hex 32 | ./pulumi config set --secret {NAMESPACE}:digest_key --stack {stack}"
        yield Problem(("digest_key",), "must be given where there are secrets", NOTHING, f"make one with: {command}")
    size = sum(len(f"{name}={value}".encode(errors="replace")) + 1 for name, value in (*env.items(), *secrets.items()))
    if size > LONGEST_ENVIRONMENT:
        rule = f"must have at most {LONGEST_ENVIRONMENT} bytes in all, secrets included"
        yield Problem(("env",), rule, f"{size} bytes", "put large values into a file of the application")
    yield from _redirects(given, web)
    static, media = group_in(web, "static"), group_in(web, "media")
    served = all(web.get(name, {}) is not None for name in ("static", "media"))
    if served and static.get("url", "/static/") == media.get("url", "/media/"):
        yield given.problem(
            ("web", "media", "url"), "must differ from web.static.url", "write another, such as /media/"
        )


def _off_aws(given: Given, server: Mapping[str, Any], mode: object, stack: str) -> Iterator[Problem]:
    """Yield what is wrong with a server that is there already, or is a container."""
    if server.get("kind") == "existing":
        yield from _logins(given, server, stack)
        yield from _hosts(given, server, mode)
    else:
        yield from _ports(given, server, mode)
        yield from _container(given, stack)
    yield from aws_checks.elsewhere(given, server.get("kind"))
    if mode == "development":
        yield from _reachable(given, server, group_in(given.config, "app"))


def _redirects(given: Given, web: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield names that would be sent on to themselves, or to no certain name."""
    names = [web.get(name) for name in ("domains", "redirects")]
    domains, redirects = (name if isinstance(name, list | tuple) else () for name in names)
    for at, name in enumerate(redirects):
        if name in domains:
            rule, fix = "must not be in web.domains as well", "remove it from one of the two"
            yield given.problem(("web", "redirects", at), rule, fix)
    if redirects and (not domains or str(domains[0]).startswith("*.")):
        rule = "must be a name that redirects can lead to, since there are web.redirects"
        place = ("web", "domains", 0) if domains else ("web", "domains")
        yield given.problem(place, rule, "write the site's usual name first, such as example.com")


def _logs(given: Given, app: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield that Gunicorn is told twice where its logs go."""
    gunicorn = group_in(app, "gunicorn")
    for name in ("accesslog", "errorlog") if gunicorn.get("logs") == "files" else ():
        if name in group_in(gunicorn, "settings"):
            rule, fix = "must not be given where app.gunicorn.logs is files", "remove one of the two"
            yield given.problem(("app", "gunicorn", "settings", name), rule, fix)


def _processes(given: Given, app: Mapping[str, Any], mode: object) -> Iterator[Problem]:
    """Yield that one name is a process and a job, and that there are some where no release is switched to."""
    groups = {name: group_in(app, name) for name in ("processes", "jobs")}
    for name in sorted(set(groups["processes"]) & set(groups["jobs"]), key=str):
        rule = "must not be in app.processes as well, since its unit would have the same name"
        yield given.problem(("app", "jobs", name), rule, "rename one of the two")
    for group in (name for name, inside in groups.items() if inside and mode == "development"):
        rule = "must not be given in development mode, where a developer starts them in a terminal"
        yield given.problem(("app", group), rule, "remove it from this stack, or set app.mode: production")


def _migrations(given: Given, app: Mapping[str, Any], mode: object) -> Iterator[Problem]:
    """Yield that a page is wanted where none can stand, or a dump where nothing says of which database."""
    if mode == "development" and app.get("maintenance") in (True, "true"):
        rule = "must not be given in development mode, which has no Nginx to show a page"
        yield given.problem(("app", "maintenance"), rule, "remove it")
    if app.get("backup_before_migrate") not in (True, "true"):
        return
    variables = {**group_in(given.config, "env"), **group_in(given.config, "secrets")}
    if given.group("database").get("kind") == "rds":
        return
    if database_kind({name: value for name, value in variables.items() if isinstance(value, str)}) is None:
        rule = f"needs {' or '.join(DATABASE_URLS)} in env or secrets: postgresql://…, mysql://… or sqlite:////…"
        fix = "set one of them, with an absolute path for SQLite, or take backups another way and remove this"
        yield given.problem(("app", "backup_before_migrate"), rule, fix)


def _encrypted(given: Given, stack: str) -> Iterator[Problem]:
    """Yield what is written in plain text and must not be.

    Pulumi could demand it (`secret: true` in Pulumi.yaml), but then also from a stack that has no secret at all.
    """
    groups = ("secrets", "credentials")
    keys = {**{name: f"--path {NAMESPACE}:{name}.NAME" for name in groups}, "digest_key": f"{NAMESPACE}:digest_key"}
    for name, key in keys.items():
        if given.config.get(name) and name not in given.secret_keys:
            fix = f"take it out, and set it with: ./pulumi config set --secret {key} --stack {stack}"
            yield given.problem((name,), "must be encrypted", fix)


def _logins(given: Given, server: Mapping[str, Any], stack: str) -> Iterator[Problem]:
    """Yield what is missing or too much for a login at an existing server."""
    credentials = group_in(given.config, "credentials")
    if not credentials.get("ssh_key"):
        command = f"./pulumi config set --secret --path {NAMESPACE}:credentials.ssh_key --stack {stack} < KEYFILE"
        fix = f"hand over the private key of a pair that was made for this stack: {command}"
        yield Problem(("credentials", "ssh_key"), "must be given for a server of kind existing", NOTHING, fix)
    if credentials.get("sudo_password") and server.get("user", "root") == "root":
        rule = "must not be given where root logs in"
        yield given.problem(("credentials", "sudo_password"), rule, "remove it, or write server.user")
    name = group_in(given.config, "app").get("name")
    if name is not None and name == server.get("user"):
        rule = "must not be server.user, since the application gets an account of its own"
        yield given.problem(("app", "name"), rule, "choose another name")
    if credentials.get("bastion_key") and server.get("bastion") is None:
        rule = "must not be given where there is no server.bastion"
        yield given.problem(("credentials", "bastion_key"), rule, "remove it, or write server.bastion")


def _hosts(given: Given, server: Mapping[str, Any], mode: object) -> Iterator[Problem]:
    """Yield what is said twice of the hosts of a server, and what several hosts cannot have."""
    hosts = server.get("hosts")
    if not isinstance(hosts, list | tuple):
        return
    for name in ("address", "port", "host_key"):
        if name in server:
            fix = "write this host as one more entry of server.hosts, or remove server.hosts"
            yield given.problem(("server", name), "must not be given beside server.hosts", fix)
    seen: dict[tuple[str, str], int] = {}
    for at, host in enumerate(hosts):
        group = host if isinstance(host, Mapping) else {}
        way = f"{group.get('address')} {group.get('port', ExistingHost.model_fields['port'].default)}"
        for name, value in (("address", way), ("host_key", " ".join(str(group.get("host_key")).split()[:2]))):
            first = seen.setdefault((name, value), at)
            if first != at and group.get(name) is not None:
                rule = f"must differ from server.hosts[{first}].{name}"
                yield given.problem(("server", "hosts", at, name), rule, "name each host once")
    if len(hosts) > 1 and mode == "development":
        rule = "must be one host in development mode, which runs in one place"
        yield Problem(("server", "hosts"), rule, f"{len(hosts)} hosts", "leave one, or set app.mode: production")
    if len(hosts) > 1:
        yield from _shared(given)


def _shared(given: Given) -> Iterator[Problem]:
    """Yield what several hosts would each have for themselves, though they must have it together."""
    for group in ("env", "secrets"):
        for name, value in group_in(given.config, group).items():
            if isinstance(value, str) and value.startswith("sqlite:"):
                rule = "must not be an SQLite database with several hosts, each of which would have one of its own"
                fix = "use a database server that all of them reach, or one host"
                if given.group("server").get("kind") == "aws":
                    fix = "remove it and write database.kind: rds, or server.count: 1"
                yield given.problem((group, name), rule, fix)
    app = group_in(given.config, "app")
    # The first host migrates, and it alone shows the page: the others would serve old code meanwhile.
    for name, value in (("maintenance", (True, "true")), ("way_back", ("downgrade",))):
        if app.get(name) in value:
            rule = "must not be given with several hosts, of which only the first would show the maintenance page"
            fix = "write migrations that the release before can live with, or use one host"
            yield given.problem(("app", name), rule, fix)


def _usual_mode(stack: str) -> str:
    return "development" if stack == DEVELOPMENT_STACK else "production"


def _reachable(given: Given, server: Mapping[str, Any], app: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield that a development server would be open to the world: whoever reaches its debugger runs code on the host.

    A server of kind local has its ports on 127.0.0.1 of this machine, whatever is said here.
    """
    place = ("app", "development", "allowed_networks")
    networks, address = group_in(app, "development").get("allowed_networks"), server.get("address")
    if networks and server.get("kind") == "local":
        rule = "must not be given for a server of kind local, which nobody but this machine reaches"
        yield given.problem(place, rule, "remove it")
    elif not networks and isinstance(address, str) and rules.is_public(address):
        rule = f"must be given in development mode, since {shown(address)} is an address that the world may reach"
        fix = "list the networks of your developers, such as [192.0.2.0/24], or set app.mode: production"
        yield Problem(place, rule, NOTHING, fix)


def _ports(given: Given, server: Mapping[str, Any], mode: object) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name in ("ssh_port", "http_port", "https_port", *(("app_port",) if mode == "development" else ())):
        port = str(server.get(name, LocalServer.model_fields[name].default))
        if port in seen:
            rule = f"must differ from server.{seen[port]}"
            # The later one may be a default: then the earlier one is what was written.
            at_fault = name if name in server else seen[port]
            rule = rule if name in server else f"must differ from server.{name}, which is {port} by default"
            yield given.problem(("server", at_fault), rule, "choose another port")
        seen.setdefault(port, name)


def _container(given: Given, stack: str) -> Iterator[Problem]:
    """Yield that the name of the container has to be given, where the usual one would be no host's name."""
    server, name = group_in(given.config, "server"), group_in(given.config, "app").get("name")
    if server.get("name") is None and isinstance(name, str) and re.fullmatch(HOST_LABEL, name):
        usual = container_name(stack, name)
        if not re.fullmatch(HOST_LABEL, usual):
            rule = f"must be given, since {usual} is no host's name (a-z, 0-9 and -, at most 63 characters)"
            yield Problem(("server", "name"), rule, NOTHING, f"write one, such as flaskhost-{name}")


def container_name(stack: str, app: str) -> str:
    """Return the name that the container of a stack has when nothing else is said."""
    return f"flaskhost-{stack}-{app}"


def _version(given: Given, app: Mapping[str, Any], stack: str) -> Iterator[Problem]:
    source = group_in(app, "source")
    if "folder" in source and "repository" in source:
        yield given.problem(("app", "source"), "must be a repository or a folder, not both", "remove one of the two")
    elif "folder" in source:
        for name in ("version", "commit"):
            if app.get(name) is not None:
                yield given.problem(("app", name), "must not be given for a folder", "remove it, or use a repository")
    elif "repository" in source and app.get("version") is None and app.get("commit") is None:
        moving = app.get("allow_branch", stack in STACKS_ON_BRANCHES) in (True, "true")
        if not moving:
            fix = "write a tag such as v1.0.0 or a commit"
            yield Problem(("app", "version"), "must be given for a repository", NOTHING, fix)
    if isinstance(app.get("commit"), str):
        _, written_for = commit_and_version(app["commit"])
        if written_for not in (None, app.get("version")):
            rule = f"must be the commit of app.version, which is {shown(app.get('version'))}"
            yield given.problem(("app", "commit"), rule, "remove it, and the commit of that version is looked up")


def _fetched_by_server(given: Given, app: Mapping[str, Any], stack: str) -> Iterator[Problem]:
    """Yield what the server lacks to fetch the code itself."""
    source = group_in(app, "source")
    place = source.get("repository")
    if source.get("via") != "server" or not isinstance(place, str) or not accepts(repository, place):
        return
    key = ("app", "source", "repository")
    ssh = ssh_place(place)
    if place.startswith("file://"):
        if app.get("commit") is None and not is_commit(app.get("version")):
            rule = "must be given for a repository on the server, which this machine cannot ask for a version"
            fix = f"on the server, take the output of: git -C {place[len('file://') :]} rev-parse v1.0.0^{{commit}}"
            yield Problem(("app", "commit"), rule, NOTHING, fix)
    elif ssh:
        yield from _ssh_access(given, source, ssh, stack)
    elif not place.startswith("https://"):
        yield given.problem(
            key,
            "must be https://…, ssh://…, user@host:path or file://… (on the server) for via: server",
            "write one of these, or remove via",
        )


def _ssh_access(given: Given, source: Mapping[str, Any], ssh: SshPlace, stack: str) -> Iterator[Problem]:
    if not ssh.user:
        rule = "must name the user of the Git server for via: server"
        yield given.problem(("app", "source", "repository"), rule, f"write it such as ssh://git@{ssh.host}/…")
    if source.get("host_key") is None:
        port = f" -p {ssh.port}" if ssh.port else ""
        command = f"ssh-keyscan -t ed25519{port} {ssh.host}"
        fix = f"write what this prints, once you have compared it with what its operators publish: {command}"
        yield Problem(("app", "source", "host_key"), "must be given where the server fetches over SSH", NOTHING, fix)
    if not group_in(given.config, "credentials").get("deploy_key"):
        command = f"./pulumi config set --secret --path {NAMESPACE}:credentials.deploy_key --stack {stack} < KEYFILE"
        fix = (
            f"make a pair for this stack, let the public half read the repository, hand over the private one: {command}"
        )
        rule = "must be given where the server fetches over SSH"
        yield Problem(("credentials", "deploy_key"), rule, NOTHING, fix)
