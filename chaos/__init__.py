"""Faults, workloads, models and checkers for the store and the control plane (see docs/architecture.md)."""
