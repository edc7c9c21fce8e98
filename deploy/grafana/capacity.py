"""The third row: what zenlead uses, and how far that is from its limits.

Knows the metrics about size. Refuses to know faults. Rule: a limit is drawn where there is one.
"""

from __future__ import annotations

from deploy.grafana.asking import N, P, new_quantile, quantile, rate
from deploy.grafana.panels import Ask, Panel, graph, table

HITS, MISSES = (
    f"sum(rate(zen_lead_cache_{kind}_total{{{N}}}[$__rate_interval]))" for kind in ("hits", "misses")
)

CAPACITY: tuple[Panel, ...] = (
    graph(
        "Memory",
        "Resident memory of each replica.",
        "bytes",
        Ask(f"max by (instance) (process_resident_memory_bytes{{{P}}})", "{{instance}}"),
    ),
    graph(
        "CPU",
        "Cores used by each replica.",
        "short",
        Ask(rate("process_cpu_seconds_total", P, "instance"), "{{instance}}"),
    ),
    graph(
        "Open files",
        "Sockets included; the limit is the system's.",
        "short",
        Ask(f"max by (instance) (process_open_fds{{{P}}})", "{{instance}}"),
        Ask(f"min(process_max_fds{{{P}}})", "limit"),
    ),
    graph(
        "Index",
        "Services in the index from pods to Services, in the ten largest namespaces, and the limit of each.",
        "short",
        Ask(f"topk(10, max by (namespace) (zen_lead_cache_size{{{N}}}))", "{{namespace}}"),
        Ask(f"max(zen_lead_cache_size_limit{{{P}}} > 0)", "limit"),
    ),
    graph(
        "Index hits",
        "Share of the look-ups that found the index loaded.",
        "percentunit",
        Ask(f"{HITS} / ({HITS} + {MISSES})", "hits"),
    ),
    graph(
        "Loading the index",
        "95 of 100 namespaces were loaded in that time.",
        "s",
        Ask(new_quantile(0.95, "zen_lead_cache_update_duration_seconds", N), "p95"),
    ),
    graph(
        "Objects",
        "Leader Services and their slices.",
        "short",
        Ask(f"sum(max by (job, namespace) (zen_lead_leader_services_total{{{N}}}))", "leader Services"),
        Ask(f"sum(max by (job, namespace) (zen_lead_endpointslices_total{{{N}}}))", "slices"),
    ),
    graph(
        "Time of a scrape",
        "95 of 100 scrapes were answered in that time.",
        "s",
        Ask(quantile(0.95, "zen_lead_scrape_duration_seconds", P, "instance"), "{{instance}}"),
    ),
    table(
        "Replicas",
        "Versions that run, and since when.",
        "s",
        "max by (instance, version) (zen_lead_build_info{" + P + "} * on (job, instance) group_left () "
        "(time() - process_start_time_seconds{" + P + "}))",
        "runs since",
        "instance",
        "version",
    ),
)
