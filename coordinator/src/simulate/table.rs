//! Reports and plans as tables for people: a line for every round in which something was to be seen, then the totals.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use narthex_planner::{Plan, invariant::Broken, reason::Unplaced};
use narthex_simulator::report::{Changes, Report, Round};

/// So many rounds fit what people look at. Of more, the first and the last are shown.
const ROUNDS_SHOWN: usize = 60;

/// Writes a report.
pub(super) fn write(report: &Report) -> String {
    let mut out = String::new();
    if !report.about.is_empty() {
        push(&mut out, format_args!("{} (seed {})\n", report.about.trim_end(), report.seed));
    }
    let interesting: Vec<&Round> = report.rounds.iter().filter(|round| is_interesting(round)).collect();
    let left_out = interesting.len().saturating_sub(ROUNDS_SHOWN);
    let (head, tail) = if left_out > 0 {
        (&interesting[..ROUNDS_SHOWN / 2], &interesting[interesting.len() - ROUNDS_SHOWN / 2..])
    } else {
        (&interesting[..], &[][..])
    };
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header([
        "round",
        "time",
        "targets",
        "shards",
        "at least",
        "load max/mean/min %",
        "planned",
        "missed",
        "double",
        "events",
    ]);
    table.add_rows(head.iter().map(|round| row(round)));
    if left_out > 0 {
        table.add_row(["…".to_owned(), format!("{left_out} more")]);
    }
    table.add_rows(tail.iter().map(|round| row(round)));
    for column in [0, 2, 3, 4, 7, 8] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    push(&mut out, format_args!("{table}\n\n"));
    totals(&mut out, report);
    out
}

/// A round in which something happened, was planned, or is wrong.
fn is_interesting(round: &Round) -> bool {
    round.round == 1
        || !round.events.is_empty()
        || !round.planned_changes.is_empty()
        || round.torn > 0
        || round.shards_killed > 0
        || round.broken.as_ref().is_some_and(|broken| !broken.is_empty())
}

fn row(round: &Round) -> [String; 10] {
    let broken = round.broken.iter().flatten().map(|broken| format!("BROKEN: {broken}"));
    let events: Vec<String> = round.events.iter().cloned().chain(broken).collect();
    let percent = |share: f64| (share * 100.0).round();
    let load = round.load;
    let missed = if round.torn > 0 { format!("{} ({} torn)", round.missed, round.torn) } else { number(round.missed) };
    [
        round.round.to_string(),
        time(round.at_seconds),
        round.targets.to_string(),
        if round.shards_running == round.shards_wanted {
            round.shards_running.to_string()
        } else {
            format!("{} of {}", round.shards_running, round.shards_wanted)
        },
        round.shards_lower_bound.to_string(),
        format!("{}/{}/{}", percent(load.max), percent(load.mean), percent(load.min)),
        planned(round),
        missed,
        number(round.double_scraped),
        events.join("; "),
    ]
}

/// What was planned, in words; what did not happen is not mentioned.
fn planned(round: &Round) -> String {
    if !round.planned {
        return "(no coordinator)".to_owned();
    }
    let mut words = changes(&round.planned_changes);
    words.extend(round.unplaced.iter().map(|(why, count)| format!("{why} {count}")));
    if round.oversized > 0 {
        words.push(format!("oversized {}", round.oversized));
    }
    if round.shards_killed > 0 {
        words.push(format!("KILLED {}", round.shards_killed));
    }
    words.join(", ")
}

fn changes(changes: &Changes) -> Vec<String> {
    let Changes { places, places_again, takeovers, moves, settles, give_backs, suspects, forgets, scales } = *changes;
    let figures = [
        ("place", places - takeovers - places_again),
        ("place again", places_again),
        ("take over", takeovers),
        ("move", moves),
        ("settle", settles),
        ("give back", give_backs),
        ("suspect", suspects),
        ("forget", forgets),
        ("scale", scales),
    ];
    figures.into_iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!("{word} {count}")).collect()
}

fn totals(out: &mut String, report: &Report) {
    let totals = &report.totals;
    let rounds = report.rounds.len();
    push(out, format_args!("{rounds} rounds: {}\n", changes(&totals.planned_changes).join(", ")));
    push(
        out,
        format_args!(
            "missed {} scrape intervals, {} of them torn by the plan; scraped twice {} target-rounds; never scraped {}\n",
            totals.missed, totals.torn, totals.double_scrapes, totals.never_scraped
        ),
    );
    if let Some(last) = report.rounds.last() {
        push(
            out,
            format_args!(
                "at the end {} shards, at least {} are needed; load max/mean {:.3}, peak {:.3} budgets\n",
                last.shards_wanted,
                last.shards_lower_bound,
                last.load.max_over_mean(),
                totals.peak_load
            ),
        );
    }
    push(
        out,
        format_args!(
            "at most {} moves of one target; converged within {} rounds; invariants checked in {} of {rounds} rounds, {} broken\n",
            totals.moves_of_one_target, totals.converged_after, totals.rounds_checked, totals.broken
        ),
    );
    let millis = |seconds: f64| seconds * 1000.0;
    let time = totals.plan_seconds;
    push(
        out,
        format_args!(
            "planning took {:.2} ms (median), {:.2} to {:.2} ms",
            millis(time.median),
            millis(time.min),
            millis(time.max)
        ),
    );
    match totals.memory_bytes {
        Some(bytes) => push(out, format_args!("; memory of the simulation {} MiB\n", bytes / (1 << 20))),
        None => push(out, format_args!("\n")),
    }
    for expectation in &report.expectations {
        let word = if expectation.holds { "ok    " } else { "FAILED" };
        let (figure, expected, was) = (expectation.figure, &expectation.expected, &expectation.was);
        push(out, format_args!("{word} {figure}: {was} (expected {expected})\n"));
    }
}

/// Writes what is planned for a saved world.
pub(super) fn write_plan(plan: &Plan, broken: &[Broken]) -> String {
    let mut out = String::new();
    for (id, plan) in &plan.replicas {
        let (shards, unplaced) = (plan.wanted_shards, plan.unplaced.len());
        let changes = plan.changes.len();
        push(&mut out, format_args!("replica {id}: {changes} changes, {shards} shards, {unplaced} targets unplaced\n"));
        for change in &plan.changes {
            let text = serde_json::to_string(change).unwrap_or_else(|_| format!("{change:?}"));
            push(&mut out, format_args!("  {text}\n"));
        }
        for (target, why) in &plan.unplaced {
            push(&mut out, format_args!("  target {target} is unplaced: {}\n", Unplaced::as_str(*why)));
        }
        for target in &plan.oversized {
            push(&mut out, format_args!("  target {target} is larger than a shard\n"));
        }
    }
    for broken in broken {
        push(&mut out, format_args!("BROKEN: {broken}\n"));
    }
    out
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    out.write_fmt(text).unwrap_or_default();
}

/// A number, or nothing instead of 0: zeros hide what matters.
fn number(count: u64) -> String {
    if count == 0 { String::new() } else { count.to_string() }
}

fn time(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
