//! Sizes as `body_size_limit` takes them: `10MB`, which is 10 MiB, `1.5GiB`, `1MiB512KiB`.

/// The units with what they stand for. Prometheus does not let the two spellings mix in one size.
const SPELLINGS: [[(&str, u64); 7]; 2] = [
    [("B", 1), ("KiB", KIB), ("MiB", MIB), ("GiB", GIB), ("TiB", TIB), ("PiB", PIB), ("EiB", EIB)],
    [("B", 1), ("KB", KIB), ("MB", MIB), ("GB", GIB), ("TB", TIB), ("PB", PIB), ("EB", EIB)],
];
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const PIB: u64 = 1 << 50;
const EIB: u64 = 1 << 60;

/// The bytes of a size.
///
/// # Errors
/// When it is none, in the words of the library that Prometheus uses.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    parse_spelled(text, &SPELLINGS[0]).or_else(|_| parse_spelled(text, &SPELLINGS[1]))
}

fn parse_spelled(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let invalid = || format!("units: invalid {text}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let (_, bytes) = (units.iter().find(|(name, _)| *name == unit))
            .ok_or_else(|| format!("units: unknown unit {unit} in {text}"))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a fraction of a byte is nothing, and the range is checked below"
        )]
        let part = (number * *bytes as f64) as u64;
        total = total.checked_add(part).filter(|&sum| i64::try_from(sum).is_ok()).ok_or_else(invalid)?;
        rest = after;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0", 0)]
    #[case("10B", 10)]
    #[case("10MB", 10 << 20)]
    #[case("10MiB", 10 << 20)]
    #[case("1.5MB", 3 << 19)]
    #[case("1MiB512KiB", 3 << 19)]
    fn sizes_are_powers_of_two(#[case] text: &str, #[case] bytes: u64) {
        assert_eq!(parse(text), Ok(bytes));
    }

    #[rstest]
    #[case("100", "units: unknown unit  in 100")]
    #[case("10mb", "units: unknown unit mb in 10mb")]
    #[case("1MiB1KB", "units: unknown unit MiB in 1MiB1KB")]
    #[case("", "units: invalid ")]
    #[case("MB", "units: invalid MB")]
    #[case("100EB", "units: invalid 100EB")]
    fn what_is_no_size_is_refused(#[case] text: &str, #[case] message: &str) {
        assert_eq!(parse(text), Err(message.into()));
    }
}
