//! Probing for real: one scrape as Prometheus would make it, counted while it streams by.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures_util::future::{BoxFuture, FutureExt as _};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use narthex_common::{
    config::{Config, PromDuration, ScrapeConfig},
    exposition::{Format, KeptSamples, SampleCounter},
    job::JobName,
    labels::SCRAPE_TIMEOUT,
    load::{Load, Series},
    semantics::PrometheusVersion,
    series_limit::{SeriesLimit, SeriesLimits},
    target::Target,
};
use narthex_runtime::http_client::JobClient;

use super::{Prober, accept::accept_header};

/// Tells the target how long it may take, as Prometheus does.
const TIMEOUT_HEADER: &str = "X-Prometheus-Scrape-Timeout-Seconds";

/// The most bytes of a body that are counted when its job sets no limit: some ten million series, more than any shard
/// carries. The body is never held in memory; this ends one that does not end by itself.
const MAX_BODY: u64 = 1 << 30;

/// Scrapes over HTTP.
pub(super) struct HttpProber {
    version: PrometheusVersion,
    limits: SeriesLimits,
    jobs: Mutex<Jobs>,
}

/// The jobs of the config that was probed with last.
#[derive(Default)]
struct Jobs {
    config: Option<Arc<Config>>,
    ready: BTreeMap<JobName, Arc<JobProbe>>,
}

impl HttpProber {
    /// A prober that asks as a Prometheus of a version does, and counts no further than shards let a target go.
    pub(super) fn new(version: PrometheusVersion, limits: SeriesLimits) -> Self {
        Self { version, limits, jobs: Mutex::default() }
    }

    /// How a job is probed; made at the first probe of the job, and tried again at every probe until it can be made.
    fn job(&self, config: &Arc<Config>, name: &JobName) -> Result<Arc<JobProbe>, String> {
        // Nothing below panics half way through a change.
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if !jobs.config.as_ref().is_some_and(|known| Arc::ptr_eq(known, config)) {
            *jobs = Jobs { config: Some(Arc::clone(config)), ready: BTreeMap::new() };
        }
        if let Some(ready) = jobs.ready.get(name) {
            return Ok(Arc::clone(ready));
        }
        let job = config.job(name).ok_or_else(|| format!("there is no job {name} any more"))?;
        let ready = Arc::new(JobProbe::new(job, self.version, self.limits.of(name))?);
        jobs.ready.insert(name.clone(), Arc::clone(&ready));
        Ok(ready)
    }
}

impl Prober for HttpProber {
    fn probe(&self, config: &Arc<Config>, target: Arc<Target>) -> BoxFuture<'static, Result<Load, String>> {
        let job = self.job(config, &target.job);
        async move { job?.probe(&target).await }.boxed()
    }
}

/// How a job's targets are probed.
struct JobProbe {
    client: JobClient,
    accept: String,
    accept_encoding: &'static str,
    /// Judges samples; none when metric relabeling keeps them all.
    kept: Option<KeptSamples>,
    /// The body size from which on a scrape fails.
    body_limit: u64,
    /// The series from which on its shard cuts a target off.
    series_limit: Option<Series>,
    scrape_timeout: Duration,
    /// Whether a body of a type that Prometheus does not know fails the scrape.
    strict_content_type: bool,
}

impl JobProbe {
    fn new(job: &ScrapeConfig, version: PrometheusVersion, limit: Option<SeriesLimit>) -> Result<Self, String> {
        Ok(Self {
            client: JobClient::new(&job.http_client).map_err(|error| error.to_string())?,
            accept: accept_header(job, version),
            accept_encoding: if job.enable_compression { "gzip" } else { "identity" },
            kept: KeptSamples::new(job, version).map_err(|error| error.to_string())?,
            body_limit: if job.body_size_limit == 0 { MAX_BODY } else { job.body_size_limit },
            series_limit: limit.map(|limit| limit.series),
            scrape_timeout: job.scrape_timeout.to_std(),
            strict_content_type: version.is_3_or_later() && job.fallback_scrape_protocol.is_none(),
        })
    }

    async fn probe(&self, target: &Target) -> Result<Load, String> {
        let own_timeout = target.labels.get(SCRAPE_TIMEOUT).and_then(|text| text.parse::<PromDuration>().ok());
        let timeout = own_timeout.map_or(self.scrape_timeout, PromDuration::to_std);
        let scrape = tokio::time::timeout(timeout, self.scrape(target, timeout));
        scrape.await.unwrap_or_else(|_| Err("context deadline exceeded".to_owned()))
    }

    async fn scrape(&self, target: &Target, timeout: Duration) -> Result<Load, String> {
        let request = Request::get(&target.url)
            .header(header::ACCEPT, &self.accept)
            .header(header::ACCEPT_ENCODING, self.accept_encoding)
            .header(header::USER_AGENT, concat!("Narthex/", env!("CARGO_PKG_VERSION")))
            .header(TIMEOUT_HEADER, timeout.as_secs_f64().to_string())
            .body(Empty::<Bytes>::new())
            .map_err(|error| format!("parse {}: {error}", target.url))?;
        let give_up_at = tokio::time::Instant::now() + timeout;
        let response = self.client.send_until(request, give_up_at).await.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("server returned HTTP status {}", response.status()));
        }
        let content_type = text_of(response.headers(), header::CONTENT_TYPE);
        if self.strict_content_type && !is_exposition(&content_type) {
            return Err(format!(
                "received unsupported Content-Type {content_type:?} and no fallback_scrape_protocol specified for target"
            ));
        }
        let kept = self.kept.clone().map(|kept| (kept, target.labels.clone()));
        let mut counting = Counting {
            counter: SampleCounter::new(Format::of_content_type(&content_type), kept),
            bytes: 0,
            limit: self.body_limit,
            series_limit: self.series_limit,
        };
        count_body(response, &mut counting).await?;
        Ok(counting.finish())
    }
}

/// Counts a body to its end, or until it has more series than it may.
async fn count_body(response: Response<Incoming>, counting: &mut Counting) -> Result<(), String> {
    let is_gzip = text_of(response.headers(), header::CONTENT_ENCODING).eq_ignore_ascii_case("gzip");
    let mut body = response.into_body();
    if is_gzip {
        let mut unzip = MultiGzDecoder::new(&mut *counting);
        while let Some(piece) = next_piece(&mut body).await? {
            unzip.write_all(&piece).map_err(|error| error.to_string())?;
            if unzip.get_ref().is_above_limit() {
                return Ok(());
            }
        }
        unzip.try_finish().map_err(|error| error.to_string())
    } else {
        while let Some(piece) = next_piece(&mut body).await? {
            counting.write_all(&piece).map_err(|error| error.to_string())?;
            if counting.is_above_limit() {
                break;
            }
        }
        Ok(())
    }
}

/// The next piece of a body; none at its end. A body that breaks off is an error.
async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>, String> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err("unexpected EOF".to_owned()),
            // Trailers are no part of the samples.
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
        }
    }
}

/// Counts the samples written to it, up to a limit of bytes.
struct Counting {
    counter: SampleCounter,
    bytes: u64,
    limit: u64,
    series_limit: Option<Series>,
}

impl Counting {
    fn is_above_limit(&self) -> bool {
        self.series_limit.is_some_and(|limit| self.counter.exposed() > limit)
    }

    /// What was counted. A target that its shard would cut off is planned with as much as it may have: its shard takes
    /// no more of it, and it stays there until it has shrunk.
    fn finish(self) -> Load {
        let load = self.counter.finish();
        let most = self.series_limit.unwrap_or(Series(u64::MAX));
        Load { exposed: load.exposed.min(most), kept: load.kept.min(most) }
    }
}

impl Write for Counting {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        if self.bytes >= self.limit {
            return Err(io::Error::other("body size limit exceeded"));
        }
        self.counter.feed(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether Prometheus 3 takes a body of this type without being told what to take it for.
fn is_exposition(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(media_type.as_str(), "text/plain" | "application/openmetrics-text" | "application/vnd.google.protobuf")
}

fn text_of(headers: &HeaderMap, name: header::HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
