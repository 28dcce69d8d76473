"""Readiness for Azure by requirement: the published model, how a plan maps to it, and how it is shown."""
