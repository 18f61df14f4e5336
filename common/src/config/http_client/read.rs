//! The HTTP client settings read and validated, in the order and the words of Prometheus' common library.

use std::collections::BTreeMap;

use super::{
    super::{
        fields::{Fault, Fields},
        paths::BaseDir,
        yaml::Node,
    },
    Auth, HeaderValues, HttpClientConfig, ProxyConfig, Secret, Source, oauth2, tls,
};

/// Headers that make or describe the connection, or that Prometheus sets itself.
const RESERVED_HEADERS: [&str; 18] = [
    "Authorization",
    "Host",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "User-Agent",
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Www-Authenticate",
    "Accept-Encoding",
    "X-Prometheus-Remote-Write-Version",
    "X-Prometheus-Remote-Read-Version",
    "X-Prometheus-Scrape-Timeout-Seconds",
    "X-Amz-Date",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
];

impl HttpClientConfig {
    /// Reads the settings among a job's or a discovery's other fields.
    pub(in super::super) fn read(fields: &Fields<'_>, dir: BaseDir<'_>) -> Result<Self, Fault> {
        Ok(Self {
            auth: read_auth(fields, dir)?,
            proxy: ProxyConfig::read(fields)?,
            tls: tls::read(fields, dir)?,
            follow_redirects: fields.bool("follow_redirects", true)?,
            enable_http2: fields.bool("enable_http2", true)?,
            http_headers: read_headers(fields, dir)?,
        })
    }
}

/// The three ways to give one value.
pub(super) struct ThreeWays {
    name: &'static str,
    line: usize,
    inline: String,
    file: String,
    reference: String,
}

impl ThreeWays {
    /// The fields must be `name`, `name_file` and `name_ref`.
    pub(super) fn read(fields: &Fields<'_>, names: [&'static str; 3]) -> Result<Self, Fault> {
        Ok(Self {
            name: names[0],
            line: fields.line(),
            inline: fields.string(names[0], "")?,
            file: fields.string(names[1], "")?,
            reference: fields.string(names[2], "")?,
        })
    }

    pub(super) fn ways(&self) -> usize {
        [&self.inline, &self.file, &self.reference].into_iter().filter(|text| !text.is_empty()).count()
    }

    pub(super) fn at_most_one(&self, message: &str) -> Result<(), Fault> {
        if self.ways() > 1 { Err(Fault::new(self.line, message)) } else { Ok(()) }
    }

    /// Where the value comes from. References are for programs that have a secret manager; Prometheus has none and
    /// fails when it builds the client.
    pub(super) fn into_source<T>(
        self,
        dir: BaseDir<'_>,
        inline: impl FnOnce(String) -> T,
    ) -> Result<Option<Source<T>>, Fault> {
        if !self.reference.is_empty() {
            let message =
                format!("{}_ref cannot be used: Prometheus has no secret manager to look it up in", self.name);
            return Err(Fault::new(self.line, message));
        }
        Ok(match (self.inline.is_empty(), self.file.is_empty()) {
            (false, _) => Some(Source::Inline(inline(self.inline))),
            (true, false) => Some(Source::File(dir.join(&self.file))),
            (true, true) => None,
        })
    }
}

fn read_auth(fields: &Fields<'_>, dir: BaseDir<'_>) -> Result<Option<Auth>, Fault> {
    let (token, token_file) = (fields.string("bearer_token", "")?, fields.string("bearer_token_file", "")?);
    let (basic, authorization) = (fields.get_filled("basic_auth"), fields.get_filled("authorization"));
    let oauth2 = fields.get_filled("oauth2");

    let refuse = |field, message: &str| Err(Fault::new(fields.line_of(field), message));
    let has_token = !token.is_empty() || !token_file.is_empty();
    if !token.is_empty() && !token_file.is_empty() {
        return refuse("bearer_token", "at most one of bearer_token & bearer_token_file must be configured");
    }
    if (basic.is_some() || oauth2.is_some()) && has_token {
        let field = if token.is_empty() { "bearer_token_file" } else { "bearer_token" };
        return refuse(field, "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured");
    }
    let basic = basic.map(|node| read_basic_auth(node, dir)).transpose()?;
    if authorization.is_some() && has_token {
        return refuse("authorization", "authorization is not compatible with bearer_token & bearer_token_file");
    }
    let authorization = authorization.map(|node| read_authorization(node, dir)).transpose()?;
    if [basic.is_some(), authorization.is_some(), oauth2.is_some()].into_iter().filter(|set| *set).count() > 1 {
        let field = if authorization.is_some() { "authorization" } else { "oauth2" };
        return refuse(field, "at most one of basic_auth, oauth2 & authorization must be configured");
    }
    if let Some(node) = oauth2 {
        return oauth2::read(node, dir).map(|config| Some(Auth::OAuth2(Box::new(config))));
    }
    let credentials = match (token.is_empty(), token_file.is_empty()) {
        (false, _) => Some(Source::Inline(Secret::new(token))),
        (true, false) => Some(Source::File(dir.join(&token_file))),
        (true, true) => None,
    };
    let bearer = credentials.map(|source| Auth::Header { kind: "Bearer".into(), credentials: Some(source) });
    Ok(basic.or(authorization).or(bearer))
}

fn read_basic_auth(node: &Node, dir: BaseDir<'_>) -> Result<Auth, Fault> {
    let fields = Fields::of_secrets(node, "config.plain")?;
    let username = ThreeWays::read(&fields, ["username", "username_file", "username_ref"])?;
    let password = ThreeWays::read(&fields, ["password", "password_file", "password_ref"])?;
    fields.finish()?;
    username.at_most_one("at most one of basic_auth username, username_file & username_ref must be configured")?;
    password.at_most_one("at most one of basic_auth password, password_file & password_ref must be configured")?;
    Ok(Auth::Basic {
        username: username.into_source(dir, |name| name)?.unwrap_or(Source::Inline(String::new())),
        password: password.into_source(dir, Secret::new)?,
    })
}

fn read_authorization(node: &Node, dir: BaseDir<'_>) -> Result<Auth, Fault> {
    let fields = Fields::of_secrets(node, "config.Authorization")?;
    let kind = fields.string("type", "")?.trim().to_owned();
    let credentials = ThreeWays::read(&fields, ["credentials", "credentials_file", "credentials_ref"])?;
    fields.finish()?;
    credentials.at_most_one("at most one of authorization credentials & credentials_file must be configured")?;
    if kind.eq_ignore_ascii_case("basic") {
        return Err(Fault::at(node, r#"authorization type cannot be set to "basic", use "basic_auth" instead"#));
    }
    let kind = if kind.is_empty() { "Bearer".into() } else { kind };
    Ok(Auth::Header { kind, credentials: credentials.into_source(dir, Secret::new)? })
}

fn read_headers(fields: &Fields<'_>, dir: BaseDir<'_>) -> Result<BTreeMap<String, HeaderValues>, Fault> {
    let mut headers = BTreeMap::new();
    for (name, node) in fields.map("http_headers", "config.Headers")? {
        let values = Fields::of(node, "config.Header")?;
        let header = HeaderValues {
            values: values.strings("values")?,
            secrets: values.secrets("secrets")?,
            files: values.strings("files")?.iter().map(|file| dir.join(file)).collect(),
        };
        values.finish()?;
        let canonical = canonical_header(&name.text);
        if RESERVED_HEADERS.contains(&canonical.as_str()) {
            return Err(Fault::at(node, format!("setting header {canonical:?} is not allowed")));
        }
        headers.insert(name.text.clone(), header);
    }
    Ok(headers)
}

/// The name as Go writes it, `user-agent` as `User-Agent`; unchanged when it could not be a header's.
fn canonical_header(name: &str) -> String {
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
        return name.to_owned();
    }
    let mut starts_word = true;
    let capitalize = |c: char| {
        let c = if starts_word { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        starts_word = c == '-';
        c
    };
    name.chars().map(capitalize).collect()
}
