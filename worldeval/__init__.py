"""Rank robot policies inside a learned world model, and say how sure the ranking is."""

__version__ = "0.1.0"
