use narthex_common::{assignment::Revision, fingerprint::Fingerprint};
use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_json, header, method, path, query_param, query_param_is_missing},
};

use super::*;

fn client() -> HttpShardClient {
    HttpShardClient::new(ClientSettings::Fixed(Box::default())).unwrap()
}

async fn sidecar(mock: Mock) -> (MockServer, Url) {
    let server = MockServer::start().await;
    mock.expect(1).mount(&server).await;
    let url = server.uri().parse().unwrap();
    (server, url)
}

fn answer(status: u16, body: serde_json::Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

fn update() -> AssignmentUpdate {
    AssignmentUpdate {
        base: Some(Revision(4)),
        revision: Revision(5),
        config: Fingerprint(7),
        put: vec![],
        remove: vec![],
        ..AssignmentUpdate::default()
    }
}

#[tokio::test]
async fn a_report_is_asked_for_since_a_cursor_and_read_out_of_the_envelope() {
    let report = json!({"status": "success", "data": {
        "cursor": "ab.3", "complete": false, "revision": 4, "config": "0000000000000007",
        "prometheus": {"url": "http://127.0.0.1:9090", "ready": true, "headSeries": 12}, "targets": [{
            "id": "00000000000000aa", "state": "normal", "health": "up", "lastScrapeDuration": 0.25, "scrapes": 3,
            "load": {"exposed": 7, "kept": 5},
        }],
    }});
    let mock = Mock::given(method("GET")).and(path(SHARD_REPORT)).and(query_param("since", "ab.1 &"));
    let (_server, url) = sidecar(mock.respond_with(answer(200, report))).await;
    let report = client().report(&url, Some(&Cursor("ab.1 &".into()))).await.unwrap();
    assert_eq!((report.revision, report.targets[0].last_scrape_duration), (Revision(4), Duration::from_millis(250)));
}

#[tokio::test]
async fn a_sidecar_below_a_path_is_asked_there() {
    let assignment = json!({"status": "success", "data": {"revision": 1, "config": "0000000000000007", "targets": []}});
    let mock = Mock::given(method("GET")).and(path("/shard-0/api/v1/shard/assignment"));
    let (_server, url) = sidecar(mock.and(query_param_is_missing("since")).respond_with(answer(200, assignment))).await;
    let below = url.join("shard-0/").unwrap();
    assert_eq!(client().assignment(&below).await.unwrap().revision, Revision(1));
}

#[tokio::test]
async fn a_conflict_is_told_from_other_errors() {
    let refused = json!({"status": "error", "errorType": "conflict", "error": "the shard has 6"});
    let mock = Mock::given(method("PUT")).and(path(SHARD_ASSIGNMENT)).and(body_json(update()));
    let (_server, url) = sidecar(mock.respond_with(answer(409, refused))).await;
    let error = client().put_assignment(&url, &update()).await.unwrap_err();
    assert_eq!(error.downcast::<Refused>().unwrap().0, "the shard has 6");

    let broken = json!({"status": "error", "errorType": "internal", "error": "write assignment.json: disk full"});
    let (_server, url) = sidecar(Mock::given(method("POST")).and(path(RELOAD)).respond_with(answer(500, broken))).await;
    let error = client().reload(&url).await.unwrap_err();
    assert_eq!(error.to_string(), "write assignment.json: disk full");
    assert!(!error.is::<Refused>());
}

#[tokio::test]
async fn what_is_no_sidecar_is_quoted() {
    let page = ResponseTemplate::new(200).set_body_string("<html>\n  <h1>Welcome to nginx!</h1>");
    let (_server, url) = sidecar(Mock::given(method("GET")).respond_with(page)).await;
    let error = format!("{:#}", client().report(&url, None).await.unwrap_err());
    assert!(
        error.starts_with(r#"read the answer "<html> <h1>Welcome to nginx!</h1>", which is not a sidecar's"#),
        "{error}"
    );

    let page = ResponseTemplate::new(404).set_body_string("404 page not found\n");
    let (_server, url) = sidecar(Mock::given(method("GET")).respond_with(page)).await;
    let error = client().report(&url, None).await.unwrap_err();
    assert_eq!(error.to_string(), "answered 404 Not Found: 404 page not found");
}

#[tokio::test]
async fn nobody_there_is_said_in_one_line() {
    let url = "http://127.0.0.1:9/".parse().unwrap();
    let error = format!("{:#}", client().report(&url, None).await.unwrap_err());
    assert!(error.contains("onnection refused") && !error.contains('\n'), "{error}");
}

#[tokio::test]
async fn the_settings_credentials_are_sent_with_everything_and_shown_in_no_error() {
    let settings = "authorization:\n  credentials: s3cret\n";
    let config = narthex_common::config::HttpClientConfig::read_file("client.yml".as_ref(), settings).unwrap();
    let client = HttpShardClient::new(ClientSettings::Fixed(Box::new(config))).unwrap();
    let with_token =
        |verb: &str, at: &str| Mock::given(method(verb)).and(path(at)).and(header("authorization", "Bearer s3cret"));
    let (_server, url) = sidecar(with_token("PUT", SHARD_ASSIGNMENT).respond_with(ResponseTemplate::new(200))).await;
    client.put_assignment(&url, &update()).await.unwrap();
    let (_server, url) = sidecar(with_token("POST", RELOAD).respond_with(ResponseTemplate::new(200))).await;
    client.reload(&url).await.unwrap();
    let wrong = ResponseTemplate::new(401).set_body_string("Unauthorized\n");
    let (_server, url) = sidecar(with_token("GET", SHARD_REPORT).respond_with(wrong)).await;
    let error = format!("{:#}", client.report(&url, None).await.unwrap_err());
    assert!(error.starts_with("answered 401 Unauthorized: it asks for credentials, and got none or others"), "{error}");
    assert!(!format!("{error}{client:?}").contains("s3cret"));
}
