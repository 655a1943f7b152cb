"""What ``tollway deployments`` prints, and what it asks for."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner

from proxy.commands.deployments import commands

ROW: dict[str, Any] = {
    "name": "a/gpt@default",
    "state": "closed",
    "ready_in_s": 0.0,
    "reason": "",
    "in_flight": 3,
    "ttfb_ms": 812.5,
    "stream_ttfb_ms": None,
    "error_percent": 0.0,
    "spent_today_usd": None,
}
OPEN = {**ROW, "name": "b/gpt@x", "state": "open", "ready_in_s": 29.6, "reason": "upstream_error", "spent_today_usd": 1.5}


class Server:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, Any]] = []

    def __call__(self, method: str, path: str, body: Any) -> Any:
        self.asked.append((method, path, body))
        return self.answer


def printed(server: Server, *arguments: str) -> str:
    result = CliRunner().invoke(commands(server), arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_those_that_are_not_asked_are_listed_first() -> None:
    lines = printed(Server({"data": [ROW, OPEN]}), "list").splitlines()

    assert [line.split()[0] for line in lines] == ["DEPLOYMENT", "b/gpt@x", "a/gpt@default"]
    assert lines[1].split() == ["b/gpt@x", "open", "30", "s", "upstream_error", "3", "812", "ms", "0", "%", "$1.50"]


def test_json_is_what_the_server_said() -> None:
    assert '"ready_in_s":29.6' in printed(Server({"data": [OPEN]}), "list", "--json")


def test_a_reset_says_how_many_it_were() -> None:
    server = Server({"reset": 2})

    assert printed(server, "reset", "a/gpt") == "2 reset\n"
    assert server.asked == [("POST", "/admin/v1/deployments/reset", {"name": "a/gpt"})]


def test_a_reset_of_nothing_says_so() -> None:
    assert printed(Server({"reset": 0}), "reset") == "nothing was held against any of them\n"
