"""AWS's signatures as AWS checks them: written from the documentation, not with the library that signs.

Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html, read 2026-11.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

SKEW_MAX_S = 300
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


def problem(
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    secrets: Mapping[str, str],
    tokens: Mapping[str, str],
    service: str,
    region: str,
    now: datetime,
) -> str:
    """What is wrong with a POST's signature; empty if nothing is.

    headers: lower-case names.  secrets, tokens: by access key; a key with a token needs it.
    """
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if match is None:
        return "the authorization is no signature"
    key, day, in_region, of_service, names, signature = match.groups()
    if key not in secrets:
        return "an unknown access key"
    if (in_region, of_service) != (region, service):
        return f"signed for {of_service} in {in_region}"
    signed = names.split(";")
    needed = {"host", "x-amz-date"} | {name for name in headers if name.startswith("x-amz-") or name == "content-type"}
    if signed != sorted(set(signed)) or not needed <= set(signed):
        return "headers that have to be signed are not"
    if headers.get("x-amz-security-token") != tokens.get(key):
        return "the session's token is missing or wrong"
    date = headers["x-amz-date"]
    at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs((now - at).total_seconds()) > SKEW_MAX_S or not date.startswith(day):
        return "signed at another time"
    bare, _, query = path.partition("?")
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in signed)
    # The path is encoded once more than it is on the wire; only S3 does not.
    canonical = "\n".join(("POST", quote(bare, safe="/~"), query, lines, names, hashlib.sha256(body).hexdigest()))
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    secret = b"AWS4" + secrets[key].encode()
    for part in (day, region, service, "aws4_request"):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    expected = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
    return "" if hmac.compare_digest(expected, signature) else "the signature does not match"
