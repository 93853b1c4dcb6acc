"""The one way in which the server says no: a status and OpenAI's error object."""

import json
from typing import Any

# What the metrics count an answer as; any other status below 500 is the client's mistake.
_KINDS = {
    401: "unauthorized",
    403: "host",
    408: "slow_client",
    429: "overloaded",
    500: "internal",
    503: "unavailable",
}
# All that the metrics count: these, a client that went or did not read, and an answer cut by its time.
KINDS = ("invalid_request", *_KINDS.values(), "disconnect", "timeout")


class ApiError(Exception):
    """An answer that is an error.

    status: of HTTP. message: names the field or header, and the way out. code: OpenAI's, or ours in its
    manner. param: the field of the request. retry_after: seconds after which it may go better. allow: the
    methods that a path knows.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
        allow: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after
        self.allow = allow

    @property
    def kind(self) -> str:
        """What the metrics count it as."""
        return _KINDS.get(self.status, "invalid_request")

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers that belong to it."""
        headers = []
        if self.retry_after is not None:
            headers.append(("Retry-After", str(self.retry_after)))
        if self.allow is not None:
            headers.append(("Allow", self.allow))
        if self.status == 401:
            headers.append(("WWW-Authenticate", "Bearer"))
        return headers

    def to_dict(self) -> dict[str, Any]:
        """OpenAI's error object."""
        of_server = self.status >= 500
        kind = (
            "server_error"
            if of_server
            else "rate_limit_error"
            if self.status == 429
            else "invalid_request_error"
        )
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}

    def body(self) -> bytes:
        """`to_dict` as it is sent."""
        return json.dumps(self.to_dict()).encode()
