"""`python3 -m ops COMMAND`: what an operator does beside `./pulumi`.

Any Python may call it, the project's own does it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ops.setup import cache

if __name__ == "__main__":
    if Path(sys.prefix).resolve() != cache.VENV.resolve():
        start = cache.TREE / "ops" / "setup" / "start"
        os.execv(start, [str(start), "run", "python", "-m", "ops", *sys.argv[1:]])  # noqa: S606 - becomes it
    from ops import commands

    sys.exit(commands.main(sys.argv[1:]))
