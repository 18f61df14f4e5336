//! What every Narthex binary shares at its edge: admin endpoints, readiness, shutdown, telemetry, the clock, files on
//! disk, the HTTP client that a job's settings ask for, and the protected web server.

pub mod admin;
pub mod clock;
pub mod files;
pub mod http_client;
pub mod listen;
pub mod shutdown;
pub mod telemetry;
pub mod web;
