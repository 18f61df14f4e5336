//! Verdict: whether what came out is what was expected.

use crate::{
    fleet::Fleet,
    report::{Expectation, Round, Totals},
    scenario::{Bound, Expect},
};

/// Compares what came out with what was expected. No invariant may ever break.
pub(crate) fn of(expect: &Expect, totals: &Totals, last: &Round, fleet: &Fleet) -> Vec<Expectation> {
    let changes = &totals.planned_changes;
    let unplaced: u64 = last.unplaced.values().sum();
    let count = |figure, bound: Option<Bound>, was: u64| (figure, bound, was as f64);
    let figures = [
        count("broken_invariants", Some(Bound::Exactly(0.0)), totals.broken),
        count("refused_instructions", Some(Bound::Exactly(0.0)), totals.refused),
        count("missed", expect.missed, totals.missed),
        count("torn", expect.torn, totals.torn),
        count("never_scraped", expect.never_scraped, totals.never_scraped),
        count("not_scraped", expect.not_scraped, last.not_scraped),
        count("double_scrapes", expect.double_scrapes, totals.double_scrapes),
        count("double_at_end", expect.double_at_end, last.double_scraped),
        count("moves", expect.moves, changes.moves),
        count("moves_of_one_target", expect.moves_of_one_target, totals.moves_of_one_target),
        count("places", expect.places, changes.places),
        count("places_again", expect.places_again, changes.places_again),
        count("takeovers", expect.takeovers, changes.takeovers),
        count("takeovers_of_one_target", expect.takeovers_of_one_target, totals.takeovers_of_one_target),
        count("suspects", expect.suspects, changes.suspects),
        count("shards_killed", expect.shards_killed, totals.shards_killed),
        count("shards", expect.shards, last.shards_wanted),
        count("most_shards", expect.most_shards, totals.most_shards),
        count("unplaced", expect.unplaced, unplaced),
        count("oversized", expect.oversized, last.oversized),
        count("converged_after", expect.converged_after, totals.converged_after),
        ("spread_max_over_mean", expect.spread_max_over_mean.map(Bound::at_most), last.load.max_over_mean()),
        ("peak_load", expect.peak_load, totals.peak_load),
        ("load_at_end", expect.load_at_end, last.load.max),
    ];
    let mut expectations: Vec<Expectation> =
        figures.into_iter().filter_map(|(figure, bound, was)| Some(compare(figure, bound?, was))).collect();
    if let Some(times) = expect.shards_over_lower_bound {
        let most = (times * last.shards_lower_bound as f64).floor() + fleet.replicas.len() as f64;
        let bound = Bound::at_most(most);
        expectations.push(compare("shards_over_lower_bound", bound, last.shards_wanted as f64));
    }
    if let Some(expected) = expect.mirrored {
        let was = fleet.is_mirrored();
        expectations.push(Expectation {
            figure: "mirrored",
            expected: expected.to_string(),
            was: was.to_string(),
            holds: was == expected,
        });
    }
    expectations
}

fn compare(figure: &'static str, bound: Bound, was: f64) -> Expectation {
    let rounded = (was * 10_000.0).round() / 10_000.0;
    Expectation { figure, expected: bound.to_string(), was: rounded.to_string(), holds: bound.holds(was) }
}
