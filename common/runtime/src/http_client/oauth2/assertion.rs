//! The signed statement that some servers take for a secret: a JWT (RFC 7519, RFC 7523).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use narthex_common::config::http_client::{Grant, OAuth2Config, Secret, SignatureAlgorithm};
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{self, RsaEncoding, RsaKeyPair},
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};
use serde_json::{Map, Value, json};

use crate::http_client::ClientError;

/// What a form says that brings such a statement.
pub(super) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How long a statement holds: Prometheus' figure.
const HOLDS_SECONDS: u64 = 10 * 60;

/// The statement, made `now` (in seconds since 1970) and signed with the key that `secret` is.
pub(super) fn sign(config: &OAuth2Config, secret: &Secret, now: u64) -> Result<String, ClientError> {
    let Grant::JwtBearer { key_id, algorithm, issuer, audience, claims, .. } = &config.grant else {
        return Err(ClientError("oauth2: this grant type needs no statement".to_owned()));
    };
    let (name, encoding): (_, &'static dyn RsaEncoding) = match algorithm {
        SignatureAlgorithm::Rs256 => ("RS256", &signature::RSA_PKCS1_SHA256),
        SignatureAlgorithm::Rs384 => ("RS384", &signature::RSA_PKCS1_SHA384),
        SignatureAlgorithm::Rs512 => ("RS512", &signature::RSA_PKCS1_SHA512),
    };
    let key = key(secret)?;
    let random = SystemRandom::new();
    let mut header = json!({"alg": name, "typ": "JWT"});
    if !key_id.is_empty() {
        header["kid"] = key_id.as_str().into();
    }
    let mut stated = Map::new();
    let or = |text: &str, default: &str| Value::from(if text.is_empty() { default } else { text });
    stated.insert("iss".to_owned(), or(issuer, &config.client_id));
    stated.insert("sub".to_owned(), config.client_id.as_str().into());
    stated.insert("jti".to_owned(), unique(&random)?.into());
    stated.insert("aud".to_owned(), or(audience, config.token_url.expose()));
    stated.insert("iat".to_owned(), now.into());
    stated.insert("exp".to_owned(), (now + HOLDS_SECONDS).into());
    if !config.scopes.is_empty() {
        stated.insert("scope".to_owned(), config.scopes.join(" ").into());
    }
    stated.extend(claims.iter().map(|(name, value)| (name.clone(), value.clone())));

    let statement =
        format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(Value::Object(stated).to_string()));
    let mut signed = vec![0; key.public().modulus_len()];
    key.sign(encoding, &random, statement.as_bytes(), &mut signed).map_err(|_| no_randomness())?;
    Ok(format!("{statement}.{}", BASE64.encode(signed)))
}

fn key(pem: &Secret) -> Result<RsaKeyPair, ClientError> {
    let unusable = |why: &str| ClientError(format!("oauth2: client certificate key: {why}"));
    let no_key = "invalid key: Key must be a PEM encoded PKCS1 or PKCS8 key";
    let key = match PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()) {
        Ok(PrivateKeyDer::Pkcs1(key)) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        Ok(PrivateKeyDer::Pkcs8(key)) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        Ok(_) | Err(_) => return Err(unusable(no_key)),
    };
    key.map_err(|why| unusable(&why.to_string()))
}

/// A random UUID (RFC 9562, version 4).
fn unique(random: &SystemRandom) -> Result<String, ClientError> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes).map_err(|_| no_randomness())?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

fn no_randomness() -> ClientError {
    ClientError("oauth2: this machine gives out no random numbers".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use narthex_common::config::http_client::{ProxyConfig, Source, TlsConfig};

    use super::*;

    /// Made for this test with `openssl genrsa 2048`; it opens nothing.
    const KEY: &str = include_str!("testdata/rsa.pem");

    fn config(algorithm: SignatureAlgorithm) -> OAuth2Config {
        OAuth2Config {
            client_id: "me".to_owned(),
            grant: Grant::JwtBearer {
                key: Some(Source::Inline(Secret::new(KEY))),
                key_id: "k1".to_owned(),
                algorithm,
                issuer: String::new(),
                audience: String::new(),
                claims: BTreeMap::from([("team".to_owned(), json!(["a", 1])), ("sub".to_owned(), json!("other"))]),
            },
            token_url: Secret::new("http://auth/token"),
            scopes: vec!["a".to_owned(), "b".to_owned()],
            endpoint_params: BTreeMap::new(),
            tls: TlsConfig::default(),
            proxy: ProxyConfig::default(),
        }
    }

    fn decoded(part: &str) -> Value {
        serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_statement_says_who_asks_for_what_and_can_be_verified() {
        for (algorithm, name, verified_by) in [
            (SignatureAlgorithm::Rs256, "RS256", &signature::RSA_PKCS1_2048_8192_SHA256),
            (SignatureAlgorithm::Rs384, "RS384", &signature::RSA_PKCS1_2048_8192_SHA384),
            (SignatureAlgorithm::Rs512, "RS512", &signature::RSA_PKCS1_2048_8192_SHA512),
        ] {
            let signed = sign(&config(algorithm), &Secret::new(KEY), 1000).unwrap();
            let (statement, proof) = signed.rsplit_once('.').unwrap();
            let (header, claims) = statement.split_once('.').unwrap();
            assert_eq!(decoded(header), json!({"alg": name, "typ": "JWT", "kid": "k1"}));
            let mut claims = decoded(claims);
            let jti = claims.as_object_mut().unwrap().remove("jti").unwrap();
            assert_eq!(jti.as_str().unwrap().len(), 36);
            let expected = json!({
                "iss": "me", "sub": "other", "aud": "http://auth/token", "iat": 1000, "exp": 1600, "scope": "a b",
                "team": ["a", 1],
            });
            assert_eq!(claims, expected);
            let key = key(&Secret::new(KEY)).unwrap();
            let public = signature::UnparsedPublicKey::new(verified_by, key.public().as_ref());
            public.verify(statement.as_bytes(), &BASE64.decode(proof).unwrap()).unwrap();
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        for pem in ["", "s3cret"] {
            let refused = sign(&config(SignatureAlgorithm::Rs256), &Secret::new(pem), 0).unwrap_err().0;
            let expected = "oauth2: client certificate key: invalid key: Key must be a PEM encoded PKCS1 or PKCS8 key";
            assert_eq!(refused, expected);
        }
    }
}
