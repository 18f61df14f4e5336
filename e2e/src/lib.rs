//! What Narthex' end-to-end tests are made of: the load generator, which is also a program of its own.

pub mod loadgen;
