//! The file read and validated, in the words of exporter-toolkit where it has some.

use std::{collections::BTreeMap, path::Path};

use super::{
    super::{
        ConfigError,
        fields::{Fault, Fields, string_in},
        http_client::Secret,
        paths::BaseDir,
        yaml::{self, Node, Scalar},
    },
    WebConfig, tls,
};

/// The headers that may be set, with the values that some are limited to.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

/// The shortest hash that Go's bcrypt takes for one.
const MIN_HASH_SIZE: usize = 59;

impl WebConfig {
    /// Reads a file's text. Relative paths in it start at the directory of the file.
    ///
    /// # Errors
    /// When exporter-toolkit would refuse it, or it asks for what this server cannot do: with file and line, and without
    /// anything secret.
    pub fn read(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let fault = |line, message| ConfigError { path: path.to_owned(), line, job: None, message };
        let root = yaml::read(text).map_err(|error| fault(Some(error.line), error.message))?;
        config(&root, BaseDir::of_file(path)).map_err(|fault| fault.in_file(path))
    }
}

fn config(root: &Node, dir: BaseDir<'_>) -> Result<WebConfig, Fault> {
    // Where there are no settings there may be a password or a token: nothing of it is repeated.
    if root.as_map().is_none() {
        return Err(Fault::at(root, "it has no settings such as tls_server_config; is it another file?"));
    }
    let fields = Fields::of(root, "web.Config")?;
    let (http2, headers) = match fields.get_filled("http_server_config") {
        Some(node) => http(node)?,
        None => (true, BTreeMap::new()),
    };
    let tls = fields.get_filled("tls_server_config").map(|node| tls::read(node, dir, http2)).transpose()?.flatten();
    let users = match fields.get("basic_auth_users").map(|node| (node, node.as_map())) {
        None => &[],
        Some((_, Some(users))) => users,
        Some((node, None)) => return Err(Fault::at(node, "basic_auth_users: expected lines of the form USER: HASH")),
    };
    let users = users.iter().map(|(name, hash)| user(name, hash)).collect::<Result<_, _>>()?;
    if fields.get_filled("rate_limit").is_some() {
        let message = "rate_limit is not supported here: requests are bounded in number and size by themselves";
        return Err(Fault::new(fields.line_of("rate_limit"), message));
    }
    fields.finish()?;
    Ok(WebConfig { tls, http2, headers, users })
}

fn http(node: &Node) -> Result<(bool, BTreeMap<String, String>), Fault> {
    let fields = Fields::of(node, "web.HTTPConfig")?;
    let http2 = fields.bool("http2", true)?;
    let mut headers = BTreeMap::new();
    for (name, node) in fields.map("headers", "map[string]string")? {
        let value = string_in(node, &name.text)?;
        check_header(&name.text, &value).map_err(|message| Fault::at(node, message))?;
        if !value.is_empty() {
            headers.insert(name.text.clone(), value);
        }
    }
    fields.finish()?;
    Ok((http2, headers))
}

fn check_header(name: &str, value: &str) -> Result<(), String> {
    let Some((_, allowed)) = HEADERS.iter().find(|(known, _)| *known == name) else {
        return Err(format!("HTTP header {name:?} can not be configured"));
    };
    if !allowed.is_empty() && !allowed.contains(&value) {
        let allowed = allowed.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(" ");
        return Err(format!("invalid value for {name}. Expected one of: [{allowed}], but got: {value:?}"));
    }
    if value.chars().any(|c| c.is_control() || !c.is_ascii()) {
        return Err(format!("invalid value for {name}: it has characters that no header may have"));
    }
    Ok(())
}

fn user(name: &Scalar, hash: &Node) -> Result<(String, Secret), Fault> {
    // Not even its type is told from what somebody may have written there: a password.
    let text = hash.text().unwrap_or_default();
    check_hash(text).map_err(|why| Fault::at(hash, format!("basic_auth_users: user {:?}: {why}", name.text)))?;
    // Basic authentication has no way to send it.
    if name.text.contains(':') {
        return Err(Fault::at(hash, format!("basic_auth_users: user {:?}: a name may have no colon", name.text)));
    }
    Ok((name.text.clone(), Secret::new(text)))
}

/// What Go's `bcrypt.Cost` says. Nothing of the hash is repeated: who wrote the password itself shall not read it in a
/// log.
fn check_hash(hash: &str) -> Result<(), &'static str> {
    let bytes = hash.as_bytes();
    if bytes.len() < MIN_HASH_SIZE {
        return Err("crypto/bcrypt: hashedSecret too short to be a bcrypted password (see `htpasswd -nBC 10 USER`)");
    }
    let after_version = match bytes {
        [b'$', b'2', b'a' | b'b' | b'x' | b'y', b'$', rest @ ..] => rest,
        [b'$', ..] => return Err("crypto/bcrypt: unknown version, expected $2a$, $2b$ or $2y$"),
        _ => return Err("crypto/bcrypt: bcrypt hashes must start with '$'"),
    };
    let [tens @ b'0'..=b'9', ones @ b'0'..=b'9', b'$', salt_and_hash @ ..] = after_version else {
        return Err("crypto/bcrypt: the cost is not two digits");
    };
    if !(4..=31).contains(&((tens - b'0') * 10 + (ones - b'0'))) {
        return Err("crypto/bcrypt: cost is outside allowed inclusive range 4..31");
    }
    let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/');
    if salt_and_hash.len() != 53 || !salt_and_hash.iter().all(is_base64) {
        return Err("crypto/bcrypt: what follows the cost is not a salt and a hash");
    }
    Ok(())
}
