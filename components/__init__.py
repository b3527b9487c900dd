"""Pulumi components, the only place where resources are made; `__main__.py` has them in the order of a deploy."""
