"""The second row: what zenlead is doing, and what keeps it from doing it.

Knows the metrics about its work. Refuses to know Services one by one, but where a fault is theirs. Rule: a
panel shows one way to be unwell.
"""

from __future__ import annotations

from deploy.grafana.asking import EACH, N, P, S, increase, new, new_quantile, quantile, quantiles, rate
from deploy.grafana.panels import GREEN, RED, YELLOW, Ask, Panel, graph, states

WRITES = f'sum(rate(zen_lead_writes_total{{{P},lane=~"urgent|routine"}}[$__rate_interval]))'
WRITE_RETRIES = f"sum(rate(zen_lead_write_retries_total{{{P}}}[$__rate_interval]))"

CONTROL_PLANE: tuple[Panel, ...] = (
    graph(
        "Queue",
        "Services that wait for a worker.",
        "short",
        Ask(f"sum by (lane) (zen_lead_workqueue_depth{{{P}}})", "{{lane}}"),
        style="stacked",
    ),
    graph(
        "Time in the queue",
        "From being due to being taken; 95 of 100 waited no longer.",
        "s",
        Ask(quantile(0.95, "zen_lead_workqueue_latency_seconds", P, "lane"), "{{lane}}"),
    ),
    graph(
        "Longest running pass",
        "How long the oldest pass over a Service has been at it.",
        "s",
        Ask(
            f"max by (instance) (zen_lead_workqueue_longest_running_seconds{{{P}}})",
            "{{instance}}",
        ),
    ),
    graph(
        "Passes",
        "Over Services, by result.",
        "cps",
        Ask(rate("zen_lead_reconciliations_total", S, "result"), "{{result}}"),
        style="stacked",
    ),
    graph(
        "Time of a pass",
        "Over one Service, answers of the API server included.",
        "s",
        *quantiles("zen_lead_reconciliation_duration_seconds", S),
    ),
    graph(
        "Passes that failed",
        "By kind of error. Each is made again.",
        "short",
        Ask(new("zen_lead_reconciliation_errors_total", S, "error_type"), "{{error_type}}"),
        style="bars",
    ),
    graph(
        "Writes",
        "Accepted by the API server.",
        "wps",
        Ask(rate("zen_lead_writes_total", P, "resource, verb"), "{{verb}} {{resource}}"),
        style="stacked",
    ),
    graph(
        "Writes tried again",
        "Share of the attempts to write that failed for a reason that may pass.",
        "percentunit",
        Ask(f"{WRITE_RETRIES} / ({WRITE_RETRIES} + ({WRITES} or vector(0)))", "tried again"),
        steps=((0, GREEN), (0.1, RED)),
    ),
    graph(
        "Operations tried again",
        "Attempts that failed and were made again, by operation and number of the attempt.",
        "short",
        Ask(
            new("zen_lead_retry_attempts_total", S, "operation, attempt"),
            "{{operation}} {{attempt}}",
        ),
        Ask(new("zen_lead_retry_success_after_retry_total", S, "operation"), "{{operation}} in the end"),
        style="bars",
    ),
    graph(
        "API calls",
        "95 of 100 calls took no longer; of a write, retries included.",
        "s",
        Ask(new_quantile(0.95, "zen_lead_api_call_duration_seconds", S, "operation"), "{{operation}}"),
    ),
    graph(
        "API calls that failed",
        "By operation and kind of error. Conflicts are read again and mended at once.",
        "cps",
        Ask(
            rate("zen_lead_api_call_duration_seconds_count", f'{S},result!="success"', "operation, result"),
            "{{operation}} {{result}}",
        ),
    ),
    graph(
        "Slices that could not be written",
        "Writes of EndpointSlices that failed.",
        "short",
        Ask(increase("zen_lead_endpoint_write_errors_total", S, EACH), "{{namespace}}/{{service}}"),
        style="bars",
    ),
    graph(
        "Silence of watches",
        "Since when a watch heard nothing. A watch that is well hears something every 35 s.",
        "s",
        Ask(
            f"max by (instance, resource) (zen_lead_informer_last_event_age_seconds{{{P}}})",
            "{{resource}} {{instance}}",
        ),
    ),
    graph(
        "Watches connected again",
        "By reason. 'ended' and 'idle' are how watches end in good health.",
        "short",
        Ask(new("zen_lead_watch_restarts_total", P, "resource, reason"), "{{resource}} {{reason}}"),
        Ask(new("zen_lead_informer_syncs_total", P, "resource"), "{{resource}} listed"),
        style="bars",
    ),
    states(
        "Lease",
        "Which replica leads.",
        Ask(f"max by (instance) (zen_lead_leader_election_is_leader{{{P}}})", "{{instance}}"),
        {"0": ("waits", YELLOW), "1": ("leads", GREEN)},
    ),
    graph(
        "Lease trouble",
        "Lease requests that failed, and times that a replica began or ceased to lead.",
        "short",
        Ask(increase("zen_lead_lease_failures_total", P, "refused"), "failed, refused: {{refused}}"),
        Ask(
            increase("zen_lead_leader_election_transitions_total", P, "instance"),
            "began or ceased {{instance}}",
        ),
        style="bars",
    ),
    graph(
        "Time-outs",
        "Operations that hit their own time limit.",
        "short",
        Ask(new("zen_lead_timeout_occurrences_total", N, "operation"), "{{operation}}"),
        style="bars",
    ),
    graph(
        "Ports that resolve nowhere",
        "Target ports by name that no pod declares, each time that a pass found so.",
        "short",
        Ask(
            new("zen_lead_port_resolution_failures_total", S, f"{EACH}, port_name"),
            "{{namespace}}/{{service}} {{port_name}}",
        ),
        style="bars",
    ),
    graph(
        "Leaders kept and chosen",
        "Passes that kept the leader, and passes that had to choose one.",
        "cps",
        Ask(rate("zen_lead_sticky_leader_hits_total", S, "job"), "kept"),
        Ask(rate("zen_lead_sticky_leader_misses_total", S, "job"), "chosen"),
        style="stacked",
    ),
    graph(
        "Services that are not permitted",
        "Services of which a write is not permitted to zenlead: look at its roles.",
        "short",
        Ask(f"max by (instance) (zen_lead_forbidden_services{{{P}}})", "{{instance}}"),
        steps=((0, GREEN), (1, RED)),
    ),
    graph(
        "Faults of zenlead",
        "Core tasks that died, objects that could not be read, Kubernetes Events that were not written.",
        "short",
        Ask(new("zen_lead_task_restarts_total", P, "task"), "task {{task}} died"),
        Ask(increase("zen_lead_objects_rejected_total", P, "resource"), "{{resource}} not read"),
        Ask(increase("zen_lead_events_dropped_total", P, "why"), "Event not written: {{why}}"),
        style="bars",
    ),
)
