"""Exact counters on Redis or Valkey: one server, one that Sentinels name, or a cluster."""

from secguard.stores.redis.cluster import ClusterStore
from secguard.stores.redis.sentinel import SentinelStore
from secguard.stores.redis.server import RedisStore

__all__ = ["ClusterStore", "RedisStore", "SentinelStore"]
