"""Errors of the API: an HTTP status and OpenAI's error object."""

import json
from typing import Any

# Labels of the error metric by status; any other status below 500 is an invalid request.
METRIC_KINDS_BY_STATUS = {
    401: "unauthorized",
    403: "host",
    408: "slow_client",
    429: "overloaded",
    500: "internal",
    503: "unavailable",
}
# All labels of the error metric: also a client that disconnected, and an answer cut by the time limit.
METRIC_KINDS = ("invalid_request", *METRIC_KINDS_BY_STATUS.values(), "disconnect", "timeout")


class ApiError(Exception):
    """An error that is sent as the answer to a request."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
        allow: str | None = None,
        accept_encoding: str | None = None,
    ) -> None:
        """Create the error.

        Args:
            status: HTTP status.
            message: What is wrong, with the name of the field or header, and how to correct it.
            code: OpenAI's error code, or one of our own in the same style.
            param: Name of the invalid field.
            retry_after: Seconds after which the request may succeed.
            allow: Methods that the path accepts, for a 405.
            accept_encoding: Encodings of a body that are accepted, for a 415.
        """
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after
        self.allow = allow
        self.accept_encoding = accept_encoding

    @property
    def metric_kind(self) -> str:
        """Label of the error in the metrics."""
        return METRIC_KINDS_BY_STATUS.get(self.status, "invalid_request")

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Additional headers of the answer."""
        headers = []
        if self.retry_after is not None:
            headers.append(("Retry-After", str(self.retry_after)))
        if self.allow is not None:
            headers.append(("Allow", self.allow))
        if self.accept_encoding is not None:
            headers.append(("Accept-Encoding", self.accept_encoding))
        if self.status == 401:
            headers.append(("WWW-Authenticate", "Bearer"))
        return headers

    def to_dict(self) -> dict[str, Any]:
        """Return OpenAI's error object."""
        is_server_error = self.status in (500, 503)  # 505 is an error of the client
        error_type = (
            "server_error"
            if is_server_error
            else "rate_limit_error"
            if self.status == 429
            else "invalid_request_error"
        )
        error = {"message": self.message, "type": error_type, "param": self.param, "code": self.code}
        return {"error": error}

    def encode(self) -> bytes:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict()).encode()
