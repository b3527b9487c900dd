"""The deploy, in order. Where: server. How it is reached: site. What: release. How we know: its checks."""

from pathlib import Path

import pulumi

import host_command
import rendering
from components import configuration
from components.host import HostBase
from components.release import Release
from components.remote import Deploy
from components.server import provision
from components.site import Site
from components.teardown import Teardown
from ops.setup import cache

HERE = Path(__file__).parent

settings = configuration.load()
source = configuration.resolve(settings, base=HERE, cache=cache.folder() / "sources")
command = host_command.pack(cache.folder() / "host")
plan = rendering.plan(settings, source)
name = settings.app.name

deploy = Deploy(host=provision(settings), command=command, plan=plan)
base = HostBase(name, deploy)
site = Site(name, deploy, base) if plan.site else None
release = Release(name, deploy, base, site, source.archive)
if plan.teardown:
    Teardown(name, deploy, release)

pulumi.export("url", plan.url)
pulumi.export("release", {"version": source.version, "commit": source.commit, "digest": plan.release})
pulumi.export("verified", release.verified)
