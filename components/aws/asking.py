"""What it means that something is not on AWS, and how the provider says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")


class Missing(Exception):  # noqa: N818 - what is the case on AWS, and no mistake of the program
    """Something has to be changed before anything can be made; the text is the whole line that a person reads."""


NOTHING = ("no matching", "query returned no results", "couldn't find resource", "not found", "NotFound")
"""How the provider says that something is not there (terraform-plugin-sdk, retry.NotFoundError and tfresource)."""


def asked(ask: Callable[[], Answer], missing: str) -> Answer:
    """Return an answer of AWS.

    Raises:
        Missing: what was asked for is not there. Any other failure, such as a missing right, is AWS's own.
    """
    try:
        return ask()
    except Exception as error:
        if any(words in str(error) for words in NOTHING):
            raise Missing(missing) from None
        raise
