"""The settings of one stack: what there is, in which unit, and what holds when nothing is said.

The reference of the documentation is generated from these classes, so each description is a whole sentence for a
person who writes a stack file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from settings import rules
from settings.aws import AwsServer, Balancer, Database, Dns, Media, Redis
from settings.base import Bastion, Group


class LocalServer(Group):
    """A container with systemd on this machine, made and removed by Pulumi. For trying things out."""

    kind: Literal["local"] = Field(description="Where the server comes from: local is a container on this machine.")
    name: rules.ContainerName | None = Field(
        default=None, description="Name of the container. Default: flaskhost-<stack>-<app.name>."
    )
    image: rules.Image = Field(
        default="auto",
        description="Container image with systemd. auto takes Ubuntu 24.04 where an image registry can be reached, "
        "and otherwise makes Debian 12 from the distribution's packages.",
    )
    ssh_port: rules.Port = Field(default=20022, description="Port on 127.0.0.1 that leads to SSH on the server.")
    http_port: rules.Port = Field(default=20080, description="Port on 127.0.0.1 that leads to HTTP on the server.")
    https_port: rules.Port = Field(default=20443, description="Port on 127.0.0.1 that leads to HTTPS on the server.")
    app_port: rules.Port = Field(
        default=5000,
        description="Port on 127.0.0.1 that leads to the development server; only in development mode.",
    )
    trust_machine_authorities: rules.Flag = Field(
        default=False,
        description="Whether the server also trusts the extra certificate authorities of this machine; needed where "
        "a company's proxy opens TLS connections.",
    )

    public_name: ClassVar[str] = "localhost"
    """By which visitors reach it where the site has no domain."""


class ExistingServer(Group):
    """A server that is there already and reached over SSH: Ubuntu 20.04 to 24.04, or Debian 11 to 13."""

    kind: Literal["existing"] = Field(
        description="Where the server comes from: existing is a host with Ubuntu or Debian that is reached over SSH."
    )
    address: rules.Address = Field(
        examples=["203.0.113.10"], description="Its name or IP address, without user and port."
    )
    port: rules.Port = Field(default=22, description="Its port for SSH. Another one replaces nothing.")
    user: rules.LoginUser = Field(
        default="root",
        description="The user who logs in: root, or one who may use sudo, with credentials.sudo_password where sudo "
        "asks for a password.",
    )
    host_key: rules.HostKey = Field(
        examples=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICTLv1nIGjZywuThV+KfkT7a61CjyBQzZSF6PQHsbocO"],
        description="Its public SSH host key, as ssh-keyscan prints it; no other host is trusted. It is what makes the "
        "host this one: another key is another machine, on which everything is made anew.",
    )
    bastion: Bastion | None = Field(
        default=None, description="The host through which it is reached; null where it is reached directly."
    )

    http_port: ClassVar[int] = 80
    https_port: ClassVar[int] = 443
    """Visitors reach Nginx itself, on the ports that need no saying."""

    @property
    def hosts(self) -> tuple[ExistingServer]:
        """Its hosts: itself."""
        return (self,)

    @property
    def label(self) -> str:
        """What it would be called among several hosts."""
        return label(self.address, self.port)

    @property
    def public_name(self) -> str:
        """By which visitors reach it where the site has no domain."""
        return in_url(self.address)


class ExistingHost(Group):
    """One of several hosts that run one application."""

    address: rules.Address = Field(description="Its name or IP address, without user and port.")
    port: rules.Port = Field(default=22, description="Its port for SSH.")
    host_key: rules.HostKey = Field(description="Its public SSH host key, as ssh-keyscan prints it.")

    @property
    def label(self) -> str:
        """What it is called in names of resources and in messages."""
        return label(self.address, self.port)


class ExistingServers(Group):
    """Several hosts that are there already, with the same application on each of them."""

    kind: Literal["existing"] = Field(
        description="Where the server comes from: existing is a host with Ubuntu or Debian that is reached over SSH."
    )
    hosts: Annotated[tuple[ExistingHost, ...], Field(min_length=1)] = Field(
        examples=[
            [
                {
                    "address": "203.0.113.10",
                    "host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICTLv1nIGjZywuThV+KfkT7a61CjyBQzZSF6PQHsbocO",
                },
                {
                    "address": "203.0.113.11",
                    "host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDg5Aor+8Ts08IXenpMILbZECxRUDnNisjtwU5kO8Gg5",
                },
            ]
        ],
        description="Hosts that run the application. A release is switched to when every one of them has staged it; "
        "the first one runs the migrations.",
    )
    user: rules.LoginUser = Field(default="root", description="The user who logs in to each of them, as for one host.")
    bastion: Bastion | None = Field(
        default=None,
        description="The host through which all of them are reached; null where they are reached directly.",
    )

    http_port: ClassVar[int] = 80
    https_port: ClassVar[int] = 443

    @property
    def public_name(self) -> str:
        """By which visitors reach the first one where the site has no domain."""
        return in_url(self.hosts[0].address)


def label(address: str, port: int) -> str:
    """Return what a host is called among several: its address, and its port for SSH if that is not the usual one."""
    name = address.replace(":", "-")
    return name if port == 22 else f"{name}-{port}"


def in_url(address: str) -> str:
    """Return an address as it stands in a URL: one of IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def _kind_of_server(value: Any) -> str | None:
    """Tell which kind of server is meant, so that errors speak about that one; None where nothing tells."""
    if isinstance(value, Mapping):
        kind = value.get("kind") if value.get("kind") in KINDS_OF_SERVER else None
        return "several" if kind == "existing" and "hosts" in value else kind
    if isinstance(value, ExistingServers):
        return "several"
    return value.kind if isinstance(value, LocalServer | ExistingServer | AwsServer) else "local"


Server = Annotated[
    Annotated[LocalServer, Tag("local")]
    | Annotated[ExistingServer, Tag("existing")]
    | Annotated[ExistingServers, Tag("several")]
    | Annotated[AwsServer, Tag("aws")],
    Discriminator(_kind_of_server),
]
KINDS_OF_SERVER = ("local", "existing", "aws")


class Credentials(Group):
    """What flaskhost itself logs in with. Every value is encrypted, and no message and no preview shows it."""

    ssh_key: rules.PrivateKey | None = Field(
        default=None,
        repr=False,
        description="Private SSH key of server.user, without a passphrase: the stack's own, not a person's.",
    )
    bastion_key: rules.PrivateKey | None = Field(
        default=None, repr=False, description="Private SSH key of server.bastion.user. Default: ssh_key."
    )
    sudo_password: rules.Password | None = Field(
        default=None, repr=False, description="Password that sudo asks server.user for; not needed with NOPASSWD."
    )
    deploy_key: rules.PrivateKey | None = Field(
        default=None,
        repr=False,
        description="Private SSH key with which the server reads the repository; for app.source.via: server.",
    )
    git_token: rules.Token | None = Field(
        default=None,
        repr=False,
        description="Token with which the server reads a repository at https://…; for app.source.via: server. "
        "user:token where the Git server wants a certain user name.",
    )

    @property
    def git_login(self) -> str | None:
        """The token as git's credential helpers write it: user name and password, a line each."""
        if self.git_token is None:
            return None
        # Those who look at the token alone take any name; this is GitHub's.
        user, _, token = self.git_token.rpartition(":")
        return f"username={user or 'x-access-token'}\npassword={token}\n"


class RepositorySource(Group):
    """The application's code as a commit of a git repository."""

    repository: rules.Repository = Field(
        examples=["https://git.example.com/team/shop.git"],
        description=f"Where the repository is: {rules.KINDS_OF_REPOSITORY}. A path is relative to this project.",
    )
    via: Literal["workstation", "server"] = Field(
        default="workstation",
        description="How the code reaches the server: workstation uploads an archive of the commit from this machine, "
        "so the server needs no access to the repository; server has the server fetch it, with "
        "credentials.deploy_key or credentials.git_token.",
    )
    host_key: rules.HostKey | None = Field(
        default=None,
        examples=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDg5Aor+8Ts08IXenpMILbZECxRUDnNisjtwU5kO8Gg5"],
        description="The public SSH host key of the Git server, as ssh-keyscan prints it; no other one is trusted. "
        "For via: server with SSH; on this machine its own ssh knows the Git server.",
    )


class FolderSource(Group):
    """The application's code as it lies in a folder of this machine, committed or not."""

    folder: rules.Folder = Field(description="The folder, relative to this project. What git ignores stays here.")


def _kind_of_source(value: Any) -> str:
    """Tell by its keys which source is meant, so that errors speak about the one that was tried."""
    if isinstance(value, Mapping):
        return "folder" if "folder" in value and "repository" not in value else "repository"
    return "folder" if isinstance(value, FolderSource) else "repository"


Source = Annotated[
    Annotated[RepositorySource, Tag("repository")] | Annotated[FolderSource, Tag("folder")],
    Discriminator(_kind_of_source),
]


class Gunicorn(Group):
    """How the application server runs."""

    workers: Annotated[rules.Number, rules.within(1, 1000)] | None = Field(
        default=None,
        examples=[5],
        description="Number of worker processes. Default: 2 x cores + 1, counted on the server.",
    )
    threads: Annotated[rules.Number, rules.within(1, 1000)] = Field(
        default=1, description="Number of threads in each worker; more than one makes the worker class gthread."
    )
    timeout: Annotated[rules.Number, rules.within(1, 86400, "seconds")] = Field(
        default=60, description="Seconds of silence after which a worker is killed and replaced."
    )
    graceful_timeout: Annotated[rules.Number, rules.within(1, 3600, "seconds")] = Field(
        default=30, description="Seconds that running requests get when a worker stops."
    )
    worker_class: Literal["sync", "gthread", "gevent", "eventlet", "tornado"] = Field(
        default="sync", description="Kind of worker; gevent, eventlet and tornado need the package of that name."
    )
    version: rules.ReleaseNumber = Field(
        default="23.0.0", description="Version of Gunicorn that is installed where the requirements do not name one."
    )
    settings: Mapping[rules.GunicornSetting, rules.Json] = Field(
        default={},
        examples=[{"max_requests": 1000, "max_requests_jitter": 100}],
        description="Further settings of gunicorn.conf.py by Gunicorn's own names, with values as it takes them.",
    )
    logs: Literal["journal", "files"] = Field(
        default="journal",
        description="Where Gunicorn's logs go: journal (journalctl -u <app>), or files as well: "
        "gunicorn-access.log and gunicorn-error.log in /var/log/<app>, rotated daily by logrotate. With files the "
        "access log is only there.",
    )


class Health(Group):
    """What a release must answer before visitors reach it."""

    path: rules.HealthPath = Field(default="/health", description="Path that is asked for, query included.")
    status: Annotated[rules.Number, rules.within(100, 599)] = Field(
        default=200, description="HTTP status that counts as healthy."
    )
    attempts: Annotated[rules.Number, rules.within(1, 100)] = Field(
        default=3, description="Number of healthy answers in a row that are needed."
    )
    seconds: Annotated[rules.Number, rules.within(1, 3600, "seconds")] = Field(
        default=60, description="Seconds after which a release that is not healthy has failed."
    )
    warm_up: Annotated[tuple[rules.HealthPath, ...], AfterValidator(rules.distinct)] = Field(
        default=("/",),
        description="Paths that a healthy release is asked for before visitors reach it, so that none of them waits "
        "for the first answer of a worker. Any answer will do. In development mode nothing is asked.",
    )


class Process(Group):
    """A long-running command of a release, such as a worker: it is there as long as the release is the active one."""

    command: rules.CommandLine = Field(
        examples=['celery --app shop worker --hostname "$FLASKHOST_PROCESS"'],
        description="Command that is run in the source, with the environment and the packages of the release; bash "
        "reads it. Where it is more than one command, write exec before the one that has to hear that it shall stop. "
        "The variable FLASKHOST_PROCESS tells one from the other, such as shop-worker-1@blue.",
    )
    count: Annotated[rules.Number, rules.within(1, 100)] = Field(
        default=1, description="Number of processes that run this command."
    )
    memory: rules.MemorySize | None = Field(
        default=None,
        examples=["512M"],
        description="Most memory of each of them; what needs more is ended and started anew. Default: no limit.",
    )
    stop_timeout: Annotated[rules.Number, rules.within(1, 1800, "seconds")] = Field(
        default=60, description="Seconds to finish what it works on after SIGTERM; what is left then is killed."
    )
    settle: Annotated[rules.Number, rules.within(0, 600, "seconds")] = Field(
        default=5,
        description="Seconds that each of them must stay up after the switch; if one does not, the switch goes back.",
    )


class Job(Group):
    """A command of a release that is run at certain times, while that release is the active one."""

    command: rules.CommandLine = Field(
        examples=["flask cleanup"],
        description="Command that is run in the source, with the environment and the packages of the release; bash "
        "reads it.",
    )
    schedule: rules.Schedule = Field(
        examples=["*-*-* 03:00:00"],
        description="When it is run, as systemd writes it (systemd.time(7), Calendar Events), in the server's time "
        "zone unless it ends with one: daily, Mon..Fri 09:30, *-*-01 04:00 Europe/Berlin.",
    )
    timeout: Annotated[rules.Number, rules.within(1, 86400, "seconds")] = Field(
        default=3600, description="Seconds after which a run that has not ended is stopped, and has failed."
    )
    hosts: Literal["first", "all"] = Field(
        default="first",
        description="Which hosts run it, where server.hosts names several: the first one alone, or all of them.",
    )


class Watch(Group):
    """What makes a new release go back by itself once visitors reach it."""

    seconds: Annotated[rules.Number, rules.within(0, 3600, "seconds")] = Field(
        default=15,
        description="Seconds that a new release is watched while the one before still runs; it goes back if visitors "
        "are served worse. 0 watches nothing.",
    )
    requests: Annotated[rules.Number, rules.within(1, 1000000)] = Field(
        default=20, description="Number of requests that have to be answered since the switch before their rate counts."
    )
    errors: Annotated[rules.Number, rules.within(1, 100, "percent")] = Field(
        default=5,
        description="Percentage of answers 5xx from which the release goes back, if it is also twice that of the five "
        "minutes before the switch, and three answers or more.",
    )


class Development(Group):
    """How Flask's development server runs, in development mode."""

    port: Annotated[rules.Number, rules.within(1024, 65535)] = Field(
        default=5000, description="Port that it listens on, on every address of the server."
    )
    debug: rules.Flag = Field(
        default=True,
        description="Whether errors are shown in the browser, with a debugger, and changed code is loaded by itself.",
    )
    allowed_networks: Annotated[tuple[rules.AllowedNetwork, ...], AfterValidator(rules.distinct)] = Field(
        default=(),
        examples=[["192.0.2.0/24"]],
        description="Networks that may reach it, such as 192.0.2.0/24, enforced on the server; needed where its "
        "address is public. The word everyone opens it to the world.",
    )


class App(Group):
    """The application: its code and how it is built and run."""

    name: rules.ApplicationName = Field(
        examples=["shop"], description="Name of the application on the server: of its user, its units and its folder."
    )
    source: Source = Field(description="Where the code comes from: a repository or a folder.")
    version: rules.GitReference | None = Field(
        default=None,
        description="Tag, branch or commit to deploy, in quotes if it looks like a number. "
        "Default: where the repository's HEAD points, if allow_branch holds.",
    )
    commit: rules.Commit | None = Field(
        default=None,
        examples=["3f2a9c41d0b7e86512fa6c0d9b1e47735a8c2e90"],
        description="The full commit of that version; given, nothing has to be looked up. With the version before it "
        "(v1.0.0@3f2a…, as a rollback writes it) it is refused beside another one.",
    )
    allow_branch: rules.Flag = Field(
        default=False,
        description="Whether version may be a branch, which moves without a change of this file. "
        "Default: true for the stacks dev and local, false for all others.",
    )
    mode: Literal["production", "development"] = Field(
        default="production",
        description="Whether visitors are served by Gunicorn behind Nginx (production), or developers by Flask's own "
        "server (development). Default: development for the stack dev, production for all others.",
    )
    development: Development = Field(
        default_factory=Development, description="How Flask's development server runs, in development mode."
    )
    python: rules.PythonVersion | None = Field(
        default=None,
        description='Python of the application: "3.11" for any 3.11, "3.11.5" for exactly that. '
        "Default: what .python-version of the source says, else the python3 of the server.",
    )
    python_mirror: rules.PythonMirror | None = Field(
        default=None,
        description="Where the server downloads a Python that its distribution does not have: a mirror of "
        "python-build-standalone's releases, or a list (.json) of archives as uv reads it. "
        "Default: the site that uv itself uses.",
    )
    dependencies: rules.DependencyFile = Field(
        default="auto",
        description="File of the source that names the packages: uv.lock, poetry.lock or a requirements file. "
        "auto takes the first of uv.lock, poetry.lock and requirements.txt that is there.",
    )
    wsgi: rules.WsgiEntry = Field(
        default="auto",
        description="Entry point as Gunicorn takes it: module:attribute or module:factory(). auto looks for app, "
        "application, create_app() or make_app() in wsgi.py, app.py, run.py and the packages of the source.",
    )
    build: rules.CommandLine | None = Field(
        default=None,
        examples=["npm ci && npm run build"],
        description="Command that is run in the source before a release is staged.",
    )
    build_timeout: Annotated[rules.Number, rules.within(1, 3600, "seconds")] = Field(
        default=1800, description="Seconds after which the build command is ended, and has failed."
    )
    env_example: rules.FileInSource | None = Field(
        default=".env.example",
        description="File of the source that names the variables which the application needs. A release whose "
        "environment lacks one does not start; a line in comments is optional. Nothing is compared where there is no "
        "such file, nor with null.",
    )
    migrate: rules.CommandLine = Field(
        default="auto",
        description="Command that brings the database up to date, once per release; auto finds Flask-Migrate "
        "(flask db upgrade), python manage.py db upgrade or Alembic (alembic upgrade head) in the source, none runs "
        "nothing.",
    )
    migrate_timeout: Annotated[rules.Number, rules.within(1, 10800, "seconds")] = Field(
        default=1800, description="Seconds after which migrations that still run are ended and have failed."
    )
    backup_before_migrate: rules.Flag = Field(
        default=False,
        description="Whether the database is dumped before migrations run: PostgreSQL, MySQL, MariaDB or SQLite, as "
        "DATABASE_URL or else SQLALCHEMY_DATABASE_URI of the environment names it. The newest app.keep dumps stay in "
        "the folder backups of the application; sudo flaskhost restore <app> FILE puts one back.",
    )
    maintenance: rules.Flag = Field(
        default=False,
        description="Whether visitors see a maintenance page while migrations run, for those that running code could "
        "not live with: the release before is stopped for that time.",
    )
    way_back: Literal["keep", "downgrade", "refuse"] = Field(
        default="keep",
        description="What a release does whose migrations do not know the revision that the database has: keep lives "
        "with it, downgrade takes the database back with the scripts of the newer release, behind the maintenance "
        "page, refuse changes nothing and fails.",
    )
    on_release: rules.CommandLine | None = Field(
        default=None,
        examples=["flask seed --once"],
        description="Command that is run once for each release, as the application, after the migrations and before "
        "the release starts. When it fails, the release before serves on.",
    )
    on_release_timeout: Annotated[rules.Number, rules.within(1, 3600, "seconds")] = Field(
        default=600, description="Seconds after which the release command is ended, and has failed."
    )
    static: rules.FolderInSource | None = Field(
        default=None,
        description="Folder inside the source that Nginx serves as static files, such as app/static. "
        "Default: Flask serves them itself.",
    )
    keep: Annotated[rules.Number, rules.within(2, 100)] = Field(
        default=5, description="Number of releases that stay on the server, the active and the previous one included."
    )
    lock_wait: Annotated[rules.Number, rules.within(0, 3600, "seconds")] = Field(
        default=600,
        description="Seconds that a deploy waits while another one works on the same application, before it fails and "
        "says whose that is.",
    )
    packages: Annotated[tuple[rules.Package, ...], AfterValidator(rules.distinct)] = Field(
        default=(), description="Further packages of the distribution that the application needs."
    )
    compiler: rules.Flag = Field(
        default=True,
        description="Whether the server has a compiler, pip and the headers of Python, PostgreSQL and MySQL, for "
        "packages that come without a wheel. Without it the first deploy is faster and the server smaller.",
    )
    user: Literal["www-data"] | None = Field(
        default=None,
        description="Account that the application runs as: www-data, where a rule asks for it. It then shares one "
        "account with Nginx and with every other application that does so: these reach each other's data, uploads, "
        "logs and environment. Default: an account of its own, named like the application.",
    )
    tcp_port: Annotated[rules.Number, rules.within(1024, 65535)] | None = Field(
        default=None,
        examples=[8000],
        description="Port on 127.0.0.1 of the server that leads to the active release as well, for checks and tools "
        "that need one. Every user of the server can reach it, and is believed what its X-Forwarded headers say. "
        "Default: none.",
    )
    gunicorn: Gunicorn = Field(default_factory=Gunicorn, description="How the application server runs.")
    health: Health = Field(default_factory=Health, description="What a release must answer before visitors reach it.")
    processes: Mapping[rules.ProcessName, Process] = Field(
        default={},
        examples=[{"worker": {"command": "celery --app shop worker"}}],
        description="Long-running commands that belong to a release, such as workers, each below a name of your choice "
        "(here worker). They start with the new code after the switch; those of the release before finish what they "
        "work on.",
    )
    jobs: Mapping[rules.ProcessName, Job] = Field(
        default={},
        examples=[{"cleanup": {"command": "flask cleanup", "schedule": "*-*-* 03:00:00"}}],
        description="Commands of a release that are run at certain times, each below a name of your choice (here "
        "cleanup), by timers that move with the switch.",
    )
    watch: Watch = Field(
        default_factory=Watch, description="What makes a new release go back by itself once visitors reach it."
    )


class StaticFiles(Group):
    """Files that Nginx serves itself."""

    url: rules.UrlFolder = Field(description="Path of the URL below which they are served, such as /static/.")
    expires: rules.Expiry = Field(
        default="30d", description="How long a browser may keep them, as Nginx writes it; off sends no such header."
    )


class Web(Group):
    """How visitors reach the application."""

    domains: Annotated[tuple[rules.Domain, ...], AfterValidator(rules.distinct)] = Field(
        default=(), description="Host names of the site. Default: every name that reaches the server."
    )
    redirects: Annotated[tuple[rules.Domain, ...], AfterValidator(rules.distinct)] = Field(
        default=(),
        examples=[["www.example.com"]],
        description="Further host names, which send visitors on to the first one of domains.",
    )
    https: rules.Flag = Field(
        default=True,
        description="Whether the site has a certificate and sends visitors of http there. false serves plain http, "
        "which is right only inside a network of your own or behind something that does TLS.",
    )
    body_size: rules.BodySize = Field(default="10m", description="Largest request body, as Nginx writes it; 0: any.")
    timeout: Annotated[rules.Number, rules.within(1, 86400, "seconds")] = Field(
        default=60, description="Seconds that Nginx waits for the application."
    )
    static: StaticFiles | None = Field(
        default=StaticFiles(url="/static/"),
        description="Static files of the release; what app.static does not have is asked of Flask. "
        "null leaves all of them to Flask.",
    )
    media: StaticFiles | None = Field(
        default=StaticFiles(url="/media/"), description="Uploads that visitors may read; null serves none."
    )


class Layout(Group):
    """Where things lie on the server."""

    root: rules.RootFolder = Field(default="/srv", description="Folder that holds the application's folder.")


class Settings(Group):
    """Everything that a stack says."""

    stack: str = Field(description="Name of the stack.")
    server: Server = Field(description="Where the application runs.")
    credentials: Credentials = Field(
        default_factory=Credentials, repr=False, description="What flaskhost itself logs in with."
    )
    app: App = Field(description="The application: its code and how it is built and run.")
    web: Web = Field(default_factory=Web, description="How visitors reach the application.")
    env: Mapping[rules.EnvironmentName, rules.EnvironmentValue] = Field(
        default={},
        examples=[{"LOG_LEVEL": "INFO", "DATABASE_URL": "sqlite:////srv/shop/shared/data/shop.db"}],
        description="Environment of the application, in plain text. A number that starts with 0 needs quotes; a line "
        "end at the very beginning of a value is lost by Pulumi here, and kept where the value is encrypted.",
    )
    secrets: Mapping[rules.EnvironmentName, rules.EnvironmentValue] = Field(
        default={},
        repr=False,
        description="Environment of the application that nobody may read, such as keys and passwords.",
    )
    dns: Dns = Field(default_factory=Dns, description="The names of the site, for a server of kind aws.")
    balancer: Balancer = Field(
        default_factory=Balancer, description="The load balancer before several machines of kind aws."
    )
    database: Database = Field(default_factory=Database, description="The database server, for a server of kind aws.")
    redis: Redis = Field(default_factory=Redis, description="The Redis server, for a server of kind aws.")
    media: Media = Field(default_factory=Media, description="Where uploads are kept, for a server of kind aws.")
    layout: Layout = Field(default_factory=Layout, description="Where things lie on the server.")
    drift: Literal["off", "preview"] = Field(
        default="off",
        description="Whether each preview and each up first looks at the hosts for what was changed there by hand, "
        "shows it as a change, and up puts it back: preview does, and opens a connection to each host also where there "
        "is nothing to do. For a server of kind existing.",
    )
    purge: rules.Flag = Field(
        default=False,
        description="Whether pulumi destroy also removes uploads, data and logs from the server. It counts as it was "
        "at the last pulumi up. On a server of kind aws it lifts the protection of volume, address, database, bucket "
        "and records.",
    )
    digest_key: rules.DigestKey | None = Field(
        default=None,
        repr=False,
        description="Key of the digests that stand for secrets in previews; needed where there are secrets.",
    )
