"""What can go wrong between zenlead and an API server, said once.

Status codes become these classes in kube/api.py and nowhere else; everybody else matches on the class.
Source: Kubernetes API conventions, "HTTP Status codes" and "Response Status Kind".
"""

from __future__ import annotations


class ApiError(Exception):
    """An API request that did not succeed.

    ``status`` is the HTTP status (0 when no answer came), ``reason`` the Status reason (``NotFound``),
    ``causes`` the reasons in ``details.causes`` (``NamespaceTerminating``, ``ResourceVersionTooLarge``),
    ``retry_after_s`` what the server asked for, in seconds, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        causes: tuple[str, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason
        self.causes = causes
        self.retry_after_s = retry_after_s

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.status} {self.reason}: {self.message})"


class Conflict(ApiError):
    """409: the object changed since it was read (its resourceVersion moved on)."""


class AlreadyExists(Conflict):
    """409 AlreadyExists: an object of that name is there already."""


class Gone(ApiError):
    """410: the resourceVersion or continue token is too old; list again."""


class NotFound(ApiError):
    """404: no such object, or no such resource."""


class Unauthorized(ApiError):
    """401: the credentials are missing, wrong or expired."""


class Forbidden(ApiError):
    """403: RBAC or an admission rule says no (``NamespaceTerminating`` in causes among them)."""


class Invalid(ApiError):
    """400, 405, 413, 415, 422: the server will never accept this request as it is."""


class Throttled(ApiError):
    """429: the server asks for patience; ``retry_after_s`` says how much."""


class Unreachable(ApiError):
    """No answer (refused, reset, cut, timed out, TLS) or a 5xx: nobody knows whether it was applied."""
