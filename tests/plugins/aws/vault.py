"""The secrets of an account, as AWS Secrets Manager keeps them: a file each, which only root reads."""

from __future__ import annotations

import json
import os
import secrets
import string
import threading
import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugins.aws.account import Account, Json

FOLDER = "secrets"
LENGTH = 28
# Amazon RDS leaves out /, ', ", @ and the space ("Constraints for Amazon RDS", MasterUserPassword).
CHARACTERS = string.ascii_letters + string.digits + "!#$%&()*+,-.:;<=>?[]^_{|}~"


def password() -> str:
    """Return a password as Amazon RDS makes one up."""
    return "".join(secrets.choice(CHARACTERS) for _ in range(LENGTH))


def keep(account: Account, arn: str, fields: Json) -> None:
    """Keep the fields of a secret as its version of now."""
    file = _file(account, arn)
    # A secret's ARN is its name with six characters behind it.
    name = arn.rpartition(":")[2].rpartition("-")[0]
    text = json.dumps({"arn": arn, "name": name, "version": str(uuid.uuid4()), "text": json.dumps(fields)}, indent=1)
    unfinished = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.replace(file)


def read(account: Account, arn: str) -> Json:
    """Return the fields of a secret as they are now."""
    fields: Json = json.loads(json.loads(_file(account, arn).read_text())["text"])
    return fields


def forget(account: Account, arn: str) -> None:
    """Remove a secret; one that is gone already is no failure."""
    _file(account, arn).unlink(missing_ok=True)


def _file(account: Account, arn: str) -> Path:
    return account.path(FOLDER) / f"{quote(arn, safe='')}.json"
