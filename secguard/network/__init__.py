"""Who is asking: networks in CIDR notation and the client's address behind proxies.

Pure: no Django, no store, no settings. What a setting says is passed in; what is wrong raises ``ValueError``.
"""

from secguard.network.client_ip import (
    PRIVATE_NETWORKS,
    UNKNOWN,
    ClientAddress,
    ClientAddressResolver,
    parse_address,
    unknown,
)
from secguard.network.ranges import (
    SUBJECT_PREFIXES,
    Network,
    NetworkSet,
    canonical_network,
    describe_too_wide,
    is_one_client,
    parse_network,
)

__all__ = [
    "PRIVATE_NETWORKS",
    "SUBJECT_PREFIXES",
    "UNKNOWN",
    "ClientAddress",
    "ClientAddressResolver",
    "Network",
    "NetworkSet",
    "canonical_network",
    "describe_too_wide",
    "is_one_client",
    "parse_address",
    "parse_network",
    "unknown",
]
