//! What the coordinator shows: the API, the metrics, the snapshot of a round.
