"""Spans, and `traced` for functions of one's own."""

from conduit.observability.tracing.spans import traced

__all__ = ["traced"]
