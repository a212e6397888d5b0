"""Conveyor: continuous delivery for software and machine-learning models."""

__version__ = "0.1.0"
