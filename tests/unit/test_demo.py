"""What the demo changes in the stack file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from pulumi import automation

from ops import demo

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

COMMIT = "3f2a" * 10


class Stack:
    """Stands for Pulumi's: holds the group of the application."""

    def __init__(self, **app: str) -> None:
        """Begin with what the stack file says."""
        self.app = app

    def get_config(self, key: str, *, path: bool = False) -> automation.ConfigValue:
        """Return one value, or the whole group as the engine prints it."""
        return automation.ConfigValue(self.app[key.rpartition(".")[2]] if path else json.dumps(self.app))

    def set_config(self, key: str, value: automation.ConfigValue, *, path: bool) -> None:
        """Put a value in."""
        assert path
        self.app[key.rpartition(".")[2]] = value.value

    def remove_config(self, key: str, *, path: bool) -> None:
        """Take a value out."""
        assert path
        del self.app[key.rpartition(".")[2]]


def test_another_version_is_asked_for_without_the_commit_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: after a rollback, which writes the commit, the demo deploys what it is asked for."""
    monkeypatch.setattr(demo, "KEPT", tmp_path / "kept")
    after: Any = Stack(name="guestbook", version="v1.0.0", commit=f"v1.0.0@{COMMIT}")
    demo.ask_for(cast("automation.Stack", after), "v1.1.0")
    assert after.app == {"name": "guestbook", "version": "v1.1.0"}
    never: Any = Stack(name="guestbook", version="v1.0.0")
    demo.ask_for(cast("automation.Stack", never), "v1.1.0")
    assert never.app == {"name": "guestbook", "version": "v1.1.0"}
