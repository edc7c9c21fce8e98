"""The first row: who has no leader, since when and why, what failed over, and how fast.

Knows the metrics about Services. Refuses to know how zenlead works. Rule: what is asked first at night comes
first.
"""

from __future__ import annotations

from deploy.grafana.asking import EACH, N, P, S, new, quantile
from deploy.grafana.panels import GREEN, RED, YELLOW, Ask, Panel, graph, heatmap, stat, states, table

WITHOUT = f"max by ({EACH}) (zen_lead_leader_service_without_endpoints{{{S}}})"
FIT = f"max by ({EACH}) (zen_lead_pods_available{{{S}}})"

OVERVIEW: tuple[Panel, ...] = (
    stat(
        "Services",
        "Leader Services that exist.",
        "short",
        f"sum(max by (job, namespace) (zen_lead_leader_services_total{{{N}}}))",
    ),
    stat(
        "Without a leader",
        "Services whose leader Service routes to nobody now.",
        "short",
        f"sum({WITHOUT})",
        (0, GREEN),
        (1, RED),
    ),
    stat(
        "Time without a leader",
        "Of all Services together, within the time range.",
        "s",
        f"sum(increase(zen_lead_unavailable_seconds_total{{{S}}}[$__range]))",
        (0, GREEN),
        (1, YELLOW),
        (60, RED),
        decimals=1,
    ),
    stat(
        "Failovers",
        "Changes of leader within the time range. A first election is none.",
        "short",
        f"sum(increase(zen_lead_failover_count_total{{{S}}}[$__range]))",
        decimals=0,
    ),
    stat(
        "P99 of failovers",
        "Of all Services, from the event that hurt the leader to the write that moved it.",
        "s",
        quantile(0.99, "zen_lead_leader_switch_duration_seconds", P, within="$__range"),
        (0, GREEN),
        (0.5, YELLOW),
        (1, RED),
    ),
    stat(
        "Replicas that lead",
        "Of zenlead itself. It has to be one.",
        "short",
        f"sum(zen_lead_leader_election_is_leader{{{P}}})",
        (0, RED),
        (1, GREEN),
        (2, RED),
    ),
    table(
        "Services without a leader",
        "Since when nobody leads, as far as the replica that leads knows, and why. NotWritten: a pod should "
        "lead, and the write has not come through.",
        "s",
        f"max by ({EACH}, reason) (zen_lead_leaderless_seconds{{{S}}})",
        "since",
        "namespace",
        "service",
        "reason",
        width=12,
    ),
    table(
        "Alerts",
        "Alerts on zenlead that fire or are about to. Each has a page in docs/runbooks.",
        "short",
        'count by (alertname, alertstate, severity, namespace, service) (ALERTS{alertname=~"ZenLead.+"})',
        "series",
        "alertname",
        "alertstate",
        "severity",
        "namespace",
        "service",
        width=12,
    ),
    states(
        "Times without a leader",
        "The Services that had none at some time within the range.",
        Ask(
            f"{WITHOUT} and on ({EACH}) max by ({EACH}) "
            f"(max_over_time(zen_lead_leader_service_without_endpoints{{{S}}}[$__range])) > 0",
            "{{namespace}}/{{service}}",
        ),
        {"0": ("routed", GREEN), "1": ("no leader", RED)},
        width=12,
    ),
    graph(
        "Failovers by reason",
        "Changes of leader, by what was wrong with the former one.",
        "short",
        Ask(new("zen_lead_failover_count_total", S, "reason"), "{{reason}}"),
        style="bars",
        width=12,
    ),
    heatmap(
        "Latency of failovers",
        "How long each took, from the event that hurt the leader to the write that moved it. The points are "
        "exemplars: they lead to traces.",
        "s",
        Ask(new("zen_lead_failover_latency_seconds_bucket", S, "le"), "{{le}}", exemplar=True),
        width=12,
    ),
    table(
        "Youngest leaderships",
        "Who leads for the shortest time: what moved last stands on top.",
        "s",
        f"bottomk(20, max by ({EACH}) (zen_lead_leader_duration_seconds{{{S}}}))",
        "leads since",
        "namespace",
        "service",
        width=12,
    ),
    graph(
        "Services by fit pods",
        "How many Services have no pod that is fit to lead, one (nobody to fail over to), or several.",
        "short",
        Ask(f"count({FIT} == 0)", "none"),
        Ask(f"count({FIT} == 1)", "one"),
        Ask(f"count({FIT} > 1)", "several"),
        style="stacked",
    ),
    graph(
        "Paused",
        "Services whose routing is left as it is, whatever happens.",
        "short",
        Ask(f"sum(max by ({EACH}) (zen_lead_paused{{{S}}}))", "paused"),
    ),
    graph(
        "Several ready endpoints",
        "Times that a leader Service began to route to more than one pod. It has to stay at zero.",
        "short",
        Ask(new("zen_lead_invariant_violations_total", S, EACH), "{{namespace}}/{{service}}"),
        style="bars",
    ),
)
