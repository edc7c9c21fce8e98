"""Secrets kept out of error texts: whoever answers us may repeat what we sent.

Knows which parts of an Authorization value are secret. Refuses to know requests. The rule: an error that
leaves the client has been through here, whatever its text was made of.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zenlead.kube.errors import ApiError

MASK = "[secret]"
# A shorter password is no secret, and to mask it would make nonsense of every text.
SHORTEST = 4


def secrets_of(authorization: str) -> tuple[str, ...]:
    """What must not be repeated of ``Bearer <token>`` or ``Basic <user:password>``."""
    scheme, _, value = authorization.partition(" ")
    found = [value]
    if scheme.lower() == "basic":
        try:
            found.append(base64.b64decode(value).decode("utf-8", "replace").partition(":")[2])
        except (binascii.Error, ValueError):
            found.append("")
    return tuple(secret for secret in found if len(secret) >= SHORTEST)


def masked(error: ApiError, *authorizations: str) -> ApiError:
    """``error`` itself when its text is clean, else the same error without the secrets in it."""
    message, reason = error.message, error.reason
    for authorization in authorizations:
        for secret in secrets_of(authorization):
            message, reason = message.replace(secret, MASK), reason.replace(secret, MASK)
    if (message, reason) == (error.message, error.reason):
        return error
    return type(error)(
        message,
        status=error.status,
        reason=reason,
        causes=error.causes,
        retry_after_s=error.retry_after_s,
    )
