"""The project's own page: what the gateway does, why, and what it saved. It works offline, over the JSON routes."""
