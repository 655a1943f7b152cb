"""Cohere's own API: v2/chat and its streams, v2/embed, v2/rerank."""
