"""The smallest application: two files in a folder, installed in seconds, with no database that hosts would share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.stack import TREE

if TYPE_CHECKING:
    from pathlib import Path

WSGI = """
import os

from flask import Flask

app = Flask(__name__)


@app.get("/")
def page():
    return "small and well, served by version <strong>{version}</strong>"


@app.get("/version")
def version():
    return "{version}"


@app.get("/health")
def health():
    return ("sick", 500) if os.path.exists("{sick}") else "well"
"""
SICK = "/etc/sick-{version}"
"""A file that makes a version of it unhealthy on the host where it is."""

NEEDED = ("flask==", "werkzeug==", "jinja2==", "markupsafe==", "itsdangerous==", "click==", "blinker==")


def write(folder: Path, version: str) -> None:
    """Have that version in the folder."""
    folder.mkdir(exist_ok=True)
    (folder / "wsgi.py").write_text(WSGI.format(version=version, sick=SICK.format(version=version)))
    pins = (TREE / "examples/guestbook/requirements.txt").read_text().splitlines()
    (folder / "requirements.txt").write_text("\n".join(pin for pin in pins if pin.lower().startswith(NEEDED)) + "\n")
