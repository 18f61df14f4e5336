//! A client whose settings stand in a file of their own, which may change.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use narthex_common::config::HttpClientConfig;

use super::JobClient;

/// How long the file last read is trusted to be unchanged.
const TRUSTED: Duration = Duration::from_secs(1);

/// Where the settings of a client come from.
#[derive(Clone, Debug)]
pub enum ClientSettings {
    /// These.
    Fixed(Box<HttpClientConfig>),
    /// Those in a file, which a flag names.
    File {
        /// The file.
        path: PathBuf,
        /// The flag.
        flag: &'static str,
    },
}

/// A client that follows its settings. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReloadingClient {
    settings: Arc<ClientSettings>,
    last: Arc<Mutex<Last>>,
}

/// The client made of what was read last.
#[derive(Debug)]
struct Last {
    client: JobClient,
    text: String,
    looked: Instant,
    /// Why the file is not in force: the same again is no news.
    failure: Option<String>,
}

impl ReloadingClient {
    /// A client with these settings.
    ///
    /// # Errors
    /// When they cannot be read or used.
    pub fn new(settings: ClientSettings) -> anyhow::Result<Self> {
        let text = settings.text()?;
        let client = settings.client_of(&text)?;
        let last = Last { client, text, looked: Instant::now(), failure: None };
        Ok(Self { settings: Arc::new(settings), last: Arc::new(Mutex::new(last)) })
    }

    /// The client to use now. A file that became unreadable or wrong changes nothing.
    pub async fn current(&self) -> JobClient {
        let is_fixed = matches!(*self.settings, ClientSettings::Fixed(_));
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if is_fixed || last.looked.elapsed() < TRUSTED {
                return last.client.clone();
            }
            // The others need not look, too.
            last.looked = Instant::now();
        }
        let (settings, last) = (Arc::clone(&self.settings), Arc::clone(&self.last));
        let looked = tokio::task::spawn_blocking(move || look(&settings, &last));
        if let Err(error) = looked.await {
            tracing::error!(%error, "the client settings were not read again");
        }
        self.last.lock().unwrap_or_else(PoisonError::into_inner).client.clone()
    }
}

impl ClientSettings {
    /// A client with what they are now.
    ///
    /// # Errors
    /// When they cannot be read or used.
    pub fn client(&self) -> anyhow::Result<JobClient> {
        self.client_of(&self.text()?)
    }

    fn text(&self) -> anyhow::Result<String> {
        match self {
            Self::Fixed(_) => Ok(String::new()),
            Self::File { path, flag } => {
                fs::read_to_string(path).with_context(|| format!("read {} (flag {flag})", path.display()))
            }
        }
    }

    fn client_of(&self, text: &str) -> anyhow::Result<JobClient> {
        match self {
            Self::Fixed(config) => Ok(JobClient::new(config)?),
            Self::File { path, flag } => {
                let path = std::path::absolute(path).with_context(|| format!("find {}", path.display()))?;
                let with_flag = || format!("use {} (flag {flag})", path.display());
                let config = HttpClientConfig::read_file(&path, text).with_context(with_flag)?;
                JobClient::new(&config).with_context(with_flag)
            }
        }
    }
}

fn look(settings: &ClientSettings, last: &Mutex<Last>) {
    let known = last.lock().unwrap_or_else(PoisonError::into_inner).text.clone();
    let newer = settings.text().and_then(|text| {
        if text == known { Ok(None) } else { settings.client_of(&text).map(|client| Some((text, client))) }
    });
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let failure = match newer {
        Ok(None) => None,
        Ok(Some((text, client))) => {
            tracing::info!("the client settings have changed; they are in force");
            (last.text, last.client) = (text, client);
            None
        }
        Err(error) => Some(format!("{error:#}")),
    };
    if let Some(error) = failure.as_ref().filter(|failure| last.failure.as_ref() != Some(*failure)) {
        tracing::error!(error, "the client settings are unusable; those read before stay in force");
    }
    last.failure = failure;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(client: &JobClient) -> String {
        format!("{client:?}")
    }

    #[tokio::test]
    async fn a_changed_file_is_in_force_soon_and_a_broken_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client.yml");
        let write = |user: &str| fs::write(&path, format!("basic_auth:\n  username: {user}\n")).unwrap();
        write("alice");
        let client = ReloadingClient::new(ClientSettings::File { path: path.clone(), flag: "--flag" }).unwrap();
        assert!(shown(&client.current().await).contains("alice"));
        for (change, expected) in
            [("username: x\n", "alice"), ("basic_auth:\n  username: bob\n", "bob"), ("hunter2", "bob")]
        {
            fs::write(&path, change).unwrap();
            tokio::time::sleep(TRUSTED).await;
            let now = shown(&client.current().await);
            assert!(now.contains(expected), "{now}");
        }
        fs::remove_file(&path).unwrap();
        tokio::time::sleep(TRUSTED).await;
        assert!(shown(&client.current().await).contains("bob"));
    }

    #[test]
    fn a_file_that_is_wrong_at_the_start_is_named_with_its_flag() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client.yml");
        let refused = || {
            let settings = ClientSettings::File { path: path.clone(), flag: "--flag" };
            let error = format!("{:#}", ReloadingClient::new(settings).unwrap_err());
            error.replace(&path.display().to_string(), "FILE")
        };
        assert_eq!(refused(), "read FILE (flag --flag): No such file or directory (os error 2)");
        fs::write(&path, "basic_auth:\n  usrname: x\n").unwrap();
        assert_eq!(refused(), "use FILE (flag --flag): FILE:2: field usrname not found in type config.plain");
        fs::write(&path, "tls_config:\n  ca_file: /nowhere\n").unwrap();
        let error = refused();
        assert!(
            error.starts_with("use FILE (flag --flag): unable to read CA cert: unable to read file /nowhere: open"),
            "{error}"
        );
    }
}
