//! Variables in `global.external_labels`, expanded as Go's `os.Expand` does.

/// The text with `$NAME` and `${NAME}` replaced by what `value_of` says; unset ones vanish, `$$` is a dollar sign.
pub(super) fn expand(text: &str, value_of: &dyn Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let (name, consumed) = variable_name(after);
        match name {
            "" if consumed == 0 => expanded.push('$'),
            // Go eats what it cannot understand: `${}`, and `${` without an end.
            "" => {}
            "$" => expanded.push('$'),
            name => expanded.push_str(&value_of(name).unwrap_or_default()),
        }
        rest = &after[consumed..];
    }
    expanded.push_str(rest);
    expanded
}

/// The variable that a text after a dollar sign begins with, and how many bytes it takes.
fn variable_name(after: &str) -> (&str, usize) {
    let is_special = |b: u8| b"*#$@!?-0123456789".contains(&b);
    let bytes = after.as_bytes();
    match bytes {
        [b'{', special, b'}', ..] if is_special(*special) => (&after[1..2], 3),
        [b'{', ..] => match after.find('}') {
            Some(1) => ("", 2),
            Some(end) => (&after[1..end], end + 1),
            None => ("", 1),
        },
        [special, ..] if is_special(*special) => (&after[..1], 1),
        _ => {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            (&after[..end], end)
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("$POD", "p-0")]
    #[case("a${POD}b", "ap-0b")]
    #[case("$POD.x", "p-0.x")]
    #[case("$PODx", "")]
    #[case("$$POD", "$POD")]
    #[case("${UNSET}", "")]
    #[case("costs 5$", "costs 5$")]
    #[case("$ x", "$ x")]
    #[case("a${}b", "ab")]
    #[case("a${POD", "aPOD")]
    #[case("$1st", "st")]
    #[case("ü$POD→", "üp-0→")]
    fn variables_are_expanded_as_go_does(#[case] text: &str, #[case] expected: &str) {
        let value_of = |name: &str| (name == "POD").then(|| "p-0".to_owned());
        assert_eq!(expand(text, &value_of), expected);
    }
}
