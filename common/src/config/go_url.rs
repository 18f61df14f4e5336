//! As much of Go's `url.Parse` as a config is checked with. Messages never repeat the URL: it may hold a password.

/// The parts of a URL that are checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GoUrl {
    /// The scheme in lower case; empty when there is none.
    pub(super) scheme: String,
    /// Host and port; empty when there are none.
    pub(super) host: String,
}

pub(super) fn parse(text: &str) -> Result<GoUrl, &'static str> {
    if text.chars().any(char::is_control) {
        return Err("invalid control character in URL");
    }
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    let (scheme, rest) = split_scheme(text)?;
    let path = rest.split_once('?').map_or(rest, |(path, _)| path);
    let Some(after_slashes) = path.strip_prefix("//") else {
        let first_segment = path.split('/').next().unwrap_or_default();
        if scheme.is_empty() && first_segment.contains(':') {
            return Err("first path segment in URL cannot contain colon");
        }
        check_escapes(path)?;
        return Ok(GoUrl { scheme, host: String::new() });
    };
    let (authority, path) = after_slashes.split_at(after_slashes.find('/').unwrap_or(after_slashes.len()));
    check_escapes(path)?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    check_host(host)?;
    Ok(GoUrl { scheme, host: host.to_owned() })
}

fn split_scheme(text: &str) -> Result<(String, &str), &'static str> {
    match text.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c)) {
        Some(0) if text.starts_with(':') => Err("missing protocol scheme"),
        Some(end) if text[end..].starts_with(':') && text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Ok((text[..end].to_ascii_lowercase(), &text[end + 1..]))
        }
        Some(_) | None => Ok((String::new(), text)),
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let port = if host.starts_with('[') {
        host.rsplit_once(']').ok_or("missing ']' in host")?.1
    } else {
        host.find(':').map_or("", |colon| &host[colon..])
    };
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    if !is_port {
        return Err("invalid port after host");
    }
    if host.contains([' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}']) {
        return Err("invalid character in host name");
    }
    Ok(())
}

fn check_escapes(path: &str) -> Result<(), &'static str> {
    let valid = path.split('%').skip(1).all(|after| {
        let digits = after.as_bytes();
        digits.len() >= 2 && digits[..2].iter().all(u8::is_ascii_hexdigit)
    });
    if valid { Ok(()) } else { Err("invalid URL escape") }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://u:p@h:80/x?y#z", "http", "h:80")]
    #[case("HTTPS://[::1]:443", "https", "[::1]:443")]
    #[case("foo", "", "")]
    #[case("", "", "")]
    #[case("http:///x", "http", "")]
    #[case("//h/x", "", "h")]
    fn urls_go_takes_are_taken(#[case] text: &str, #[case] scheme: &str, #[case] host: &str) {
        assert_eq!(parse(text), Ok(GoUrl { scheme: scheme.into(), host: host.into() }));
    }

    #[rstest]
    #[case("127.0.0.1:3128")]
    #[case(":80")]
    #[case("http://h:port/")]
    #[case("http://h/%zz")]
    #[case("http://a b/")]
    #[case("http://[::1/")]
    #[case("http://h/\n")]
    fn urls_go_refuses_are_refused(#[case] text: &str) {
        assert!(parse(text).is_err());
    }
}
