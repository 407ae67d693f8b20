"""How an endpoint is shown, and how what is secret in it is kept out of what others say."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from otel_tcplife.printable import one_line

_HIDDEN = "..."
_SHORTEST_SECRET = 4
"""Characters; what is shorter would be found in any text."""

_HOST = re.compile(r"[A-Za-z0-9._\-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._\-]+)?")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s'\"<>]+")
_QUERY = re.compile(r"\?[^\s'\"<>]*=[^\s'\"<>)]*")


def shown(url: str) -> str:
    """Scheme, host, port and path of a URL; never the user name, password, query or fragment.

    Nothing but the scheme where an @ stands behind the host, as a / in a password has it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return _HIDDEN
    if misplaced_at(url):
        return f"{parts.scheme}://{_HIDDEN}"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def host_and_port(url: str) -> str:
    """What the server of a URL is called in a message."""
    return shown(url).partition("://")[2].partition("/")[0]


def is_host(name: str | None) -> bool:
    """Whether it can be the name or the address of a host, an IPv6 address without its brackets."""
    return bool(_HOST.fullmatch(name or ""))


def misplaced_at(url: str) -> bool:
    """Whether an @ stands behind the host: what is before it may be the rest of a password."""
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    return "@" in url.partition("://")[2][len(authority) :]


def secrets_of(url: str, headers: Mapping[str, str]) -> frozenset[str]:
    """What may be secret in a URL and in headers, in each form in which it may be repeated."""
    parts = urlsplit(url)
    userinfo = parts.netloc.rpartition("@")[0]
    user, _, password = userinfo.partition(":")
    found = {userinfo, user, password, parts.query, parts.fragment}
    found |= {value for _, value in parse_qsl(parts.query)}
    found |= {pair.partition("=")[2] for pair in parts.query.split("&")}
    found |= {unquote(text) for text in found}
    found.add(b64encode(unquote(userinfo).encode()).decode())
    for value in headers.values():
        found |= {value, *value.split()[1:]}  # "Bearer" is no secret
    visible = shown(url)
    return frozenset(text for text in found if len(text) >= _SHORTEST_SECRET and text not in visible)


def hidden(text: str, secrets: Iterable[str]) -> str:
    """What a library or a receiver says, without these secrets, and each URL in it as shown() says it."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return _QUERY.sub(f"?{_HIDDEN}", _URL.sub(lambda found: shown(found[0]), text))


def error_line(error: Exception) -> str:
    """The error of a library in one line, without what URLs in it have as secrets."""
    said = hidden(str(error), ())
    return one_line(f"{type(error).__name__}: {said}" if said.strip() else type(error).__name__)
