//! The scrape proxy: what Prometheus asks of a target goes through here.
