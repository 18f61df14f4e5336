//! Tokens: fetched from where `oauth2` says, kept until shortly before they expire, as golang.org/x/oauth2 does it.

mod answer;
mod assertion;
mod request;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use http::HeaderValue;
use narthex_common::config::http_client::{Grant, OAuth2Config, Secret, Source};
use tokio::sync::watch;

use self::{answer::Token, request::Server};
use super::{ClientError, credentials, proxy::ProxyEnvironment};

/// How long before its end a token is given up (Go's `expiryDelta`): clocks differ, and a scrape takes its time.
const TOKEN_ENDS_EARLY: Duration = Duration::from_secs(10);
/// How long a token's server may take. Go waits for ever, and every scrape with it. This is longer than most scrape
/// timeouts, because the token is fetched for the next scrape, too.
const FETCHING_TAKES_AT_MOST: Duration = Duration::from_secs(60);

/// The tokens of one client.
pub(super) struct Tokens(Arc<Shared>);

struct Shared {
    config: OAuth2Config,
    environment: ProxyEnvironment,
    state: Mutex<State>,
}

/// What is known with one secret. Another secret begins anew.
#[derive(Default)]
struct State {
    secret: Option<Secret>,
    server: Option<Arc<Server>>,
    token: Option<Token>,
    fetching: Option<Fetching>,
}

/// The outcome of fetching a token, once there is one. All requests of that time wait for the same.
type Fetching = watch::Receiver<Option<Result<HeaderValue, ClientError>>>;

impl Tokens {
    pub(super) fn new(config: &OAuth2Config, environment: &ProxyEnvironment) -> Self {
        let (config, environment) = (config.clone(), environment.clone());
        Self(Arc::new(Shared { config, environment, state: Mutex::default() }))
    }

    /// The `Authorization` with a token that is good now. A request that goes away while the token is being fetched does
    /// not stop that: the next one needs it, too.
    pub(super) async fn authorization(&self, user_agent: Option<&HeaderValue>) -> Result<HeaderValue, ClientError> {
        let secret = self.0.read_secret().await?;
        let mut fetching = match self.0.known(&secret) {
            Known::Token(authorization) => return Ok(authorization),
            Known::Fetching(fetching) => fetching,
            Known::Nothing(to) => {
                let fetching = to.subscribe();
                tokio::spawn(Arc::clone(&self.0).fetch(secret, user_agent.cloned(), to));
                fetching
            }
        };
        match fetching.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            Ok(None) | Err(_) => Err(ClientError("oauth2: cannot fetch token: it was given up".to_owned())),
        }
    }
}

enum Known {
    Token(HeaderValue),
    Fetching(Fetching),
    Nothing(watch::Sender<Option<Result<HeaderValue, ClientError>>>),
}

impl Shared {
    async fn read_secret(&self) -> Result<Secret, ClientError> {
        let (source, what) = match &self.config.grant {
            Grant::ClientCredentials { secret } => (secret, "oauth2 client secret"),
            Grant::JwtBearer { key, .. } => (key, "oauth2 client secret"),
        };
        match source {
            None => Ok(Secret::default()),
            Some(Source::Inline(secret)) => Ok(secret.clone()),
            Some(source @ Source::File(_)) => credentials::current(source, Secret::expose, what).await.map(Secret::new),
        }
    }

    /// What there is for a request with this secret. When nothing is, the caller has to fetch it.
    fn known(&self, secret: &Secret) -> Known {
        let mut state = self.state();
        if state.secret.as_ref() != Some(secret) {
            *state = State { secret: Some(secret.clone()), ..State::default() };
        }
        if let Some(token) = state.token.as_ref().filter(|token| token.is_good(Instant::now() + TOKEN_ENDS_EARLY)) {
            return Known::Token(token.authorization.clone());
        }
        if let Some(fetching) = state.fetching.as_ref().filter(|fetching| is_under_way(fetching)) {
            return Known::Fetching(fetching.clone());
        }
        let (to, fetching) = watch::channel(None);
        state.fetching = Some(fetching);
        Known::Nothing(to)
    }

    async fn fetch(
        self: Arc<Self>,
        secret: Secret,
        user_agent: Option<HeaderValue>,
        to: watch::Sender<Option<Result<HeaderValue, ClientError>>>,
    ) {
        let fetching = async {
            let server = self.server()?;
            server.fetch(&self.config, &secret, user_agent.as_ref()).await
        };
        let fetched = match tokio::time::timeout(FETCHING_TAKES_AT_MOST, fetching).await {
            Ok(fetched) => fetched,
            Err(_) => {
                let limit = FETCHING_TAKES_AT_MOST.as_secs();
                Err(ClientError(format!("oauth2: cannot fetch token: no answer within {limit} s")))
            }
        };
        let outcome = fetched.as_ref().map(|token| token.authorization.clone()).map_err(ClientError::clone);
        if let Ok(token) = fetched {
            let mut state = self.state();
            // Another secret may have come meanwhile; a token of the old one is not for it.
            if state.secret.as_ref() == Some(&secret) {
                state.token = Some(token);
            }
        }
        to.send_replace(Some(outcome));
    }

    /// Who gives out tokens. Made when it is first needed, because a file that is missing then may be there later.
    fn server(&self) -> Result<Arc<Server>, ClientError> {
        if let Some(server) = &self.state().server {
            return Ok(Arc::clone(server));
        }
        let server = Arc::new(Server::new(&self.config, &self.environment)?);
        self.state().server = Some(Arc::clone(&server));
        Ok(server)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_under_way(fetching: &Fetching) -> bool {
    fetching.borrow().is_none() && fetching.has_changed().is_ok()
}
