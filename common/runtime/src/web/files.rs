//! What protects a web server right now, as the files say that its flags name.

use std::{fmt, fs, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use http::{HeaderMap, HeaderName, HeaderValue};
use narthex_common::config::{WebConfig, web::ClientAuth};
use prometheus_client::registry::Registry;
use rustls::ServerConfig;
use tokio::{sync::watch, time::MissedTickBehavior};
use tracing::{error, info, warn};

use super::{
    WebArgs,
    metrics::WebMetrics,
    passwords::Passwords,
    tls::{self, TlsMaterial},
    token::Token,
};
use crate::shutdown::Shutdown;

/// How often the files are looked at: a renewed certificate or a revoked password is in force as soon as one would look.
const LOOK: Duration = Duration::from_secs(1);

/// What protects a web server, and what it tells of that. Cheap to clone.
#[derive(Clone)]
pub struct Web {
    pub(super) protection: watch::Receiver<Arc<Protection>>,
    pub(super) passwords: Arc<Passwords>,
    pub(super) metrics: WebMetrics,
}

/// What protects a web server at one time.
pub(super) struct Protection {
    /// None is plain HTTP.
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) headers: HeaderMap,
    pub(super) token: Option<Token>,
    pub(super) config: WebConfig,
    read: Files,
}

/// What the files hold.
#[derive(Default, PartialEq, Eq)]
struct Files {
    config: String,
    tls: Option<TlsMaterial>,
    token: Option<String>,
}

/// Says whether there is something, not what it is.
impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, token, config, .. } = self;
        f.debug_struct("Protection")
            .field("tls", &tls.is_some())
            .field("token", token)
            .field("config", config)
            .finish_non_exhaustive()
    }
}

impl Web {
    /// Reads the files that the flags name, and goes on looking at them until the end.
    ///
    /// # Errors
    /// When they cannot be read or are wrong: nothing is served then.
    pub fn start(args: &WebArgs, registry: &mut Registry, shutdown: Shutdown) -> anyhow::Result<Self> {
        let metrics = WebMetrics::register(registry);
        let first = Protection::read(args)?;
        metrics.in_force(first.is_authenticated(), first.tls.is_some());
        let (publish, protection) = watch::channel(Arc::new(first));
        let has_files = args.web_config_file.is_some() || args.web_token_file.is_some();
        if has_files {
            tokio::spawn(look(args.clone(), publish, metrics.clone(), shutdown));
        }
        Ok(Self { protection, passwords: Arc::new(Passwords::new()?), metrics })
    }

    /// Warns when others than this machine reach an address, and it is not protected from them.
    pub fn warn_unless_protected(&self, listening: SocketAddr, anybody_can: &str) {
        if let Some(warning) = self.protection.borrow().warning(listening, anybody_can) {
            warn!(%listening, "{warning}");
        }
    }
}

impl Protection {
    /// Reads it from the disk.
    fn read(args: &WebArgs) -> anyhow::Result<Self> {
        let (files, config) = Files::read(args)?;
        Self::new(files, config, args)
    }

    fn new(read: Files, config: WebConfig, args: &WebArgs) -> anyhow::Result<Self> {
        let in_config = || args.web_config_file.as_ref().map_or_else(String::new, |file| file.display().to_string());
        let tls = match (&config.tls, &read.tls) {
            (Some(settings), Some(material)) => {
                Some(Arc::new(tls::server_config(settings, material, config.http2).with_context(in_config)?))
            }
            (None, _) | (_, None) => None,
        };
        for (user, hash) in &config.users {
            // Any password will do to see whether the hash can be compared with; a cost of 31 takes days.
            hash.expose().parse::<bcrypt::HashParts>().map_err(|_| {
                anyhow::anyhow!("{}: basic_auth_users: user {user:?}: it is no bcrypt hash", in_config())
            })?;
        }
        let token = match (&read.token, &args.web_token_file) {
            (Some(text), Some(file)) => {
                Some(Token::read(text).with_context(|| format!("{} (flag --web.token-file)", file.display()))?)
            }
            (None, _) | (_, None) => None,
        };
        let header = |(name, value): (&String, &String)| Ok((name.parse()?, value.parse()?));
        let headers: Vec<(HeaderName, HeaderValue)> =
            config.headers.iter().map(header).collect::<anyhow::Result<_>>().with_context(in_config)?;
        Ok(Self { tls, headers: headers.into_iter().collect(), token, config, read })
    }

    /// What somebody should know who listens there. What only this machine reaches needs no warning.
    fn warning(&self, listening: SocketAddr, anybody_can: &str) -> Option<String> {
        if listening.ip().is_loopback() {
            return None;
        }
        if !self.is_authenticated() {
            return Some(format!(
                "the API is not protected: whoever reaches it can {anybody_can}; set users or client certificates in \
                 --web.config.file, or --web.token-file, or listen on 127.0.0.1"
            ));
        }
        let readable = "the API asks for credentials but does not speak TLS: who can listen to the network learns them; \
                        set tls_server_config in --web.config.file";
        self.tls.is_none().then(|| readable.to_owned())
    }

    /// Whether a password or a token is asked for.
    pub(super) fn asks_for_credentials(&self) -> bool {
        self.token.is_some() || !self.config.users.is_empty()
    }

    /// Whether only those come through who have been let in.
    fn is_authenticated(&self) -> bool {
        let certificates = self.config.tls.as_ref().map(|tls| tls.client_auth);
        self.asks_for_credentials() || certificates == Some(ClientAuth::RequireAndVerify)
    }
}

impl Files {
    /// Reads every file that the flags name, and those that they name.
    fn read(args: &WebArgs) -> anyhow::Result<(Self, WebConfig)> {
        let path = args.web_config_file.as_deref();
        let text = path.map(|path| {
            fs::read_to_string(path).with_context(|| format!("read {} (flag --web.config.file)", path.display()))
        });
        let text = text.transpose()?.unwrap_or_default();
        let config = WebConfig::read(path.unwrap_or_else(|| "".as_ref()), &text)?;
        let tls = config.tls.as_ref().map(TlsMaterial::read).transpose();
        let tls = tls.with_context(|| path.map_or_else(String::new, |path| path.display().to_string()))?;
        let token = args.web_token_file.as_ref().map(|path| {
            fs::read_to_string(path).with_context(|| format!("read {} (flag --web.token-file)", path.display()))
        });
        Ok((Self { config: text, tls, token: token.transpose()? }, config))
    }
}

/// Publishes what the files say whenever they say something else.
async fn look(args: WebArgs, publish: watch::Sender<Arc<Protection>>, metrics: WebMetrics, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ended = std::pin::pin!(shutdown.wait());
    let mut last_failure = None;
    loop {
        tokio::select! {
            () = &mut ended => return,
            _ = tick.tick() => {}
        }
        let (known, args) = (Arc::clone(&publish.borrow()), args.clone());
        let looked = tokio::task::spawn_blocking(move || changed(&known, &args)).await.map_err(anyhow::Error::from);
        match looked.flatten() {
            Ok(change) => {
                if let Some(newer) = change {
                    metrics.in_force(newer.is_authenticated(), newer.tls.is_some());
                    publish.send_replace(Arc::new(newer));
                    info!("the files that protect the API have changed; they are in force");
                } else if last_failure.is_some() {
                    info!("the files that protect the API are again as they were when last read");
                }
                last_failure = None;
            }
            Err(failure) => {
                let failure = format!("{failure:#}");
                // The same every second would be no news.
                if last_failure.as_ref() != Some(&failure) {
                    error!(
                        error = failure,
                        "the files that protect the API are unusable; those read before stay in force"
                    );
                }
                last_failure = Some(failure);
            }
        }
        metrics.looked_at_files(last_failure.is_none());
    }
}

/// What the files say if that is something else than what is known.
pub(super) fn changed(known: &Protection, args: &WebArgs) -> anyhow::Result<Option<Protection>> {
    let (files, config) = Files::read(args)?;
    if files == known.read {
        return Ok(None);
    }
    let newer = Protection::new(files, config, args)?;
    // A file that is just being copied, or was cut off by a full disk, is a good one that protects nothing.
    ensure!(
        newer.is_authenticated() || !known.is_authenticated(),
        "they would let in everybody, which they did not before; if that is meant, start this process again"
    );
    ensure!(
        newer.tls.is_some() || known.tls.is_none(),
        "they would end TLS, which was spoken before; if that is meant, start this process again"
    );
    Ok(Some(newer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_for_others_without_protection_is_warned_of_what_they_can_do() {
        let warning = |token: Option<&str>, listening: &str| {
            let token = token.map(|text| Token::read(text).unwrap());
            let config = WebConfig::read("web.yml".as_ref(), "").unwrap();
            let protection = Protection { tls: None, headers: HeaderMap::new(), token, config, read: Files::default() };
            protection.warning(listening.parse().unwrap(), "do harm")
        };
        for loopback in ["127.0.0.1:80", "[::1]:80", "127.0.0.2:80"] {
            assert_eq!(warning(None, loopback), None);
        }
        for others in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
            let unprotected = warning(None, others).unwrap();
            assert!(unprotected.contains("can do harm; set users") && unprotected.contains("--web.token-file"));
            assert!(warning(Some("s3cret"), others).unwrap().contains("does not speak TLS"));
        }
    }
}
