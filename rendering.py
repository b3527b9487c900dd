"""Settings in, text out: every file that goes to the server and every document that brings it there.

Pure: imports no pulumi, opens no connection. The templates mirror the layout of the server; `app` in a template's
path stands for the application's name.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

import document
from settings import AwsServer, LocalServer, RepositorySource
from settings.rules import EVERYONE, database_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settings import Settings
    from sources import Resolved

ROOT = Path(__file__).parent
DUMP_PACKAGES = {"postgresql": ["postgresql-client"], "mysql": ["default-mysql-client"]}
UV_LOCK = ROOT / "host" / "uv.txt"
# Above the graceful timeout: systemd kills what is left then (systemd.service(5), TimeoutStopSec).
STOP_MARGIN_SECONDS = 10
# What Nginx takes by itself: a name and its length lie in a bucket of a cache line, 64 bytes (ngx_hash_init).
LONGEST_NAME = 46
MANY_NAMES = 32
# What a load balancer may ask from: private and link-local addresses (RFC 1918, RFC 6598, RFC 4193).
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
KEEPALIVE_MARGIN_SECONDS = 15
DATA_LABEL = "flaskhost-data"
# What outlives a machine, and so lies on its data volume: of the application's folder.
KEPT_FOLDERS = ("shared", "backups")
# What a value between double quotes needs a backslash for.
ESCAPED = {ord(character): f"\\{character}" for character in '\\"$`'}


def quoted(value: str) -> str:
    """Return a value as it stands in an environment file, for systemd (systemd.exec(5), EnvironmentFile=) and sh."""
    return f'"{value.translate(ESCAPED)}"'


def word(text: str) -> str:
    """Return a text as one word of a command line of a unit (systemd.service(5), "Command lines").

    Before the line stands `:`, so a `$` is a `$`.
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - these are configuration files, not HTML
    )
    environment.filters |= {"python": repr, "quoted": quoted, "word": word, "regex": re.escape}
    return environment


def mount_unit(path: str) -> str:
    """Return the name of the unit that mounts something there (systemd.unit(5), "String Escaping")."""
    escaped = "-".join(
        re.sub(r"[^A-Za-z0-9:_.]", lambda found: f"\\x{ord(found[0]):02x}", part) for part in path.strip("/").split("/")
    )
    return f"{escaped}.mount"


@dataclass(frozen=True, kw_only=True)
class Place:
    """One of the hosts that a stack deploys to.

    Attributes:
        label: what it is called; empty where it is the only one.
        former: what it was called if the stack had one host before and has several now, or the other way round; None
            where that is not known.
        host_key: which machine it is; None where Pulumi makes the machine.
        is_first: whether it does what is done once for all of them: migrations.
        repairs: how often this host has been put back after a change by hand, or will be by this `up`; None where
            nobody looks for such changes.
        found: what has to be put back, or was the last time: a line each.
    """

    label: str = ""
    former: str | None = None
    host_key: str | None = None
    is_first: bool = True
    repairs: int | None = None
    found: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `up` will do on one host: one document a step, each of them whole.

    Attributes:
        label: which host; empty for the only one.
        former: what it may have been called before.
        release: the release's identity: SHA-256, in hex, of all that makes it.
        url: where a visitor reaches the application.
        archive: where the code is uploaded to; None where the server fetches it.
        volume: mounts the data volume; empty where there is none.
        environment: the only document with secrets in it; it depends on them and on nothing else of the release.
        site: empty in development mode, which has no Nginx.
        teardown: what claims the application on its host and removes it at the end; empty where the host goes as well.
    """

    label: str
    former: str | None
    release: str
    url: str
    archive: str | None
    volume: str
    base: str
    site: str
    environment: str = field(repr=False)
    prepare: str
    stage: str
    switch: str
    teardown: str


def places(settings: Settings) -> list[Place]:
    """Return the hosts of a stack, the first one first."""
    server = settings.server
    if isinstance(server, LocalServer):
        return [Place()]
    if isinstance(server, AwsServer):
        number, *further = server.labels
        alone = not further
        return [
            Place(label="" if alone else number, former=number if alone else ""),
            *(Place(label=label, is_first=False) for label in further),
        ]
    if len(server.hosts) == 1:
        return [Place(former=host.label, host_key=host.host_key) for host in server.hosts]
    first, *others = server.hosts
    return [
        Place(label=first.label, former="", host_key=first.host_key),
        *(Place(label=host.label, host_key=host.host_key, is_first=False) for host in others),
    ]


def plan(settings: Settings, source: Resolved, place: Place | None = None) -> Plan:
    """Work out every document for one host of a stack.

    Args:
        settings: the stack's settings.
        source: the code, resolved to a commit or to the digest of a folder.
        place: the host; the first one if nothing is said.
    """
    place = place or places(settings)[0]
    app, web = settings.app, settings.web
    files = _release_files(settings)
    variables = dict(sorted({**plain(settings), **settings.secrets}.items()))
    shown = _shown(settings)
    environment = _digest(shown)[:16]
    code = {"version": source.version, "commit": source.commit, "tree": source.tree, **_fetched(settings)}
    development = app.mode == "development"
    built = {
        **app.model_dump(include={"wsgi", "python", "python_mirror", "dependencies", "build"}),
        # Flask serves the static files of a development server itself, out of the source.
        "static": None if development else app.static,
        "gunicorn": app.gunicorn.version,
    }
    mode = {"mode": app.mode} if development else {}
    # Said only where there is something to say: a text that changes would run the step.
    host_name = {"host": place.label} if place.label else {}
    repairs = {} if place.repairs is None else {"repairs": place.repairs}
    networks = {"networks": list(app.development.allowed_networks)} if development else {}
    handed = {"connections": found} if (found := _handed(settings)) else {}
    release = _digest({"tree": source.tree, "commit": source.commit, **built, **shown, "files": files, **handed})
    host = first_name(settings)
    scheme, port = ("https", _port(settings)) if web.https else ("http", _plain_port(settings))
    health = {
        "scheme": scheme,
        "host": host,
        **app.health.model_dump(include={"path", "status", "attempts", "seconds"}),
    }
    if development:
        health |= {"scheme": "http", "host": f"localhost:{app.development.port}", "port": app.development.port}
    else:
        health["warm_up"] = list(app.health.warm_up)
    steps = {
        "volume": _volume(settings, place),
        "base": _base(settings, place),
        "site": "" if development else _site(settings, {**host_name, **repairs}),
        "environment": document.write(
            "environment",
            app.name,
            {"environment": environment, **host_name, **repairs},
            {
                "env": _render("srv/app/config/env.j2", secrets=sorted(settings.secrets), variables=variables),
                **_git_credentials(settings),
            },
        ),
        "prepare": document.write(
            "prepare",
            app.name,
            {
                "release": release,
                **mode,
                **host_name,
                **repairs,
                **code,
                "archive": archive(settings, source),
                **built,
                **app.model_dump(include={"build_timeout", "env_example"}),
                "migrate": _once(settings, place)["migrate"],
                "environment": environment,
                **handed,
                **shown,
            },
            files,
        ),
        "stage": document.write(
            "stage",
            app.name,
            {
                "release": release,
                **mode,
                **host_name,
                **_once(settings, place),
                "health": health,
            },
        ),
    }
    # What it looks at at the end is all of this, so it runs when any of it changes.
    everything = _digest({name: text for name, text in steps.items() if name != "environment"})
    switch = document.write(
        "switch",
        app.name,
        {
            "release": release,
            **mode,
            **host_name,
            **networks,
            **_watch(settings),
            "keep": app.keep,
            "configuration": everything[:16],
        },
    )
    return Plan(
        label=place.label,
        former=place.former,
        release=release,
        url=_development_url(settings) if development else f"{scheme}://{host}{port}/",
        archive=archive(settings, source),
        switch=switch,
        teardown=_teardown(settings, place),
        **steps,
    )


def _handed(settings: Settings) -> dict[str, str]:
    """Return what managed services hand to the application, by variable.

    Another variable, or another thing in it, is another release; only what AWS makes of it is not known here.
    """
    database, redis, media = settings.database, settings.redis, settings.media
    found = {}
    if database.kind == "rds":
        found[database.variable] = f"{database.kind}: {database.scheme} {database_name(settings)}"
    if redis.kind == "elasticache":
        found[redis.variable] = redis.kind
    if media.kind == "s3":
        found |= {media.variable: media.kind, media.region_variable: "region"}
    return found


def database_name(settings: Settings) -> str:
    """Return the name of the database that RDS makes."""
    return (settings.database.name or settings.app.name).replace("-", "_")


def first_name(settings: Settings) -> str:
    """Return a name by which visitors reach the site."""
    domains = settings.web.domains
    return domains[0].replace("*.", "www.", 1) if domains else settings.server.public_name


def _watch(settings: Settings) -> dict[str, Any]:
    """Return what makes a release go back; in development there is no release before that could serve."""
    return {} if settings.app.mode == "development" else {"watch": settings.app.watch.model_dump()}


def plain(settings: Settings) -> dict[str, str]:
    """Return the environment that may be read: the stack's, and in development what makes Flask a development server.

    It stands in the file, as the procedure has it (reference: deployment-sop.txt, section 4, step 6). FLASK_ENV is read
    by Flask before 2.3 and by many applications.
    """
    if settings.app.mode == "production":
        return dict(settings.env)
    debug = "1" if settings.app.development.debug else "0"
    return {"FLASK_DEBUG": debug, "FLASK_ENV": "development", **settings.env}


def archive(settings: Settings, source: Resolved) -> str | None:
    """Return where the archive of the code is uploaded to, relative to the login user's home; None without one."""
    if source.archive is None:
        return None
    return f".flaskhost/{settings.app.name}/source-{source.tree[:16]}.tar"


def _fetched(settings: Settings) -> dict[str, str | None]:
    """Return where the server fetches the code from, if it does."""
    source = settings.app.source
    if not isinstance(source, RepositorySource) or source.via != "server":
        return {}
    return {"repository": source.repository, "host_key": source.host_key}


def _git_credentials(settings: Settings) -> dict[str, str]:
    """Return what git on the server logs in with, as the files that it reads."""
    if not _fetched(settings):
        return {}
    files = {"git/deploy_key": settings.credentials.deploy_key, "git/token": settings.credentials.git_login}
    return {name: text for name, text in files.items() if text}


def _once(settings: Settings, place: Place) -> dict[str, Any]:
    """Return what is done once for all hosts of a stack, by the first one."""
    names = {"migrate", "migrate_timeout", "backup_before_migrate", "maintenance", "way_back", "keep"}
    wishes = settings.app.model_dump(include={*names, "on_release", "on_release_timeout"})
    jobs = [name for name, job in sorted(settings.app.jobs.items()) if place.is_first or job.hosts == "all"]
    elsewhere = {} if place.is_first else {"migrate": "none", "on_release": None}
    return {**wishes, **elsewhere, "jobs": jobs}


def _base(settings: Settings, place: Place) -> str:
    app = settings.app
    uv = UV_LOCK.read_text()
    values: dict[str, Any] = {
        "root": settings.layout.root,
        "stack": f"flaskhost/{settings.stack}",
        "packages": [*app.packages, *_dump_packages(settings), *_cloud_packages(settings)],
        "compiler": app.compiler,
        "user": _user(settings),
        "tcp_port": app.tcp_port,
        "uv": uv.split()[0].partition("==")[2],
        "lock_wait": app.lock_wait,
    }
    if app.mode == "development":
        values |= {"mode": app.mode, "tcp_port": None}
        values["packages"] += ["nftables"] if app.development.allowed_networks else []
    if place.label:
        values["host"] = place.label
    if place.repairs is not None:
        values |= {"repairs": place.repairs, "found": list(place.found)}
    return document.write("base", app.name, values, {**_host_files(settings), "uv.txt": uv})


def _dump_packages(settings: Settings) -> list[str]:
    """Return the packages with which the host takes dumps of the application's database."""
    managed = settings.database.engine if settings.database.kind == "rds" else None
    kind = managed or database_kind({**settings.env, **settings.secrets})
    named = DUMP_PACKAGES.get(kind or "", []) if settings.app.backup_before_migrate else []
    return [name for name in named if name not in settings.app.packages]


def _cloud_packages(settings: Settings) -> list[str]:
    """Return the packages with which the host asks AWS for secrets."""
    return ["python3-boto3"] if settings.database.kind == "rds" else []


def _volume(settings: Settings, place: Place) -> str:
    """Return what mounts the data volume, which the first machine on AWS has."""
    server, home = settings.server, _home(settings)
    if not isinstance(server, AwsServer) or not place.is_first:
        return ""
    files = {"/etc/systemd/system/data.mount": _render("etc/systemd/system/data.mount.j2", label=DATA_LABEL)}
    for folder in KEPT_FOLDERS:
        what, where = f"/data/{settings.app.name}/{folder}", f"{home}/{folder}"
        unit = f"/etc/systemd/system/{mount_unit(where)}"
        files[unit] = _render("etc/systemd/system/bind.mount.j2", app=settings.app.name, what=what, where=where)
    values = {"root": settings.layout.root, "label": DATA_LABEL, "size": server.data_volume}
    return document.write("volume", settings.app.name, values, files)


def user_data(host_private: str, host_public: str) -> str:
    """Return what a machine on AWS is told at its first boot (cloud-init's cloud-config); as secret as the key."""
    return _render("var/lib/cloud/instance/user-data.txt.j2", host_private=host_private, host_public=host_public)


def connections(
    settings: Settings, region: str, values: Mapping[str, str], secrets: Mapping[str, Mapping[str, str]]
) -> str:
    """Return what tells a host how its application reaches database, Redis and bucket.

    It is the one document with something in it that is known only when AWS has made it, and nothing secret: a password
    is asked for by the host.

    Args:
        settings: the stack's settings.
        region: of AWS.
        values: variables that are whole.
        secrets: variables that lack a user's name and password: the secret that has them, and the URL around them.
    """
    app = settings.app.name
    units = [f"connections.{kind}" for kind in ("service", "timer")] if secrets else []
    files = {
        f"/etc/systemd/system/{app}-{unit}": _render(f"etc/systemd/system/app-{unit}.j2", app=app) for unit in units
    }
    content = {"region": region, "values": dict(sorted(values.items())), "secrets": dict(sorted(secrets.items()))}
    return document.write("connections", app, content, files)


def _mount(settings: Settings) -> str:
    """Return the folder without which no unit of the application shall start; nothing where it is always there."""
    return f"{_home(settings)}/shared" if isinstance(settings.server, AwsServer) else ""


def _host_files(settings: Settings) -> dict[str, str]:
    """Return what belongs to the application and to no release of it: units, rotation of logs, its user's profile."""
    app, home = settings.app, _home(settings)
    values = {
        "app": app.name,
        "home": home,
        "user": _user(settings),
        "port": app.tcp_port,
        "mount": _mount(settings),
    }
    profile = {f"{home}/.profile": _render("srv/app/.profile.j2", **values)}
    if app.mode == "development":
        # Its unit comes with each release.
        return profile
    units = ["", "-gunicorn-journal"]
    names = [f"etc/systemd/system/app{unit}.service" for unit in units]
    if app.tcp_port is not None:
        names += ["etc/systemd/system/app-gunicorn-tcp.socket", "etc/systemd/system/app-gunicorn-tcp.service"]
    if app.gunicorn.logs == "files":
        names.append("etc/logrotate.d/app")
    files = {f"/{name.replace('/app', f'/{app.name}')}": _render(f"{name}.j2", **values) for name in names}
    return {**files, **profile}


def _teardown(settings: Settings, place: Place) -> str:
    """Return what the host is told when the stack leaves it; the token says which stack, and on which machine."""
    if place.host_key is None:
        return ""
    stack = f"flaskhost/{settings.stack}"
    token = _digest({"stack": stack, "app": settings.app.name, "host": place.host_key})[:16]
    values = {"token": token, "purge": settings.purge, "stack": stack, **({"as": place.label} if place.label else {})}
    return document.write("teardown", settings.app.name, values)


def _site(settings: Settings, about: Mapping[str, Any]) -> str:
    app, server = settings.app, settings.server
    web = settings.web if settings.media.kind == "local" else settings.web.model_copy(update={"media": None})
    behind_balancer = isinstance(server, AwsServer) and server.has_balancer
    text = _render(
        "etc/nginx/sites-available/app.j2",
        app=app.name,
        home=_home(settings),
        web=web,
        names=" ".join(web.domains) or "_",
        default="" if web.domains else " default_server",
        port=_port(settings),
        plain_port=_plain_port(settings),
        asked=_asked(settings) if behind_balancer else None,
        private_networks=PRIVATE_NETWORKS,
    )
    files = {
        f"/etc/nginx/sites-available/{app.name}": text,
        # So that no application answers for names that are nobody's; the host enables it where it may.
        **{
            f"/etc/nginx/sites-available/{name}": _render(f"etc/nginx/sites-available/{name}.j2")
            for name in ("flaskhost-default", "flaskhost-default-tls")
        },
    }
    names = [*web.domains, *web.redirects]
    if len(names) > MANY_NAMES or any(len(name) > LONGEST_NAME for name in names):
        files["/etc/nginx/conf.d/flaskhost-names.conf"] = _render("etc/nginx/conf.d/flaskhost-names.conf.j2")
    return document.write("site", app.name, {"https": web.https, "domains": names, **about}, files)


def _asked(settings: Settings) -> dict[str, Any]:
    """Return what a load balancer asks for, under which name, and how long Nginx keeps its connections (seconds)."""
    keepalive = idle_seconds(settings) + KEEPALIVE_MARGIN_SECONDS
    return {"path": settings.app.health.path, "host": first_name(settings), "keepalive": keepalive}


def idle_seconds(settings: Settings) -> int:
    """Return how long a load balancer keeps a connection on which nothing happens; its usual time, and its longest."""
    return max(60, min(settings.web.timeout, 4000))


def _release_files(settings: Settings) -> dict[str, str]:
    app = settings.app
    if app.mode == "development":
        return _development_files(settings)
    stop_seconds = app.gunicorn.graceful_timeout + STOP_MARGIN_SECONDS
    values = {
        "app": app.name,
        "home": _home(settings),
        "user": _user(settings),
        "gunicorn": app.gunicorn,
        "stop_seconds": stop_seconds,
        "mount": _mount(settings),
    }
    names = ("gunicorn.conf.py", "gunicorn.service", "gunicorn.socket")
    files = {name: _render(f"srv/app/config/{name}.j2", **values) for name in names}
    return {**files, **_process_files(settings, values)}


def _process_files(settings: Settings, values: dict[str, Any]) -> dict[str, str]:
    """Return the units of processes and jobs; the host installs one of a process for each that is to run."""
    files = {}
    for name, process in sorted(settings.app.processes.items()):
        files[f"{name}.service"] = _render("srv/app/config/process.service.j2", name=name, process=process, **values)
    for name, job in sorted(settings.app.jobs.items()):
        for kind in ("service", "timer"):
            files[f"{name}.{kind}"] = _render(f"srv/app/config/job.{kind}.j2", name=name, job=job, **values)
    return files


def _development_files(settings: Settings) -> dict[str, str]:
    app, home = settings.app, _home(settings)
    networks = [
        ("ip6" if ":" in network else "ip", network)
        for network in app.development.allowed_networks
        if EVERYONE not in app.development.allowed_networks
    ]
    values = {
        "app": app.name,
        "home": home,
        "user": _user(settings),
        "port": app.development.port,
        "networks": networks,
    }
    files = {"flask.service": _render("srv/app/config/flask.service.j2", **values)}
    if networks:
        # No application's name has an underscore, so no two tables have one name.
        table = f"flaskhost_{app.name.replace('-', '_')}"
        files["fence.nft"] = _render(
            "srv/app/config/fence.nft.j2", port=app.development.port, networks=networks, table=table
        )
    return files


def _shown(settings: Settings) -> dict[str, str]:
    """Return the environment as a reviewer sees it: plain values as they are, a digest for each secret.

    The digest is keyed, or a short secret could be found by trying; it changes when the secret does.
    """
    key = (settings.digest_key or "").encode()
    open_ = {f"env.{name}": value for name, value in sorted(plain(settings).items())}
    hidden = {
        f"secrets.{name}": "hmac:" + hmac.new(key, f"{name}={value}".encode(), hashlib.sha256).hexdigest()[:16]
        for name, value in sorted(settings.secrets.items())
    }
    return open_ | hidden


def _home(settings: Settings) -> str:
    return f"{settings.layout.root}/{settings.app.name}"


def _user(settings: Settings) -> str:
    return settings.app.user or settings.app.name


def _development_url(settings: Settings) -> str:
    server = settings.server
    if server.kind == "local":
        return f"http://127.0.0.1:{server.app_port}/"
    return f"http://{server.public_name}:{settings.app.development.port}/"


def _port(settings: Settings) -> str:
    """Return `:port` where visitors need it in the URL."""
    return f":{settings.server.https_port}" if settings.server.https_port != 443 else ""


def _plain_port(settings: Settings) -> str:
    """Return `:port` where visitors need it in the URL of a site without TLS."""
    return f":{settings.server.http_port}" if settings.server.http_port != 80 else ""


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
