//! vmagent, where it is asked otherwise than a Prometheus: it answers every reload at once and with success, and only its
//! metrics tell what became of it; and some of its flags matter to a shard.

use std::time::Duration;

use narthex_common::config::PromDuration;
use tokio::time::Instant;

use super::{HttpPrometheus, OwnMetrics, PrometheusControl as _, ReloadFailed};

/// How often its metrics are looked at while it reads its config.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// How long it may take to say what became of a config. It reads one in milliseconds, answers for up to a second with
/// metrics that it has answered with before, and says nothing at all of a config in which it finds nothing new.
const LONGEST_READ: Duration = Duration::from_secs(5);

/// How often it looks for changed target files, unless told otherwise.
const DEFAULT_FILE_CHECK: &str = "1m0s";

/// Checks that are rarer make a shard slower than a Prometheus, which follows a change within five seconds.
const SLOW_FILE_CHECK: Duration = Duration::from_secs(5);

/// Has it read its config again, and waits until it has.
pub(super) async fn reload(vmagent: &HttpPrometheus) -> Result<(), ReloadFailed> {
    let unreachable = |error: anyhow::Error| ReloadFailed::Unreachable(format!("{error:#}"));
    let before = vmagent.own_metrics().await.map_err(unreachable)?;
    vmagent.post_reload().await?;
    let told = Instant::now();
    loop {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        let now = vmagent.own_metrics().await.map_err(unreachable)?;
        if let Some(outcome) = outcome(&before, &now, told.elapsed()) {
            return outcome;
        }
    }
}

/// What became of a reload, by its metrics before and `waited` after it was told; none when that is not known yet.
fn outcome(before: &OwnMetrics, now: &OwnMetrics, waited: Duration) -> Option<Result<(), ReloadFailed>> {
    let refused = || {
        let why = "its log says why, its metric vm_promscrape_config_last_reload_successful is 0";
        Err(ReloadFailed::Refused(why.to_owned()))
    };
    let (had, has) = (before.config_reads.unwrap_or_default(), now.config_reads.unwrap_or_default());
    let is_good_again = before.config_is_good == Some(false) && now.config_is_good == Some(true);
    if has.refused > had.refused {
        Some(refused())
    } else if has.taken > had.taken || now.config_loaded > before.config_loaded || is_good_again {
        Some(Ok(()))
    } else if waited < LONGEST_READ {
        None
    } else if now.config_is_good == Some(false) {
        Some(refused())
    } else {
        // It found nothing new.
        Some(Ok(()))
    }
}

/// What of its flags, as `/flags` lists those that were set, does not suit a shard.
pub(super) fn unsuitable_flags(flags: &str) -> Vec<String> {
    let value = |name: &str| {
        let named = |line: &str| {
            let (flag, value) = line.trim_start_matches('-').split_once('=')?;
            (flag == name).then(|| value.trim().trim_matches('"').to_owned())
        };
        flags.lines().find_map(named)
    };
    let mut found = Vec::new();
    let check = value("promscrape.fileSDCheckInterval").unwrap_or_else(|| DEFAULT_FILE_CHECK.to_owned());
    if check.parse::<PromDuration>().is_ok_and(|check| check.to_std() > SLOW_FILE_CHECK) {
        found.push(format!(
            "vmagent runs with -promscrape.fileSDCheckInterval={check}: so long may pass before it scrapes a target that \
             was assigned, or lets one go; start it with -promscrape.fileSDCheckInterval=1s"
        ));
    }
    if let Some(members) =
        value("promscrape.cluster.membersCount").filter(|members| !matches!(members.as_str(), "0" | "1"))
    {
        found.push(format!(
            "vmagent runs with -promscrape.cluster.membersCount={members}: of the targets assigned to this shard it \
             scrapes a part only; start it without"
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use narthex_common::time::Timestamp;

    use super::{super::ConfigReads, *};

    fn metrics(taken: u64, refused: u64, is_good: bool) -> OwnMetrics {
        OwnMetrics {
            head_series: None,
            config_loaded: Some(Timestamp(1_000)),
            config_is_good: Some(is_good),
            config_reads: Some(ConfigReads { taken, refused }),
        }
    }

    const SOON: Duration = Duration::from_millis(250);

    #[test]
    fn a_config_is_taken_or_refused_when_the_metrics_say_so_and_not_before() {
        let before = metrics(1, 1, true);
        assert_eq!(outcome(&before, &before, SOON), None);
        assert_eq!(outcome(&before, &metrics(2, 1, true), SOON), Some(Ok(())));
        assert!(matches!(outcome(&before, &metrics(1, 2, false), SOON), Some(Err(ReloadFailed::Refused(_)))));
    }

    #[test]
    fn a_config_without_anything_new_is_taken_although_nothing_says_so() {
        let before = metrics(1, 1, true);
        assert_eq!(outcome(&before, &before, LONGEST_READ), Some(Ok(())));
        // The one before it was refused: then something does.
        assert_eq!(outcome(&metrics(1, 1, false), &metrics(1, 1, true), SOON), Some(Ok(())));
        let still_refused = outcome(&metrics(1, 1, false), &metrics(1, 1, false), LONGEST_READ);
        assert!(matches!(still_refused, Some(Err(ReloadFailed::Refused(_)))));
    }

    #[test]
    fn a_vmagent_that_was_started_meanwhile_has_read_the_config() {
        let started = OwnMetrics { config_loaded: Some(Timestamp(9_000)), ..metrics(0, 0, true) };
        assert_eq!(outcome(&metrics(7, 3, true), &started, SOON), Some(Ok(())));
    }

    #[test]
    fn flags_that_make_a_shard_slow_or_scrape_a_part_only_are_found() {
        let flags = |file_check: &str, members: &str| {
            unsuitable_flags(&format!(
                "-promscrape.config=\"p.yml\"\n{file_check}\n{members}\n-remoteWrite.url=\"secret\"\n"
            ))
        };
        assert!(flags("-promscrape.fileSDCheckInterval=\"1s\"", "").is_empty());
        assert!(flags("-promscrape.fileSDCheckInterval=\"5s\"", "-promscrape.cluster.membersCount=\"1\"").is_empty());
        let slow = flags("", "");
        assert!(slow.len() == 1 && slow[0].contains("-promscrape.fileSDCheckInterval=1m0s"), "{slow:?}");
        let partial = flags("-promscrape.fileSDCheckInterval=\"1s\"", "-promscrape.cluster.membersCount=\"3\"");
        assert!(partial.len() == 1 && partial[0].contains("membersCount=3"), "{partial:?}");
    }
}
