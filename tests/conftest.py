"""No test uses the cache of this machine, or of another run; and none fails because the machine is slow."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# By default, an example may take 200 ms
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_CACHE = "CACHE_DIRECTORY"
"""Not OTEL_PYTHON_TCPLIFE_CACHE: many tests take all variables of that kind out of the environment."""

os.environ[_CACHE] = "/dev/null"  # no directory, for what looks at the environment before a test begins


@pytest.fixture(autouse=True, scope="module")
def each_file_compiles_once() -> Iterator[None]:
    """Each file of tests has a cache of its own: who asks for a program first compiles it, and others load that."""
    directory = tempfile.mkdtemp(prefix="tcplife-cache-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_CACHE, directory)
        yield
    shutil.rmtree(directory, ignore_errors=True)
