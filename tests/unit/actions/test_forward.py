"""What a browser sends on its way to Spark's page."""

from __future__ import annotations

import pytest

from occamctl.actions.forward import Requests

PAGE = b"GET /user/anna%40x.org/proxy/4041/jobs/?id=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
PLAIN = b"GET /jobs/?id=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
POST = (
    b"POST /user/anna/proxy/4041/jobs/job/kill/ HTTP/1.1\r\nContent-Length: 50\r\n\r\n"
    + b"GET /user/a/proxy/1/ HTTP/1.1\r\n\r\n".ljust(50)
)
POSTED = POST.replace(b"/user/anna/proxy/4041", b"", 1)


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (PAGE, PLAIN),
        (PLAIN, PLAIN),
        (PAGE * 3, PLAIN * 3),
        (POST + PAGE, POSTED + PLAIN),
        (b"GET /user/anna/proxy/4041 HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
        (b"GET /user/anna/lab HTTP/1.1\r\n\r\n", b"GET /user/anna/lab HTTP/1.1\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_the_path_below_the_hub_is_taken_off(sent: bytes, arrives: bytes, piece: int) -> None:
    requests = Requests()
    assert b"".join(requests(sent[start : start + piece]) for start in range(0, len(sent), piece)) == arrives


def test_what_is_no_http_ends_the_connection() -> None:
    with pytest.raises(OSError, match="no end"):
        Requests()(b"x" * 100_000)
