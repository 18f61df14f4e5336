//! What a token's server answers: a token, or why there is none, in the words of golang.org/x/oauth2.

use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode, header};
use narthex_common::config::http_client::Secret;
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::http_client::{ClientError, credentials, failure};

/// As much of an answer as an error shows. Whole pages are no help in a `lastError`.
const SHOWN: usize = 512;

/// A token as it is shown to targets.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) authorization: HeaderValue,
    /// When it ends, if it does.
    ends: Option<Instant>,
}

impl Token {
    pub(super) fn is_good(&self, at: Instant) -> bool {
        self.ends.is_none_or(|ends| at <= ends)
    }
}

/// An answer.
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) content_type: &'a str,
    pub(super) body: &'a [u8],
}

/// The fields of an answer, whatever it was written in.
#[derive(Default)]
struct Fields {
    access_token: String,
    token_type: String,
    expires_in: i64,
    error: String,
    error_description: String,
    error_uri: String,
}

/// Reads an answer that came `now` for a request with `secret`.
pub(super) fn read(answer: &Answer<'_>, secret: &Secret, now: Instant) -> Result<Token, ClientError> {
    let media_type = answer.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let fields = match media_type.as_str() {
        "application/x-www-form-urlencoded" | "text/plain" => Ok(Fields::of_form(answer.body)),
        _ => Fields::of_json(answer.body),
    };
    let failed = !answer.status.is_success();
    let fields = match fields {
        Ok(fields) => fields,
        Err(_) if failed => Fields::default(),
        Err(why) => return Err(ClientError(format!("oauth2: cannot parse json: {why}"))),
    };
    if !fields.error.is_empty() {
        let said = [&fields.error, &fields.error_description, &fields.error_uri];
        let said = said.into_iter().filter(|text| !text.is_empty()).map(|text| format!(" {text:?}"));
        return Err(failure::one_line(&without(secret, &format!("oauth2:{}", said.collect::<String>()))));
    }
    if failed {
        let body = String::from_utf8_lossy(answer.body);
        let shown: String = without(secret, &body).chars().take(SHOWN).collect();
        return Err(failure::one_line(&format!("oauth2: cannot fetch token: {}\nResponse: {shown}", answer.status)));
    }
    if fields.access_token.is_empty() {
        return Err(ClientError("oauth2: server response missing access_token".to_owned()));
    }
    fields.into_token(now)
}

impl Fields {
    fn of_form(body: &[u8]) -> Self {
        let mut fields = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            let field = match name.as_ref() {
                "access_token" => &mut fields.access_token,
                "token_type" => &mut fields.token_type,
                "error" => &mut fields.error,
                "error_description" => &mut fields.error_description,
                "error_uri" => &mut fields.error_uri,
                "expires_in" => {
                    fields.expires_in = value.parse().unwrap_or_default();
                    continue;
                }
                _ => continue,
            };
            if field.is_empty() {
                *field = value.into_owned();
            }
        }
        fields
    }

    fn of_json(body: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        let object = match value {
            Value::Object(object) => object,
            Value::Null => Map::new(),
            other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                return Err(format!("json: cannot unmarshal {} into Go value of type tokenJSON", kind(&other)));
            }
        };
        let text = |name: &str| match object.get(name) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => Err(format!(
                "json: cannot unmarshal {} into Go struct field tokenJSON.{name} of type string",
                kind(other)
            )),
        };
        Ok(Self {
            access_token: text("access_token")?,
            token_type: text("token_type")?,
            expires_in: seconds(object.get("expires_in"))?,
            error: text("error")?,
            error_description: text("error_description")?,
            error_uri: text("error_uri")?,
        })
    }

    fn into_token(self, now: Instant) -> Result<Token, ClientError> {
        let kind = match self.token_type.to_ascii_lowercase().as_str() {
            "" | "bearer" => "Bearer",
            "mac" => "MAC",
            "basic" => "Basic",
            _ => &self.token_type,
        };
        let authorization =
            credentials::secret_value(header::AUTHORIZATION.as_str(), &format!("{kind} {}", self.access_token))?;
        let ends = match self.expires_in {
            // Nothing said: it is good for ever.
            0 => None,
            seconds => {
                let seconds = seconds.clamp(0, i64::from(i32::MAX)).unsigned_abs();
                Some(now + Duration::from_secs(seconds))
            }
        };
        Ok(Token { authorization, ends })
    }
}

/// A number, or a number in quotes: some servers write it so.
fn seconds(value: Option<&Value>) -> Result<i64, String> {
    let text = match value {
        None | Some(Value::Null) => return Ok(0),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => text.clone(),
        Some(other @ (Value::Bool(_) | Value::Array(_) | Value::Object(_))) => {
            return Err(format!("json: cannot unmarshal {} into Go value of type json.Number", kind(other)));
        }
    };
    text.parse().map_err(|_| format!("expires_in: {text:?} is no whole number of seconds"))
}

/// What Go's library calls a value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A server's words without the secret, should it repeat that.
fn without(secret: &Secret, text: &str) -> String {
    if secret.expose().is_empty() { text.to_owned() } else { text.replace(secret.expose(), "<secret>") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "application/json; charset=utf-8";

    fn answer(status: u16, content_type: &str, body: &str) -> Result<Token, String> {
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer { status, content_type, body: body.as_bytes() };
        read(&answer, &Secret::new("s3cret"), Instant::now()).map_err(|e| e.0)
    }

    fn shown(content_type: &str, body: &str) -> String {
        answer(200, content_type, body).unwrap().authorization.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_token_is_shown_with_its_type() {
        assert_eq!(shown(JSON, r#"{"access_token":"t"}"#), "Bearer t");
        assert_eq!(shown(JSON, r#"{"access_token":"t","token_type":"bearer","other":[1]}"#), "Bearer t");
        assert_eq!(shown("", r#"{"access_token":"t","token_type":"MAC","expires_in":null}"#), "MAC t");
        assert_eq!(shown("text/plain", "access_token=t%20k&expires_in=100&token_type=custom"), "custom t k");
    }

    #[test]
    fn a_token_ends_when_its_server_says_so() {
        let now = Instant::now();
        for (body, seconds) in [
            (r#"{"access_token":"t","expires_in":3600}"#, Some(3600)),
            (r#"{"access_token":"t","expires_in":"3600"}"#, Some(3600)),
            (r#"{"access_token":"t","expires_in":-5}"#, Some(0)),
            (r#"{"access_token":"t","expires_in":99999999999}"#, Some(i32::MAX.unsigned_abs().into())),
            (r#"{"access_token":"t","expires_in":0}"#, None),
            (r#"{"access_token":"t"}"#, None),
        ] {
            let answer = Answer { status: StatusCode::OK, content_type: JSON, body: body.as_bytes() };
            let token = read(&answer, &Secret::default(), now).unwrap();
            assert_eq!(token.ends, seconds.map(|seconds| now + Duration::from_secs(seconds)), "{body}");
        }
    }

    /// What Prometheus 3.5 showed as `lastError` for the same answers, after the URL of its scrape.
    #[test]
    fn what_is_no_token_is_said_as_prometheus_says_it() {
        let said = |status, content_type, body| answer(status, content_type, body).unwrap_err();
        let refused = r#"{"error":"invalid_client","error_description":"bad \"id\"","error_uri":"http://e"}"#;
        assert_eq!(said(401, JSON, refused), r#"oauth2: "invalid_client" "bad \"id\"" "http://e""#);
        assert_eq!(said(200, JSON, refused), r#"oauth2: "invalid_client" "bad \"id\"" "http://e""#);
        assert_eq!(
            said(500, "text/html", "<html>\noops\n</html>\n"),
            "oauth2: cannot fetch token: 500 Internal Server Error Response: <html> oops </html>"
        );
        assert_eq!(
            said(401, "text/plain; charset=utf-8", "Unauthorized\n"),
            "oauth2: cannot fetch token: 401 Unauthorized Response: Unauthorized"
        );
        assert_eq!(said(200, JSON, r#"{"token_type":"x"}"#), "oauth2: server response missing access_token");
        assert_eq!(
            said(200, JSON, r#"{"access_token":5}"#),
            "oauth2: cannot parse json: json: cannot unmarshal number into Go struct field tokenJSON.access_token of \
             type string"
        );
        assert!(said(200, JSON, "not json").starts_with("oauth2: cannot parse json: "));
    }

    #[test]
    fn a_secret_that_the_server_repeats_is_not_shown() {
        let said = answer(400, "text/plain", "s3cret is not the secret of me").unwrap_err();
        assert!(said.ends_with("Response: <secret> is not the secret of me"), "{said}");
        let said = answer(400, JSON, r#"{"error":"wrong","error_description":"s3cret"}"#).unwrap_err();
        assert_eq!(said, r#"oauth2: "wrong" "<secret>""#);
    }
}
