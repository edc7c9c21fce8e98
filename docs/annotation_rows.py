"""Each annotation: its values, what it does, and the test that shows it. The source of docs/annotations.md.

Knows words and names of tests. Refuses to know what is done with a row: generate.py prints it.
Rule: every field of Policy and every name in contract.py has its row, which a test holds to the code.
"""

from __future__ import annotations

from typing import NamedTuple

from zenlead.lead import contract

CHOICE = "tests/cluster/test_annotations_choice.py"
PATIENCE = "tests/cluster/test_annotations_patience.py"
OBJECTS = "tests/cluster/test_annotations_objects.py"
LATE = "tests/cluster/test_late_writes.py"
LIFECYCLE = "tests/cluster/test_lifecycle.py"
NAMES = "tests/cluster/test_names.py"
FAILOVER = "tests/cluster/test_failover.py"
TOLD = "tests/cluster/test_choice_told.py"
PODS = "tests/cluster/test_choice_of_pods.py"

BOOLEAN, DURATION = "boolean", "duration"


class Shown(NamedTuple):
    """A test (file and function), and what it shows."""

    what: str
    file: str
    test: str


class Row(NamedTuple):
    """``fields``: of Policy. ``default`` as it could be written, empty if nothing can. ``accepted`` and
    ``refused`` are examples, the first of which differ from the default."""

    name: str
    values: str
    default: str
    does: str
    shown: tuple[Shown, ...]
    fields: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


SERVICE = (
    Row(
        contract.ENABLED,
        "`true`",
        "",
        "Opts the Service in. Anything else, `True` and `1` too, is out: both objects go.",
        (
            Shown("only the exact word is in", LIFECYCLE, "test_anything_but_true_is_out"),
            Shown("out removes both objects", LIFECYCLE, "test_opting_out_removes_both_objects"),
        ),
    ),
    Row(
        contract.LEADER_SERVICE_NAME,
        "a DNS label of at most 63 characters",
        "`<service>-leader`",
        "Names the leader Service. After a change the old one goes once the new one routes.",
        (
            Shown("no gap in a rename", LIFECYCLE, "test_a_rename_removes_the_old_when_the_new_routes"),
            Shown("names of 56, 57 and 63 characters", NAMES, "test_names_as_long_as_they_may_be_and_longer"),
            Shown("two that ask for one name", NAMES, "test_two_sources_with_one_name_take_turns"),
        ),
        ("leader_name",),
        ("front",),
        ("A_b", "../x", "", "a" * 64),
    ),
    Row(
        contract.STICKY,
        BOOLEAN,
        "true",
        "A fit leader stays although a pod that ranks higher turns up. With `false` the fit pod "
        "that ranks first "
        "always leads.",
        (
            Shown("every way to write a boolean", CHOICE, "test_sticky_as_go_reads_booleans"),
            Shown("a change counts at once", FAILOVER, "test_a_fit_leader_stays_unless_stickiness_is_off"),
        ),
        ("sticky",),
        ("false", "0", "f", "F", "FALSE", "False"),
        ("yes", "", "tRUE"),
    ),
    Row(
        contract.STRATEGY,
        "`oldest`, `newest`, `ordinal`, `least-restarts`, `random`",
        "oldest",
        "Ranks fit pods: by age, by StatefulSet ordinal (the lowest first), by restarts of their "
        "containers, or by "
        "a lot that is the same for the same Service and pod. Equals go by name.",
        (
            Shown("each elects whom it ranks first", CHOICE, "test_strategy_ranks_the_candidates"),
            Shown("one lot for each Service", CHOICE, "test_strategy_random_draws_once_for_each_service"),
        ),
        ("strategy",),
        ("newest", "ordinal", "least-restarts", "random"),
        ("fastest", "Oldest", ""),
    ),
    Row(
        contract.MIN_READY_DURATION,
        DURATION,
        "0s",
        "A pod must have been Ready for so long to become leader; it need not, to stay one. It is "
        "looked at again "
        "when the time has come.",
        (
            Shown(
                "each is waited for, and wrong ones are not",
                PATIENCE,
                "test_min_ready_duration_as_go_reads_durations",
            ),
            Shown(
                "without any other change", FAILOVER, "test_a_pod_leads_once_it_has_been_ready_long_enough"
            ),
        ),
        ("min_ready_s",),
        ("5s", "1m30s", "250ms"),
        ("5", "-5s", "1d", ""),
    ),
    Row(
        contract.FAILOVER_MIN_DELAY,
        DURATION,
        "0s",
        "A leader that turns NotReady keeps leading for so long, in case it comes back. One that is "
        "terminating, "
        "deleted, finished, no longer selected or without an address is not waited for.",
        (
            Shown(
                "who is back in time stays; who is not, goes",
                PATIENCE,
                "test_failover_min_delay_gives_a_leader_time_to_come_back",
            ),
            Shown(
                "nobody else is waited for",
                PATIENCE,
                "test_failover_min_delay_is_not_for_those_who_will_not_come_back",
            ),
        ),
        ("failover_min_delay_s",),
        ("10s",),
        ("10", "-1s"),
    ),
    Row(
        contract.ON_NO_READY,
        "`empty`, `keep-last`",
        "empty",
        "With no fit pod there is no endpoint; with `keep-last` the last leader's address stays, "
        "ready, while its "
        "pod is there, not terminating, and merely not Ready. The condition is False either way.",
        (
            Shown(
                "kept, until the pod goes or another is ready",
                PATIENCE,
                "test_on_no_ready_keep_last_keeps_the_address_while_the_pod_is_there",
            ),
            Shown("else emptied", PATIENCE, "test_on_no_ready_empty_is_the_default"),
        ),
        ("keep_last",),
        ("keep-last",),
        ("keep", "last", ""),
    ),
    Row(
        contract.FAILBACK,
        "`never`, `immediate`, `after:<duration>`",
        "never",
        "Whether a pod of higher priority takes over from a fit leader: not at all, at once, or "
        "when it has been "
        "Ready for so long.",
        (
            Shown("each, and when", CHOICE, "test_failback_to_a_pod_of_higher_priority"),
            Shown("an older pod is no reason", CHOICE, "test_failback_needs_a_higher_priority"),
        ),
        ("failback_s",),
        ("immediate", "after:5m"),
        ("after:", "5m", "always"),
    ),
    Row(
        contract.PORTS_MODE,
        "`mirror`, `subset:<name>[,<name>]`",
        "mirror",
        "Which ports of the Service its leader Service has, in the order of the Service. A name "
        "that the Service "
        "does not have is a wrong value.",
        (Shown("all, some, and one that is not there", OBJECTS, "test_ports_mode_takes_all_or_some"),),
        ("ports",),
        ("subset:http", "subset:http,admin"),
        ("subset:", "subset:a,,b", "http"),
    ),
    Row(
        contract.LEADER_SERVICE_TYPE,
        "`ClusterIP`, `Headless`, `NodePort`, `LoadBalancer`",
        "ClusterIP",
        "The type of the leader Service, never taken from the source. To become headless or cease "
        "to be, the leader "
        "Service is made anew: nothing else is possible.",
        (
            Shown(
                "each, and from each to others",
                OBJECTS,
                "test_leader_service_type_is_what_is_asked_and_not_the_sources",
            ),
            Shown(
                "headless without being asked",
                PODS,
                "test_a_headless_source_without_ports_has_a_headless_leader_without_ports",
            ),
        ),
        ("service_type",),
        ("Headless", "NodePort", "LoadBalancer"),
        ("ExternalName", "headless", ""),
    ),
    Row(
        contract.PAUSED,
        BOOLEAN,
        "false",
        "The slice is left as it is, whatever happens. A Warning Event, the condition's reason and "
        "a metric say so. "
        "When it ends, what was missed is done at once.",
        (Shown("nothing moves, then all at once", OBJECTS, "test_paused_leaves_the_slice_as_it_is"),),
        ("paused",),
        ("true", "1"),
        ("on", ""),
    ),
    Row(
        contract.LEADER_PREFIX + "<key>",
        "any, 240 KiB together",
        "none",
        "Becomes the annotation `<key>` of the leader Service, and goes with its source. `<key>` "
        "has no slash, so it "
        "is never an annotation of zenlead or of another program.",
        (Shown("added, changed, removed", OBJECTS, "test_leader_annotations_come_change_and_go"),),
        ("extra",),
    ),
    Row(
        "any of these, with a wrong value",
        "",
        "",
        "One Warning Event `InvalidAnnotation` names the annotation, the value and what is allowed, "
        "and the default "
        "is used. Another wrong value is told again, and so is the same one after it was put right.",
        (
            Shown("told once for each change", OBJECTS, "test_a_wrong_value_is_told_once_for_each_change"),
            Shown("however long it is", OBJECTS, "test_a_wrong_value_may_be_of_any_length"),
        ),
        ("problems",),
    ),
)

POD = (
    Row(
        contract.CANDIDATE,
        BOOLEAN,
        "true",
        "`false`: the pod never leads. Said of the leader, another takes over.",
        (
            Shown(
                "as label and as annotation",
                CHOICE,
                "test_candidate_false_never_leads_as_label_or_annotation",
            ),
        ),
        accepted=("false", "f", "0"),
        refused=("no", "maybe"),
    ),
    Row(
        contract.PRIORITY,
        "whole number",
        "0",
        "Higher ranks first, before any strategy. (A label cannot begin with a minus sign; an "
        "annotation can.)",
        (Shown("as label and as annotation", CHOICE, "test_priority_ranks_first_as_label_or_annotation"),),
        accepted=("10", "-1"),
        refused=("most", "1.5"),
    ),
)

WRITTEN = (
    Row(
        contract.CURRENT_LEADER,
        "leader Service",
        "",
        "Name of the leader pod; absent while there is none.",
        (Shown("after an election", FAILOVER, "test_elects_the_oldest_and_says_so"),),
    ),
    Row(
        contract.LEADER_POD_NAME,
        "leader Service",
        "",
        "The same.",
        (Shown("after a failover", FAILOVER, "test_moves_in_one_write"),),
    ),
    Row(
        contract.LEADER_POD_UID,
        "leader Service",
        "",
        "Its UID.",
        (Shown("after an election", FAILOVER, "test_elects_the_oldest_and_says_so"),),
    ),
    Row(
        contract.LAST_SWITCH_TIME,
        "leader Service",
        "",
        "When it became leader (RFC 3339, UTC).",
        (Shown("moves with the leader only", TOLD, "test_the_times_of_a_switch"),),
    ),
    Row(
        contract.EPOCH,
        "leader Service and EndpointSlices",
        "",
        "Grows by one with every change of leader and is never used again. It begins at the age of "
        "the source "
        "Service in milliseconds, so that it goes on growing even after the leader Service was deleted.",
        (
            Shown(
                "counts leaders, and goes on after an opt-out",
                TOLD,
                "test_the_epoch_counts_leaders_and_is_never_used_again",
            ),
        ),
    ),
    Row(
        contract.EXTRA_ANNOTATIONS,
        "leader Service",
        "",
        f"Which further annotations came from `{contract.LEADER_PREFIX}…`, so that they can go again.",
        (Shown("they do", OBJECTS, "test_leader_annotations_come_change_and_go"),),
    ),
    Row(
        contract.FENCED,
        "leader Service and EndpointSlices",
        "",
        "Up to which version of the object a write of which nobody knows the end comes too late; "
        "there is one only where a request got no answer.",
        (
            Shown(
                "it does come too late",
                LATE,
                "test_a_deletion_that_arrives_late_does_not_take_what_is_in_use_again",
            ),
        ),
    ),
    Row(
        contract.TRIGGER_TIME,
        "EndpointSlices",
        "",
        "When the leader was lost, as far as its pod tells. From it kube-proxy reckons how fast it "
        "has programmed "
        "the change.",
        (Shown("since when the pod is NotReady", TOLD, "test_the_times_of_a_switch"),),
    ),
)
