//! Passing requests on to the Prometheus next door, so that Thanos or a user can talk to it through the sidecar.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{hop_by_hop::remove_hop_by_hop, prometheus::HttpPrometheus};

/// Passes everything on. Requests and answers go through as they stream; a client that goes away ends its request.
pub fn routes(prometheus: HttpPrometheus) -> Router {
    Router::new().fallback(pass_through).with_state(prometheus)
}

async fn pass_through(State(prometheus): State<HttpPrometheus>, mut request: Request) -> Response {
    remove_hop_by_hop(request.headers_mut());
    // It is made anew from where the request goes.
    request.headers_mut().remove(header::HOST);
    match prometheus.send(request).await {
        Ok(answer) => {
            let mut answer = answer.map(Body::new);
            remove_hop_by_hop(answer.headers_mut());
            answer
        }
        Err(error) => {
            let url = prometheus.address().url();
            tracing::debug!(%url, error = %format!("{error:#}"), "Prometheus does not answer");
            (StatusCode::BAD_GATEWAY, format!("Prometheus at {url} does not answer: {error:#}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;
    use wiremock::{
        Mock, MockServer, ResponseTemplate,
        matchers::{body_bytes, header, header_exists, method, path, query_param},
    };

    use super::*;
    use crate::prometheus::{PrometheusAddress, PrometheusKind};

    async fn ask(url: &str, request: Request) -> (StatusCode, HeaderMap, Vec<u8>) {
        let prometheus = HttpPrometheus::new(PrometheusAddress::parse(url).unwrap(), PrometheusKind::Server);
        let answer = routes(prometheus).oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
    }

    #[tokio::test]
    async fn method_path_query_headers_and_body_go_through_both_ways() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/api/v1/read"))
            .and(query_param("a", "b c"))
            .and(header("content-encoding", "snappy"))
            .and(body_bytes(b"\x00\xffremote read".to_vec()))
            .respond_with(ResponseTemplate::new(422).insert_header("x-own", "1").set_body_bytes(b"\x01\xfe".to_vec()))
            .mount(&server)
            .await;
        let request = Request::post("/api/v1/read?a=b%20c")
            .header("content-encoding", "snappy")
            .header("connection", "keep-alive, x-between")
            .header("x-between", "neighbours")
            .body(Body::from(b"\x00\xffremote read".to_vec()))
            .unwrap();
        let (status, headers, body) = ask(&server.uri(), request).await;
        assert_eq!((status.as_u16(), body.as_slice()), (422, b"\x01\xfe".as_slice()));
        assert_eq!(headers["x-own"], "1");
    }

    #[tokio::test]
    async fn headers_between_neighbours_stay_between_them() {
        let server = MockServer::start().await;
        Mock::given(header_exists("x-between")).respond_with(ResponseTemplate::new(500)).mount(&server).await;
        Mock::given(method("GET")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
        let request = Request::get("/graph")
            .header("connection", "x-between")
            .header("x-between", "1")
            .body(Body::empty())
            .unwrap();
        assert_eq!(ask(&server.uri(), request).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_prometheus_that_is_gone_is_a_bad_gateway_that_says_so() {
        // Port 1 is for nobody.
        let request = Request::get("/api/v1/query?query=up").body(Body::empty()).unwrap();
        let (status, _, body) = ask("http://127.0.0.1:1", request).await;
        let text = String::from_utf8(body).unwrap();
        assert_eq!(status, StatusCode::BAD_GATEWAY);
        assert!(text.starts_with("Prometheus at http://127.0.0.1:1 does not answer: "), "{text}");
        assert!(text.to_lowercase().contains("refused"), "{text}");
    }
}
