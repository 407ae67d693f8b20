"""Variables that look like ours and are none: a name that was misspelt would otherwise be noticed late, if ever."""

from __future__ import annotations

import os
from collections.abc import Mapping

from otel_tcplife import environment_variables
from otel_tcplife.log import logger

_PREFIX = "OTEL_PYTHON_TCPLIFE_"


def warn_of_unknown_variables(environ: Mapping[str, str] = os.environ) -> None:
    """Log a line for each, with the name that is nearest to it."""
    known = [name.removeprefix(_PREFIX) for name in vars(environment_variables) if name.startswith(_PREFIX)]
    ours = [name.removeprefix(_PREFIX) for name in environ if name.startswith(_PREFIX)]
    unknown = sorted(name for name in ours if name not in known)
    if not unknown:
        return
    from difflib import get_close_matches

    for name in unknown:
        nearest = get_close_matches(name, known, 1)
        meant = f"; did you mean {_PREFIX}{nearest[0]}?" if nearest else ""
        logger.warning("there is no variable %s%s%s", _PREFIX, name, meant)
