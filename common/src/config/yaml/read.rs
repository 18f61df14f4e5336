//! YAML text read into a tree, as Go's yaml.v2 reads it: the first document only, aliases and merges resolved.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::{Kind, Node, Scalar, write::is_safe_plain};

/// No config is nested deeper; the tree is walked recursively, so its depth must have an end.
const MAX_DEPTH: usize = 200;

/// How many nodes aliases may add: far more than people write, far fewer than an alias bomb makes.
const MAX_ALIASED_NODES: usize = 1_000_000;

/// Where Prometheus has maps with free keys. Everywhere else a mapping is a struct, which words its errors
/// differently and lets a merged key be set again.
const FREE_KEYS_UNDER: [&str; 8] = [
    "labels",
    "external_labels",
    "params",
    "headers",
    "http_headers",
    "proxy_connect_header",
    "endpoint_params",
    "claims",
];

/// Whether the keys of what stands under a key are the user's own, not fields.
pub(in super::super) fn has_free_keys(key: &str) -> bool {
    FREE_KEYS_UNDER.contains(&key)
}

/// Why a text is not the YAML of a config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct YamlError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, in the words of Go's YAML library where it has some.
    pub message: String,
}

/// Reads the first document of a text; an empty text is an empty scalar.
///
/// # Errors
/// When the text is no YAML, has a key twice, nests too deeply or blows up through aliases.
pub fn read(text: &str) -> Result<Node, YamlError> {
    let mut options = granit_parser::options! { block_nesting_limit: MAX_DEPTH, flow_nesting_limit: MAX_DEPTH };
    options.set_emit_comments(false);
    let mut reader =
        Reader { events: Parser::new_from_str_with_options(text, options), anchors: BTreeMap::new(), aliased_nodes: 0 };
    loop {
        match reader.next()? {
            Some((Event::StreamStart | Event::DocumentStart(..), _)) => {}
            Some((Event::StreamEnd | Event::DocumentEnd, _)) | None => return Ok(Node { line: 1, ..Node::plain("") }),
            Some((event, span)) => return Ok(reader.node(event, span, Place { depth: 0, key: None })?.node),
        }
    }
}

/// A node with what bounds the cost of repeating it.
#[derive(Clone)]
struct Measured {
    node: Node,
    nodes: usize,
    height: usize,
}

/// Where a node stands: how deep, and under which key.
#[derive(Clone, Copy)]
struct Place<'a> {
    depth: usize,
    key: Option<&'a str>,
}

struct Reader<'text> {
    events: Parser<'text, granit_parser::StrInput<'text>>,
    anchors: BTreeMap<usize, Measured>,
    aliased_nodes: usize,
}

type Entries = Vec<(Scalar, Node)>;

impl<'text> Reader<'text> {
    fn next(&mut self) -> Result<Option<(Event<'text>, Span)>, YamlError> {
        self.events.next().transpose().map_err(|error| syntax_error(&error))
    }

    /// The next event of a document that has not ended.
    fn expect_next(&mut self, line: usize) -> Result<(Event<'text>, Span), YamlError> {
        self.next()?.ok_or_else(|| error(line, "did not find expected node content"))
    }

    fn node(&mut self, event: Event<'text>, span: Span, place: Place<'_>) -> Result<Measured, YamlError> {
        let line = span.start.line();
        if place.depth > MAX_DEPTH {
            return Err(error(line, "nested too deeply"));
        }
        let (measured, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                // The parser makes up a `~` where nothing is written.
                let text = if span.is_empty() { String::new() } else { text.into_owned() };
                let scalar = tagged_scalar(text, style, tag.as_deref(), line)?;
                (Measured { node: Node { line, kind: Kind::Scalar(scalar) }, nodes: 1, height: 0 }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.sequence(line, place)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(line, place)?, anchor),
            Event::Alias(anchor) => return self.alias(anchor, line, place),
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd
            | Event::Anchor(..)
            | Event::UnresolvedAlias(_)
            | Event::Comment(..)
            | _ => return Err(error(line, "did not find expected node content")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, measured.clone());
        }
        Ok(measured)
    }

    fn alias(&mut self, anchor: usize, line: usize, place: Place<'_>) -> Result<Measured, YamlError> {
        let Some(target) = self.anchors.get(&anchor) else {
            return Err(error(line, "anchor value contains itself"));
        };
        if place.depth + target.height > MAX_DEPTH {
            return Err(error(line, "nested too deeply"));
        }
        self.aliased_nodes += target.nodes;
        if self.aliased_nodes > MAX_ALIASED_NODES {
            return Err(error(line, "document contains excessive aliasing"));
        }
        Ok(target.clone())
    }

    fn sequence(&mut self, line: usize, place: Place<'_>) -> Result<Measured, YamlError> {
        let (mut items, mut nodes, mut height) = (Vec::new(), 1, 0);
        loop {
            let (event, span) = self.expect_next(line)?;
            if event == Event::SequenceEnd {
                return Ok(Measured { node: Node { line, kind: Kind::Sequence(items) }, nodes, height });
            }
            let item = self.node(event, span, Place { depth: place.depth + 1, key: place.key })?;
            nodes += item.nodes;
            height = height.max(item.height + 1);
            items.push(item.node);
        }
    }

    fn mapping(&mut self, line: usize, place: Place<'_>) -> Result<Measured, YamlError> {
        let (mut mapping, mut nodes, mut height) = (MappingBuilder::new(place), 1, 0);
        loop {
            let (event, span) = self.expect_next(line)?;
            if event == Event::MappingEnd {
                return Ok(Measured { node: Node { line, kind: Kind::Mapping(mapping.entries) }, nodes, height });
            }
            let key_line = span.start.line();
            let key = self.key(event, span, place)?;
            let (event, span) = self.expect_next(key_line)?;
            let mut value = self.node(event, span, Place { depth: place.depth + 1, key: Some(&key.text) })?;
            value.node.line = key_line;
            nodes += value.nodes;
            height = height.max(value.height + 1);
            if key.text == "<<" && !key.quoted {
                mapping.merge(value.node, key_line)?;
            } else {
                mapping.insert(key, value.node, key_line)?;
            }
        }
    }

    fn key(&mut self, event: Event<'text>, span: Span, place: Place<'_>) -> Result<Scalar, YamlError> {
        let line = span.start.line();
        match self.node(event, span, place)?.node.kind {
            // Go has no null keys, they are empty strings.
            Kind::Scalar(scalar) if scalar.is_null() => Ok(Scalar { text: String::new(), quoted: true }),
            Kind::Scalar(scalar) => Ok(scalar),
            Kind::Sequence(_) => Err(error(line, "cannot unmarshal !!seq into string")),
            Kind::Mapping(_) => Err(error(line, "cannot unmarshal !!map into string")),
        }
    }
}

/// A mapping as it grows.
struct MappingBuilder<'a> {
    key_above: Option<&'a str>,
    entries: Entries,
    /// Where each key is in `entries`, and whether it was written here (not merged).
    index: BTreeMap<String, (usize, bool)>,
}

impl<'a> MappingBuilder<'a> {
    fn new(place: Place<'a>) -> Self {
        Self { key_above: place.key, entries: Vec::new(), index: BTreeMap::new() }
    }

    fn has_free_keys(&self) -> bool {
        self.key_above.is_some_and(has_free_keys)
    }

    /// A key that is written here. Writing it twice is an error; over a merged one, only structs let it win.
    fn insert(&mut self, key: Scalar, value: Node, line: usize) -> Result<(), YamlError> {
        match self.index.get(&key.text) {
            Some((_, false)) if !self.has_free_keys() => {}
            Some(_) => return Err(self.already_set(&key.text, line)),
            None => {}
        }
        self.set(key, value, true);
        Ok(())
    }

    /// The keys of a mapping, or of a list of mappings of which earlier ones win. Keys written before are overwritten:
    /// Go's yaml.v2 sets one after the other.
    fn merge(&mut self, value: Node, line: usize) -> Result<(), YamlError> {
        match value.kind {
            Kind::Mapping(entries) => self.merge_entries(entries, line),
            Kind::Sequence(items) => items.into_iter().rev().try_for_each(|item| match item.kind {
                Kind::Mapping(entries) => self.merge_entries(entries, line),
                Kind::Scalar(_) | Kind::Sequence(_) => Err(bad_merge(line)),
            }),
            Kind::Scalar(_) => Err(bad_merge(line)),
        }
    }

    fn merge_entries(&mut self, entries: Entries, line: usize) -> Result<(), YamlError> {
        for (key, value) in entries {
            let known = self.index.get(&key.text).map(|(_, written)| *written);
            if known.is_some() && self.has_free_keys() {
                return Err(self.already_set(&key.text, line));
            }
            self.set(key, value, known.unwrap_or(false));
        }
        Ok(())
    }

    fn set(&mut self, key: Scalar, value: Node, written: bool) {
        if let Some((position, was_written)) = self.index.get_mut(&key.text) {
            self.entries[*position].1 = value;
            *was_written = written;
        } else {
            self.index.insert(key.text.clone(), (self.entries.len(), written));
            self.entries.push((key, value));
        }
    }

    fn already_set(&self, key: &str, line: usize) -> YamlError {
        if self.has_free_keys() {
            return error(line, format!("key {key:?} already set in map"));
        }
        let kind = if self.key_above == Some("scrape_configs") { "config.ScrapeConfig" } else { "config.plain" };
        error(line, format!("field {key} already set in type {kind}"))
    }
}

/// A scalar with its tag applied: `!!str 1` is a string, `!!binary` is decoded, unknown tags make strings.
fn tagged_scalar(text: String, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Scalar, YamlError> {
    let quoted = style != ScalarStyle::Plain;
    match tag.map(|tag| (tag.handle(), tag.suffix())) {
        // A plain scalar over several lines with blank ones between is a string in any case, and can only be written
        // back in quotes.
        None => Ok(Scalar { quoted: quoted || !is_safe_plain(&text), text }),
        Some(("tag:yaml.org,2002:", "int" | "float" | "bool" | "null" | "timestamp" | "merge")) => {
            Ok(Scalar { quoted: !is_safe_plain(&text), text })
        }
        Some(("tag:yaml.org,2002:", "binary")) => {
            let symbols = text.replace(['\n', '\r'], "");
            let bytes = (BASE64_STANDARD.decode(symbols))
                .map_err(|_| error(line, "!!binary value contains invalid base64 data"))?;
            let text = String::from_utf8(bytes)
                .map_err(|bytes| error(line, format!("\"{}\" is not valid UTF-8", bytes.as_bytes().escape_ascii())))?;
            Ok(Scalar { text, quoted: true })
        }
        Some(_) => Ok(Scalar { text, quoted: true }),
    }
}

fn error(line: usize, message: impl Into<String>) -> YamlError {
    YamlError { line, message: message.into() }
}

fn bad_merge(line: usize) -> YamlError {
    error(line, "map merge requires map or sequence of maps as the value")
}

fn syntax_error(scan: &ScanError) -> YamlError {
    error(scan.marker().line(), scan.info())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn plain_at<'a>(tree: &'a Node, path: &[&str]) -> Option<&'a str> {
        path.iter().try_fold(tree, |node, key| node.get(key))?.text()
    }

    #[test]
    fn scalars_keep_their_text_and_quoting() {
        let tree = read("a: 1.10\nb: '1.10'\nc: |\n  x\n  y\nd: >-\n  x\n  y\ne:\n'f': \"\\u0041\"\n").unwrap();
        let Kind::Mapping(entries) = &tree.kind else { panic!("{tree:?}") };
        let seen: Vec<_> = entries.iter().map(|(k, v)| (k.text.as_str(), v.kind.clone())).collect();
        let scalar = |text: &str, quoted| Kind::Scalar(Scalar { text: text.into(), quoted });
        let expected = [
            ("a", scalar("1.10", false)),
            ("b", scalar("1.10", true)),
            ("c", scalar("x\ny\n", true)),
            ("d", scalar("x y", true)),
            ("e", scalar("", false)),
            ("f", scalar("A", true)),
        ];
        assert_eq!(seen, expected);
        assert_eq!(tree.get("b").unwrap().line, 2);
    }

    #[test]
    fn only_the_first_document_is_read() {
        assert_eq!(plain_at(&read("--- {a: 1}\n---\n{{{").unwrap(), &["a"]), Some("1"));
        assert!(read("").unwrap().is_null());
        assert!(read("# nothing\n").unwrap().is_null());
    }

    #[test]
    fn tags_decide_what_a_scalar_is() {
        let tree = read("{a: !!str 1, b: !!int '1', c: !!binary aGk=, d: !mine 1}").unwrap();
        assert_eq!(tree.get("a"), Some(&Node { line: 1, ..Node::string("1") }));
        assert_eq!(tree.get("b"), Some(&Node { line: 1, ..Node::plain("1") }));
        assert_eq!(tree.get("c"), Some(&Node { line: 1, ..Node::string("hi") }));
        assert_eq!(tree.get("d"), Some(&Node { line: 1, ..Node::string("1") }));
    }

    #[test]
    fn in_a_struct_the_last_of_written_and_merged_keys_wins() {
        let tree =
            read("a: &a {x: 1, y: 1}\nb: {<<: *a, y: 2}\nc: {y: 3, <<: *a}\nd: {<<: [*a, {x: 9, z: 9}]}").unwrap();
        assert_eq!(plain_at(&tree, &["b", "x"]), Some("1"));
        assert_eq!(plain_at(&tree, &["b", "y"]), Some("2"));
        assert_eq!(plain_at(&tree, &["c", "y"]), Some("1"));
        assert_eq!(plain_at(&tree, &["d", "x"]), Some("1"));
        assert_eq!(plain_at(&tree, &["d", "z"]), Some("9"));
    }

    #[rstest]
    #[case("a: 1\na: 2", 2, "field a already set in type config.plain")]
    #[case(
        "scrape_configs:\n- job_name: a\n  job_name: b",
        3,
        "field job_name already set in type config.ScrapeConfig"
    )]
    #[case("labels:\n  a: 1\n  a: 2", 3, r#"key "a" already set in map"#)]
    #[case("a: &a {x: 1}\nlabels:\n  <<: *a\n  x: 2", 4, r#"key "x" already set in map"#)]
    #[case("a: &a {x: 1}\nlabels:\n  x: 2\n  <<: *a", 4, r#"key "x" already set in map"#)]
    #[case("<<: 1", 1, "map merge requires map or sequence of maps as the value")]
    #[case("a: !!binary +", 1, "!!binary value contains invalid base64 data")]
    #[case("a: !!binary /w==", 1, r#""\xff" is not valid UTF-8"#)]
    #[case("a: &a [*a]", 1, "anchor value contains itself")]
    #[case("\n[a]: 1", 2, "cannot unmarshal !!seq into string")]
    fn what_go_refuses_is_refused(#[case] text: &str, #[case] line: usize, #[case] message: &str) {
        assert_eq!(read(text), Err(error(line, message)));
    }

    #[rstest]
    #[case("a: [1")]
    #[case("a: 'x")]
    #[case("a: *unknown")]
    #[case("a:\n\t- b")]
    #[case("a: b: c")]
    #[case("{{{")]
    fn broken_yaml_is_refused_with_its_line(#[case] text: &str) {
        assert!(read(text).unwrap_err().line >= 1, "{:?}", read(text));
    }

    #[test]
    fn an_alias_bomb_does_not_go_off() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..10 {
            text += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", "));
        }
        assert_eq!(read(&text).unwrap_err().message, "document contains excessive aliasing");
    }

    #[test]
    fn depth_is_bounded_also_through_aliases() {
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(read(&"- ".repeat(100_000)).is_err());
        let mut text = String::from("a0: &a0 [x]\n");
        for i in 1..1000 {
            text += &format!("a{i}: &a{i} [*a{}]\n", i - 1);
        }
        assert_eq!(read(&text).unwrap_err().message, "nested too deeply");
    }
}
