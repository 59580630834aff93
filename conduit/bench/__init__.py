"""Proof: routing tables, replay, and estimators of what another policy would have done."""
