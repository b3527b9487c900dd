"""The names of the site: records in Route 53, or what a person has to make elsewhere; the balancer's certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

import rendering
from components.aws.balancer import Balancer
from components.aws.firewall import HTTP, HTTPS
from components.aws.pause import pause
from ops import dns
from planning import records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from components.server.aws import Aws

PROOF_TTL_SECONDS = 300


class Names(pulumi.ComponentResource):
    """How visitors find the site, through a load balancer where there are several machines.

    Attributes:
        records: what leads the names to the site, each as a line of a zone file.
    """

    records: pulumi.Output[list[str]]

    def __init__(
        self, server: Aws, serving: Sequence[pulumi.Resource], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Make the records, or say which ones to make.

        Args:
            server: the machines.
            serving: what has to be there before a name leads to the site.
            opts: of the component.
        """
        super().__init__("flaskhost:site:Names", server.cloud.app, None, opts)
        self._server, self._cloud = server, server.cloud
        settings = server.cloud.settings
        self._names = [*settings.web.domains, *settings.web.redirects]
        self._serving = list(serving)
        zone = server.cloud.found.hosted_zone
        balancer = None
        if server.cloud.server.has_balancer:
            certificate = self._certificate(zone) if zone else settings.balancer.certificate or ""
            balancer = Balancer(server, certificate, self._serving, pulumi.ResourceOptions(parent=self))
        if zone:
            self._records(zone, balancer)
        self.records = self._lines(balancer)
        if not zone and not pulumi.runtime.is_dry_run():
            self.records.apply(_tell)
        self.register_outputs({"names": self._names})

    def _records(self, zone: str, balancer: Balancer | None) -> None:
        """Lead each name to the site, and say who may issue certificates for it."""
        settings = self._cloud.settings
        for name in self._names:
            for kind, value in self._targets(balancer).items():
                # What a protected record needs is kept as well. So the one of the address that stays needs no machine,
                # and the one of a machine's own address, which goes with it, is not protected.
                goes, stays = kind == "AAAA" and balancer is None, kind == "A" and balancer is None
                after = [] if stays else [*self._serving, *(balancer.ready if balancer else [])]
                options = pulumi.ResourceOptions(parent=self, depends_on=after)
                aws.route53.Record(
                    f"{self._cloud.app}-{name}-{kind.lower()}",
                    zone_id=zone,
                    name=name,
                    type=kind,
                    opts=options if goes else self._cloud.holds(self, options),
                    **value,
                )
        for name, values in records.authorities(self._names, settings.dns.caa).items():
            aws.route53.Record(
                f"{self._cloud.app}-{name}-caa",
                zone_id=zone,
                name=name,
                type="CAA",
                ttl=PROOF_TTL_SECONDS,
                records=values,
                opts=self._cloud.holds(self),
            )
        if settings.dns.health_check:
            self._health_check()
        self._remembered(balancer)

    def _remembered(self, balancer: Balancer | None) -> None:
        """Let visitors in where the names have led until now, for as long as anybody may remember that.

        When a load balancer comes or goes, the records lead elsewhere first, and what was there goes at the end.
        """
        where, there = ("balancer", balancer.ready) if balancer else ("machine", [])
        pause(
            f"{self._cloud.app}-names-of-{where}-forgotten",
            self,
            [*self._server.firewall.site, *there],
            identity=self._server.firewall.machines.id,
            going=records.TTL_SECONDS,
        )

    def _targets(self, balancer: Balancer | None) -> dict[str, dict[str, object]]:
        """Return what the records say, by their type."""
        machines = self._server.machines
        if balancer:
            alias = aws.route53.RecordAliasArgs(
                name=balancer.resource.dns_name, zone_id=balancer.resource.zone_id, evaluate_target_health=True
            )
            kinds = ["A", *(["AAAA"] if self._server.network.has_ipv6 else [])]
            return {kind: {"aliases": [alias]} for kind in kinds}
        found = {"A": machines.address, **({"AAAA": machines.ipv6} if machines.ipv6 else {})}
        return {kind: {"ttl": records.TTL_SECONDS, "records": [value]} for kind, value in found.items()}

    def _health_check(self) -> None:
        settings = self._cloud.settings
        aws.route53.HealthCheck(
            f"{self._cloud.app}-health",
            type="HTTPS" if settings.web.https else "HTTP",
            fqdn=rendering.first_name(settings),
            port=HTTPS if settings.web.https else HTTP,
            resource_path=settings.app.health.path,
            enable_sni=settings.web.https,
            failure_threshold=3,
            request_interval=30,
            tags=self._cloud.tags("health"),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _certificate(self, zone: str) -> pulumi.Output[str]:
        """Return the ARN of a certificate for all names, once AWS has seen the records that prove them."""
        cloud, options = self._cloud, pulumi.ResourceOptions(parent=self)
        first, *others = self._names
        certificate = aws.acm.Certificate(
            f"{cloud.app}-certificate",
            domain_name=first,
            subject_alternative_names=others,
            validation_method="DNS",
            tags=cloud.tags("certificate"),
            opts=options,
        )
        proofs = []
        # `*.example.com` is proven by the record of `example.com`.
        for name in dict.fromkeys(name.removeprefix("*.") for name in self._names):
            option = certificate.domain_validation_options.apply(_of(name))
            proofs.append(
                aws.route53.Record(
                    f"{cloud.app}-{name}-proof",
                    zone_id=zone,
                    name=option.apply(lambda one: str(one.resource_record_name)),
                    type=option.apply(lambda one: str(one.resource_record_type)),
                    records=[option.apply(lambda one: str(one.resource_record_value))],
                    ttl=PROOF_TTL_SECONDS,
                    # Another stack may prove the same name by the same record.
                    allow_overwrite=True,
                    opts=options,
                )
            )
        proven = aws.acm.CertificateValidation(
            f"{cloud.app}-certificate",
            certificate_arn=certificate.arn,
            validation_record_fqdns=[proof.fqdn for proof in proofs],
            opts=options,
        )
        arn: pulumi.Output[str] = proven.certificate_arn
        return arn

    def _lines(self, balancer: Balancer | None) -> pulumi.Output[list[str]]:
        """Return the records that there are to be."""
        if balancer:
            wanted = balancer.resource.dns_name.apply(lambda name: records.aliases(self._names, str(name)))
        else:
            machines = self._server.machines
            found = pulumi.Output.all(machines.address, machines.ipv6)
            wanted = found.apply(lambda two: records.addresses(self._names, two[0], two[1]))
        lines: pulumi.Output[list[str]] = wanted.apply(lambda found: [str(record) for record in found])
        return lines


def _tell(lines: list[str]) -> None:
    """Say in an `up` which records a person still has to make."""
    missing = dns.told(lines)
    if missing:
        pulumi.warn(missing)


def _of(name: str) -> Callable[[list[aws.acm.outputs.CertificateDomainValidationOption]], object]:
    """Return what finds the proof of a name among those of a certificate."""
    return lambda options: next(one for one in options if str(one.domain_name).removeprefix("*.") == name)
