//! Shards without processes, for tests.
