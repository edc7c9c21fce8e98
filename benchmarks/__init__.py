"""zenlead measured side by side with Kubernetes' own EndpointSlice controller and with a bare loop.

All of it happens in one run against one real API server, so that ratios mean something on a noisy machine.
``python -m benchmarks --help``; what the figures mean and what disturbs what: docs/benchmarks.md.
"""
