"""Conduit: a gateway that learns which model should answer which prompt."""
