"""Blocks of addresses, as settings name them."""

from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network


def parsed_networks(text: str) -> tuple[Network, ...]:
    """Of addresses and CIDR blocks, separated by commas. Raises ValueError that names the wrong one."""
    return tuple(_network(part.strip()) for part in text.split(",") if part.strip())


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is no address and no block such as 10.0.0.0/8 (its last bits must be 0)") from None
