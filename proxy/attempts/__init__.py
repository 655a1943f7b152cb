"""Trying deployments: one try, what becomes of it, and who is tried next, when and how often."""
