"""Addresses: networks, the client behind trusted proxies, the key an address is counted under."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.model.address import (
    CHAIN_MOST,
    Address,
    Hop,
    Networks,
    counted_as,
    parse_address,
    parse_forwarded,
    parse_network,
    parse_x_forwarded_for,
    trace,
)

TRUSTED = Networks([parse_network("10.0.0.0/8"), parse_network("fd00::/8")])
PEER = ipaddress.ip_address("10.0.0.1")
ELEMENTS = st.sampled_from(
    ["10.0.0.2", "10.9.9.9", "fd00::2", "6.6.6.6", "[2001:db8::1]:80", "1.2.3.4:5", "unknown", "", "::ffff:10.0.0.3", "x"]
)  # fmt: skip


def at(text: str) -> Address:
    found = parse_address(text)
    assert found is not None
    return found


def client(header: str, peer: Address = PEER) -> str:
    return str(trace(peer, parse_x_forwarded_for([header]), TRUSTED).client)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::1", "::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:DB8::1", "2001:db8::1"),
    ],
)
def test_an_address_has_one_spelling(text: str, address: str) -> None:
    """IPv4-mapped addresses are IPv4."""
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "01.2.3.4", "1.2.3.4/8", "fe80::1%eth0", "host", "٣.1.1.1", "1" * 9999]
)
def test_what_is_no_address_is_none(text: str) -> None:
    """Names, zones, leading zeros and other digits are no addresses."""
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
    ],
)
def test_a_network_is_an_address_and_a_prefix(text: str, network: str) -> None:
    """One address is a network of itself; an IPv4-mapped network is the IPv4 one."""
    assert str(parse_network(text)) == network


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "10.0.0.0/0.255.255.255", "x", "fe80::%1/64"])  # fmt: skip
def test_anything_else_is_no_network(text: str) -> None:
    """Host bits, netmasks and zones are refused."""
    with pytest.raises(ValueError):
        parse_network(text)


@given(st.text(max_size=50) | st.text("0123456789abcdef:./", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """An address or None, a network or a ValueError; nothing else."""
    parse_address(text)
    try:
        parse_network(text)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("text", "key"),
    [("1.2.3.4", "1.2.3.4"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64")],
)
def test_an_address_counts_as_itself_or_its_64(text: str, key: str) -> None:
    """Who has a /64 has all its addresses."""
    assert counted_as(at(text)) == key


def test_a_mapped_address_counts_as_ipv4() -> None:
    """However it was made: a client must not count twice, nor all of IPv4 once."""
    assert counted_as(ipaddress.IPv6Address("::ffff:1.2.3.4")) == "1.2.3.4"


def test_networks_hold_their_addresses() -> None:
    """Both versions are asked; nobody is in no network."""
    assert at("10.255.0.1") in TRUSTED
    assert at("::ffff:10.0.0.1") in TRUSTED
    assert at("11.0.0.1") not in TRUSTED
    assert at("fd00::1") in TRUSTED
    assert bool(TRUSTED)
    assert not Networks([])
    assert at("10.0.0.1") not in Networks([])


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("5.5.5.5", "5.5.5.5"),
        ("6.6.6.6, 5.5.5.5", "5.5.5.5"),
        ("6.6.6.6, 5.5.5.5, 10.0.0.2", "5.5.5.5"),
        ("6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"),
        ("6.6.6.6,,10.0.0.2", "10.0.0.2"),
        ("garbage", "10.0.0.1"),
        ("", "10.0.0.1"),
        ("5.5.5.5:1234", "5.5.5.5"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:5.5.5.5", "5.5.5.5"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
    ],
)
def test_the_client_is_the_first_untrusted_address_from_the_right(header: str, found: str) -> None:
    """Or the last good element before a malformed one."""
    assert client(header) == found


def test_cve_2026_40575_an_untrusted_peer_is_the_client_itself() -> None:
    """Nobody is believed unless the configuration names their network."""
    origin = trace(at("6.6.6.6"), parse_forwarded(["for=1.1.1.1;proto=https"]), TRUSTED)
    assert (str(origin.client), origin.scheme, len(origin.chain)) == ("6.6.6.6", None, 1)


def test_cve_2022_24112_the_leftmost_element_is_only_what_the_client_wrote() -> None:
    """`X-Forwarded-For: 127.0.0.1` from outside names nobody."""
    assert client("127.0.0.1, 6.6.6.6") == "6.6.6.6"


@given(st.lists(ELEMENTS, max_size=8), st.lists(ELEMENTS, max_size=4))
def test_nothing_left_of_an_untrusted_hop_is_believed(forged: list[str], true: list[str]) -> None:
    """What a client writes before its own address changes neither client nor chain."""
    with_lies = trace(
        PEER, parse_x_forwarded_for([", ".join([*forged, "6.6.6.6", *true])]), TRUSTED
    )
    without = trace(PEER, parse_x_forwarded_for([", ".join(["6.6.6.6", *true])]), TRUSTED)
    assert with_lies == without


@given(st.lists(ELEMENTS, max_size=8))
def test_every_hop_but_the_client_is_trusted(elements: list[str]) -> None:
    """The chain goes from the client to the peer, and every speaker in it but the first was believed."""
    origin = trace(PEER, parse_x_forwarded_for([",".join(elements)]), TRUSTED)
    assert origin.chain[-1] == PEER
    assert origin.chain[0] == origin.client
    assert all(address in TRUSTED for address in origin.chain[1:])


def test_repeated_fields_are_one_list() -> None:
    """RFC 9110 section 5.3: fields of one name are joined in their order."""
    hops = parse_x_forwarded_for(["5.5.5.5", "10.0.0.3, 10.0.0.2"])
    assert [str(hop.address) for hop in hops] == ["5.5.5.5", "10.0.0.3", "10.0.0.2"]


def test_a_long_chain_is_read_from_its_end() -> None:
    """Clients do not choose how much work a header is."""
    hops = parse_x_forwarded_for(["6.6.6.6," * 5000 + "10.0.0.2"])
    assert len(hops) == CHAIN_MOST
    assert hops[-1] == Hop(at("10.0.0.2"))


@pytest.mark.parametrize(
    ("value", "address", "scheme"),
    [
        ("for=5.5.5.5", "5.5.5.5", None),
        ("For=5.5.5.5;PROTO=HTTPS;by=x", "5.5.5.5", "https"),
        ('for="5.5.5.5:80" ; proto=http', "5.5.5.5", "http"),
        ('for="[2001:db8::1]:80"', "2001:db8::1", None),
        (r'for="\5.5.5.5"', "5.5.5.5", None),
        ('host="a,b;c";for=5.5.5.5', "5.5.5.5", None),
        ("for=5.5.5.5;proto=gopher", "5.5.5.5", None),
        ("for=unknown;proto=https", None, "https"),
        ("for=_hidden", None, None),
        ("proto=https", None, "https"),
        ("for=1.1.1.1;for=2.2.2.2", None, None),
        ("for=5.5.5.5 proto=https", None, None),
        ("for 5.5.5.5", None, None),
        ('for="5.5.5.5', None, None),
    ],
)
def test_an_element_of_forwarded_names_an_address_and_a_scheme(
    value: str, address: str | None, scheme: str | None
) -> None:
    """RFC 7239 section 4; a malformed one names nobody."""
    (hop,) = parse_forwarded([value])
    assert (hop.address, hop.scheme) == (parse_address(address or ""), scheme)


def test_commas_in_quotes_do_not_separate() -> None:
    """RFC 7239 section 4: a quoted string may hold a comma."""
    hops = parse_forwarded(['for=1.1.1.1;host="a,for=2.2.2.2", for=3.3.3.3', "for=4.4.4.4"])
    assert [str(hop.address) for hop in hops] == ["1.1.1.1", "3.3.3.3", "4.4.4.4"]


def test_scheme_and_host_are_those_of_the_last_element() -> None:
    """What our peer says its own client spoke and asked for, also where it hides that client's address."""
    said = ["for=1.1.1.1;proto=http;host=evil.test, for=_x;proto=https;host=a.test"]
    origin = trace(PEER, parse_forwarded(said), TRUSTED)
    assert (str(origin.client), origin.scheme, origin.host) == ("10.0.0.1", "https", "a.test")
    stranger = trace(at("6.6.6.6"), parse_forwarded(said), TRUSTED)
    assert (stranger.scheme, stranger.host) == (None, None)


@pytest.mark.parametrize("client", ['for="x', 'for="\\', '"', 'for=1.1.1.1, by="a, for=2.2.2.2'])
@pytest.mark.parametrize("proxy", ["for=5.5.5.5", 'for="5.5.5.5:80";by="_a"', "for=5.5.5.5, for=10.0.0.2"])  # fmt: skip
def test_an_open_quote_does_not_swallow_what_a_proxy_appends(client: str, proxy: str) -> None:
    """A client that opens a quote is not taken for the proxy: it would be in its networks, and in its limits."""
    assert str(trace(PEER, parse_forwarded([f"{client}, {proxy}"]), TRUSTED).client) == "5.5.5.5"


@given(st.lists(st.text(max_size=40) | st.text('for=;,"\\ 1.[]:proths', max_size=40), max_size=4))
def test_any_forwarding_header_is_hops(values: list[str]) -> None:
    """Both headers are read without an exception, whatever they hold."""
    for hops in (parse_forwarded(values), parse_x_forwarded_for(values)):
        assert all(hop.scheme in {None, "http", "https"} for hop in hops)
        assert trace(PEER, hops, TRUSTED).chain[-1] == PEER
