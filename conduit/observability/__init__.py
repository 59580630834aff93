"""Telemetry listens to what the gateway announces; the gateway does not know that it is there."""
