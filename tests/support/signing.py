"""Signs webhooks as LiveKit does: a bare HS256 JWT whose sha256 claim covers the exact body. An implementation of its own,
so that a mistake in src/wire cannot hide behind itself."""

import base64
import hashlib
import hmac
import json
import time

KEY = "devkey"
SECRET = "secret"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(claims: dict, secret: str = SECRET, header: dict | None = None) -> str:
    """A JWT over exactly these claims; HS256 whatever the header says, so that a lying header can be tested."""
    head = {"alg": "HS256", "typ": "JWT"} if header is None else header
    signed = ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
    mac = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64url(mac)}"


def body_hash(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def webhook_claims(body: bytes, key: str = KEY, now: int | None = None) -> dict:
    now = int(time.time()) if now is None else now
    return {"iss": key, "exp": now + 300, "nbf": now, "iat": now, "sha256": body_hash(body)}


def sign(body: bytes, key: str = KEY, secret: str = SECRET, now: int | None = None) -> dict[str, str]:
    """The headers LiveKit sends with this body."""
    return {
        "Authorization": jwt(webhook_claims(body, key, now), secret),
        "Content-Type": "application/webhook+json",
        "User-Agent": "LiveKit",
    }


def tenant_token(tenant: str, secret: str, lifetime_s: int = 300) -> str:
    now = int(time.time())
    return jwt({"sub": tenant, "iat": now, "exp": now + lifetime_s}, secret)
