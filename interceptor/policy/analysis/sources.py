"""Addresses as far as the networks of a policy tell them apart.

Networks lie inside each other or apart. The places are: outside of all of them (also what is no address), and each
network without those inside it, unless they fill it.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from interceptor.policy.readings import address_bits

_MAPPED: Final = 0xFFFF  # of the upper 96 bits: where IPv4 lives inside IPv6
_USUAL: Final = ("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "10.0.0.1", "127.0.0.1")

Network = tuple[int, int]
"""A shift, and the bits that remain of an address after it."""


class Places:
    """The places that some networks make; 0 is outside."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks: Final = sorted(set(networks), key=lambda network: (network[1] << network[0], -network[0]))
        own = _first_free(self._networks)
        self._place: dict[Network, int] = {}
        self._after: dict[Network, int] = {}  # the places of a network and of those inside it lie together
        self._first: dict[Network, int] = {}
        self._examples: list[str] = [""]
        around: list[Network] = []
        for network in self._networks:
            self._leave(around, network[1] << network[0])
            around.append(network)
            self._first[network] = len(self._examples)
            if network in own:
                self._place[network] = len(self._examples)
                self._examples.append(address_text(own[network]))
        self._leave(around, 1 << 129)
        self.size: Final = len(self._examples)
        self._shifts: Final = sorted({shift for shift, _ in self._networks})
        outside = (text for text in _USUAL if self.of(address_bits(text)) == 0)
        self._examples[0] = next(outside, "unknown")

    def _leave(self, around: list[Network], begin: int) -> None:
        while around and (around[-1][1] + 1) << around[-1][0] <= begin:
            self._after[around.pop()] = len(self._examples)

    def inside(self, networks: Iterable[Network]) -> int:
        """The places in one of these networks."""
        found = 0
        for network in networks:
            found |= (1 << self._after[network]) - (1 << self._first[network])
        return found

    def of(self, address: int) -> int:
        """The place of an address given as 128 bits; what is below 0 is none."""
        if address >= 0:
            for shift in self._shifts:  # the smallest network that it is in
                network = (shift, address >> shift)
                if network in self._first:
                    return self._place[network]
        return 0

    def example(self, place: int) -> str:
        """An address there."""
        return self._examples[place]

    def told(self, place: int) -> str:
        """A place in words."""
        if place == 0:
            return "any other address"
        network = next(each for each, at in self._place.items() if at == place)
        return network_text(network)


def _first_free(networks: list[Network]) -> dict[Network, int]:
    """Per network the first address that lies in none inside it; those that are filled are left out."""
    found: dict[Network, int] = {}
    around: list[list[int]] = []  # number of the network, the first address that nothing inside it has taken, its end

    def leave(begin: int) -> None:
        while around and around[-1][2] <= begin:
            number, free, end = around.pop()
            if free < end:
                found.setdefault(networks[number], free)

    for number, (shift, bits) in enumerate(networks):
        begin, end = bits << shift, (bits + 1) << shift
        leave(begin)
        if around:
            if around[-1][1] < begin:
                found.setdefault(networks[around[-1][0]], around[-1][1])
            around[-1][1] = end
        around.append([number, begin, end])
    leave(1 << 129)
    return found


def address_text(bits: int) -> str:
    """An address of 128 bits as it is written, IPv4 in its own form."""
    return str(IPv4Address(bits & 0xFFFFFFFF)) if bits >> 32 == _MAPPED else str(IPv6Address(bits))


def network_text(network: Network) -> str:
    """A network as it is written."""
    shift, bits = network
    text = address_text(bits << shift)
    return f"{text}/{(32 if '.' in text else 128) - shift}" if shift else text
