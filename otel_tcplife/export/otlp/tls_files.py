"""The files of TLS: whether they can be used, found out at the start."""

from __future__ import annotations

import os
import ssl

from otel_tcplife.export.otlp.setting import Setting


def authorities(variable: str, path: str) -> None:
    """Raise BadUsage where this is no PEM file of authorities, nor a directory of them."""
    try:
        kind = "capath" if os.path.isdir(path) else "cafile"
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**{kind: path})
    except OSError as error:
        problem = f"cannot be read: {_why(error)}"
        raise Setting(variable, path).bad(problem, "name a readable PEM file of certificates") from error


def certificate_file(setting: Setting) -> str | None:
    """The PEM file of the authorities to trust, None without one. Raise BadUsage where it cannot be read."""
    if not setting.value:
        return None
    if os.path.isdir(setting.value):
        raise setting.bad("is a directory", "name a readable PEM file of certificates")
    authorities(*setting)
    return setting.value


def client_files(key: Setting, certificate: Setting) -> tuple[str | None, str | None]:
    """The PEM files of the client's key and certificate, None without. Raise BadUsage where they cannot be read."""
    if not certificate.value:
        if key.value:
            raise key.bad(f"is of no use without {certificate.variable}", f"set {certificate.variable} besides")
        return None, None
    key = key if key.value else certificate
    try:
        # The password keeps OpenSSL from asking for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate.value, key.value, password="")
    except OSError as error:
        also = "" if key is certificate else f" with {key.variable}={key.value!r}"
        remedy = "name readable PEM files of a certificate and its key, unencrypted"
        raise certificate.bad(f"cannot be read{also}: {_why(error)}", remedy) from error
    return key.value, certificate.value


def _why(error: OSError) -> str:
    """The reason of OpenSSL or of the system, in lower case without numbers."""
    reason = getattr(error, "reason", None) or error.strerror or "no PEM file"
    return str(reason).replace("_", " ").lower()
