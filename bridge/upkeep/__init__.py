"""Keeping the bridge going: alerts, the doctor, readiness, clocks."""
