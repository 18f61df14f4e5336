//! Domain names as text and as labels: what is not a plain letter is escaped as in zone files (RFC 1035, 5.1).

use hickory_proto::rr::Name;

/// What is written with a backslash before it.
const ESCAPED: &[u8] = b". '@;()\"\\";

/// How many labels a name has that is not the root.
pub(super) fn labels_of(name: &str) -> usize {
    labels(name).len()
}

/// The name that a text stands for.
///
/// # Errors
/// When it has an empty label, or one that is too long.
pub(super) fn read(text: &str) -> Result<Name, String> {
    if text == "." {
        return Ok(Name::root());
    }
    let labels = labels(text.strip_suffix('.').unwrap_or(text));
    if labels.iter().any(Vec::is_empty) {
        return Err(format!("{text:?} has an empty label"));
    }
    let mut name = Name::from_labels(labels).map_err(|error| format!("{text:?} is not a domain name: {error}"))?;
    name.set_fqdn(true);
    Ok(name)
}

/// The labels between the dots, without escapes: `\.` is a dot within a label, `\065` an `A`.
fn labels(text: &str) -> Vec<Vec<u8>> {
    let mut labels = vec![Vec::new()];
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, after) = match (first, after) {
            (b'.', _) => {
                labels.push(Vec::new());
                rest = after;
                continue;
            }
            (b'\\', [d1, d2, d3, after @ ..]) if [d1, d2, d3].iter().all(|digit| digit.is_ascii_digit()) => {
                let value = [d1, d2, d3].iter().fold(0_u16, |value, digit| value * 10 + u16::from(**digit - b'0'));
                #[expect(clippy::cast_possible_truncation, reason = "Go's arithmetic wraps, too")]
                (value as u8, after)
            }
            (b'\\', [escaped, after @ ..]) => (*escaped, after),
            (plain, after) => (*plain, after),
        };
        if let Some(label) = labels.last_mut() {
            label.push(byte);
        }
        rest = after;
    }
    labels
}

/// A name as text, with a dot at its end.
pub(super) fn write(name: &Name) -> String {
    let mut text = String::new();
    for label in name {
        for byte in label {
            match byte {
                special if ESCAPED.contains(special) => text.extend(['\\', char::from(*special)]),
                b'!'..=b'~' => text.push(char::from(*byte)),
                other => text.push_str(&format!("\\{other:03}")),
            }
        }
        text.push('.');
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a.example.", "a.example.")]
    #[case("_http._tcp.A", "_http._tcp.A.")]
    #[case(r"My\032printer\.1._ipp", r"My\ printer\.1._ipp.")]
    #[case("ü.x", r"\195\188.x.")]
    #[case(r"a\@b", r"a\@b.")]
    #[case(".", ".")]
    fn a_name_is_written_as_go_writes_it(#[case] text: &str, #[case] written: &str) {
        assert_eq!(write(&read(text).unwrap()), written);
    }

    #[rstest]
    #[case("a..b", "has an empty label")]
    #[case("", "has an empty label")]
    #[case(&"x".repeat(64), "is not a domain name")]
    #[case(&"x.".repeat(200), "is not a domain name")]
    fn what_no_server_can_be_asked_for_is_an_error(#[case] text: &str, #[case] why: &str) {
        let error = read(text).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}
