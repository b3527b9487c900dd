"""What a stack has on AWS: network, firewall, machines, data, balancer and names, one component a module.

`pulumi_aws` takes a second to import and more, so only stacks with a server of kind aws import this package.
"""
