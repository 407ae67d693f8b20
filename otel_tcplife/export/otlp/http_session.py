"""The requests.Session over which a signal is sent: with the route of the environment, and without ~/.netrc."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError

from otel_tcplife.errors import BadUsage
from otel_tcplife.export.otlp.config import OtlpConfig
from otel_tcplife.export.otlp.credential_provider import load_credentials
from otel_tcplife.export.otlp.endpoint import is_host, misplaced_at
from otel_tcplife.export.otlp.tls_files import authorities
from otel_tcplife.printable import one_line


def open_session(config: OtlpConfig) -> requests.Session:
    """A session of its own for each signal, or what a credential provider makes.

    Proxies and authorities are read from the environment here, once: a session that reads it at each request also has
    ~/.netrc replace the configured Authorization, and REQUESTS_CA_BUNDLE the configured authorities. Raises BadUsage
    for what cannot be used.
    """
    provider = config.credential_provider
    session = load_credentials(provider, requests.Session) if provider else requests.Session()
    certificate, key = config.client_certificate, config.client_key
    route = session.merge_environment_settings(
        config.endpoint, {}, None, config.certificate or True, (certificate, key) if certificate and key else None
    )
    session.trust_env = False
    session.proxies, session.verify, session.cert = route["proxies"], route["verify"], route["cert"]
    _check(config, session)
    return session


def _check(config: OtlpConfig, session: requests.Session) -> None:
    try:
        requests.Request("POST", config.endpoint).prepare()
    except (requests.RequestException, ValueError) as error:  # ValueError: of a user name that is no Latin-1
        problem = f"the OTLP endpoint cannot be used: {one_line(config.hide(str(error)))}"
        raise BadUsage(problem, "mend its URL") from error
    _check_proxy(select_proxy(config.endpoint, session.proxies) or "", config.endpoint)
    if not config.insecure:
        if isinstance(session.verify, str) and session.verify != config.certificate:
            name = "REQUESTS_CA_BUNDLE" if os.environ.get("REQUESTS_CA_BUNDLE") else "CURL_CA_BUNDLE"
            authorities(name, session.verify)
        _check_key_log()


def _check_key_log() -> None:
    """SSLKEYLOGFILE, which urllib3 opens for each connection."""
    path = os.path.expandvars(os.environ.get("SSLKEYLOGFILE", ""))
    if path:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = path
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise BadUsage(f"SSLKEYLOGFILE={path!r} cannot be written to: {why}", "name a file, or unset it") from error


def _check_proxy(proxy: str, url: str) -> None:
    """Raise BadUsage where requests, through which this URL is to be reached, cannot use the proxy."""
    if not proxy:
        return
    problem, remedy = "is no URL of a proxy", "write it such as http://proxy:3128, or unset it"
    whole = proxy if "://" in proxy else f"http://{proxy}"  # as requests has it
    try:
        scheme = urlsplit(whole).scheme
        if scheme.startswith("socks"):
            problem, remedy = f"names a {scheme} proxy, and PySocks is not installed", "install PySocks, or unset it"
        HTTPAdapter().proxy_manager_for(whole)
        usable = is_host(urlsplit(whole).hostname) and not misplaced_at(whole)
    except (
        requests.RequestException,
        HTTPError,
        ValueError,
    ):  # no URL, a port that is none, a scheme without its package
        usable = False
    if not usable:
        names = (f"{urlsplit(url).scheme}_proxy", "all_proxy")
        raise BadUsage(f"{_variable(names)} {problem}", remedy)


def _variable(names: Iterable[str]) -> str:
    """The first of these variables that is set, as it is spelt; requests takes any case, and small letters first."""
    found = (
        spelt for name in names for spelt in (name, *os.environ) if spelt.lower() == name and os.environ.get(spelt)
    )
    return next(found, "the proxy of the credential provider")
