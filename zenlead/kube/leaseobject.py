"""The Lease object as far as it elects, and the options of who competes for one.

Knows the wire form and which options can keep two holders apart. Refuses to know time and the network. The
rule: times inside a Lease stay text; nobody computes with another machine's clock.
Source: coordination.k8s.io/v1 Lease.
"""

from __future__ import annotations

import msgspec

from zenlead.kube.errors import Invalid

# Waits between tries are up to this much longer, so that replicas do not stay in step.
JITTER_PART = 0.2


class ElectionOptions(msgspec.Struct, frozen=True):
    """How to compete; the three times are seconds. ValueError if they cannot keep two holders apart."""

    identity: str
    namespace: str
    name: str
    lease_duration_s: float = 15.0
    renew_deadline_s: float = 10.0
    retry_period_s: float = 2.0

    def __post_init__(self) -> None:
        if not (self.identity and self.namespace and self.name):
            raise ValueError("an election needs an identity and the namespace and name of a Lease")
        if self.lease_duration_s < 1 or self.lease_duration_s != int(self.lease_duration_s):
            raise ValueError(
                f"lease duration {self.lease_duration_s} s: a Lease stores whole seconds, at least 1"
            )
        if not 0 < self.renew_deadline_s < self.lease_duration_s:
            raise ValueError(
                f"renew deadline {self.renew_deadline_s} s must be positive and shorter than "
                f"the lease duration {self.lease_duration_s} s"
            )
        if not 0 < self.retry_period_s * (1 + JITTER_PART) < self.renew_deadline_s:
            raise ValueError(
                f"retry period {self.retry_period_s} s must be positive and, with {JITTER_PART:.0%} on top, "
                f"shorter than the renew deadline {self.renew_deadline_s} s"
            )


class _Metadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class LeaseSpec(msgspec.Struct, frozen=True, rename="camel"):
    """What a Lease says of its holder. Equal specs mean that the holder gave no sign of life in between."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(msgspec.Struct, rename="camel"):
    """A Lease object, reduced to what elects."""

    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    spec: LeaseSpec | None = None


_decoder = msgspec.json.Decoder(Lease)


def decode_lease(body: bytes) -> Lease:
    """A Lease from its JSON. Invalid if it is none, or lacks the version that writes must name."""
    try:
        lease = _decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"the Lease cannot be read: {error}", reason="Malformed") from error
    if not lease.metadata.resource_version:
        raise Invalid("the Lease has no resourceVersion", reason="Malformed")
    return lease
