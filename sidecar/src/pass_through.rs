//! Passing requests on to the Prometheus next door, so that Thanos or a user can talk to it through the sidecar.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::api::Api;

/// Headers that are between two neighbours only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Sends a request to Prometheus and its answer back, both as they stream.
pub(crate) async fn pass_through(State(api): State<Api>, mut request: Request) -> Response {
    drop_hop_by_hop(request.headers_mut());
    // It is made anew from where the request goes.
    request.headers_mut().remove(header::HOST);
    match api.prometheus.send(request).await {
        Ok(answer) => {
            let mut answer = answer.map(Body::new);
            drop_hop_by_hop(answer.headers_mut());
            answer
        }
        Err(error) => {
            let url = api.prometheus.address().url();
            tracing::debug!(%url, error = %format!("{error:#}"), "Prometheus does not answer");
            (StatusCode::BAD_GATEWAY, format!("Prometheus at {url} does not answer: {error:#}\n")).into_response()
        }
    }
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}
