"""### `source`

The network address a message came from: one address, a network (`10.20.0.0/16`, `2001:db8::/32`), or a list of them.
An IPv4 address is the same when it comes over IPv6 (`::ffff:10.20.0.7`).

    when: {source: ["10.20.0.0/16", "192.0.2.7"]}
    when: {source: {not: "10.0.0.0/8"}}
"""  # noqa: D400, D415 - a page of the manual

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any, Final

from msgspec import Struct

from interceptor.document import Node, Text
from interceptor.policy.condition import Condition, Offer, Positions, Probe, Test, any_word
from interceptor.policy.grammar import Grammar, Reading
from interceptor.policy.readings import IPV4_FROM, Readings, address_bits
from interceptor.policy.shapes import TEXT, Shape, Shapes
from interceptor.values import Facts

KEY: Final = "source"


class SourceLookup(Struct, frozen=True):
    """Rules by network, one table per length of its prefix."""

    @property
    def rank(self) -> int:
        return 6

    def probe(self, table: Mapping[Any, Positions], readings: Readings) -> Probe:
        by_shift: dict[int, dict[int, Positions]] = {}
        for (shift, bits), positions in table.items():
            by_shift.setdefault(shift, {})[bits] = positions
        shifts = tuple(by_shift.items())
        address = readings.address

        def find(facts: Facts, hits: list[int]) -> None:
            bits = address(facts.source)
            for shift, networks in shifts:
                found = networks.get(bits >> shift)
                if found is not None:
                    hits.extend(found)

        return find


class SourceIn(Struct, frozen=True):
    """The address is in one of ``networks``, each a shift and the bits that remain of an address after it."""

    networks: tuple[tuple[int, int], ...]

    def test(self, readings: Readings) -> Test:
        networks, address = self.networks, readings.address
        if len(networks) == 1:
            shift, bits = networks[0]
            return lambda facts: address(facts.source) >> shift == bits

        def within(facts: Facts) -> bool:
            here = address(facts.source)
            return any(here >> shift == bits for shift, bits in networks)

        return within

    def offer(self) -> Offer | None:
        lookup = SourceLookup()
        return Offer(tuple((lookup, network) for network in self.networks))

    def expects(self) -> str:
        return f"source {any_word([_told(*network) for network in self.networks])}"

    def sees(self, facts: Facts, _readings: Readings) -> str:
        return facts.source or "no address"


def _told(shift: int, bits: int) -> str:
    """A network as people write it."""
    first = bits << shift
    if shift <= 32 and first >> 32 == IPV4_FROM >> 32:
        address: IPv4Address | IPv6Address = IPv4Address(first & 0xFFFFFFFF)
    else:
        address = IPv6Address(first)
    return f"{address}/{address.max_prefixlen - shift}" if shift else str(address)


def read(node: Node, reading: Reading) -> Condition | None:
    """The condition under ``source``."""
    return _GRAMMAR.read(node, reading)


def _values(nodes: tuple[Text, ...], reading: Reading) -> Condition | None:
    networks: dict[tuple[int, int], None] = {}
    for node in nodes:
        network = _network(node, reading)
        if network is not None:
            shift = network.max_prefixlen - network.prefixlen
            networks[shift, address_bits(str(network.network_address)) >> shift] = None
    return SourceIn(tuple(networks))


def _network(node: Text, reading: Reading) -> IPv4Network | IPv6Network | None:
    try:
        network = ip_network(node.value, strict=False)
    except ValueError:
        message = f"`source` should be an address or a network such as `10.20.0.0/16`, here is `{node.value}`"
        reading.problems.add(node.place, message, "not_a_network")
        return None
    if address_bits(node.value.partition("/")[0]) != address_bits(str(network.network_address)):
        message = f"`{node.value}` is an address inside a network, did you mean `{network}`?"
        reading.problems.add(node.place, message, "not_a_network")
        return None
    return network


_GRAMMAR: Final = Grammar("`source`", _values, {})


def shape(shapes: Shapes) -> Shape:
    """What can be written under ``source``."""
    return shapes.grammar(KEY, TEXT)
