//! `narthex-sidecar`: runs beside a Prometheus, writes the config it runs with, proxies its scrapes and knows the load
//! and health of every target.

pub mod job_ids;
pub mod proxy;
pub mod scheme_twins;
pub mod targets;
