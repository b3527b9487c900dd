"""A deploy to AWS on mocks that answer as an account of AWS would: the stand-in of the plugin, without an engine."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import rendering
from components.host import HostBase
from components.release import Release, let_visitors_in
from components.remote import Deploy
from components.server import provision
from components.services import Services
from components.site import Site
from host_command import HostCommand
from ops import dns
from tests.components import scenario
from tests.components.recording import Recorder, Registered, opened, record
from tests.plugins.aws import changes, checks, declarations, functions, orders, resources
from tests.plugins.aws.account import Account, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi.runtime import mocks

ROOT = Path(rendering.__file__).parent
COMMAND = HostCommand(
    archive=ROOT / "pyproject.toml",  # any file that is there: its bytes are not looked at
    digest="0123456789ab",
    upload=".flaskhost/flaskhost-0123456789ab.pyz",
    program="/usr/local/lib/flaskhost/0123456789ab/bin/flaskhost",
)


class Cloud(Recorder):
    """Makes each resource of AWS in an account, so that what AWS would refuse fails, and its outputs are plausible."""

    def __init__(self, account: Account) -> None:
        """Take an account, in which things may be already."""
        super().__init__()
        self.account = account

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Check the inputs as the plugin does, and make the resource."""
        if not args.typ.startswith("aws:"):
            return super().new_resource(args)
        declaration = declarations.of(args.typ)
        urn = f"urn:pulumi:prod::flaskhost::{args.typ}::{args.name}"
        inputs = opened(json.loads(json.dumps(args.inputs)))
        failures = checks.check(args.typ, declaration, inputs)
        assert not failures, f"{args.typ} {args.name}: {failures}"
        named = checks.named(args.typ, declaration, inputs, {}, urn, b"seed")
        plain = {name: value for name, value in named.items() if not name.startswith("__")}
        order = orders.Order(
            account=self.account,
            kind=args.typ,
            declaration=declaration,
            urn=urn,
            inputs=plain,
            region=scenario.REGION,
            tags=changes.all_tags(declaration, plain, {}),
        )
        return resources.create(order)

    def call(self, args: mocks.MockCallArgs) -> Any:
        """Answer a function."""
        declaration = declarations.of(args.token)
        failures = checks.check(args.token, declaration, dict(args.args), kind="function")
        assert failures == [], args.token
        try:
            return functions.call(self.account, args.token, dict(args.args), scenario.REGION)
        except Refused as refusal:
            return {}, [("", str(refusal))]


def program(**changed: Any) -> Callable[[], Any]:
    """Return the program of a deploy, without what __main__ reads from the machine."""

    def deploy() -> Any:
        settings = scenario.of(**changed)
        source = scenario.resolved(archive=ROOT / "Makefile")
        server = provision(settings)
        services = Services(settings, server)
        releases = []
        for host, place in zip(server.hosts, rendering.places(settings), strict=True):
            made = Deploy(
                app=settings.app.name, host=host, command=COMMAND, plan=rendering.plan(settings, source, place)
            )
            base = HostBase(made)
            connections = services.connect(made, base)
            releases.append(Release(made, base, Site(made, base), source.archive, connections))
        let_visitors_in(releases)
        return services.publish(releases)

    return deploy


def deployed(account: Account | None = None, **changed: Any) -> tuple[Cloud, Any]:
    """Deploy to an account, a new one if none is given; return what was registered, and the records of the site."""
    account = account or Account.open(tempfile.mkdtemp(prefix="flaskhost-account-"))
    # Nobody is asked for names in a fast test.
    with mock.patch.object(dns, "addresses", return_value=set()):
        cloud, records = record(program(**changed), recorder=Cloud(account))
    assert isinstance(cloud, Cloud)
    return cloud, records


def of_kind(cloud: Recorder, kind: str) -> list[Registered]:
    """Return the resources whose type ends so, such as ec2/instance:Instance."""
    return [one for one in cloud.every if one.kind.endswith(kind)]
