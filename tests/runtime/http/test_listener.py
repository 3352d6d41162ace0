"""Where the server can listen, and what it says where it cannot."""

import socket

import pytest

from runtime.http.listener import ListenError, listen


def has_ipv6():
    """Whether this machine has an address of its own in IPv6; containers often do not."""
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def addresses(host):
    listeners = listen(host, 0)
    try:
        return [one.getsockname()[:2] for one in listeners]
    finally:
        for one in listeners:
            one.close()


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "0.0.0.0", *(pytest.param(one, marks=needs_ipv6) for one in ("::1", "::"))]
)
def test_names_and_addresses_of_both_families_on_one_port(host):
    found = addresses(host)
    assert len({port for _, port in found}) == 1
    assert found[0][0] in {"127.0.0.1", "0.0.0.0", "::1", "::"}


@needs_ipv6
def test_a_name_that_has_an_ipv6_address_alone(monkeypatch):
    """As fly-local-6pn: what the resolver says counts, not how the name looks."""
    resolved = socket.getaddrinfo("::1", 0, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: resolved)
    assert addresses("fly-local-6pn")[0][0] == "::1"


@pytest.mark.parametrize(
    ("host", "said"),
    [("no-such-host.invalid", "VOWS_HOST"), ("192.0.2.1", "VOWS_HOST"), ("a" * 70 + ".example", "VOWS_HOST")],
)
def test_the_advice_is_about_the_host(host, said):
    with pytest.raises(ListenError) as error:
        listen(host, 0)
    assert said in str(error.value)
    assert "VOWS_PORT" not in str(error.value)


def test_the_advice_is_about_the_port_where_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ListenError, match="set VOWS_PORT"):
            listen("127.0.0.1", taken.getsockname()[1])
