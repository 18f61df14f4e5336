//! The flags of a protected web server, the same for every binary.

use std::path::PathBuf;

use clap::Args;

/// Who may use the API.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Protection of the API")]
pub struct WebArgs {
    /// TLS, users with passwords, client certificates and headers for the API, in Prometheus' own format of that name.
    ///
    /// The file and those that it names are looked at every second. With users, a token or required client certificates
    /// everything but /-/healthy and /-/ready is for those who have them, /metrics and what is passed on to Prometheus
    /// included.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,
    /// A file with a token that lets in whoever sends it as `Authorization: Bearer TOKEN`. It is looked at every second.
    /// With users in --web.config.file besides, either will do.
    #[arg(long = "web.token-file", value_name = "FILE")]
    pub web_token_file: Option<PathBuf>,
}
