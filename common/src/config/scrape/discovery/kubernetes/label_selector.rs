//! Label selectors, `app in (a, b),!old,tier!=test`, checked as Kubernetes' own library does (apimachinery `pkg/labels`).

use std::collections::BTreeSet;

/// The longest name or value.
const MAX_LENGTH: usize = 63;
/// The longest prefix of a name.
const MAX_PREFIX_LENGTH: usize = 253;

const NAME_RULE: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
    with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const PREFIX_RULE: &str = "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
    '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED_NAME_RULE: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must \
    start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation \
    is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. \
    'example.com/MyName')";
const VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Whether the text is a selector; why not, otherwise.
pub(super) fn check(selector: &str) -> Result<(), String> {
    let mut parser = Parser { rest: tokens(selector), end: Token { text: "", is_word: false } };
    loop {
        let next = parser.peek();
        if next.is_end() {
            return Ok(());
        }
        if !next.starts_requirement() {
            return Err(format!("found '{}', expected: !, identifier, or 'end of string'", next.text));
        }
        parser.requirement().map_err(|problem| format!("unable to parse requirement: {problem}"))?;
        let separator = parser.take();
        if separator.is_end() {
            return Ok(());
        }
        if !separator.is(",") {
            return Err(format!("found '{}', expected: ',' or 'end of string'", separator.text));
        }
        let next = parser.peek();
        if !next.starts_requirement() {
            return Err(format!("found '{}', expected: identifier after ','", next.text));
        }
    }
}

/// A word (`in` and `notin` among them), or one of `= == != ! ( ) , > <`. An empty symbol is the end.
#[derive(Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    is_word: bool,
}

impl Token<'_> {
    fn is(self, symbol: &str) -> bool {
        !self.is_word && self.text == symbol
    }

    fn is_end(self) -> bool {
        self.is("")
    }

    fn starts_requirement(self) -> bool {
        self.is_word || self.is("!")
    }
}

fn tokens(text: &str) -> std::vec::IntoIter<Token<'_>> {
    let is_space = |c: char| " \t\r\n".contains(c);
    let is_symbol = |c: char| "=!(),><".contains(c);
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while let Some(first) = rest.chars().next() {
        let is_word = !is_symbol(first);
        let length = if is_word {
            rest.find(|c| is_space(c) || is_symbol(c)).unwrap_or(rest.len())
        } else if rest.starts_with("==") || rest.starts_with("!=") {
            2
        } else {
            1
        };
        let (token, after) = rest.split_at(length);
        tokens.push(Token { text: token, is_word });
        rest = after.trim_start_matches(is_space);
    }
    tokens.into_iter()
}

struct Parser<'a> {
    rest: std::vec::IntoIter<Token<'a>>,
    end: Token<'a>,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.rest.as_slice().first().copied().unwrap_or(self.end)
    }

    fn take(&mut self) -> Token<'a> {
        self.rest.next().unwrap_or(self.end)
    }

    fn requirement(&mut self) -> Result<(), String> {
        let mut key = self.take();
        let is_absent = key.is("!");
        if is_absent {
            key = self.take();
        }
        if !key.is_word {
            return Err(format!("found '{}', expected: identifier", key.text));
        }
        check_key(key.text)?;
        if is_absent || self.peek().is_end() || self.peek().is(",") {
            return Ok(());
        }
        let operator = self.take();
        match operator.text {
            "in" | "notin" if operator.is_word => check_values(key.text, &self.set_of_values()?),
            "=" | "==" | "!=" => check_values(key.text, &BTreeSet::from([self.exact_value()?])),
            ">" | "<" => {
                let value = self.exact_value()?;
                check_values(key.text, &BTreeSet::from([value]))?;
                let is_integer = value.parse::<i64>().is_ok();
                let problem = "for 'Gt', 'Lt' operators, the value must be an integer";
                if is_integer { Ok(()) } else { Err(format!("values[0]: Invalid value: {value:?}: {problem}")) }
            }
            other => Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
        }
    }

    fn exact_value(&mut self) -> Result<&'a str, String> {
        if self.peek().is_end() || self.peek().is(",") {
            return Ok("");
        }
        let value = self.take();
        if value.is_word { Ok(value.text) } else { Err(format!("found '{}', expected: identifier", value.text)) }
    }

    fn set_of_values(&mut self) -> Result<BTreeSet<&'a str>, String> {
        let open = self.take();
        if !open.is("(") {
            return Err(format!("found '{}' expected: '('", open.text));
        }
        let mut values = BTreeSet::new();
        let first = self.peek();
        if first.is(")") {
            self.take();
            return Ok(values);
        }
        if !first.is_word && !first.is(",") {
            return Err(format!("found '{}', expected: ',', ')' or identifier", first.text));
        }
        loop {
            let value = self.take();
            if value.is_word {
                values.insert(value.text);
                let next = self.peek();
                if !next.is(",") && !next.is(")") {
                    return Err(format!("found '{}', expected: ',' or ')'", next.text));
                }
            } else if !value.is(",") {
                return Err(format!("found '{}', expected: ',', or identifier", value.text));
            }
            if self.peek().is(")") {
                self.take();
                return Ok(values);
            }
        }
    }
}

fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let problem = match prefix {
        _ if name.contains('/') => Some(QUALIFIED_NAME_RULE.to_owned()),
        Some("") => Some("prefix part must be non-empty".to_owned()),
        Some(prefix) if prefix.len() > MAX_PREFIX_LENGTH => {
            Some(format!("prefix part must be no more than {MAX_PREFIX_LENGTH} characters"))
        }
        Some(prefix) if !is_subdomain(prefix) => Some(PREFIX_RULE.to_owned()),
        Some(_) | None if name.is_empty() => Some("name part must be non-empty".to_owned()),
        Some(_) | None if name.len() > MAX_LENGTH => {
            Some(format!("name part must be no more than {MAX_LENGTH} characters"))
        }
        Some(_) | None if !is_name(name) => Some(NAME_RULE.to_owned()),
        Some(_) | None => None,
    };
    problem.map_or(Ok(()), |problem| Err(format!("<nil>: Invalid value: {key:?}: {problem}")))
}

/// The values for a key, in their order, by whose place a bad one is named.
fn check_values(key: &str, values: &BTreeSet<&str>) -> Result<(), String> {
    for (at, value) in values.iter().enumerate() {
        let refuse = |problem: &str| Err(format!("values[{at}][{key}]: Invalid value: {value:?}: {problem}"));
        if value.len() > MAX_LENGTH {
            return refuse(&format!("must be no more than {MAX_LENGTH} characters"));
        }
        if !value.is_empty() && !is_name(value) {
            return refuse(VALUE_RULE);
        }
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && is_alphanumeric_at_its_ends(text)
}

fn is_subdomain(text: &str) -> bool {
    let is_part = |part: &str| {
        part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && is_alphanumeric_at_its_ends(part)
    };
    text.split('.').all(is_part)
}

fn is_alphanumeric_at_its_ends(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("")]
    #[case("  ")]
    #[case("a=b")]
    #[case("a==b,c!=d , e")]
    #[case("a > 5, b<3,c in (x,y,),d notin (,),e=, !f")]
    #[case("in in (in, notin)")]
    #[case("a = in")]
    #[case("a in ()")]
    #[case("app.kubernetes.io/name=x_y.z-1")]
    fn selectors_of_kubernetes_are_taken(#[case] selector: &str) {
        assert_eq!(check(selector), Ok(()));
    }

    #[rstest]
    #[case("a in (b", "unable to parse requirement: found '', expected: ',' or ')'")]
    #[case("a in b", "unable to parse requirement: found 'b' expected: '('")]
    #[case("a in (=)", "unable to parse requirement: found '=', expected: ',', ')' or identifier")]
    #[case("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt")]
    #[case("a=b,", "found '', expected: identifier after ','")]
    #[case("a=b c", "found 'c', expected: ',' or 'end of string'")]
    #[case("!a=b", "found '=', expected: ',' or 'end of string'")]
    #[case(",a", "found ',', expected: !, identifier, or 'end of string'")]
    #[case("a=>b", "unable to parse requirement: found '>', expected: identifier")]
    #[case("a>b", "for 'Gt', 'Lt' operators, the value must be an integer")]
    #[case("a in (b, -c)", "values[0][a]: Invalid value: \"-c\": a valid label must be an empty string or consist of")]
    #[case("b<-3", "values[0][b]: Invalid value: \"-3\": a valid label must be an empty string or consist of")]
    #[case("-a=b", "Invalid value: \"-a\": name part must consist of alphanumeric characters")]
    #[case("a=-b", "Invalid value: \"-b\": a valid label must be an empty string or consist of")]
    #[case("A_b/c=d", "Invalid value: \"A_b/c\": prefix part a lowercase RFC 1123 subdomain must consist of")]
    #[case("/c", "Invalid value: \"/c\": prefix part must be non-empty")]
    #[case("c/", "Invalid value: \"c/\": name part must be non-empty")]
    #[case("a/b/c", "Invalid value: \"a/b/c\": a qualified name must consist of")]
    fn others_are_refused_in_the_words_of_kubernetes(#[case] selector: &str, #[case] words: &str) {
        let error = check(selector).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}
