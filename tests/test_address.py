"""What is shown of a server's address."""

import pytest

from alttrain_cli.backends.address import without_secrets


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("https://[::1]:8000/v1", "https://[::1]:8000/v1"),
        ("https://host/accounts/@me/v1", "https://host/accounts/@me/v1"),
        ("http://user:SECRET@host/v1", "http://host/v1"),
        ("http://SECRET@host:80/v1", "http://host:80/v1"),
        ("http://user:SEC@RET@host/v1", "http://host/v1"),
        ("http://user:SEC/RET@host/v1", "http://host/v1"),
        ("http://user:SEC?RET@host/v1", "http://host/v1"),
        ("http://user:SEC#RET@host/v1", "http://host/v1"),
        ("http://user:SEC%40RET@host/v1?a=b#c", "http://host/v1"),
        ("http://host/v1?key=SECRET", "http://host/v1"),
        ("http://host/v1?mail=a@b&key=SECRET", "http://host/v1"),
        ("http://host/v1#SECRET", "http://host/v1"),
        ("http://user:SECRET@[::1/v1", "http://[::1/v1"),
        ("user:SECRET@host/v1", "host/v1"),
        ("http:user:SECRET@host/v1", "host/v1"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, expected: str) -> None:
    assert without_secrets(url) == expected
    assert without_secrets(without_secrets(url)) == expected
