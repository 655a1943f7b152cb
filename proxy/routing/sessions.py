"""Which requests belong together: one conversation, as its client says."""

from __future__ import annotations

from proxy.call import Call

HINTS = frozenset((b"x-claude-code-session-id", b"session-id", b"thread-id", b"x-session-affinity"))
"""Headers by which clients say which requests belong together.  Source: Claude Code 2.1, Codex 0.169 on the wire."""
HINT_MAX_CHARS = 512


def session_of(call: Call) -> str:
    """What tells a session from all others; empty where nothing says that requests belong together."""
    hint = call.head.cache_key
    if not hint:
        for name, value in call.headers:
            if name in HINTS:
                hint = value.decode("latin-1")
                break
        else:
            return ""
    # Two callers that hit on the same name share no cache.
    return f"{call.principal.key_id if call.principal else ''}\n{hint[:HINT_MAX_CHARS]}"
