//! `kubernetes_sd_configs`: from the objects of a Kubernetes API server to target groups.

pub mod objects;
pub mod roles;
