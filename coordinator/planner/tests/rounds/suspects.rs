//! Suspects: a target that kills the shard that scrapes it is not carried from shard to shard.
