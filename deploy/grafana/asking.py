"""How the dashboard asks: the labels that its variables choose by, and the usual shapes of PromQL.

Knows PromQL. Refuses to know panels. The rules: what may begin with its first occurrence is asked
for with ``new``, for ``increase`` does not see a first value; and what is about a Service is never about a
replica, which changes.
"""

from __future__ import annotations

from deploy.grafana.panels import Ask

# What the variables choose: of the process, of a namespace, of a Service.
P = 'job=~"$job",instance=~"$instance"'
N = f'{P},namespace=~"$namespace"'
S = f'{N},service=~"$service"'
EACH = "namespace, service"  # a Service; never its replica, which changes


def increase(name: str, labels: str, by: str) -> str:
    """How much a counter grew, summed ``by`` labels; for those that begin at zero."""
    return f"sum by ({by}) (increase({name}{{{labels}}}[$__rate_interval]))"


def new(name: str, labels: str, by: str) -> str:
    """The same for counters that begin with their first occurrence: a new series counts as a whole."""
    series, within = f"{name}{{{labels}}}", "$__rate_interval"
    return f"sum by ({by}) (({series} unless {series} offset {within}) or increase({series}[{within}]))"


def rate(name: str, labels: str, by: str) -> str:
    """How much a counter grows each second, summed ``by`` labels."""
    return f"sum by ({by}) (rate({name}{{{labels}}}[$__rate_interval]))"


def quantile(share: float, name: str, labels: str, by: str = "", within: str = "$__rate_interval") -> str:
    """A quantile of a histogram."""
    kept = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({kept}) (rate({name}_bucket{{{labels}}}[{within}])))"


def new_quantile(share: float, name: str, labels: str, by: str = "") -> str:
    """A quantile of a histogram whose series begin with their first occurrence."""
    return f"histogram_quantile({share}, {new(f'{name}_bucket', labels, f'{by}, le' if by else 'le')})"


def quantiles(name: str, labels: str) -> tuple[Ask, ...]:
    """The usual three."""
    return tuple(Ask(quantile(share, name, labels), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99))
