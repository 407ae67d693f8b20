"""Certificates for one test run."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files: a certificate authority, and what it has issued to a server on loopback and to a client."""

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path


def make_tls(directory: Path) -> Tls:
    """Makes a new authority and its two certificates, good for a day, with the openssl command, in `directory`.

    Raises subprocess.CalledProcessError where openssl fails.
    """
    ca, ca_key = _issue(directory, "ca", ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"])
    issuer = ["-CA", str(ca), "-CAkey", str(ca_key)]
    server = _issue(directory, "server", ["subjectAltName=IP:127.0.0.1,DNS:localhost"], issuer)
    client = _issue(directory, "client", ["extendedKeyUsage=clientAuth"], issuer)
    return Tls(ca, *server, *client)


def _issue(directory: Path, name: str, extensions: list[str], issuer: list[str] | None = None) -> tuple[Path, Path]:
    certificate, key, config = (directory / f"{name}{suffix}" for suffix in (".pem", ".key", ".cnf"))
    # The configuration of the host would make an authority of every certificate.
    config.write_text(f"[req]\nprompt = no\ndistinguished_name = name\n[name]\nCN = otel-tcplife test {name}\n")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-config", config, "-days", "1", "-nodes"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-out", certificate, "-keyout", key),
            *(argument for extension in extensions for argument in ("-addext", extension)),
            *(issuer or []),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
