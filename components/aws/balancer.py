"""The load balancer before several machines, and its certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

import rendering
from components.aws.firewall import HTTP, HTTPS
from components.aws.pause import pause
from planning import machines, records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from components.server.aws import Aws

TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
"""TLS 1.2 and 1.3 (Application Load Balancers, "Security policies for HTTPS listeners")."""

LONGEST_NAME = 32
"""Of a load balancer and of a target group (Elastic Load Balancing API, CreateLoadBalancer)."""

HEALTH_INTERVAL_SECONDS, HEALTH_TIMEOUT_SECONDS, HEALTH_THRESHOLD = 10, 5, 2
HEALTHY_SECONDS = (HEALTH_THRESHOLD + 1) * HEALTH_INTERVAL_SECONDS
"""Until the balancer knows that a machine is well again: the first question may have come just before it was."""


class Balancer(pulumi.ComponentResource):
    """Where visitors arrive: it speaks TLS with them and with the machines, and asks each of those whether it is well.

    Attributes:
        resource: the load balancer.
        ready: what has to be there before visitors are sent to it.
    """

    resource: aws.lb.LoadBalancer
    ready: list[pulumi.Resource]

    def __init__(
        self,
        server: Aws,
        certificate: pulumi.Input[str],
        serving: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make it, with the machines behind it.

        Args:
            server: the machines.
            certificate: ARN of one that is valid for all names of the site.
            serving: what has to be there before the machines serve.
            opts: of the component.
        """
        super().__init__("flaskhost:site:Balancer", server.cloud.app, None, opts)
        self._server, self._cloud = server, server.cloud
        cloud, options, web = server.cloud, pulumi.ResourceOptions(parent=self), server.cloud.settings.web
        group = server.firewall.balancer
        self.resource = aws.lb.LoadBalancer(
            cloud.named("balancer", LONGEST_NAME),
            load_balancer_type="application",
            # One a zone is all that it takes.
            subnets=list(machines.one_a_zone(server.network.public).values()),
            security_groups=[group.id] if group else [],
            ip_address_type="dualstack" if server.network.has_ipv6 else "ipv4",
            drop_invalid_header_fields=True,
            idle_timeout=rendering.idle_seconds(cloud.settings),
            tags=cloud.tags("balancer"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=server.network.ways),
        )
        targets = self._targets()
        self.ready = [self._redirect()]
        listener = aws.lb.Listener(
            f"{cloud.app}-https",
            load_balancer_arn=self.resource.arn,
            port=HTTPS,
            protocol="HTTPS",
            ssl_policy=TLS_POLICY,
            certificate_arn=certificate,
            # For names that are nobody's.
            default_actions=[
                aws.lb.ListenerDefaultActionArgs(
                    type="fixed-response",
                    fixed_response=aws.lb.ListenerDefaultActionFixedResponseArgs(
                        content_type="text/plain", status_code="404", message_body="no such site"
                    ),
                )
            ],
            tags=cloud.tags("https"),
            opts=options,
        )
        for number, names in enumerate(records.in_rules([*web.domains, *web.redirects]), start=1):
            rule = aws.lb.ListenerRule(
                f"{cloud.app}-names-{number}",
                listener_arn=listener.arn,
                priority=number,
                conditions=[
                    aws.lb.ListenerRuleConditionArgs(
                        host_header=aws.lb.ListenerRuleConditionHostHeaderArgs(values=names)
                    )
                ],
                actions=[aws.lb.ListenerRuleActionArgs(type="forward", target_group_arn=targets.arn)],
                tags=cloud.tags(f"names-{number}"),
                opts=options,
            )
            self.ready.append(rule)
        # Machines that no rule leads to are not asked how they are.
        self.ready += self._members(targets, [*serving, *self.ready])
        self.register_outputs({"name": self.resource.dns_name})

    def _targets(self) -> aws.lb.TargetGroup:
        cloud, health = self._cloud, self._cloud.settings.app.health
        return aws.lb.TargetGroup(
            cloud.named("machines", LONGEST_NAME),
            port=HTTPS,
            protocol="HTTPS",
            target_type="instance",
            vpc_id=self._server.network.vpc,
            deregistration_delay=cloud.settings.balancer.drain,
            health_check=aws.lb.TargetGroupHealthCheckArgs(
                path=health.path,
                protocol="HTTPS",
                matcher=str(health.status),
                interval=HEALTH_INTERVAL_SECONDS,
                timeout=HEALTH_TIMEOUT_SECONDS,
                healthy_threshold=HEALTH_THRESHOLD,
                unhealthy_threshold=HEALTH_THRESHOLD,
            ),
            tags=cloud.tags("machines"),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _members(self, group: aws.lb.TargetGroup, before: Sequence[pulumi.Resource]) -> Iterator[pulumi.Resource]:
        """Send visitors to each machine as long as it serves.

        A new one is waited for until the balancer knows that it is well; only then those go that it takes the place
        of, and each of them only when its last requests are answered.

        Args:
            group: that they are in.
            before: what has to be there before the balancer can find that they are well.
        """
        cloud = self._cloud
        for number, instance in enumerate(self._server.machines.instances, start=1):
            name = f"{cloud.app}-machine-{number}"
            drained = pause(f"{name}-drained", self, [], identity=instance, going=cloud.settings.balancer.drain)
            target = aws.lb.TargetGroupAttachment(
                name,
                target_group_arn=group.arn,
                target_id=instance,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[drained]),
            )
            yield target
            yield pause(f"{name}-healthy", self, [target, *before], identity=instance, coming=HEALTHY_SECONDS)

    def _redirect(self) -> aws.lb.Listener:
        to_https = aws.lb.ListenerDefaultActionRedirectArgs(protocol="HTTPS", port=str(HTTPS), status_code="HTTP_301")
        return aws.lb.Listener(
            f"{self._cloud.app}-http",
            load_balancer_arn=self.resource.arn,
            port=HTTP,
            protocol="HTTP",
            default_actions=[aws.lb.ListenerDefaultActionArgs(type="redirect", redirect=to_https)],
            tags=self._cloud.tags("http"),
            opts=pulumi.ResourceOptions(parent=self),
        )
