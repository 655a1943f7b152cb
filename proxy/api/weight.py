"""What a request's body weighs besides its bytes: what it refers to, what is in it that is no text, how many answers it asks.

A token of text is at least one byte of the body.  That is no bound for a picture, which is charged by its size; for what
stands elsewhere, such as a file, an earlier response, or whatever a tool of the provider's finds; nor for the answers of
a body that asks several things at once.  About 1 µs for a chat of a few messages.
"""

from __future__ import annotations

from typing import Any, Final

from proxy.call import PLAIN, Weight

Body = dict[str, Any]

# Parts and items whose tokens are in the body.
TEXTS: Final = frozenset({"text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text"})
ITEMS: Final = frozenset({"message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"})
# Tools that the client runs itself; all others read what is not in the body, at the provider's.
OWN_TOOLS: Final = frozenset({"function", "custom"})
# Parts that may name a file of the provider's, and where: in OpenAI's two protocols for chats.
FILES: Final = frozenset({"file", "input_file", "input_image"})
# Fields that bring along what is not in the body.
ELSEWHERE: Final = ("previous_response_id", "conversation", "web_search_options")


def weigh(body: Body, /) -> Weight:
    """The weight of a parsed body.  What has an unknown shape counts as a reference; nothing is refused here."""
    counted = _Counted()
    for field in ("messages", "input"):
        items = body.get(field)
        if type(items) is list:
            counted.items(items)
    for field in ELSEWHERE:
        if body.get(field) is not None:
            counted.references += 1
    if (tools := body.get("tools")) is not None:
        counted.tools(tools)
    if (prompt := body.get("prompt")) is not None:
        counted.prompt(prompt, body.get("best_of"), body.get("n"))
    tier = body.get("service_tier")
    audio = counted.audio or body.get("audio") is not None
    if not (counted.references or counted.payload_bytes or audio or tier is not None or counted.answers > 1):
        return PLAIN
    return Weight(
        references=counted.references,
        payload_bytes=counted.payload_bytes,
        audio=audio,
        service_tier=tier if isinstance(tier, str) else "",
        answers=counted.answers,
        files=tuple(dict.fromkeys(counted.files)),
    )


class _Counted:
    __slots__ = ("answers", "audio", "files", "payload_bytes", "references")

    def __init__(self) -> None:
        self.references = 0
        self.payload_bytes = 0
        self.audio = False
        self.answers = 1
        self.files: list[str] = []

    def items(self, items: list[Any]) -> None:
        """Messages, or the items of a response's input; an embedding's input is texts or numbers."""
        for item in items:
            if type(item) is not dict:
                continue
            content = item.get("content")
            if type(content) is list:
                for part in content:
                    self._part(part)
            if (kind := item.get("type")) is not None and kind not in ITEMS and kind != "reasoning":
                self._part(item)
            output = item.get("output")
            if type(output) is list:
                for part in output:
                    self._part(part)

    def tools(self, tools: Any) -> None:
        for tool in tools if type(tools) is list else ():
            if type(tool) is not dict or tool.get("type") not in OWN_TOOLS:
                self.references += 1
                container = tool.get("container") if type(tool) is dict else None
                named = container.get("file_ids") if type(container) is dict else None
                self.files += (it for it in named if type(it) is str) if type(named) is list else ()

    def prompt(self, prompt: Any, best_of: Any, choices: Any) -> None:
        """Of the old completions: one text, or its tokens; or a list of such, each answered ``best_of`` times.

        The Responses API has a stored prompt of that name instead.
        """
        if type(prompt) is dict:
            self.references += 1
        elif type(prompt) is list and prompt and type(prompt[0]) is not int:
            self.answers = len(prompt)
        if type(best_of) is int and best_of > (choices if type(choices) is int else 1):
            self.answers *= best_of

    def _part(self, part: Any) -> None:
        if type(part) is not dict:
            return
        kind = part.get("type")
        if kind in TEXTS:
            return
        self.references += 1
        if kind in FILES:
            held = part.get("file") if kind == "file" else part
            name = held.get("file_id") if type(held) is dict else None
            if type(name) is str:
                self.files.append(name)
        if kind == "input_audio":
            self.audio = True
            return
        for value in part.values():
            if type(value) is str:
                self._payload(value)
            elif type(value) is dict:
                for inner in value.values():
                    if type(inner) is str:
                        self._payload(inner)

    def _payload(self, text: str) -> None:
        if text.startswith("data:") and text.isascii():
            self.payload_bytes += len(text)
