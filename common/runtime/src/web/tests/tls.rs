use rstest::rstest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;

const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";
const TRUSTING: &str = "tls_config:\n  ca_file: ca.pem\n";

fn identified_by(name: &str) -> String {
    format!("{TRUSTING}  cert_file: {name}.pem\n  key_file: {name}.key\n")
}

impl Scene {
    /// What a client gets that trusts the server's authority, or why it gets nothing.
    async fn over_tls(&self, client: &str) -> Result<String, String> {
        match self.get(&self.client(client), "https", "/x").await {
            Ok((StatusCode::OK, text)) => Ok(text),
            Ok((status, text)) => Err(format!("{status}: {text}")),
            Err(error) => Err(error),
        }
    }
}

#[tokio::test]
async fn tls_is_spoken_with_http_2_unless_that_is_switched_off() {
    let scene = Scene::new(TLS, "").await;
    assert_eq!(scene.over_tls(TRUSTING).await.unwrap(), "HTTP/2.0 /x authorization: false");
    assert!(scene.has_metric("narthex_web_api_tls 1") && scene.has_metric("narthex_web_api_protected 0"));
    let scene = Scene::new(&format!("{TLS}http_server_config:\n  http2: false\n"), "").await;
    assert_eq!(scene.over_tls(TRUSTING).await.unwrap(), "HTTP/1.1 /x authorization: false");
    let untrusted = scene.over_tls("").await.unwrap_err();
    assert!(untrusted.contains("certificate signed by unknown authority"), "{untrusted}");
}

#[tokio::test]
async fn a_certificate_and_its_key_may_stand_in_the_file_itself() {
    let scene = Scene::new("", "s3cret").await;
    let inline = |name: &str| {
        let text = std::fs::read_to_string(scene.dir.path().join(name)).unwrap();
        format!("|\n    {}\n", text.replace('\n', "\n    "))
    };
    let config = format!("tls_server_config:\n  cert: {}  key: {}", inline("server.pem"), inline("server.key"));
    scene.write("web.yml", &config);
    let client = format!("{TRUSTING}authorization:\n  credentials: s3cret\n");
    soon("it speaks TLS", async || scene.over_tls(&client).await.is_ok()).await;
    assert_eq!(scene.over_tls(TRUSTING).await.unwrap_err(), "401 Unauthorized: Unauthorized\n");
}

#[tokio::test]
async fn who_speaks_http_where_tls_is_spoken_is_told_so() {
    let scene = Scene::new(TLS, "").await;
    let mut stream = TcpStream::connect(scene.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer).await);
    assert!(
        answer.starts_with("HTTP/1.0 400 ") && answer.ends_with("sent an HTTP request to an HTTPS server.\n"),
        "{answer}"
    );
    drop(stream);
    soon("it is counted", async || scene.has_metric(r#"narthex_web_turned_away_total{reason="tls_handshake"} 1"#))
        .await;
}

/// Clients without a certificate, with one of the authority, with one of another, with one that is its own authority
/// and is not known.
#[rstest]
#[case::none("NoClientCert", [true, true, true, true])]
#[case::request("RequestClientCert", [true, true, true, true])]
#[case::any("RequireAnyClientCert", [false, true, true, true])]
#[case::if_given("VerifyClientCertIfGiven", [true, true, false, false])]
#[case::verified("RequireAndVerifyClientCert", [false, true, false, false])]
#[tokio::test]
async fn clients_show_what_client_auth_type_asks_for(#[case] client_auth: &str, #[case] expected: [bool; 4]) {
    let verifies = client_auth.contains("Verify");
    let authority = if verifies { "  client_ca_file: ca.pem\n" } else { "" };
    let scene = Scene::new(&format!("{TLS}  client_auth_type: {client_auth}\n{authority}"), "").await;
    scene.issue("known", &["known"]);
    let (_, other) = Scene::files();
    issue(&other, scene.dir.path(), "unknown", &["unknown"]);
    std::fs::write(scene.dir.path().join("own.pem"), other.pem()).unwrap();
    std::fs::write(scene.dir.path().join("own.key"), other.key().serialize_pem()).unwrap();
    let clients = [TRUSTING.to_owned(), identified_by("known"), identified_by("unknown"), identified_by("own")];
    for (client, expected) in clients.iter().zip(expected) {
        let got = scene.over_tls(client).await;
        assert_eq!(got.is_ok(), expected, "{client_auth}: {client}: {got:?}");
        assert!(got.as_ref().err().is_none_or(|why| why.contains("tls: ")), "{client}: {got:?}");
    }
    let is_protected = i64::from(client_auth == "RequireAndVerifyClientCert");
    assert!(scene.has_metric(&format!("narthex_web_api_protected {is_protected}")), "{}", scene.metrics());
}

#[tokio::test]
async fn a_client_that_is_its_own_authority_is_good_where_that_is_known() {
    let scene =
        Scene::new(&format!("{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"), "")
            .await;
    scene.write("own.pem", &scene.authority.pem());
    scene.write("own.key", &scene.authority.key().serialize_pem());
    scene.over_tls(&identified_by("own")).await.unwrap();
}

#[rstest]
#[case("coordinator", true)]
#[case("10.0.0.7", true)]
#[case("spiffe://cluster/coordinator", true)]
#[case("sidecar", false)]
#[case("coordinator.example", false)]
#[case("*", false)]
#[tokio::test]
async fn a_client_needs_one_of_the_allowed_names(#[case] allowed: &str, #[case] expected: bool) {
    let scene = Scene::new(
        &format!(
            "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  client_allowed_sans: \
             [nobody, '{allowed}']\n"
        ),
        "",
    )
    .await;
    scene.issue("client", &["coordinator", "10.0.0.7", "spiffe://cluster/coordinator"]);
    let got = scene.over_tls(&identified_by("client")).await;
    assert_eq!(got.is_ok(), expected, "{got:?}");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_soon_and_half_a_renewal_changes_nothing() {
    let scene = Scene::new(TLS, "").await;
    let (_, other) = Scene::files();
    scene.write("next-ca.pem", &other.pem());
    issue(&other, scene.dir.path(), "next", &["127.0.0.1"]);
    let read = |name: &str| std::fs::read_to_string(scene.dir.path().join(name)).unwrap();

    scene.write("server.pem", &read("next.pem"));
    soon("half a renewal is noticed", async || scene.has_metric("narthex_web_config_last_reload_successful 0")).await;
    scene.over_tls(TRUSTING).await.unwrap();
    scene.write("server.key", &read("next.key"));
    let trusting_next = TRUSTING.replace("ca.pem", "next-ca.pem");
    soon("the next certificate is shown", async || scene.over_tls(&trusting_next).await.is_ok()).await;
    assert!(scene.has_metric("narthex_web_config_last_reload_successful 1"));
}

#[rstest]
#[case::version("  min_version: TLS13\n", "  max_version: TLS12\n", false)]
#[case::same_version("  min_version: TLS13\n", "  min_version: TLS13\n", true)]
#[case::old_version("  max_version: TLS12\n", "  max_version: TLS12\n", true)]
#[case::suite("  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n", "", true)]
#[case::suite_for_other_keys(
    "  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n",
    "",
    false
)]
#[case::suites_of_1_3_are_always_there("  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n", "", true)]
#[case::curve("  curve_preferences: [CurveP384]\n", "", true)]
#[tokio::test]
async fn versions_suites_and_curves_are_those_asked_for(
    #[case] server: &str,
    #[case] client: &str,
    #[case] works: bool,
) {
    let scene = Scene::new(&format!("{TLS}{server}"), "").await;
    let got = scene.over_tls(&format!("{TRUSTING}{client}")).await;
    assert_eq!(got.is_ok(), works, "{got:?}");
}
