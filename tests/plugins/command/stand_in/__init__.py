"""A stand-in for the command plugin: what pulumi-command 1.2.1 does, as far as this project uses it."""
