use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use super::*;

fn users() -> String {
    format!("basic_auth_users:\n  alice: {}\n", bcrypt::hash("hunter2", 4).unwrap())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn without_protection_all_is_for_everybody_and_credentials_are_passed_on() {
    let scene = Scene::new("", "").await;
    assert_eq!(scene.status("/api/v1/query", "").await, 200);
    let answer = text(scene.ask("/api/v1/query", "Bearer of-prometheus").await).await;
    assert_eq!(answer, "HTTP/1.1 /api/v1/query authorization: true");
    assert!(scene.has_metric("narthex_web_api_protected 0"), "{}", scene.metrics());
}

#[tokio::test]
async fn with_users_everything_but_health_needs_the_right_password() {
    let scene = Scene::new(&users(), "").await;
    assert_eq!(scene.status("/-/healthy", "").await, 200);
    let right = basic("alice", "hunter2");
    for path in ["/metrics", "/api/v1/shard/report", "/-/reload", "/graph", "//-/healthy", "/-/healthy/"] {
        assert_eq!(scene.status(path, "").await, 401, "{path}");
        assert_eq!(scene.status(path, &right).await, 200, "{path}");
    }
    for wrong in [
        basic("alice", "hunter3"),
        basic("bob", "hunter2"),
        basic("", ""),
        right.replace("Basic", "Bearer"),
        right.replace(' ', ""),
        "Basic".to_owned(),
        "Basic !!!".to_owned(),
        format!("Basic {}", BASE64.encode("alice")),
    ] {
        assert_eq!(scene.status("/metrics", &wrong).await, 401, "{wrong}");
    }
    let refused = scene.ask("/metrics", "").await;
    assert_eq!(refused.headers()["www-authenticate"], "Basic");
    assert_eq!(text(refused).await, "Unauthorized\n");
    assert!(scene.has_metric("narthex_web_api_protected 1"), "{}", scene.metrics());
    assert!(scene.has_metric(r#"narthex_web_turned_away_total{reason="credentials"} 15"#), "{}", scene.metrics());
}

#[tokio::test]
async fn only_a_get_of_health_is_for_everybody() {
    let scene = Scene::new("", "s3cret").await;
    let client = JobClient::new(&HttpClientConfig::default()).unwrap();
    let request = Request::post(format!("http://{}/-/healthy", scene.address)).body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_token_lets_in_and_goes_no_further() {
    let scene = Scene::new("", "s3cret\n").await;
    let answer = text(scene.ask("/metrics", "Bearer s3cret").await).await;
    assert_eq!(answer, "HTTP/1.1 /metrics authorization: false");
    assert_eq!(scene.status("/metrics", "bearer s3cret").await, 200);
    for wrong in ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret2", "s3cret", &basic("", "s3cret")] {
        assert_eq!(scene.status("/metrics", wrong).await, 401, "{wrong:?}");
    }
    assert_eq!(scene.ask("/metrics", "").await.headers()["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn of_users_and_a_token_either_will_do() {
    let scene = Scene::new(&users(), "s3cret").await;
    assert_eq!(scene.status("/metrics", "Bearer s3cret").await, 200);
    assert_eq!(scene.status("/metrics", &basic("alice", "hunter2")).await, 200);
    let refused = scene.ask("/metrics", "").await;
    let wanted: Vec<_> = refused.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(wanted, ["Basic", "Bearer"]);
}

#[tokio::test]
async fn the_headers_asked_for_are_on_every_answer() {
    let config = format!("http_server_config:\n  headers:\n    X-Frame-Options: deny\n{}", users());
    let scene = Scene::new(&config, "").await;
    for (path, status) in [("/metrics", 401), ("/-/healthy", 200)] {
        let answer = scene.ask(path, "").await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-frame-options"]),
            (status, &"deny".parse().unwrap())
        );
    }
}
