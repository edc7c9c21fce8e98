"""zenlead: a Service that always reaches exactly one ready pod."""

__version__ = "0.1.0"
