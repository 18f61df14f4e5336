//! The URL of a target, escaped as Go's `net/url` does it: Prometheus shows it and hashes it.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::labels::{ADDRESS, Labels, METRICS_PATH, PARAM_PREFIX, SCHEME};

/// What is escaped in the value or key of a parameter; a space becomes `+`.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');
const HOST: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'[')
    .remove(b']')
    .remove(b'<')
    .remove(b'>')
    .remove(b'"');

/// The URL of a target with these labels, in a job with these parameters.
pub(super) fn of_target(labels: &Labels, params: &BTreeMap<String, Vec<String>>) -> String {
    let get = |label| labels.get(label).unwrap_or_default();
    let (scheme, host, path) = (get(SCHEME), get(ADDRESS), get(METRICS_PATH));
    let mut url = String::with_capacity(scheme.len() + "://".len() + host.len() + path.len() + 1);
    if !scheme.is_empty() {
        url.push_str(scheme);
        url.push(':');
    }
    url.push_str("//");
    url.extend(utf8_percent_encode(host, HOST));
    if !path.is_empty() && !path.starts_with('/') {
        url.push('/');
    }
    if path == "*" {
        url.push('*');
    } else {
        url.extend(utf8_percent_encode(path, PATH));
    }
    push_query(&mut url, labels, params);
    url
}

/// The job's parameters, sorted; a label of the target stands in for the first value of one, or adds one.
fn push_query(url: &mut String, labels: &Labels, params: &BTreeMap<String, Vec<String>>) {
    let from_labels = || labels.iter().filter_map(|(name, value)| Some((name.strip_prefix(PARAM_PREFIX)?, value)));
    if params.is_empty() && from_labels().next().is_none() {
        return;
    }
    let mut query: BTreeMap<&str, Vec<&str>> =
        params.iter().map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect())).collect();
    for (name, value) in from_labels() {
        let values = query.entry(name).or_default();
        match values.first_mut() {
            Some(first) => *first = value,
            None => values.push(value),
        }
    }
    let mut separator = '?';
    for (name, values) in query {
        for value in values {
            url.push(separator);
            separator = '&';
            push_query_escaped(url, name);
            url.push('=');
            push_query_escaped(url, value);
        }
    }
}

fn push_query_escaped(url: &mut String, text: &str) {
    for (i, word) in text.split(' ').enumerate() {
        if i > 0 {
            url.push('+');
        }
        url.extend(utf8_percent_encode(word, QUERY));
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn url(labels: &[(&str, &str)], params: &[(&str, &[&str])]) -> String {
        let params = params.iter().map(|(n, v)| ((*n).to_owned(), v.iter().map(|&v| v.to_owned()).collect())).collect();
        of_target(&labels.iter().copied().collect(), &params)
    }

    #[rstest]
    #[case::plain("a:1", "/metrics", "http://a:1/metrics")]
    #[case::empty_path("a:1", "", "http://a:1")]
    #[case::relative_path("a:1", "m", "http://a:1/m")]
    #[case::ipv6("[::1]:9", "/", "http://[::1]:9/")]
    #[case::path_is_taken_literally("a", "/é b?c=%2F#(x)", "http://a/%C3%A9%20b%3Fc=%252F%23%28x%29")]
    #[case::host_is_taken_literally("a b%", "/", "http://a%20b%25/")]
    fn a_url_is_escaped_as_go_does(#[case] address: &str, #[case] path: &str, #[case] expected: &str) {
        assert_eq!(url(&[(SCHEME, "http"), (ADDRESS, address), (METRICS_PATH, path)], &[]), expected);
    }

    #[test]
    fn labels_of_the_target_stand_in_for_parameters_of_the_job() {
        let labels = [(SCHEME, "https"), (ADDRESS, "a"), ("__param_b", "new"), ("__param_d", "x y&z~é")];
        let params = [("c", [""].as_slice()), ("b", &["old", "second"]), ("empty", &[])];
        assert_eq!(url(&labels, &params), "https://a?b=new&b=second&c=&d=x+y%26z~%C3%A9");
    }
}
