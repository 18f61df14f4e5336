//! An `http_client_config` in a file of its own, as `promtool --http.config.file` has it.

use std::path::Path;

use super::{
    ConfigError, HttpClientConfig,
    fields::{Fault, Fields},
    paths::BaseDir,
    yaml,
};

impl HttpClientConfig {
    /// Reads a file's text that holds nothing but client settings. Relative paths in it start at the directory of the
    /// file.
    ///
    /// # Errors
    /// When Prometheus would refuse the settings: with file and line, and without anything secret.
    pub fn read_file(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let fault = |line, message| ConfigError { path: path.to_owned(), line, job: None, message };
        let root = yaml::read(text).map_err(|error| fault(Some(error.line), error.message))?;
        let read = || {
            // Where there are no settings there may be a token: nothing of it is repeated.
            if root.as_map().is_none() {
                return Err(Fault::at(&root, "it has no settings such as tls_config; is it another file?"));
            }
            let fields = Fields::of(&root, "config.HTTPClientConfig")?;
            let config = Self::read(&fields, BaseDir::of_file(path))?;
            fields.finish()?;
            Ok(config)
        };
        read().map_err(|fault: Fault| fault.in_file(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::http_client::{Auth, Source};

    fn read(text: &str) -> Result<HttpClientConfig, String> {
        HttpClientConfig::read_file(Path::new("/etc/narthex/client.yml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn client_settings_stand_alone_and_their_files_lie_beside_them() {
        let config = read(
            "authorization:\n  credentials_file: token\ntls_config:\n  ca_file: tls/ca.pem\n  cert_file: /etc/client.pem\n  \
             key_file: tls/client.key\n  server_name: sidecar\n",
        )
        .unwrap();
        let Some(Auth::Header { kind, credentials: Some(Source::File(token)) }) = config.auth else {
            panic!("{:?}", config.auth)
        };
        assert_eq!((kind.as_str(), token.as_path()), ("Bearer", Path::new("/etc/narthex/token")));
        assert_eq!(config.tls.ca, Some(Source::File("/etc/narthex/tls/ca.pem".into())));
        assert_eq!(config.tls.cert, Some(Source::File("/etc/client.pem".into())));
        assert_eq!(config.tls.server_name.as_deref(), Some("sidecar"));
        assert_eq!(read("").unwrap(), HttpClientConfig::default());
    }

    #[test]
    fn what_is_wrong_names_the_file_and_the_line() {
        for (text, expected) in [
            ("basic_auth:\n  usrname: me\n", "2: field usrname not found in type config.plain"),
            ("job_name: a\n", "1: field job_name not found in type config.HTTPClientConfig"),
            ("hunter2", "1: it has no settings such as tls_config"),
            (
                "bearer_token: hunter2\nbasic_auth:\n  username: me\n",
                "1: at most one of basic_auth, oauth2, bearer_token",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(&format!("/etc/narthex/client.yml:{expected}")), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
