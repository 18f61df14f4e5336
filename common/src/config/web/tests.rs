use std::path::Path;

use rstest::rstest;

use super::*;

const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

fn read(text: &str) -> Result<WebConfig, String> {
    WebConfig::read(Path::new("/etc/narthex/web.yml"), text).map_err(|error| error.to_string())
}

/// A `tls_server_config` with a certificate and these lines besides.
fn with_tls(lines: &str) -> String {
    format!("tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n{lines}")
}

fn tls(lines: &str) -> TlsServerConfig {
    read(&with_tls(lines)).unwrap().tls.unwrap()
}

#[test]
fn an_empty_file_protects_nothing() {
    for text in ["", "# nothing\n", "tls_server_config: {}\nhttp_server_config:\nbasic_auth_users: {}\n"] {
        let config = read(text).unwrap();
        assert_eq!((config.tls, config.http2, config.users.len()), (None, true, 0), "{text}");
    }
}

#[test]
fn what_is_not_said_has_the_defaults_of_exporter_toolkit() {
    let expected = TlsServerConfig {
        cert: Source::File("/etc/narthex/server.pem".into()),
        key: Source::File("/etc/narthex/server.key".into()),
        client_auth: ClientAuth::None,
        client_ca: None,
        client_allowed_sans: vec![],
        min_version: TlsVersion::Tls12,
        max_version: TlsVersion::Tls13,
        cipher_suites: None,
        prefer_server_cipher_suites: true,
        curves: vec![],
    };
    assert_eq!(tls(""), expected);
}

#[test]
fn everything_that_can_be_said_is_understood() {
    let config = read(&format!(
        "tls_server_config:\n  cert: CERT\n  key: KEY\n  client_auth_type: RequireAndVerifyClientCert\n  \
         client_ca_file: /ca.pem\n  client_allowed_sans: [coordinator, 10.0.0.1, 'spiffe://a@b/c']\n  \
         min_version: TLS13\n  max_version: TLS13\n  prefer_server_cipher_suites: false\n  \
         cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384]\n  \
         curve_preferences: [CurveP384, X25519]\nhttp_server_config:\n  http2: false\n  headers:\n    \
         X-Frame-Options: deny\n    Content-Security-Policy: default-src 'self'\n    X-XSS-Protection: ''\n\
         basic_auth_users:\n  alice: {HASH}\n  bob: {HASH}\n"
    ))
    .unwrap();
    let tls = config.tls.unwrap();
    assert_eq!((tls.cert, tls.key), (Source::Inline("CERT".to_owned()), Source::Inline(Secret::new("KEY"))));
    assert_eq!(tls.client_auth, ClientAuth::RequireAndVerify);
    assert_eq!(tls.client_ca, Some(Source::File("/ca.pem".into())));
    assert_eq!(tls.client_allowed_sans, ["coordinator", "10.0.0.1", "spiffe://a@b/c"]);
    assert_eq!((tls.min_version, tls.max_version), (TlsVersion::Tls13, TlsVersion::Tls13));
    assert_eq!(tls.cipher_suites, Some(vec![CipherSuite::EcdheRsaAes128GcmSha256]));
    assert_eq!((tls.prefer_server_cipher_suites, tls.curves), (false, vec![Curve::P384, Curve::X25519]));
    assert!(!config.http2);
    let headers: Vec<_> = config.headers.keys().map(String::as_str).collect();
    assert_eq!(headers, ["Content-Security-Policy", "X-Frame-Options"], "a blank one is not set");
    assert_eq!(config.users.keys().collect::<Vec<_>>(), ["alice", "bob"]);
}

#[rstest]
#[case("", ClientAuth::None)]
#[case("NoClientCert", ClientAuth::None)]
#[case("RequestClientCert", ClientAuth::Request)]
#[case("RequireAnyClientCert", ClientAuth::RequireAny)]
#[case("RequireClientCert", ClientAuth::RequireAny)]
fn client_auth_has_the_names_of_go(#[case] name: &str, #[case] expected: ClientAuth) {
    assert_eq!(tls(&format!("  client_auth_type: '{name}'\n")).client_auth, expected);
}

#[rstest]
#[case::no_yaml("tls_server_config:\n  a: [", "2: ")]
#[case::another_file("hunter2\n", "1: it has no settings such as tls_server_config; is it another file?")]
#[case::misspelt("tls_config:\n  cert_file: a\n", "1: field tls_config not found in type web.Config")]
#[case::misspelt_below("tls_server_config:\n  cert_filse: a\n", "2: field cert_filse not found in type web.TLSConfig")]
#[case::twice("basic_auth_users: {}\nbasic_auth_users: {}\n", "2: ")]
#[case::no_cert("tls_server_config:\n  key_file: a\n", "1: missing one of cert or cert_file")]
#[case::empty_cert("tls_server_config:\n  cert_file: ''\n  key_file: a\n", "2: missing one of cert or cert_file")]
#[case::no_key("tls_server_config:\n  cert_file: a\n  key: ''\n", "1: missing one of key or key_file")]
#[case::only_a_version("tls_server_config:\n  min_version: TLS13\n", "1: missing one of cert or cert_file")]
#[case::two_certs(
    "tls_server_config:\n  cert_file: a\n  cert: b\n  key_file: a\n",
    "2: at most one of cert & cert_file must be configured"
)]
#[case::rate_limit("rate_limit:\n  interval: 1s\n", "1: rate_limit is not supported here")]
fn what_exporter_toolkit_refuses_is_refused(#[case] text: &str, #[case] expected: &str) {
    let error = read(text).unwrap_err();
    assert!(error.starts_with(&format!("/etc/narthex/web.yml:{expected}")), "{error}");
    assert!(!error.contains("hunter"), "{error}");
}

#[rstest]
#[case::client_auth("client_auth_type: Maybe", "invalid ClientAuth: Maybe")]
#[case::ca_for_nothing("client_ca_file: ca.pem", "client CA's have been configured without a Client Auth Policy")]
#[case::no_ca("client_auth_type: RequireAndVerifyClientCert", "verifying client certificates needs client_ca")]
#[case::no_ca_if_given("client_auth_type: VerifyClientCertIfGiven", "verifying client certificates needs client_ca")]
#[case::names_of_nobody("client_allowed_sans: [a]", "client_allowed_sans requires client_auth_type to be one of")]
#[case::nobody("client_allowed_sans: []", "client_allowed_sans allows nobody")]
#[case::version("min_version: TLS9", "unknown TLS version: TLS9")]
#[case::empty_version("min_version: ''", "unknown TLS version: ")]
#[case::old_version("min_version: TLS10", "min_version: TLS10 is not supported here, TLS12 is the lowest")]
#[case::old_max("max_version: TLS11", "max_version: TLS11 is not supported here")]
#[case::cipher("cipher_suites: [TLS_HOPE]", "unknown cipher: TLS_HOPE")]
#[case::old_cipher(
    "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]",
    "cipher suite TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA is not supported here"
)]
#[case::no_http2_cipher(
    "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]",
    "http2: TLSConfig.CipherSuites is missing an HTTP/2-required AES_128_GCM_SHA256 cipher"
)]
#[case::curve("curve_preferences: [CurveP257]", "unknown curve: CurveP257")]
#[case::unspoken_curve("curve_preferences: [CurveP521]", "curve CurveP521 is not supported here")]
fn tls_that_cannot_be_had_is_refused_where_it_is_written(#[case] line: &str, #[case] expected: &str) {
    let error = read(&with_tls(&format!("  {line}\n"))).unwrap_err();
    assert!(error.starts_with(&format!("/etc/narthex/web.yml:4: {expected}")), "{error}");
}

#[test]
fn versions_and_names_that_shut_everybody_out_are_refused() {
    let error = read(&with_tls("  min_version: TLS13\n  max_version: TLS12\n")).unwrap_err();
    assert_eq!(error, "/etc/narthex/web.yml:5: tls: no supported versions satisfy MinVersion and MaxVersion");
    let names = "  client_auth_type: RequireAnyClientCert\n  client_allowed_sans: [a@b.example]\n";
    let error = read(&with_tls(names)).unwrap_err();
    assert!(error.contains("e-mail addresses are not"), "{error}");
}

#[test]
fn without_http2_its_suites_are_not_needed() {
    let suites = "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n";
    let text = with_tls(&format!("{suites}http_server_config:\n  http2: false\n"));
    assert_eq!(read(&text).unwrap().tls.unwrap().cipher_suites, Some(vec![CipherSuite::EcdheRsaAes256GcmSha384]));
    tls(&format!("{suites}  min_version: TLS13\n"));
}

#[rstest]
#[case("X-Powered-By: us", r#"HTTP header "X-Powered-By" can not be configured"#)]
#[case(
    "X-Frame-Options: maybe",
    r#"invalid value for X-Frame-Options. Expected one of: ["deny" "sameorigin"], but got: "maybe""#
)]
#[case(
    "X-Content-Type-Options: ''",
    r#"invalid value for X-Content-Type-Options. Expected one of: ["nosniff"], but got: """#
)]
#[case(r#"X-XSS-Protection: "1\r\nSet-Cookie: a=b""#, "invalid value for X-XSS-Protection: it has characters")]
fn headers_are_those_of_exporter_toolkit(#[case] header: &str, #[case] expected: &str) {
    let error = read(&format!("http_server_config:\n  headers:\n    {header}\n")).unwrap_err();
    assert!(error.starts_with(&format!("/etc/narthex/web.yml:3: {expected}")), "{error}");
}

#[rstest]
#[case("hunter2", "hashedSecret too short to be a bcrypted password")]
#[case("~", "hashedSecret too short")]
#[case("[hunter2]", "hashedSecret too short")]
#[case("hunter2-hunter2-hunter2-hunter2-hunter2-hunter2-hunter2-hunter2", "bcrypt hashes must start with '$'")]
#[case("$6$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi", "unknown version")]
#[case("$2y$ab$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi", "the cost is not two digits")]
#[case("$2y$99$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi", "outside allowed inclusive range 4..31")]
#[case("$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ!VcEd00UAV!LDeSi", "is not a salt and a hash")]
fn a_password_that_is_not_hashed_is_refused_and_not_repeated(#[case] hash: &str, #[case] expected: &str) {
    let error = read(&format!("basic_auth_users:\n  me: {hash}\n")).unwrap_err();
    assert!(error.starts_with(r#"/etc/narthex/web.yml:2: basic_auth_users: user "me": crypto/bcrypt: "#), "{error}");
    assert!(error.contains(expected) && !error.contains("unter2"), "{error}");
}

#[test]
fn passwords_without_users_and_users_that_cannot_be_sent_are_refused() {
    let error = read("basic_auth_users: hunter2\n").unwrap_err();
    assert_eq!(error, "/etc/narthex/web.yml:1: basic_auth_users: expected lines of the form USER: HASH");
    let error = read(&format!("basic_auth_users:\n  'a:b': {HASH}\n")).unwrap_err();
    assert!(error.ends_with(r#"user "a:b": a name may have no colon"#), "{error}");
}

#[test]
fn a_hash_is_not_shown() {
    let config = read(&format!("basic_auth_users:\n  me: {HASH}\n")).unwrap();
    assert!(!format!("{config:?}").contains("QOauh"), "{config:?}");
}
