"""Anthropic's Messages API: to the canonical form and back."""
