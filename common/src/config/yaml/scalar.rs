//! What a scalar means where a string, a number or a boolean is expected: YAML 1.1 as Go's yaml.v2 reads it.

use serde_json::Value;

use super::{Kind, Node, Scalar};

/// A value of another type than the one that was expected, in the words of Go's YAML library.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot unmarshal {found} into {wanted}")]
pub struct Mismatch {
    found: String,
    wanted: &'static str,
}

/// What an unquoted scalar resolves to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Resolved {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str,
}

impl Scalar {
    /// Whether this is nothing: `~`, `null`, or no text at all.
    #[must_use]
    pub fn is_null(&self) -> bool {
        !self.quoted && resolve_word(&self.text) == Some(Resolved::Null)
    }

    fn resolve(&self) -> Resolved {
        if self.quoted {
            return Resolved::Str;
        }
        resolve_word(&self.text).or_else(|| resolve_number(&self.text)).unwrap_or(Resolved::Str)
    }

    /// The type's name and the beginning of the text, as Go's library shows them.
    fn describe(&self) -> String {
        let tag = match self.resolve() {
            Resolved::Null => "!!null",
            Resolved::Bool(_) => "!!bool",
            Resolved::Int(_) => "!!int",
            Resolved::Float(_) => "!!float",
            Resolved::Str => "!!str",
        };
        if self.text.len() > 10 {
            let start: String = self.text.chars().take(7).collect();
            format!("{tag} `{start}...`")
        } else {
            format!("{tag} `{}`", self.text)
        }
    }
}

impl Node {
    /// Whether this is nothing: `~`, `null`, or no text at all.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.is_null())
    }

    /// The text where a string is expected: as written, whatever it looks like; empty for nothing.
    ///
    /// # Errors
    /// When this is a list or a mapping.
    pub fn as_str(&self) -> Result<&str, Mismatch> {
        let scalar = self.scalar("string")?;
        Ok(if scalar.is_null() { "" } else { &scalar.text })
    }

    /// The value where a boolean is expected: `true`, `yes`, `on`, `y` and their opposites; nothing is false.
    ///
    /// # Errors
    /// When this is anything else, a quoted boolean included.
    pub fn as_bool(&self) -> Result<bool, Mismatch> {
        match self.scalar("bool")?.resolve() {
            Resolved::Bool(value) => Ok(value),
            Resolved::Null => Ok(false),
            Resolved::Int(_) | Resolved::Float(_) | Resolved::Str => Err(self.mismatch("bool")),
        }
    }

    /// The value where a whole number is expected: `10`, `1_000`, `0x10`, `010` (eight), `1e3`; nothing is 0, and
    /// fractions are cut off.
    ///
    /// # Errors
    /// When this is anything else, a quoted or a negative number included.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "cutting off the fraction is what Go's library does; the range was checked"
    )]
    pub fn as_u64(&self) -> Result<u64, Mismatch> {
        let bad = || self.mismatch("uint");
        match self.scalar("uint")?.resolve() {
            Resolved::Null => Ok(0),
            Resolved::Int(value) => value.try_into().map_err(|_| bad()),
            Resolved::Float(value) if (0.0..u64::MAX as f64).contains(&value) => Ok(value as u64),
            Resolved::Float(_) | Resolved::Bool(_) | Resolved::Str => Err(bad()),
        }
    }

    /// The value where a number is expected; nothing is 0.
    ///
    /// # Errors
    /// When this is anything else, a quoted number included.
    #[expect(clippy::cast_precision_loss, reason = "a float was asked for")]
    pub fn as_f64(&self) -> Result<f64, Mismatch> {
        match self.scalar("float64")?.resolve() {
            Resolved::Null => Ok(0.0),
            Resolved::Int(value) => Ok(value as f64),
            Resolved::Float(value) => Ok(value),
            Resolved::Bool(_) | Resolved::Str => Err(self.mismatch("float64")),
        }
    }

    /// The error of finding this where something else was expected.
    #[must_use]
    pub fn mismatch(&self, wanted: &'static str) -> Mismatch {
        let found = match &self.kind {
            Kind::Scalar(scalar) => scalar.describe(),
            Kind::Sequence(_) => "!!seq".into(),
            Kind::Mapping(_) => "!!map".into(),
        };
        Mismatch { found, wanted }
    }

    /// The same where the text may be a secret: only its type is shown.
    #[must_use]
    pub fn secret_mismatch(&self, wanted: &'static str) -> Mismatch {
        let mut mismatch = self.mismatch(wanted);
        mismatch.found.truncate(mismatch.found.find(' ').unwrap_or(mismatch.found.len()));
        mismatch
    }

    /// The value as JSON has it: what a program makes of it that asks for no type.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Sequence(items) => items.iter().map(Self::to_json).collect(),
            Kind::Mapping(entries) => {
                Value::Object(entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect())
            }
            Kind::Scalar(scalar) => match scalar.resolve() {
                Resolved::Null => Value::Null,
                Resolved::Bool(value) => value.into(),
                Resolved::Int(value) => i64::try_from(value)
                    .map(Value::from)
                    .or_else(|_| u64::try_from(value).map(Value::from))
                    .unwrap_or_default(),
                // JSON has no infinity.
                Resolved::Float(value) => value.into(),
                Resolved::Str => scalar.text.as_str().into(),
            },
        }
    }

    fn scalar(&self, wanted: &'static str) -> Result<&Scalar, Mismatch> {
        match &self.kind {
            Kind::Scalar(scalar) => Ok(scalar),
            Kind::Sequence(_) | Kind::Mapping(_) => Err(self.mismatch(wanted)),
        }
    }
}

fn resolve_word(text: &str) -> Option<Resolved> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Resolved::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Resolved::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Resolved::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Resolved::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Resolved::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

fn resolve_number(text: &str) -> Option<Resolved> {
    if !text.starts_with(['+', '-', '.', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        return None;
    }
    let text = text.replace('_', "");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    if let Some(value) = parse_integer(digits) {
        return Some(Resolved::Int(if negative { -value } else { value }));
    }
    looks_like_a_float(digits).then(|| text.parse().ok().map(Resolved::Float)).flatten()
}

/// Digits with the prefix that Go's `ParseInt` knows: `0x`, `0o` or a plain `0` (both octal), `0b`. At most 64 bits.
fn parse_integer(digits: &str) -> Option<i128> {
    let prefixed = |prefix: [&str; 2]| digits.strip_prefix(prefix[0]).or_else(|| digits.strip_prefix(prefix[1]));
    let (base, digits) = if let Some(rest) = prefixed(["0x", "0X"]) {
        (16, rest)
    } else if let Some(rest) = prefixed(["0o", "0O"]) {
        (8, rest)
    } else if let Some(rest) = prefixed(["0b", "0B"]) {
        (2, rest)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    };
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None; // a second sign
    }
    u64::from_str_radix(digits, base).ok().map(i128::from)
}

/// `1`, `1.`, `.5`, `1e3`, `1.5e-3`.
fn looks_like_a_float(digits: &str) -> bool {
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits, None),
    };
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty())
        }
        None => all_digits(mantissa) && !mantissa.is_empty(),
    };
    let exponent_ok = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        all_digits(digits) && !digits.is_empty()
    });
    mantissa_ok && exponent_ok
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10", 10)]
    #[case("+10", 10)]
    #[case("0x10", 16)]
    #[case("010", 8)]
    #[case("0o17", 15)]
    #[case("0b11", 3)]
    #[case("1_000", 1000)]
    #[case("1e3", 1000)]
    #[case("1.0", 1)]
    #[case("1.9", 1)]
    #[case("~", 0)]
    #[case("", 0)]
    #[case("18446744073709551615", u64::MAX)]
    fn whole_numbers_are_read_as_yaml_1_1_has_them(#[case] text: &str, #[case] value: u64) {
        assert_eq!(Node::plain(text).as_u64(), Ok(value));
    }

    #[rstest]
    #[case("abc", "cannot unmarshal !!str `abc` into uint")]
    #[case("-1", "cannot unmarshal !!int `-1` into uint")]
    #[case("true", "cannot unmarshal !!bool `true` into uint")]
    #[case("0x", "cannot unmarshal !!str `0x` into uint")]
    #[case("1.2.3", "cannot unmarshal !!str `1.2.3` into uint")]
    #[case("+-1", "cannot unmarshal !!str `+-1` into uint")]
    #[case("0-1", "cannot unmarshal !!str `0-1` into uint")]
    #[case(".", "cannot unmarshal !!str `.` into uint")]
    #[case(".inf", "cannot unmarshal !!float `.inf` into uint")]
    #[case("1e30", "cannot unmarshal !!float `1e30` into uint")]
    #[case("a long sentence", "cannot unmarshal !!str `a long ...` into uint")]
    fn what_is_no_whole_number_is_refused(#[case] text: &str, #[case] message: &str) {
        assert_eq!(Node::plain(text).as_u64().unwrap_err().to_string(), message);
    }

    #[test]
    fn a_quoted_number_or_boolean_is_a_string() {
        assert_eq!(Node::string("10").as_u64().unwrap_err().to_string(), "cannot unmarshal !!str `10` into uint");
        assert!(Node::string("true").as_bool().is_err());
        assert_eq!(Node::string("~").as_str(), Ok("~"));
        assert!(!Node::string("").is_null());
    }

    #[test]
    fn booleans_have_many_names() {
        for word in ["y", "Yes", "on", "TRUE"] {
            assert_eq!(Node::plain(word).as_bool(), Ok(true), "{word}");
        }
        for word in ["n", "No", "off", "False", "null"] {
            assert_eq!(Node::plain(word).as_bool(), Ok(false), "{word}");
        }
        assert!(Node::plain("1").as_bool().is_err());
    }

    #[test]
    fn a_string_keeps_the_text_of_the_source() {
        for text in ["1.10", "2020-01-01", "yes", "0x10", "-"] {
            assert_eq!(Node::plain(text).as_str(), Ok(text));
        }
        assert_eq!(Node::plain("null").as_str(), Ok(""));
        assert_eq!(Node::list([]).as_str().unwrap_err().to_string(), "cannot unmarshal !!seq into string");
    }

    #[test]
    fn floats_are_read_too() {
        assert_eq!(Node::plain("1.1").as_f64(), Ok(1.1));
        assert_eq!(Node::plain("-2").as_f64(), Ok(-2.0));
        assert_eq!(Node::plain("1e-3").as_f64(), Ok(0.001));
        assert!(Node::plain("x").as_f64().is_err());
    }
}
