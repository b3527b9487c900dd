"""What differs between the versions of Nginx that the distributions bring: 1.18 (Debian 11) to 1.26 (Debian 13)."""

from __future__ import annotations

import re
from typing import Tuple

from flaskhost.shell import run

# https://nginx.org/en/docs/http/ngx_http_v2_module.html: "listen … http2" until here, "http2 on" from here on.
OWN_DIRECTIVE = (1, 25, 1)
LISTEN = re.compile(r"^( *)listen [^;\n]* http2[^;\n]*;\n(?! *listen [^;\n]* http2)", re.MULTILINE)


def version() -> Tuple[int, ...]:
    """Return the version that is installed, such as (1, 22, 1)."""
    found = re.search(r"nginx/([0-9.]+)", run(["nginx", "-v"], check=False).stdout)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def worded(text: str, for_version: Tuple[int, ...]) -> str:
    """Return a site in the words of that version; ours are those that every one understands.

    A newer one warns of a word that it has another one for, each time that somebody types `nginx -t`.
    """
    if for_version < OWN_DIRECTIVE:
        return text
    with_directive = LISTEN.sub(lambda found: f"{found[0]}{found[1]}http2 on;\n", text)
    return re.sub(r"^( *listen [^;\n]*) http2", r"\1", with_directive, flags=re.MULTILINE)
