//! Wiring: which stage feeds which.
