//! `oauth2`: requests are authorized with a token that is fetched for it.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use super::{
    super::{
        fields::{Fault, Fields, string_in},
        paths::BaseDir,
        yaml::Node,
    },
    ProxyConfig, Secret, Source, TlsConfig,
    read::ThreeWays,
    tls,
};

/// The grant type with which a certificate's key takes the place of a secret (RFC 7523).
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Where tokens come from, and what is shown for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2Config {
    /// Who asks.
    pub client_id: String,
    /// How it is proved.
    pub grant: Grant,
    /// Where tokens are given out. May hold a password.
    pub token_url: Secret,
    /// What the token is to be good for.
    pub scopes: Vec<String>,
    /// What else is sent along. May hold a password: some servers want one here.
    pub endpoint_params: BTreeMap<String, Secret>,
    /// TLS settings for the token's server; those for the targets do not count there.
    pub tls: TlsConfig,
    /// How the token's server is reached; how targets are reached does not count there.
    pub proxy: ProxyConfig,
}

/// How a client proves who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Grant {
    /// `client_credentials`: with a secret (RFC 6749, 4.4).
    ClientCredentials {
        /// The secret; none is the empty one.
        secret: Option<Source<Secret>>,
    },
    /// `urn:ietf:params:oauth:grant-type:jwt-bearer`: with a signed statement (RFC 7523, 2.1).
    JwtBearer {
        /// The RSA key that signs, in PEM.
        key: Option<Source<Secret>>,
        /// The key's name for the server.
        key_id: String,
        /// How it signs.
        algorithm: SignatureAlgorithm,
        /// Who states it; empty means the client.
        issuer: String,
        /// For whom it is stated; empty means the URL of the token.
        audience: String,
        /// What else is stated.
        claims: BTreeMap<String, Value>,
    },
}

/// Claims are the user's, and may be secret.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientCredentials { secret } => f.debug_struct("ClientCredentials").field("secret", secret).finish(),
            Self::JwtBearer { key, key_id, algorithm, .. } => f
                .debug_struct("JwtBearer")
                .field("key", key)
                .field("key_id", key_id)
                .field("algorithm", algorithm)
                .finish_non_exhaustive(),
        }
    }
}

/// An RSA signature with one of the SHA-2 hashes (RFC 7518, 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SignatureAlgorithm {
    /// With SHA-256.
    #[default]
    Rs256,
    /// With SHA-384.
    Rs384,
    /// With SHA-512.
    Rs512,
}

/// Reads the settings.
pub(super) fn read(node: &Node, dir: BaseDir<'_>) -> Result<OAuth2Config, Fault> {
    let fields = Fields::of_secrets(node, "config.plain")?;
    let grant_type = fields.string("grant_type", "")?;
    let secret = ThreeWays::read(&fields, ["client_secret", "client_secret_file", "client_secret_ref"])?;
    let certificate = Certificate::read(&fields)?;
    let mut endpoint_params = BTreeMap::new();
    for (name, value) in fields.map("endpoint_params", "map[string]string")? {
        endpoint_params.insert(name.text.clone(), Secret::new(string_in(value, "endpoint_params")?));
    }
    let client_id = fields.string("client_id", "")?;
    let token_url = fields.string("token_url", "")?;
    let scopes = fields.strings("scopes")?;
    let (tls, proxy) = (tls::read(&fields, dir)?, ProxyConfig::read(&fields)?);
    fields.finish()?;

    if client_id.is_empty() {
        return Err(Fault::at(node, "oauth2 client_id must be configured"));
    }
    if token_url.is_empty() {
        return Err(Fault::at(node, "oauth2 token_url must be configured"));
    }
    let grant = if grant_type == JWT_BEARER {
        certificate.into_grant(node, dir)?
    } else {
        secret.at_most_one(
            "at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured",
        )?;
        // Prometheus takes any other type for this one.
        Grant::ClientCredentials { secret: secret.into_source(dir, Secret::new)? }
    };
    let token_url = Secret::new(token_url);
    Ok(OAuth2Config { client_id, grant, token_url, scopes, endpoint_params, tls, proxy })
}

/// The fields that only a signed statement needs.
struct Certificate {
    key: ThreeWays,
    key_id: String,
    algorithm: String,
    issuer: String,
    audience: String,
    claims: BTreeMap<String, Value>,
}

impl Certificate {
    fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        let claims = fields.map("claims", "map[string]interface {}")?;
        Ok(Self {
            key: ThreeWays::read(
                fields,
                ["client_certificate_key", "client_certificate_key_file", "client_certificate_key_ref"],
            )?,
            key_id: fields.string("client_certificate_key_id", "")?,
            algorithm: fields.string("signature_algorithm", "")?,
            issuer: fields.string("iss", "")?,
            audience: fields.string("audience", "")?,
            claims: claims.iter().map(|(name, value)| (name.text.clone(), value.to_json())).collect(),
        })
    }

    fn into_grant(self, node: &Node, dir: BaseDir<'_>) -> Result<Grant, Fault> {
        self.key.at_most_one(&format!(
            "at most one of oauth2 client_certificate_key, client_certificate_key_file & client_certificate_key_ref \
             must be configured using grant-type={JWT_BEARER}"
        ))?;
        let algorithm = match self.algorithm.as_str() {
            "" | "RS256" => SignatureAlgorithm::Rs256,
            "RS384" => SignatureAlgorithm::Rs384,
            "RS512" => SignatureAlgorithm::Rs512,
            _ => return Err(Fault::at(node, "valid signature algorithms are RS256, RS384 and RS512")),
        };
        Ok(Grant::JwtBearer {
            key: self.key.into_source(dir, Secret::new)?,
            key_id: self.key_id,
            algorithm,
            issuer: self.issuer,
            audience: self.audience,
            claims: self.claims,
        })
    }
}
