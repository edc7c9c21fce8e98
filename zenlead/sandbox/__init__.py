"""A small API server in memory, with a stand-in kubelet: behind ``zenlead demo`` and the simulated tests.

Knows what a real kube-apiserver answers for the few kinds zenlead touches. Refuses to know anything about
leaders. The rule not to break: every answer is checked against the real server by tests/contract.
"""
