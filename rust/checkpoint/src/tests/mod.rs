//! Tests against the storage in memory.
