//! Redaction: how a text that may hold a password is shown in errors.

use std::borrow::Cow;

/// What stands for a password, as in Go's `URL.Redacted`.
const HIDDEN: &str = "xxxxx";

/// An address or URL without its password: `http://user:pw@host/` as `http://user:xxxxx@host/`.
///
/// Unlike Go this does not ask whether the text is a valid URL: what is shown in an error mostly is not, and a password
/// with a `/` in it is one still. So everything up to the last `@` is taken for user and password.
#[must_use]
pub fn without_password(text: &str) -> Cow<'_, str> {
    let Some(at) = text.rfind('@') else { return text.into() };
    let user = text[..at].find("://").map_or(0, |scheme| scheme + "://".len());
    match text[user..at].find(':') {
        Some(colon) => format!("{}:{HIDDEN}{}", &text[..user + colon], &text[at..]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://u:pw@host/x", "http://u:xxxxx@host/x")]
    #[case("u:pw@host:80/x", "u:xxxxx@host:80/x")]
    #[case("http://u:p/w@host", "http://u:xxxxx@host")]
    #[case("http://u:p@w@host", "http://u:xxxxx@host")]
    #[case("http://:pw@host", "http://:xxxxx@host")]
    #[case("http://u@host:80/x", "http://u@host:80/x")]
    #[case("http://host:80/x", "http://host:80/x")]
    #[case("host/x", "host/x")]
    #[case("", "")]
    fn a_password_is_hidden_and_nothing_else(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(without_password(text), shown);
    }
}
