//! What a stopped Prometheus has on its disk: every sample, and the staleness markers, which no query shows.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::process::Release;

/// The moments, in milliseconds since the epoch and in order, at which something was written to a series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// A sample.
    pub samples: Vec<i64>,
    /// One of these whose value is 0: of `up`, a scrape that failed.
    pub zeros: Vec<i64>,
    /// A staleness marker.
    pub stale: Vec<i64>,
}

/// Series by their labels, as `promtool` writes them.
pub type Stored = BTreeMap<String, Moments>;

/// What is wrong with a series, and when: in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw<'a> {
    /// The labels of the series.
    pub series: &'a str,
    /// The last moment before it.
    pub after: i64,
    /// The first moment behind it.
    pub before: i64,
}

impl Flaw<'_> {
    /// Whether two of them were there at the same time.
    #[must_use]
    pub const fn overlaps(&self, other: &Flaw<'_>) -> bool {
        self.after < other.before && other.after < self.before
    }
}

/// Reads what the Prometheus that had this data directory wrote up to a moment. Whatever targets exposed must be
/// numbers: a `NaN` is taken for a staleness marker, because `promtool` writes both alike.
///
/// # Errors
/// When `promtool`, which is looked for beside Prometheus 2.42 and reads the data of newer ones, too, cannot read it.
pub fn read(data: &Path, until: i64) -> anyhow::Result<Stored> {
    let promtool = Release::V2_42.binary()?.with_file_name("promtool");
    let mut dump = Command::new(&promtool)
        .args(["tsdb", "dump"])
        .arg(format!("--max-time={until}"))
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {promtool:?}"))?;
    let lines = BufReader::new(dump.stdout.take().context("a pipe")?).lines();
    let mut stored = Stored::new();
    for line in lines {
        let line = line?;
        let (series, value, at) = parse(&line).with_context(|| format!("{line:?} is no sample"))?;
        if !stored.contains_key(series) {
            stored.insert(series.to_owned(), Moments::default());
        }
        let moments = stored.get_mut(series).context("it was just put in")?;
        match value {
            "NaN" => moments.stale.push(at),
            "0" => {
                moments.zeros.push(at);
                moments.samples.push(at);
            }
            _ => moments.samples.push(at),
        }
    }
    let status = dump.wait()?;
    if !status.success() {
        bail!("{promtool:?} cannot read {data:?}: {status}");
    }
    Ok(stored)
}

/// A line of the dump: `{__name__="up", job="x"} 1 1795284463690`.
fn parse(line: &str) -> Option<(&str, &str, i64)> {
    let (rest, at) = line.rsplit_once(' ')?;
    let (series, value) = rest.rsplit_once(' ')?;
    Some((series, value, at.parse().ok()?))
}

/// What several servers have together: each series once.
#[must_use]
pub fn merged(servers: &[&Stored]) -> Stored {
    let mut all = Stored::new();
    for (series, moments) in servers.iter().copied().flatten() {
        let merged = all.entry(series.clone()).or_default();
        merged.samples.extend(&moments.samples);
        merged.zeros.extend(&moments.zeros);
        merged.stale.extend(&moments.stale);
    }
    for moments in all.values_mut() {
        for some in [&mut moments.samples, &mut moments.zeros, &mut moments.stale] {
            some.sort_unstable();
            some.dedup();
        }
    }
    all
}

/// The longest time between two neighbouring samples of any series, of those that touch a span of time.
#[must_use]
pub fn longest_distance(stored: &Stored, span: (i64, i64)) -> Duration {
    let pairs = stored.values().flat_map(|moments| moments.samples.windows(2));
    let distance = |pair: &[i64]| (pair[0] < span.1 && span.0 < pair[1]).then(|| pair[1] - pair[0]);
    let longest = pairs.filter_map(distance).max().unwrap_or_default();
    Duration::from_millis(u64::try_from(longest).unwrap_or_default())
}

/// Where a scrape is missing, up to a moment: neighbouring samples that are more than one interval and a half apart.
/// Scrapes are that late only when one was left out. At the end, one may be under way.
#[must_use]
pub fn holes(stored: &Stored, interval: Duration, until: i64) -> Vec<Flaw<'_>> {
    further_apart_than(interval * 3 / 2, stored, until)
}

/// Where a scrape came more than a tenth of an interval late, or not at all. That long Prometheus waits for a target to
/// appear elsewhere, before it marks its series as stale: what it does on a machine that is slower says nothing.
#[must_use]
pub fn delays(stored: &Stored, interval: Duration, until: i64) -> Vec<Flaw<'_>> {
    further_apart_than(interval * 11 / 10, stored, until)
}

fn further_apart_than(longest: Duration, stored: &Stored, until: i64) -> Vec<Flaw<'_>> {
    let longest = milliseconds(longest);
    let mut holes = Vec::new();
    for (series, moments) in stored {
        let missing = moments.samples.windows(2).filter(|pair| pair[1] - pair[0] > longest);
        holes.extend(missing.map(|pair| Flaw { series, after: pair[0], before: pair[1] }));
        let last = moments.samples.last().copied().unwrap_or_default();
        if until - last > longest {
            holes.push(Flaw { series, after: last, before: until });
        }
    }
    holes
}

/// The scrapes that failed.
#[must_use]
pub fn failed_scrapes(stored: &Stored, interval: Duration) -> Vec<Flaw<'_>> {
    let up = stored.iter().filter(|(series, _)| series.starts_with(r#"{__name__="up","#));
    up.flat_map(|(series, moments)| moments.zeros.iter().map(move |at| around(series, *at, interval))).collect()
}

/// The staleness markers.
#[must_use]
pub fn stale_markers(stored: &Stored, interval: Duration) -> Vec<Flaw<'_>> {
    let all = stored.iter();
    all.flat_map(|(series, moments)| moments.stale.iter().map(move |at| around(series, *at, interval))).collect()
}

fn around(series: &str, at: i64, interval: Duration) -> Flaw<'_> {
    Flaw { series, after: at - milliseconds(interval), before: at + milliseconds(interval) }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_dump_is_read_from_its_end() {
        let line = r#"{__name__="a b", path="/x y} 1 2"} NaN 1795284463690"#;
        assert_eq!(parse(line), Some((r#"{__name__="a b", path="/x y} 1 2"}"#, "NaN", 1_795_284_463_690)));
        assert_eq!(parse("level=info ts=now"), None);
    }

    fn of(samples: &[i64]) -> Stored {
        Stored::from([("up".to_owned(), Moments { samples: samples.to_vec(), ..Moments::default() })])
    }

    #[test]
    fn what_one_server_misses_another_may_have() {
        let interval = Duration::from_secs(2);
        let (one, other) = (of(&[0, 2000, 4000]), of(&[4000, 6100, 8100]));
        let missing = of(&[0, 2000, 6100]);
        assert_eq!(holes(&merged(&[&one, &other]), interval, 11_000), []);
        assert_eq!(
            holes(&merged(&[&one, &other]), interval, 12_000),
            [Flaw { series: "up", after: 8100, before: 12_000 }]
        );
        assert_eq!(longest_distance(&merged(&[&one, &other]), (0, 8100)), Duration::from_millis(2100));
        assert_eq!(holes(&missing, interval, 7000), [Flaw { series: "up", after: 2000, before: 6100 }]);
        assert_eq!(longest_distance(&missing, (0, 2000)), interval);
    }
}
