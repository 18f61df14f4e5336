//! The HTTP client settings read and validated, in the order and the words of Prometheus' common library.

use std::collections::BTreeMap;

use super::{
    super::{
        fields::{Fault, Fields, string_in},
        go_url,
        paths::BaseDir,
        yaml::{Node, Scalar},
    },
    Auth, HeaderValues, HttpClientConfig, Secret, Source, tls,
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

/// The grant type with which a certificate takes the place of a secret.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

impl HttpClientConfig {
    /// Reads the settings among a job's or a discovery's other fields.
    pub(in super::super) fn read(fields: &Fields<'_>, dir: BaseDir<'_>) -> Result<Self, Fault> {
        let auth = read_auth(fields, dir)?;
        let proxy = Proxy::read(fields)?;
        Ok(Self {
            auth,
            tls: tls::read(fields, dir)?,
            follow_redirects: fields.bool("follow_redirects", true)?,
            enable_http2: fields.bool("enable_http2", true)?,
            proxy_url: proxy.url,
            no_proxy: proxy.no_proxy,
            proxy_from_environment: proxy.from_environment,
            proxy_connect_header: proxy.connect_header,
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
        return check_oauth2(node, dir).map(|()| Some(Auth::OAuth2));
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
    let fields = Fields::of(node, "config.plain")?;
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
    let fields = Fields::of(node, "config.Authorization")?;
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

/// OAuth2 is validated only: nothing here speaks it yet.
fn check_oauth2(node: &Node, dir: BaseDir<'_>) -> Result<(), Fault> {
    let fields = Fields::of(node, "config.plain")?;
    let refuse = |message: &str| Err(Fault::at(node, message));
    let client_id = fields.string("client_id", "")?;
    let token_url = fields.string("token_url", "")?;
    let grant_type = fields.string("grant_type", "")?;
    let algorithm = fields.string("signature_algorithm", "")?;
    for name in ["client_certificate_key_id", "iss", "audience"] {
        fields.string(name, "")?;
    }
    fields.strings("scopes")?;
    fields.map("endpoint_params", "map[string]string")?;
    fields.map("claims", "map[string]interface {}")?;
    let secret = ThreeWays::read(&fields, ["client_secret", "client_secret_file", "client_secret_ref"])?;
    let certificate = ThreeWays::read(
        &fields,
        ["client_certificate_key", "client_certificate_key_file", "client_certificate_key_ref"],
    )?;
    tls::read(&fields, dir)?;
    Proxy::read(&fields)?;
    fields.finish()?;

    if client_id.is_empty() {
        return refuse("oauth2 client_id must be configured");
    }
    if token_url.is_empty() {
        return refuse("oauth2 token_url must be configured");
    }
    if grant_type == JWT_BEARER {
        certificate.at_most_one(&format!(
            "at most one of oauth2 client_certificate_key, client_certificate_key_file & client_certificate_key_ref \
             must be configured using grant-type={JWT_BEARER}"
        ))?;
        if !matches!(algorithm.as_str(), "" | "RS256" | "RS384" | "RS512") {
            return refuse("valid signature algorithms are RS256, RS384 and RS512");
        }
        return Ok(());
    }
    secret.at_most_one("at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured")
}

/// How requests reach a proxy.
struct Proxy {
    url: Option<Secret>,
    no_proxy: String,
    from_environment: bool,
    connect_header: BTreeMap<String, Vec<Secret>>,
}

impl Proxy {
    fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        let url = fields.string("proxy_url", "")?;
        let url_is_written = fields.get_filled("proxy_url").is_some();
        let no_proxy = fields.string("no_proxy", "")?;
        let from_environment = fields.bool("proxy_from_environment", false)?;
        let mut connect_header = BTreeMap::new();
        for (name, values) in fields.map("proxy_connect_header", "config.ProxyHeader")? {
            connect_header.insert(name.text.clone(), secrets(name, values)?);
        }

        let refuse = |field, message: &str| Err(Fault::new(fields.line_of(field), message));
        if let Err(problem) = go_url::parse(&url) {
            return refuse("proxy_url", &format!("proxy_url: {problem}"));
        }
        if !connect_header.is_empty() && !from_environment && url.is_empty() {
            let message =
                "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured";
            return refuse("proxy_connect_header", message);
        }
        if from_environment && !url.is_empty() {
            return refuse("proxy_url", "if proxy_from_environment is configured, proxy_url must not be configured");
        }
        if from_environment && !no_proxy.is_empty() {
            return refuse("no_proxy", "if proxy_from_environment is configured, no_proxy must not be configured");
        }
        if !url_is_written && !no_proxy.is_empty() {
            return refuse("no_proxy", "if no_proxy is configured, proxy_url must also be configured");
        }
        let url = (!url.is_empty()).then(|| Secret::new(url));
        Ok(Self { url, no_proxy, from_environment, connect_header })
    }
}

fn read_headers(fields: &Fields<'_>, dir: BaseDir<'_>) -> Result<BTreeMap<String, HeaderValues>, Fault> {
    let mut headers = BTreeMap::new();
    for (name, node) in fields.map("http_headers", "config.Headers")? {
        let values = Fields::of(node, "config.Header")?;
        let header = HeaderValues {
            values: values.strings("values")?,
            secrets: values.strings("secrets")?.into_iter().map(Secret::new).collect(),
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

fn secrets(name: &Scalar, node: &Node) -> Result<Vec<Secret>, Fault> {
    let items = node.as_list().ok_or_else(|| Fault::at(node, node.mismatch("[]config.Secret")))?;
    items.iter().map(|item| string_in(item, &name.text).map(Secret::new)).collect()
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
