//! Scrape bodies: whatever a target sends, counting it neither fails nor depends on how the body was cut, and what is
//! kept is no more than what is exposed.

#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use narthex_common::{
    exposition::{Format, KeptSamples, SampleCounter},
    labels::Labels,
    load::Load,
    relabel::{Action, RelabelConfig},
    semantics::{NameValidation, PrometheusVersion},
};

#[derive(Arbitrary, Debug)]
struct Scrape<'a> {
    format: u8,
    honor_labels: bool,
    /// Which metric relabeling there is: none, by name alone, by labels.
    relabeling: u8,
    /// Where the body is cut, as lengths of pieces; the last one is repeated.
    cuts: [u8; 4],
    body: &'a [u8],
}

fuzz_target!(|scrape: Scrape<'_>| {
    let whole = count(&scrape, [scrape.body]);
    assert!(whole.kept <= whole.exposed, "{whole:?}");
    assert!(whole.exposed.0 <= scrape.body.len() as u64, "every sample takes a byte: {whole:?}");
    let mut rest = scrape.body;
    let mut cuts = scrape.cuts.iter().map(|cut| usize::from(*cut).max(1)).chain(std::iter::repeat(7));
    let pieces = std::iter::from_fn(|| {
        let (piece, after) = rest.split_at(cuts.next()?.min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    });
    assert_eq!(count(&scrape, pieces), whole, "cut into pieces");
});

fn count<'a>(scrape: &Scrape<'_>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Load {
    let format = match scrape.format % 3 {
        0 => Format::Text,
        1 => Format::OpenMetrics,
        _ => Format::Protobuf,
    };
    let target = Labels::from_iter([("__address__", "a:1"), ("instance", "a:1"), ("job", "j")]);
    let kept = JUDGES[usize::from(scrape.relabeling) % 4][usize::from(scrape.honor_labels)].clone();
    let mut counter = SampleCounter::new(format, kept.map(|kept| (kept, target)));
    pieces.into_iter().for_each(|piece| counter.feed(piece));
    counter.finish()
}

/// By relabeling, and whether labels are honored. Compiled once: it takes longer than all else here.
static JUDGES: LazyLock<[[Option<KeptSamples>; 2]; 4]> =
    LazyLock::new(|| [0, 1, 2, 3].map(|relabeling| [false, true].map(|honor_labels| judge(relabeling, honor_labels))));

fn judge(relabeling: u8, honor_labels: bool) -> Option<KeptSamples> {
    let (source, regex) = match relabeling {
        0 => return None,
        1 => (vec!["__name__"], "a.*|go_.*"),
        2 => (vec!["job", "exported_job", "le"], ".*;.+;.*|.*;.*;0.*"),
        _ => (vec!["__name__", "a"], "[a-m].*;.*"),
    };
    let rule = RelabelConfig {
        source_labels: source.into_iter().map(str::to_owned).collect(),
        regex: Some(regex.to_owned()),
        action: Some(Action::Drop),
        ..RelabelConfig::default()
    };
    KeptSamples::from_rules(&[rule], honor_labels, NameValidation::Utf8, PrometheusVersion::V3_5).expect("good rules")
}
