"""vendors/google.yaml asks for tokens as a service account does, and sends with them what Google needs to know."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml

from tests.collector.telemetry import send
from tests.support.collector import VENDORS, Collector
from tests.support.otlp_receiver import Answer, HttpReceiver, Request

_EMAIL = "tcplife@the-project.iam.gserviceaccount.com"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class _Google(HttpReceiver):
    """Gives tokens, each of which is too old a second later, and takes OTLP."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[str] = []
        self.asked: list[dict[str, list[str]]] = []

    def answer_to(self, request: Request) -> Answer:
        """As the server of tokens, and as that of OTLP."""
        if request.path != "/token":
            return super().answer_to(request)
        self.asked.append(parse_qs(request.content.decode()))
        self.given.append(f"token-{len(self.given)}")
        token = {"access_token": self.given[-1], "token_type": "Bearer", "expires_in": 1}
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(token).encode())


def _key(directory: Path) -> tuple[Path, Path]:
    """The two halves of that of a service account."""
    private, public = directory / "key.pem", directory / "public.pem"
    make = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", private]
    subprocess.run(make, check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


def _claims(assertion: str, public: Path, directory: Path) -> dict[str, Any]:
    """What the assertion claims, once openssl has found that the key has signed it."""
    signed, _, signature = assertion.rpartition(".")
    (directory / "signed").write_text(signed)
    (directory / "signature").write_bytes(_decoded(signature))
    verify = ["openssl", "dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "signed"]
    subprocess.run(verify, check=True, cwd=directory, capture_output=True)
    header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
    assert header == {"alg": "RS256", "typ": "JWT"}
    return claims


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _attributes(request: Request) -> dict[str, Any]:
    [of_resource] = request.as_json()[f"resource{request.signal.title()}"]
    return {each["key"]: each["value"].get("stringValue") for each in of_resource["resource"]["attributes"]}


@pytest.mark.usefixtures("binary")
def test_each_request_has_a_token_that_was_given_for_the_key(tmp_path: Path) -> None:
    private, public = _key(tmp_path)
    environ = {
        "GOOGLE_CLOUD_PROJECT": "the-project",
        "GOOGLE_CLOUD_REGION": "europe-west1",
        "GOOGLE_SERVICE_ACCOUNT_EMAIL": _EMAIL,
        "GOOGLE_SERVICE_ACCOUNT_KEY": str(private),
    }
    config = VENDORS / "google.yaml"
    with _Google() as google:
        here: dict[str, Any] = {
            "extensions": {"oauth2client": {"token_url": f"{google.endpoint}/token"}},
            "exporters": {"otlp_http": {"endpoint": google.endpoint}},
        }
        elsewhere = tmp_path / "elsewhere.yaml"
        elsewhere.write_text(yaml.safe_dump(here))
        with Collector(tmp_path, overlays=[config, elsewhere], env=environ) as collector:
            send(collector, "http")
    sent = [request for request in google.requests if request.is_otlp]
    assert {request.path for request in sent} == {"/v1/logs", "/v1/metrics"}
    # None of them is used again, as each is too old then
    assert sorted(request.headers["authorization"] for request in sent) == [f"Bearer {each}" for each in google.given]
    for request in sent:
        found = _attributes(request)
        assert (found["gcp.project_id"], found["location"]) == ("the-project", "europe-west1")
    for asked in google.asked:
        assert asked["grant_type"] == [_GRANT]
        [assertion] = asked["assertion"]
        claims = _claims(assertion, public, tmp_path)
        assert (claims["iss"], claims["aud"]) == (_EMAIL, f"{google.endpoint}/token")
        assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        assert 0 < claims["exp"] - claims["iat"] <= 3600


def test_it_is_google_that_is_asked() -> None:
    """The other test asks another one."""
    config: dict[str, Any] = yaml.safe_load((VENDORS / "google.yaml").read_text())
    assert config["extensions"]["oauth2client"]["token_url"] == "https://oauth2.googleapis.com/token"
    assert config["exporters"]["otlp_http"]["endpoint"] == "https://telemetry.googleapis.com"
