"""What AWS offers to a machine from within, and a database: the machine asks as the product's host does, with boto3."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugins.aws import boxes, containers, services, vault
from tests.plugins.aws.kinds import ASSOCIATION, DATABASE, EIP, INSTANCE, PROFILE, ROLE, ROLE_POLICY
from tests.plugins.protocol import PluginError
from tests.plugins.test_aws_containers import Cloud

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHY_NOT = containers.impossible()
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))]

REGION = "eu-central-1"
READ = "secretsmanager:GetSecretValue"
WITH_TOKEN = {"metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required"}}
USER_DATA = "#cloud-config\n# made for a test\n"

ASK = """
import json, sys
import boto3
words = json.load(sys.stdin)
session = boto3.session.Session(region_name=words["region"], **words["credentials"])
try:
    print(json.dumps(session.client("secretsmanager").get_secret_value(SecretId=words["secret"]), default=str))
except Exception as error:
    answer = getattr(error, "response", {}).get("Error", {})
    print(json.dumps({"code": answer.get("Code") or type(error).__name__, "message": str(error)}))
"""
LISTEN = """
import socket
for port in 80, 443:
    socket.create_server(("0.0.0.0", port))
print("both")
"""
PSQL = 'IFS= read -r PGPASSWORD; export PGPASSWORD; psql -XAt -d "$1" -c "$2" 2>&1'


class Machine:
    """A machine of an account, and what somebody on it may try."""

    def __init__(self, cloud: Cloud, **inputs: Any) -> None:
        """Make it."""
        self.id, self.state = cloud.machine(**inputs)
        self._name = containers.name_of(cloud.account, self.id)

    def run(self, *words: str, stdin: str = "") -> str:
        """Run a program and return what it prints."""
        called = ["podman", "exec", "-i", self._name, *words]
        done = subprocess.run(called, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        return (done.stdout + done.stderr).strip()

    def token(self) -> str:
        """Return a token of the metadata service."""
        return self.metadata("api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60", method="PUT")[1]

    def metadata(self, path: str, *headers: str, method: str = "GET") -> tuple[int, str]:
        """Ask the metadata service; return status and text."""
        more = [word for header in headers for word in ("-H", header)]
        words = ["curl", "-s", "-m", "5", "-X", method, *more, "-w", "\n%{http_code}"]
        text, _, status = self.run(*words, f"http://169.254.169.254/latest/{path}").rpartition("\n")
        return int(status), text

    def known(self, path: str) -> tuple[int, str]:
        """Ask the metadata service with a token."""
        return self.metadata(path, f"X-aws-ec2-metadata-token: {self.token()}")

    def secret(self, arn: str, region: str = REGION, **credentials: str) -> dict[str, Any]:
        """Ask for a secret as the product's host does."""
        words = {"secret": arn, "region": region, "credentials": credentials}
        answer: dict[str, Any] = json.loads(self.run("python3", "-c", ASK, stdin=json.dumps(words)))
        return answer

    def credentials(self) -> dict[str, str]:
        """Return the credentials of its role, as boto3 takes them."""
        found = json.loads(self.known("meta-data/iam/security-credentials/machines")[1])
        return {
            "aws_access_key_id": found["AccessKeyId"],
            "aws_secret_access_key": found["SecretAccessKey"],
            "aws_session_token": found["Token"],
        }

    def sql(self, database: dict[str, Any], password: str, query: str, mode: str = "require") -> str:
        """Run a query with psql."""
        where = f"host={database['address']} dbname=shop user=flaskhost connect_timeout=5 sslmode={mode}"
        return self.run("sh", "-c", PSQL, "sh", where, query, stdin=f"{password}\n")


class World:
    """An account with a role, a machine that has it, one that has none, and a database."""

    def __init__(self, cloud: Cloud) -> None:
        """Make all of it."""
        self.cloud, self.account, self._numbers = cloud, cloud.account, itertools.count()
        trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        cloud.make(ROLE, {"name": "machines", "assumeRolePolicy": _policy(trust)})
        cloud.make(PROFILE, {"name": "profile", "role": "machines"})
        self.machine = Machine(cloud, iamInstanceProfile="profile", userData=USER_DATA, **WITH_TOKEN)
        self.nobody = Machine(cloud)
        self.database = self.make_database("shop")
        self.arn = str(self.database[1]["masterUserSecrets"][0]["secretArn"])

    def make_database(self, name: str, **more: Any) -> tuple[str, dict[str, Any]]:
        """Make a database as the product does."""
        inputs = {
            "identifier": name,
            "engine": "postgres",
            "engineVersion": "17",
            "instanceClass": "db.t4g.micro",
            "allocatedStorage": 20,
            "dbName": "shop",
            "username": "flaskhost",
            "manageMasterUserPassword": True,
            "skipFinalSnapshot": True,
            **more,
        }
        return self.cloud.make(DATABASE, inputs)

    @contextlib.contextmanager
    def allowed(self, on: str, *, effect: str = "Allow", action: str = READ) -> Iterator[None]:
        """Have a policy of the role meanwhile."""
        statement = {"Effect": effect, "Action": [action], "Resource": on}
        inputs = {"role": "machines", "name": f"policy-{next(self._numbers)}", "policy": _policy(statement)}
        policy = self.cloud.make(ROLE_POLICY, inputs)
        try:
            yield
        finally:
            self.cloud.remove(ROLE_POLICY, policy)


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture(scope="session")
def client_image(instance_image: str) -> str:
    """Return the image of a machine that has psql."""
    # Not at the top: it needs a container engine.
    from ops.local_server.engine import choose  # noqa: PLC0415
    from tests.e2e import prepared  # noqa: PLC0415

    return prepared.derived(choose(), instance_image, prepared.INSTALL.format(packages="postgresql-client"))


@pytest.fixture(scope="session")
def database_image() -> str:
    """Return the image of a database."""
    from ops.local_server.engine import choose  # noqa: PLC0415
    from tests.plugins.aws.image import database_image  # noqa: PLC0415

    return database_image(choose())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, client_image: str, database_image: str) -> Iterator[World]:
    """Open an account with services and a real database for all tests of this module."""
    settings = {"image": client_image, "services": True, "database_image": database_image}
    cloud = Cloud(tmp_path_factory.mktemp("aws") / "services", client_image, containers=settings)
    try:
        yield World(cloud)
    finally:
        cloud.close()


def test_metadata_needs_a_token(world: World) -> None:
    """Where the instance says so: neither none nor one that was made up will do, and a token needs a time to end."""
    assert world.machine.metadata("meta-data/instance-id") == (401, "")
    assert world.machine.metadata("meta-data/instance-id", "X-aws-ec2-metadata-token: AAAA") == (401, "")
    assert world.machine.metadata("api/token", method="PUT") == (400, "")
    assert world.machine.known("meta-data/instance-id") == (200, world.machine.id)
    assert world.nobody.metadata("meta-data/instance-id") == (200, world.nobody.id)
    assert world.nobody.metadata("meta-data/instance-id", "X-aws-ec2-metadata-token: AAAA") == (401, "")


def test_metadata_is_of_the_moment(world: World) -> None:
    """An address that has just moved to the machine is there, and what it was started with."""
    _, eip = world.cloud.make(EIP, {"domain": "vpc"})
    world.cloud.make(ASSOCIATION, {"allocationId": eip["id"], "instanceId": world.machine.id})
    assert world.machine.known("meta-data/public-ipv4") == (200, eip["publicIp"])
    assert world.machine.known("meta-data/placement/region") == (200, REGION)
    assert world.machine.known("meta-data/placement/availability-zone") == (200, f"{REGION}a")
    assert world.machine.known("meta-data/placement/") == (200, "availability-zone\nregion")
    assert world.machine.known("user-data") == (200, USER_DATA)
    assert world.machine.known("meta-data/nothing") == (404, "")


def test_credentials_are_those_of_the_role(world: World) -> None:
    """And who has no role finds none."""
    assert world.machine.known("meta-data/iam/security-credentials/") == (200, "machines")
    assert set(world.machine.credentials()) == {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"}
    assert world.nobody.known("meta-data/iam/security-credentials/") == (404, "")
    assert world.nobody.known("user-data") == (404, "")
    assert world.nobody.secret(world.arn)["code"] == "NoCredentialsError"


def test_a_secret_is_for_whoever_may_read_it(world: World) -> None:
    """A policy counts at once, and so does its end; what is denied is not allowed elsewhere."""
    machine, arn = world.machine, world.arn
    assert machine.secret(arn)["code"] == "AccessDeniedException"
    with world.allowed(f"{arn}x"), world.allowed(arn, action="secretsmanager:DescribeSecret"):
        assert machine.secret(arn)["code"] == "AccessDeniedException"
    with world.allowed(arn):
        answer = machine.secret(arn)
        assert (answer["ARN"], answer["Name"][:7]) == (arn, "rds!db-")
        assert json.loads(answer["SecretString"]) == vault.read(world.account, arn)
        with world.allowed("arn:aws:secretsmanager:*", effect="Deny"):
            assert machine.secret(arn)["code"] == "AccessDeniedException"
        assert machine.secret(answer["Name"])["ARN"] == arn
    assert machine.secret(arn)["code"] == "AccessDeniedException"


def test_an_unknown_secret_is_told_from_a_forbidden_one(world: World) -> None:
    """Only to whoever might read it."""
    unknown = f"{world.arn.rpartition(':')[0]}:nothing-AbCdEf"
    assert world.machine.secret(unknown)["code"] == "AccessDeniedException"
    with world.allowed("arn:aws:secretsmanager:*"):
        assert world.machine.secret(unknown)["code"] == "ResourceNotFoundException"


def test_a_request_is_signed_by_the_role(world: World) -> None:
    """Another key, another token, and credentials of another machine are refused."""
    own = world.machine.credentials()
    with world.allowed(world.arn):
        assert "SecretString" in world.machine.secret(world.arn, **own)
        wrong = world.machine.secret(world.arn, **{**own, "aws_secret_access_key": "x" * 40})
        assert wrong["code"] == "InvalidSignatureException"
        for name in ("aws_access_key_id", "aws_session_token"):
            made_up = world.machine.secret(world.arn, **{**own, name: "ASIAMADEUP"})
            assert made_up["code"] == "UnrecognizedClientException"
        assert world.nobody.secret(world.arn, **own)["code"] == "UnrecognizedClientException"


def test_the_database_takes_the_password_of_its_secret(world: World) -> None:
    """With TLS alone; a new password counts from the moment on that the secret has it."""
    machine, database = world.machine, world.database[1]
    asked = "SELECT ssl, current_user, current_database() FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    with world.allowed(world.arn):
        first = json.loads(machine.secret(world.arn)["SecretString"])
        assert first["username"] == "flaskhost"
        assert machine.sql(database, first["password"], asked) == "t|flaskhost|shop"
        assert "no encryption" in machine.sql(database, first["password"], asked, mode="disable")
        assert machine.sql(database, first["password"], "SHOW server_encoding") == "UTF8"
        made = machine.sql(database, first["password"], "CREATE TABLE kept (id int); SELECT count(*) FROM kept")
        assert made.splitlines() == ["CREATE TABLE", "0"]
        services.rotate(world.account, world.arn)
        second = json.loads(machine.secret(world.arn)["SecretString"])
        assert second["password"] != first["password"]
        assert "authentication failed" in machine.sql(database, first["password"], asked)
        assert machine.sql(database, second["password"], asked) == "t|flaskhost|shop"


def test_a_password_is_in_its_secret_alone(world: World) -> None:
    """Neither in the outputs nor in what the account keeps of the resource."""
    password = vault.read(world.account, world.arn)["password"]
    assert password not in str(world.database[1])
    assert password not in str(world.account.all(DATABASE))
    assert world.database[1]["endpoint"] == f"{world.database[1]['address']}:5432"


def test_a_database_goes_with_its_secret(world: World) -> None:
    """Unless it is protected."""
    identity, state = world.make_database("other", deletionProtection=True)
    arn = state["masterUserSecrets"][0]["secretArn"]
    with pytest.raises(PluginError, match="Cannot delete protected DB Instance"):
        world.cloud.remove(DATABASE, (identity, state))
    assert boxes.running(world.account, identity)
    old = world.account.find(DATABASE, identity)
    assert old is not None
    new = {**old["inputs"], "deletionProtection": False}
    now = world.cloud.plugin.update(DATABASE, state, old["inputs"], new, identity=identity)
    assert now["address"] == state["address"]
    world.cloud.remove(DATABASE, (identity, now))
    assert boxes.running(world.account, identity) is None
    assert not any("other" in str(one) for one in world.account.all(DATABASE))
    with pytest.raises(FileNotFoundError):
        vault.read(world.account, arn)


def test_the_ports_of_a_machine_are_its_own(world: World) -> None:
    """A web server may listen on 80 and 443 of all addresses, before a reboot and after it; the services answer."""
    for machine in (world.machine, world.nobody):
        machine.run("systemctl", "stop", "nginx")
        assert machine.run("python3", "-c", LISTEN) == "both"
    containers.reboot(world.account, world.nobody.id)
    assert world.nobody.known("meta-data/instance-id") == (200, world.nobody.id)
    address = world.account.find(INSTANCE, world.nobody.id)
    assert address is not None
    assert world.nobody.known("meta-data/local-ipv4") == (200, address["state"]["privateIp"])


def test_a_secret_is_there_without_containers(tmp_path: Path) -> None:
    """Where a database is only written down: it comes and goes with the wish that AWS manages the password."""
    cloud = Cloud(tmp_path / "account", "", containers={})
    given = {"identifier": "shop", "engine": "postgres", "instanceClass": "db.t4g.micro", "allocatedStorage": 20}
    own = {**given, "username": "flaskhost", "skipFinalSnapshot": True, "password": "given"}
    managed = {**given, "username": "flaskhost", "skipFinalSnapshot": True, "manageMasterUserPassword": True}
    identity, state = cloud.make(DATABASE, own)
    assert not (tmp_path / "account" / "secrets").exists()
    now = cloud.plugin.update(DATABASE, state, own, managed, identity=identity)
    arn = now["masterUserSecrets"][0]["secretArn"]
    first = vault.read(cloud.account, arn)
    services.rotate(cloud.account, arn)
    second = vault.read(cloud.account, arn)
    assert first["username"] == second["username"] == "flaskhost"
    assert first["password"] not in {"given", second["password"]}
    assert now["address"].endswith(".rds.amazonaws.com")
    cloud.plugin.update(DATABASE, now, managed, own, identity=identity)
    with pytest.raises(FileNotFoundError):
        vault.read(cloud.account, arn)
    cloud.close()
