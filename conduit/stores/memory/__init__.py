"""Stores of one process."""
