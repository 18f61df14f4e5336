//! Who may use the proxy: `Proxy-Authorization: Basic` with a job's id, and perhaps a mark, as user and the shard's token as password.

use std::hint::black_box;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, header};

/// The token that a shard's Prometheus has to show. Never printed.
#[derive(Clone)]
pub(super) struct Token(Box<[u8]>);

impl Token {
    pub(super) fn new(token: &str) -> Self {
        Self(token.as_bytes().into())
    }

    /// Whether this is the token. Takes as long for a wrong one whichever byte is wrong.
    fn is(&self, given: &[u8]) -> bool {
        let differing = given.iter().zip(&*self.0).fold(0, |differing, (a, b)| black_box(differing | (a ^ b)));
        given.len() == self.0.len() && differing == 0
    }
}

/// The user that a request names, which tells the job it is for; none unless it carries the token.
pub(super) fn user(headers: &HeaderMap, token: &Token) -> Option<String> {
    let value = headers.get(header::PROXY_AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then_some(())?;
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
    token.is(password).then(|| String::from_utf8(user.to_vec()).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_with(value: Option<String>) -> Option<String> {
        let headers = value.map(|v| (header::PROXY_AUTHORIZATION, v.parse().unwrap()));
        user(&headers.into_iter().collect(), &Token::new("secret"))
    }

    #[test]
    fn only_the_whole_token_lets_in() {
        let basic = |text: &str| Some(format!("Basic {}", BASE64_STANDARD.encode(text)));
        assert_eq!(asked_with(basic("j7:secret")), Some("j7".into()));
        assert_eq!(asked_with(basic("j7:secret").map(|v| v.replace("Basic", "basic"))), Some("j7".into()));
        let refused = ["j7:secreT", "j7:secre", "j7:secret2", "j7:", "j7", "secret", "j7:secret:"];
        for credentials in refused {
            assert_eq!(asked_with(basic(credentials)), None, "{credentials}");
        }
        for value in ["Bearer secret", "Basic", "Basic %%%", "secret"] {
            assert_eq!(asked_with(Some(value.into())), None, "{value}");
        }
        assert_eq!(asked_with(None), None);
    }
}
