"""Those who run models, each behind the same four methods (see core/protocols.py)."""
