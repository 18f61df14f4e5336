//! A token that lets in whoever sends it.

use std::fmt;

use anyhow::ensure;
use ring::{hmac, rand::SystemRandom};

/// What is needed to recognise the token, not the token itself. Comparing takes as long for a token that is nearly right
/// as for any other, whatever its length.
pub(super) struct Token {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl Token {
    /// The token in a file's text.
    pub(super) fn read(text: &str) -> anyhow::Result<Self> {
        let token = text.trim();
        ensure!(!token.is_empty(), "it is empty");
        ensure!(token.bytes().all(|b| b.is_ascii_graphic()), "a token is one word of visible ASCII characters");
        let key = new_key()?;
        let tag = hmac::sign(&key, token.as_bytes());
        Ok(Self { key, tag })
    }

    /// Whether this is the token.
    pub(super) fn is(&self, sent: &str) -> bool {
        hmac::verify(&self.key, sent.as_bytes(), self.tag.as_ref()).is_ok()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// A key that no other process has.
pub(super) fn new_key() -> anyhow::Result<hmac::Key> {
    let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
    key.map_err(|_| anyhow::anyhow!("get random bytes from the system"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_recognised() {
        let token = Token::read("  s3cret-token\n").unwrap();
        assert!(token.is("s3cret-token"));
        for other in ["", "s3cret-toke", "s3cret-token ", "s3cret-tokem", "S3CRET-TOKEN"] {
            assert!(!token.is(other), "{other:?}");
        }
        assert_eq!(format!("{token:?}"), "<secret>");
    }

    #[test]
    fn what_cannot_be_sent_is_no_token() {
        for bad in ["", " \n", "two words", "one\ntwo", "umläut"] {
            assert!(Token::read(bad).is_err(), "{bad:?}");
        }
    }
}
