//! `consul_sd_configs`

use std::collections::BTreeMap;

use super::{
    super::{
        super::{
            HttpClientConfig, PromDuration,
            fields::{Fault, Fields, string_in},
            http_client::{Auth, Secret, Source},
            paths::BaseDir,
            yaml::Node,
        },
        ConsulSdConfig,
    },
    refresh_interval,
};

pub(super) fn read(node: &Node, dir: BaseDir<'_>) -> Result<ConsulSdConfig, Fault> {
    let fields = Fields::of(node, "consul.plain")?;
    let server = fields.string("server", "localhost:8500")?;
    let scheme = fields.string("scheme", "http")?;
    let mut http_client = HttpClientConfig::read(&fields, dir)?;
    check(&fields, &server)?;
    if let Some(basic) = deprecated_basic_auth(&fields, &http_client)? {
        http_client.auth = Some(basic);
    }
    let (scheme, server, path_prefix) = location(&fields, &scheme, &server, fields.string("path_prefix", "")?)?;
    let config = ConsulSdConfig {
        server,
        path_prefix,
        scheme,
        token: Secret::new(fields.string("token", "")?),
        datacenter: fields.string("datacenter", "")?,
        namespace: fields.string("namespace", "")?,
        partition: fields.string("partition", "")?,
        tag_separator: fields.string("tag_separator", ",")?,
        allow_stale: fields.bool("allow_stale", true)?,
        refresh_interval: refresh_interval(&fields, PromDuration::from_secs(30))?,
        services: fields.strings("services")?,
        tags: fields.strings("tags")?,
        node_meta: node_meta(&fields)?,
        filter: fields.string("filter", "")?,
        health_filter: fields.string("health_filter", "")?,
        http_client,
    };
    fields.finish()?;
    Ok(config)
}

fn check(fields: &Fields<'_>, server: &str) -> Result<(), Fault> {
    let refuse = |field, why: &str| Err(Fault::new(fields.line_of(field), why));
    if server.trim().is_empty() {
        return refuse("server", "consul SD configuration requires a server address");
    }
    if has_deprecated_auth(fields)? && fields.get_filled("basic_auth").is_some() {
        let why = "at most one of consul SD configuration username and password and basic auth can be configured";
        return refuse("basic_auth", why);
    }
    let is_authorized = fields.get_filled("authorization").is_some() || fields.get_filled("oauth2").is_some();
    if is_authorized && !fields.string("token", "")?.is_empty() {
        return refuse("token", "at most one of consul SD token, authorization, or oauth2 can be configured");
    }
    Ok(())
}

fn has_deprecated_auth(fields: &Fields<'_>) -> Result<bool, Fault> {
    Ok(!fields.string("username", "")?.is_empty() || !fields.string("password", "")?.is_empty())
}

/// `username` and `password` mean a `basic_auth` of both.
fn deprecated_basic_auth(fields: &Fields<'_>, http_client: &HttpClientConfig) -> Result<Option<Auth>, Fault> {
    if !has_deprecated_auth(fields)? {
        return Ok(None);
    }
    let refuse = |why: &str| Err(Fault::new(fields.line_of("username"), why));
    match &http_client.auth {
        Some(Auth::Header { .. }) if fields.get_filled("authorization").is_none() => {
            refuse("at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured")
        }
        Some(Auth::Header { .. } | Auth::OAuth2(_) | Auth::Basic { .. }) => {
            refuse("at most one of basic_auth, oauth2 & authorization must be configured")
        }
        None => Ok(Some(Auth::Basic {
            username: Source::Inline(fields.string("username", "")?),
            password: Some(Source::Inline(Secret::new(fields.string("password", "")?))),
        })),
    }
}

/// Scheme, host and what goes before its paths: a `server` may be written as an URL, which then says all of it.
fn location(
    fields: &Fields<'_>,
    scheme: &str,
    server: &str,
    path_prefix: String,
) -> Result<(String, String, String), Fault> {
    let scheme = if scheme.is_empty() { "http" } else { scheme };
    let Some((written, rest)) = server.split_once("://") else {
        return Ok((scheme.to_owned(), server.to_owned(), path_prefix));
    };
    let scheme = match written {
        // As in Consul's own client: `scheme: https` stays.
        "http" => scheme,
        "https" => "https",
        "unix" => {
            // Somebody else may be able to.
            let why = "a Unix socket as server of consul_sd_configs";
            return Err(Fault { is_of_unknown_field: true, ..Fault::new(fields.line_of("server"), why) });
        }
        other => return Err(Fault::new(fields.line_of("server"), format!("Unknown protocol scheme: {other}"))),
    };
    Ok(match rest.split_once('/') {
        Some((host, path)) => (scheme.to_owned(), host.to_owned(), format!("/{path}")),
        None => (scheme.to_owned(), rest.to_owned(), path_prefix),
    })
}

fn node_meta(fields: &Fields<'_>) -> Result<BTreeMap<String, String>, Fault> {
    let entries = fields.map("node_meta", "map[string]string")?.iter();
    entries.map(|(name, value)| Ok((name.text.clone(), string_in(value, "node_meta")?))).collect()
}
