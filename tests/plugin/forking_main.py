"""Runs one of the applications of forking/.

    python -m tests.plugin.forking_main NAME [ARGUMENT...]

Each of its processes writes lines of JSON to standard output, with its process id.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.plugin.forking import at_work, children, daemons, helped
from tests.plugin.forking.steps import tell

_APPLICATIONS = {**vars(children), **vars(daemons), **vars(at_work), **vars(helped)}


def main(arguments: Sequence[str]) -> None:
    """Run one of them."""
    _APPLICATIONS[arguments[0]](*arguments[1:])
    tell(done=True)


if __name__ == "__main__":
    main(sys.argv[1:])
