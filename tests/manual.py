"""The manual page and the completions of shells, made from the options: `python -m tests.manual` writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import shtab
from argparse_manpage.manpage import Manpage  # pyright: ignore[reportMissingTypeStubs]

from otel_tcplife.cli import parser
from otel_tcplife.options import OPTIONS
from otel_tcplife.version import __version__

_DOCS = Path(__file__).resolve().parents[1] / "docs"

_EXIT_STATUS = r""".SH EXIT STATUS
0 stopped cleanly, 1 cannot trace, and why, 2 bad usage.
.SH SEE ALSO
tcplife\-bpfcc(8), https://opentelemetry.io/docs/specs/otel/configuration/sdk\-environment\-variables/
"""


def manual() -> str:
    """The page, with the variables besides the options."""
    page = str(Manpage(parser()))
    head, options = page.split(".SH NAME\n", 1)
    title = f'.TH OTEL\\-TCPLIFE 8 "" "otel\\-tcplife {__version__}" "System Administration"'
    assert head.startswith(".TH")
    name = "otel\\-tcplife \\- trace TCP sessions, and export them as OpenTelemetry logs and metrics"
    named = options.replace("otel\\-tcplife\n", f"{name}\n", 1)
    return "\n".join([title, ".SH NAME", named.rstrip(), *_environment(), _EXIT_STATUS])


def _environment() -> list[str]:
    lines = [".SH ENVIRONMENT", "The standard variables OTEL_* say where the telemetry goes. Besides these:"]
    for option in OPTIONS:
        if option.variable:
            lines += [".TP", f"\\fB{option.variable}\\fR", option.help.replace("`", "").replace("-", "\\-")]
    return lines


def _completion(shell: str) -> str:
    """Without the lines of its own that shtab begins with."""
    return shtab.complete(parser(), shell)


FILES: dict[Path, Callable[[], str]] = {
    _DOCS / "man" / "otel-tcplife.8": manual,
    _DOCS / "completion" / "otel-tcplife.bash": lambda: _completion("bash"),
    _DOCS / "completion" / "_otel-tcplife": lambda: _completion("zsh"),
}


def main() -> None:
    """Write them."""
    for path, text in FILES.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text())


if __name__ == "__main__":
    main()
