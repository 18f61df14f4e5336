//! File name patterns as Go's `path/filepath` (`Match`, `Glob`) reads them. Unlike a shell's: `*` matches a leading dot,
//! `[^a]` negates, `**` means no more than `*`, and what cannot be read is skipped.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

/// One piece of a pattern for one path element.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// This character.
    Literal(char),
    /// Any one character.
    AnyChar,
    /// Any characters, also none.
    Any,
    /// One character in (or, when negated, outside) these ranges.
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// The paths that match a pattern, sorted.
pub(super) fn glob(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let text = pattern.to_str().ok_or_else(|| malformed(pattern))?;
    let mut found = vec![PathBuf::new()];
    for component in Path::new(text).components() {
        let Component::Normal(element) = component else {
            for path in &mut found {
                path.push(component);
            }
            continue;
        };
        let element = element.to_str().unwrap_or_default();
        let pieces = parse(element).ok_or_else(|| malformed(pattern))?;
        found = match literal(&pieces) {
            Some(name) => {
                found.into_iter().map(|path| path.join(&name)).filter(|path| path.symlink_metadata().is_ok()).collect()
            }
            None => found.iter().flat_map(|directory| matching_entries(directory, &pieces)).collect(),
        };
    }
    found.sort();
    Ok(found)
}

fn malformed(pattern: &Path) -> io::Error {
    // Go's words: `filepath.ErrBadPattern`.
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: syntax error in pattern", pattern.display()))
}

fn matching_entries(directory: &Path, pieces: &[Piece]) -> Vec<PathBuf> {
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let Ok(entries) = fs::read_dir(listed) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| matches(pieces, &name.chars().collect::<Vec<_>>()))
        .map(|name| directory.join(name))
        .collect()
}

/// The name a pattern without wildcards stands for.
fn literal(pieces: &[Piece]) -> Option<String> {
    pieces.iter().map(|piece| if let Piece::Literal(char) = piece { Some(*char) } else { None }).collect()
}

fn parse(element: &str) -> Option<Vec<Piece>> {
    let mut chars = element.chars().peekable();
    let mut pieces = Vec::new();
    while let Some(char) = chars.next() {
        pieces.push(match char {
            '*' => Piece::Any,
            '?' => Piece::AnyChar,
            '\\' => Piece::Literal(chars.next()?),
            '[' => parse_class(&mut chars)?,
            other => Piece::Literal(other),
        });
    }
    Some(pieces)
}

fn parse_class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Piece> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Some(Piece::Class { negated, ranges });
        }
        let low = class_char(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { class_char(chars)? } else { low };
        ranges.push((low, high));
    }
}

fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        other => Some(other),
    }
}

fn matches(pieces: &[Piece], name: &[char]) -> bool {
    let Some((piece, rest)) = pieces.split_first() else { return name.is_empty() };
    match piece {
        Piece::Any => (0..=name.len()).any(|taken| matches(rest, &name[taken..])),
        Piece::AnyChar => !name.is_empty() && matches(rest, &name[1..]),
        Piece::Literal(char) => name.first() == Some(char) && matches(rest, &name[1..]),
        Piece::Class { negated, ranges } => name.split_first().is_some_and(|(first, others)| {
            ranges.iter().any(|(low, high)| low <= first && first <= high) != *negated && matches(rest, others)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(pattern: &str, name: &str) -> Option<bool> {
        Some(matches(&parse(pattern)?, &name.chars().collect::<Vec<_>>()))
    }

    #[test]
    fn names_match_as_in_gos_own_table() {
        // Go's path/filepath/match_test.go, the cases without separators.
        for (pattern, name, expected) in [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*", "a", Some(true)),
            ("a*b*c*d*e*", "axbxcxdxe", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Some(false)),
            ("ab[c]", "abc", Some(true)),
            ("ab[b-d]", "abc", Some(true)),
            ("ab[e-g]", "abc", Some(false)),
            ("ab[^c]", "abc", Some(false)),
            ("ab[^e-g]", "abc", Some(true)),
            ("a\\*b", "a*b", Some(true)),
            ("a\\*b", "ab", Some(false)),
            ("a?b", "a☺b", Some(true)),
            ("a[^a]b", "a☺b", Some(true)),
            ("a???b", "a☺b", Some(false)),
            ("[a-ζ]*", "α", Some(true)),
            ("*[a-ζ]", "A", Some(false)),
            ("[\\]a]", "]", Some(true)),
            ("[\\-x]", "-", Some(true)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[x-]", "x", None),
            ("[a-b-c]", "a", None),
            ("[", "a", None),
            ("[^", "a", None),
            ("[^bc", "a", None),
            ("a[", "ab", None),
            ("*x", "xxx", Some(true)),
            (".*", ".hidden", Some(true)),
            ("*", ".hidden", Some(true)),
        ] {
            assert_eq!(is_match(pattern, name), expected, "{pattern:?} on {name:?}");
        }
    }

    #[test]
    fn files_are_found_in_matching_directories_in_order() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b/2.yml", "b/1.yml", "a/1.yml", "a/1.json"] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = |pattern: &str| -> Vec<String> {
            let paths = glob(&root.path().join(pattern)).unwrap();
            paths.iter().map(|p| p.strip_prefix(root.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(found("*/*.yml"), ["a/1.yml", "b/1.yml", "b/2.yml"]);
        assert_eq!(found("a/1.json"), ["a/1.json"]);
        assert_eq!(found("c/*.yml"), Vec::<String>::new());
        assert_eq!(found("a/none"), Vec::<String>::new());
    }

    #[test]
    fn a_malformed_pattern_is_an_error_even_when_nothing_could_match() {
        let failure = glob(Path::new("/no/such/directory/[a")).unwrap_err();
        assert_eq!(failure.to_string(), "/no/such/directory/[a: syntax error in pattern");
    }
}
