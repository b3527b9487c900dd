"""What a stack on AWS consists of, worked out from values: subnets, zones, volumes, policies, records.

Pure, like the settings: nothing here imports Pulumi or opens a connection. `components/` makes resources of it.
"""
