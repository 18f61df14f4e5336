//! Where a path in a config leads: relative ones start at the directory of the file they are written in.

use std::path::{Component, Path, PathBuf};

/// The directory that a config file's relative paths start at.
#[derive(Clone, Copy, Debug)]
pub(super) struct BaseDir<'a>(&'a Path);

impl<'a> BaseDir<'a> {
    pub(super) fn of_file(file: &'a Path) -> Self {
        Self(file.parent().unwrap_or_else(|| Path::new("")))
    }

    /// The path that a text leads to, with `.` and `..` worked out by name alone, as Go's `filepath.Join` does.
    /// Absolute paths stay as they are.
    pub(super) fn join(self, text: &str) -> PathBuf {
        let path = Path::new(text);
        if path.is_absolute() { path.to_owned() } else { clean(&self.0.join(path)) }
    }
}

fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match cleaned.components().next_back() {
                Some(Component::Normal(_)) => drop(cleaned.pop()),
                Some(Component::RootDir) => {}
                Some(Component::Prefix(_) | Component::CurDir | Component::ParentDir) | None => cleaned.push(".."),
            },
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => cleaned.push(component),
        }
    }
    cleaned
}

/// Whether a pattern of files has its `*`, if any, in the last element only: more Prometheus does not take.
pub(super) fn has_star_in_last_element_only(pattern: &str) -> bool {
    pattern.split_once('*').is_none_or(|(_, after)| !after.contains('/'))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/etc/p/prometheus.yml", "a.rules", "/etc/p/a.rules")]
    #[case("/etc/p/prometheus.yml", "./x/../../b.rules", "/etc/b.rules")]
    #[case("/etc/p/prometheus.yml", "../../../../b", "/b")]
    #[case("/etc/p/prometheus.yml", "/abs/./c", "/abs/./c")]
    #[case("prometheus.yml", "../a", "../a")]
    #[case("conf/prometheus.yml", "a", "conf/a")]
    fn a_relative_path_starts_at_its_file(#[case] file: &str, #[case] text: &str, #[case] expected: &str) {
        assert_eq!(BaseDir::of_file(Path::new(file)).join(text), Path::new(expected));
    }

    #[test]
    fn a_star_may_only_be_in_the_last_element() {
        assert!(has_star_in_last_element_only("a/b*c*.yml"));
        assert!(has_star_in_last_element_only("a/b.yml"));
        assert!(!has_star_in_last_element_only("a*/b.yml"));
    }
}
