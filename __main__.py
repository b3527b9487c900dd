"""The deploy, in order. Where: server. What it needs: services. How it is reached: site. What: release, and checks."""

from pathlib import Path

import pulumi

import host_command
import rendering
from components import configuration, drift
from components.host import HostBase
from components.release import Release, let_visitors_in
from components.remote import Deploy
from components.server import provision
from components.services import Services
from components.site import Site
from components.teardown import Teardown
from ops.setup import cache

HERE = Path(__file__).parent

settings = configuration.load()
source = configuration.resolve(settings, base=HERE, cache=cache.folder() / "sources")
command = host_command.pack(cache.folder() / "host")
plans = [rendering.plan(settings, source, place) for place in drift.places(settings)]

server = provision(settings)
services = Services(settings, server)
releases = []
for host, plan in zip(server.hosts, plans, strict=True):
    deploy = Deploy(app=settings.app.name, host=host, command=command, plan=plan)
    base = HostBase(deploy)
    connections = services.connect(deploy, base)
    site = Site(deploy, base) if plan.site else None
    releases.append(Release(deploy, base, site, source.archive, connections))
let_visitors_in(releases)
records = services.publish(releases)
for release in releases:
    if release.deploy.plan.teardown:
        Teardown(release)

first = plans[0]
verified = {release.deploy.plan.label: release.verified for release in releases}
pulumi.export("url", first.url)
pulumi.export("release", {"version": source.version, "commit": source.commit, "digest": first.release})
pulumi.export("verified", verified.get("", verified))
pulumi.export("kept", releases[0].kept)
if records is not None:
    pulumi.export("records", records)
