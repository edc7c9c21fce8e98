"""Answers that say no, as the API server words them.

Knows the shape of a ``Status`` and the usual sentences. Refuses to know transports: http.py turns a Refusal
into a response, memory.py into the error classes of kube/errors.py. The rule: one function per kind of no.
Source: Kubernetes API conventions, "Response Status Kind".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from zenlead.kube.resources import Resource

# When a client that asked for a version of the future is told to come back, as the real server does.
FUTURE_RETRY_S = 1


class Cause(msgspec.Struct, frozen=True):
    """One entry of ``details.causes``: what is wrong with which field."""

    field: str
    reason: str
    message: str


class Refusal(Exception):
    """A request that the server will not do; ``code`` is the HTTP status."""

    def __init__(
        self, code: int, reason: str, message: str, *, details: dict[str, Any] | None = None, token: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}
        self.token = token  # where an expired paged list may go on, inconsistently

    @property
    def causes(self) -> tuple[str, ...]:
        """The reasons in ``details.causes``."""
        return tuple(str(cause.get("reason", "")) for cause in self.details.get("causes", ()))

    @property
    def retry_after_s(self) -> int | None:
        """Seconds the client should wait, if the answer names them."""
        return self.details.get("retryAfterSeconds")

    def status(self) -> dict[str, Any]:
        """The ``Status`` object of this answer."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.token} if self.token else {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details:
            status["details"] = self.details
        status["code"] = self.code
        return status

    def __repr__(self) -> str:
        return f"Refusal({self.code} {self.reason}: {self.message})"


def qualified(resource: Resource) -> str:
    """``endpointslices.discovery.k8s.io``, as messages name a resource."""
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def _details(resource: Resource, name: str, *, kind: str = "") -> dict[str, Any]:
    details: dict[str, Any] = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = kind or resource.plural
    return details


def no_such_resource() -> Refusal:
    """404: nothing is served at this path."""
    return Refusal(404, "NotFound", "the server could not find the requested resource")


def not_found(resource: Resource, name: str) -> Refusal:
    """404: no object of that name."""
    message = f'{qualified(resource)} "{name}" not found'
    return Refusal(404, "NotFound", message, details=_details(resource, name))


def already_exists(resource: Resource, name: str) -> Refusal:
    """409: the name is taken."""
    message = f'{qualified(resource)} "{name}" already exists'
    return Refusal(409, "AlreadyExists", message, details=_details(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> Refusal:
    """409: the object is not the one the client has seen."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version and try again"
    )
    message = f'Operation cannot be fulfilled on {qualified(resource)} "{name}": {why}'
    return Refusal(409, "Conflict", message, details=_details(resource, name))


def apply_conflict(causes: list[Cause]) -> Refusal:
    """409: another field manager owns what an apply wants to change."""
    listed = "\n".join(f"- {cause.field}" for cause in causes)
    plural = "s" if len(causes) > 1 else ""
    message = f"Apply failed with {len(causes)} conflict{plural}: {causes[0].message}:\n{listed}"
    return Refusal(409, "Conflict", message, details={"causes": msgspec.to_builtins(causes)})


def invalid(resource: Resource, name: str, causes: list[Cause]) -> Refusal:
    """422: the object breaks the rules of its kind; every broken rule is a cause."""
    sentences = [f"{cause.field}: {cause.message}" for cause in causes]
    told = sentences[0] if len(sentences) == 1 else f"[{', '.join(sentences)}]"
    subject = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    message = f'{subject} "{name}" is invalid: {told}'
    details = _details(resource, name, kind=resource.kind)
    details["causes"] = [
        {"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes
    ]
    return Refusal(422, "Invalid", message, details=details)


def bad_request(message: str) -> Refusal:
    """400: the request cannot be understood."""
    return Refusal(400, "BadRequest", message)


def unsupported_media(offered: str, accepted: tuple[str, ...]) -> Refusal:
    """415: a body in a format that this verb does not take."""
    message = (
        f"the body of the request was in an unknown format - accepted media types include: "
        f"{', '.join(accepted)} (got {offered})"
    )
    return Refusal(415, "UnsupportedMediaType", message)


def too_large(limit: int) -> Refusal:
    """413: the body has more bytes than the server takes."""
    return Refusal(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def not_allowed() -> Refusal:
    """405: the resource exists and does not do this."""
    return Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def forbidden(resource: Resource, name: str, why: str, causes: list[Cause] | None = None) -> Refusal:
    """403: an admission rule says no."""
    details = _details(resource, name)
    if causes:
        details["causes"] = msgspec.to_builtins(causes)
    return Refusal(403, "Forbidden", f'{qualified(resource)} "{name}" is forbidden: {why}', details=details)


def namespace_terminating(resource: Resource, name: str, namespace: str) -> Refusal:
    """403: nothing new may be created in a namespace that is going away."""
    cause = Cause("metadata.namespace", "NamespaceTerminating", f"namespace {namespace} is being terminated")
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    return forbidden(resource, name, why, [cause])


def unauthorized() -> Refusal:
    """401: no valid token."""
    return Refusal(401, "Unauthorized", "Unauthorized")


def expired(revision: int, oldest: int) -> Refusal:
    """410: a watch from a version that history no longer reaches."""
    return Refusal(410, "Expired", f"too old resource version: {revision} ({oldest})")


def expired_list(token: str = "") -> Refusal:
    """410: a page of a list whose version history no longer reaches."""
    message = (
        "The provided continue parameter is too old to display a consistent list result. You can start a new "
        "list without the continue parameter, or use the continue token in this response to retrieve the "
        "remainder of the results."
        if token
        else "The resourceVersion for the provided list is too old."
    )
    return Refusal(410, "Expired", message, token=token)


def from_the_future(revision: int, current: int) -> Refusal:
    """504: a version that does not exist yet."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return Refusal(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {revision}, current: {current}",
        details={"causes": [cause], "retryAfterSeconds": FUTURE_RETRY_S},
    )
