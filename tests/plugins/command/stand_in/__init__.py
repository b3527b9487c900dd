"""A stand-in for the command plugin: what pulumi-command 1.2.1 does, as far as this project uses it.

Importing `pulumi` as a whole takes three times as long as all that is needed here (0.5 s and 0.17 s), and the engine
waits for it in every update. So the classes that are generated from the protocol are imported without the SDK around
them.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType


def _skip_the_sdk() -> None:
    spec = find_spec("pulumi")
    if spec is None or spec.submodule_search_locations is None:
        sys.exit(
            f"the Python package pulumi is missing in {sys.executable}: run the plugin with the Python of the "
            "project's environment (set-up makes it: make demo)"
        )
    for name, below in (("pulumi", ""), ("pulumi.runtime", "/runtime")):
        module = ModuleType(name)
        module.__path__ = [folder + below for folder in spec.submodule_search_locations]
        sys.modules[name] = module


if "pulumi" not in sys.modules:
    _skip_the_sdk()
