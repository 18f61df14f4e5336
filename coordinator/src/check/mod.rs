//! The dry commands: `check config` and `check targets`.
