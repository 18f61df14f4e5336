//! One request: from what Prometheus asked to what the target answered.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{Either, Empty, Full};
use hyper::{body::Incoming, ext::ReasonPhrase};
use narthex_common::series_limit::SeriesLimit;
use narthex_runtime::http_client::{BorrowedConnection, JobClient, Unanswered};
use tokio::sync::watch;

use super::{
    ProxySettings,
    body::PassingBody,
    guard::{self, Looked},
    metrics::{Outcome, ProxyMetrics},
    refusal::Refusal,
    routes::{Route, Routes},
    running::RunningScrape,
    top_metrics::TopMetrics,
};
use crate::{hop_by_hop::remove_hop_by_hop, targets::TargetTable};

/// What answers requests.
#[derive(Clone)]
pub(super) struct Forwarder {
    pub(super) routes: watch::Receiver<Arc<Routes>>,
    pub(super) table: Arc<TargetTable>,
    pub(super) metrics: ProxyMetrics,
    pub(super) settings: Arc<ProxySettings>,
    pub(super) top: TopMetrics,
}

type Answer = Response<Either<PassingBody, Full<Bytes>>>;

impl Forwarder {
    pub(super) async fn answer(self, request: Request<Incoming>) -> Answer {
        match self.route(&request) {
            Ok(route) => self.forward(route, request.into_parts().0.headers).await,
            Err(refusal) => {
                self.metrics.ended(Outcome::Refused);
                refusal.into_response().map(Either::Right)
            }
        }
    }

    fn route(&self, request: &Request<Incoming>) -> Result<Route, Refusal> {
        if request.method() == Method::CONNECT {
            return Err(Refusal::tunnel());
        }
        // The snapshot is left at once: it must not outlive a newer one.
        let routes = Arc::clone(&self.routes.borrow());
        let route = routes.find(request.uri(), request.headers())?;
        if request.method() != Method::GET {
            return Err(Refusal::not_get());
        }
        Ok(route)
    }

    async fn forward(self, route: Route, mut headers: HeaderMap) -> Answer {
        let scrape = RunningScrape::start(&route, &headers, &self.settings, self.table, self.metrics, self.top);
        if let Some(exceeded) = route.job.exceeded_target_limit {
            return Refusal::too_many_targets(&scrape.too_many_targets(exceeded)).into_response().map(Either::Right);
        }
        let client = match &route.job.client {
            Ok(client) => client,
            Err(reason) => return without_answer(scrape, reason, None),
        };
        remove_hop_by_hop(&mut headers);
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = route.uri;
        *request.headers_mut() = headers;
        match scrape.guarded_by() {
            None => match ask(client, &scrape, request).await {
                Ok(answer) => pass_on(scrape, answer),
                Err(none) => unanswered(scrape, none),
            },
            Some(limit) => answer_guarded(scrape, client, request, limit).await,
        }
    }
}

/// The target's answer, or why there is none.
async fn ask(
    client: &JobClient,
    scrape: &RunningScrape,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, Unanswered> {
    client.send_within(request, scrape.time_limits()).await
}

/// Looks at what a guarded target exposes, and asks again for what may go on.
async fn answer_guarded(
    mut scrape: RunningScrape,
    client: &JobClient,
    request: Request<Empty<Bytes>>,
    limit: SeriesLimit,
) -> Answer {
    let guarded = |reason: &str| Refusal::guarded(reason).into_response().map(Either::Right);
    let answer = match ask(client, &scrape, request.clone()).await {
        Ok(answer) if answer.status() != StatusCode::OK => return pass_on(scrape, answer),
        Ok(answer) => answer,
        Err(none) => return unanswered(scrape, none),
    };
    let counting = scrape.count(answer.headers());
    match guard::look(answer.into_body(), counting, limit, scrape.give_up_at()).await {
        Looked::TooMany => return guarded(&scrape.cut_off(limit)),
        Looked::BrokenOff(reason) => {
            scrape.broke_off(reason.clone());
            return guarded(&reason);
        }
        Looked::Shrunk if !scrape.has_time_to_ask_again() => return guarded(&scrape.shrunk_too_late()),
        Looked::Shrunk => {}
    }
    match ask(client, &scrape, request).await {
        Ok(answer) => pass_on(scrape, answer),
        Err(none) => unanswered(scrape, none),
    }
}

fn unanswered(scrape: RunningScrape, Unanswered { reason, elsewhere }: Unanswered) -> Answer {
    without_answer(scrape, &reason.to_string(), elsewhere)
}

/// `elsewhere` is where a redirect led.
fn without_answer(scrape: RunningScrape, reason: &str, elsewhere: Option<String>) -> Answer {
    scrape.no_answer(reason, elsewhere);
    Refusal::no_answer(reason).into_response().map(Either::Right)
}

/// The target's answer as Prometheus gets it: status, headers and body as they came.
fn pass_on(mut scrape: RunningScrape, answer: Response<Incoming>) -> Answer {
    let (mut head, body) = answer.into_parts();
    remove_hop_by_hop(&mut head.headers);
    let phrase = head.extensions.remove::<ReasonPhrase>();
    let connection = BorrowedConnection::of(&mut head.extensions);
    let body = if head.status == StatusCode::OK {
        let measurement = scrape.measurement(&head.headers);
        PassingBody::measured(body, connection, scrape, measurement)
    } else {
        let give_up_at = scrape.give_up_at();
        scrape.other_status(head.status, phrase.as_ref());
        PassingBody::unmeasured(body, connection, give_up_at)
    };
    let mut passed_on = Response::new(Either::Left(body));
    *passed_on.status_mut() = head.status;
    *passed_on.headers_mut() = head.headers;
    if let Some(phrase) = phrase {
        passed_on.extensions_mut().insert(phrase);
    }
    passed_on
}
