//! A tree written as YAML that Go's yaml.v2 reads back with exactly the same values: block style throughout, quoted
//! scalars in double quotes with JSON's escapes, plain ones plain where that is safe.

use std::fmt::Write as _;

use super::{Kind, Node, Scalar};

/// Longer keys must be written after a `? `: YAML readers look for the colon only so far.
const LONGEST_SIMPLE_KEY: usize = 1000;

/// The whole document.
pub(super) fn document(root: &Node) -> String {
    let mut out = String::new();
    match &root.kind {
        Kind::Scalar(scalar) => {
            out.push_str(&scalar_text(scalar));
            out.push('\n');
        }
        Kind::Sequence(_) | Kind::Mapping(_) => collection(&mut out, root, 0),
    }
    out
}

/// A collection whose first line is already indented.
fn collection(out: &mut String, node: &Node, indent: usize) {
    match &node.kind {
        Kind::Scalar(scalar) => line_end(out, &scalar_text(scalar)),
        Kind::Sequence(items) if items.is_empty() => line_end(out, "[]"),
        Kind::Mapping(entries) if entries.is_empty() => line_end(out, "{}"),
        Kind::Sequence(items) => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    pad(out, indent);
                }
                out.push('-');
                match &item.kind {
                    Kind::Scalar(scalar) => value_on_line(out, &scalar_text(scalar)),
                    Kind::Sequence(_) | Kind::Mapping(_) => {
                        out.push(' ');
                        collection(out, item, indent + 2);
                    }
                }
            }
        }
        Kind::Mapping(entries) => {
            for (i, (key, value)) in entries.iter().enumerate() {
                if i > 0 {
                    pad(out, indent);
                }
                entry(out, key, value, indent);
            }
        }
    }
}

fn entry(out: &mut String, key: &Scalar, value: &Node, indent: usize) {
    // A plain `<<` would be a merge; those were resolved when the tree was read.
    let key = if key.text == "<<" { double_quoted(&key.text) } else { scalar_text(key) };
    if key.len() > LONGEST_SIMPLE_KEY {
        out.push_str("? ");
        line_end(out, &key);
        pad(out, indent);
    } else {
        out.push_str(&key);
    }
    out.push(':');
    match &value.kind {
        Kind::Scalar(scalar) => value_on_line(out, &scalar_text(scalar)),
        Kind::Sequence(items) if items.is_empty() => value_on_line(out, "[]"),
        Kind::Mapping(entries) if entries.is_empty() => value_on_line(out, "{}"),
        Kind::Sequence(_) | Kind::Mapping(_) => {
            out.push('\n');
            pad(out, indent + 2);
            collection(out, value, indent + 2);
        }
    }
}

/// What stands behind `-` or `key:`; nothing at all for the empty plain scalar.
fn value_on_line(out: &mut String, text: &str) {
    if !text.is_empty() {
        out.push(' ');
    }
    line_end(out, text);
}

fn line_end(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar_text(scalar: &Scalar) -> String {
    if !scalar.quoted && is_safe_plain(&scalar.text) { scalar.text.clone() } else { double_quoted(&scalar.text) }
}

/// Whether a text can be written without quotes and is read back as the same unquoted text.
pub(super) fn is_safe_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return true };
    let second = text.chars().nth(1);
    let first_ok = match first {
        '-' | '?' | ':' => second.is_some_and(|c| c != ' '),
        '#' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' | ',' | '[' | ']' | '{' | '}' | ' ' => false,
        _ => true,
    };
    first_ok
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.starts_with("---")
        && !text.starts_with("...")
        && text.chars().all(is_printable)
}

/// Characters that may stand in YAML as they are. Breaks, tabs and what is invisible are escaped instead.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a1}'..='\u{2027}' | '\u{202a}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if is_printable(c) => quoted.push(c),
            // Writing to a string cannot fail; all that is not printable lies within the first 65,536 characters.
            c => drop(write!(quoted, "\\u{:04x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::{super::read, *};

    #[rstest]
    #[case("a\nb")]
    #[case("# no comment")]
    #[case("a: b")]
    #[case(" a ")]
    #[case("(?s)^x\n  y#z$\t")]
    #[case("ünï \u{1f600} \u{85} \u{2028} \u{feff} \u{0} \u{7f}")]
    #[case("\"quoted\" \\d")]
    #[case("- a")]
    #[case("<<")]
    #[case("")]
    fn a_string_survives(#[case] text: &str) {
        let tree = Node::map([("a", Node::list([Node::string(text)])), ("b", Node::string(text))]);
        assert_eq!(without_lines(read(&tree.to_yaml()).unwrap()), tree);
    }

    #[test]
    fn the_shape_is_the_usual_one() {
        let tree = Node::map([
            ("none", Node::plain("")),
            ("list", Node::list([Node::plain("a"), Node::list([Node::plain("1"), Node::plain("2")])])),
            ("maps", Node::list([Node::map([("x", Node::string("1")), ("y", Node::map([]))])])),
            ("empty", Node::list([])),
        ]);
        let text = "none:\nlist:\n  - a\n  - - 1\n    - 2\nmaps:\n  - x: \"1\"\n    y: {}\nempty: []\n";
        assert_eq!(tree.to_yaml(), text);
    }

    #[test]
    fn a_very_long_key_survives() {
        let key = "k".repeat(5000);
        let tree = Node::map([(key.as_str(), Node::map([("a", Node::plain("1"))])), ("b", Node::plain("2"))]);
        assert_eq!(without_lines(read(&tree.to_yaml()).unwrap()), tree);
    }

    fn without_lines(mut node: Node) -> Node {
        node.line = 0;
        match &mut node.kind {
            Kind::Scalar(_) => {}
            Kind::Sequence(items) => {
                for item in items {
                    *item = without_lines(std::mem::replace(item, Node::plain("")));
                }
            }
            Kind::Mapping(entries) => {
                for (_, value) in entries {
                    *value = without_lines(std::mem::replace(value, Node::plain("")));
                }
            }
        }
        node
    }

    /// Texts made of what YAML finds special, and of anything at all.
    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            proptest::collection::vec(
                prop_oneof![
                    Just(":"),
                    Just(" "),
                    Just("#"),
                    Just("-"),
                    Just("\n"),
                    Just("\t"),
                    Just("'"),
                    Just("\""),
                    Just("{"),
                    Just("]"),
                    Just(","),
                    Just("&"),
                    Just("*"),
                    Just("!"),
                    Just("|"),
                    Just("%"),
                    Just("?"),
                    Just("\\"),
                    Just("a"),
                    Just("é"),
                    Just("0"),
                    Just("."),
                    Just("~"),
                    Just("\r"),
                ],
                0..8
            )
            .prop_map(|parts| parts.concat()),
            any::<String>(),
        ]
    }

    fn any_scalar() -> impl Strategy<Value = Scalar> {
        (any_text(), any::<bool>()).prop_map(|(text, quoted)| Scalar { quoted: quoted || !is_safe_plain(&text), text })
    }

    fn any_tree() -> impl Strategy<Value = Node> {
        let leaf = any_scalar().prop_map(|scalar| Node { line: 0, kind: Kind::Scalar(scalar) });
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Node::list),
                proptest::collection::btree_map(any_text(), (any::<bool>(), inner), 0..4).prop_map(|entries| {
                    let entry = |(text, (quoted, value)): (String, (bool, Node))| {
                        // Keys that mean something unquoted, nothing or a merge, are quoted in every tree.
                        let special = Scalar { text: text.clone(), quoted: false }.is_null() || text == "<<";
                        (Scalar { quoted: quoted || special || !is_safe_plain(&text), text }, value)
                    };
                    Node { line: 0, kind: Kind::Mapping(entries.into_iter().map(entry).collect()) }
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_tree_is_read_back_as_it_was(tree in any_tree()) {
            let text = tree.to_yaml();
            prop_assert_eq!(without_lines(read(&text).unwrap()), tree, "{}", text);
        }
    }
}
