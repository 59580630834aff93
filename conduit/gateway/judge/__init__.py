"""A model that scores a share of the answers."""
