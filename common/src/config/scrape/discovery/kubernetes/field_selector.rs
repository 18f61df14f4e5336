//! Field selectors, `metadata.name=a,spec.nodeName!=b`, checked as Kubernetes' own library does
//! (apimachinery `pkg/fields`).

/// What stands between a field and its value. The longer ones first.
const OPERATORS: [&str; 3] = ["!=", "==", "="];

/// Whether the text is a selector; why not, otherwise.
pub(super) fn check(selector: &str) -> Result<(), String> {
    let mut terms = terms(selector);
    // The first bad one is named, in their order by name.
    terms.sort_unstable();
    for term in terms.into_iter().filter(|term| !term.is_empty()) {
        let Some(value) = value_of(term) else {
            return Err(format!("invalid selector: '{selector}'; can't understand '{term}'"));
        };
        check_value(value)?;
    }
    Ok(())
}

/// The parts between commas that no backslash stands before.
fn terms(selector: &str) -> Vec<&str> {
    let (mut terms, mut start, mut is_escaped) = (Vec::new(), 0, false);
    for (at, c) in selector.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            ',' => {
                terms.push(&selector[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&selector[start..]);
    terms
}

fn value_of(term: &str) -> Option<&str> {
    let after_operator = |at: usize| OPERATORS.iter().find_map(|operator| term[at..].strip_prefix(operator));
    term.char_indices().find_map(|(at, _)| after_operator(at))
}

fn check_value(value: &str) -> Result<(), String> {
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('\\' | ',' | '=') => {}
                Some(other) => return Err(format!("invalid field selector: invalid escape sequence: \\{other}")),
                None => return Err("invalid field selector: invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => {
                return Err(format!("invalid field selector: unescaped character in value: {}", u32::from(c)));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("")]
    #[case("metadata.name=a")]
    #[case("a==b,c!=d")]
    #[case("a=")]
    #[case("a=b,,c!=d\\,e")]
    #[case("a=\\\\\\=")]
    fn selectors_of_kubernetes_are_taken(#[case] selector: &str) {
        assert_eq!(check(selector), Ok(()));
    }

    #[rstest]
    #[case(
        "metadata.status-Running",
        "invalid selector: 'metadata.status-Running'; can't understand 'metadata.status-Running'"
    )]
    #[case("zz,a", "invalid selector: 'zz,a'; can't understand 'a'")]
    #[case("a=b=c", "invalid field selector: unescaped character in value: 61")]
    #[case("a=b\\xc", "invalid field selector: invalid escape sequence: \\x")]
    #[case("a=b\\", "invalid field selector: invalid escape sequence: \\")]
    fn others_are_refused_in_the_words_of_kubernetes(#[case] selector: &str, #[case] words: &str) {
        assert_eq!(check(selector).unwrap_err(), words);
    }
}
