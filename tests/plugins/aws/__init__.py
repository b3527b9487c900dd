"""A stand-in for the aws plugin: checks, previews and an account in a folder, as far as this project uses AWS."""

VERSION = "7.51.1"
"""The version of pulumi-aws whose declarations it reads, and which it stands for."""
