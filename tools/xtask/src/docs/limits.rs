//! The table of limits: names, values and meanings as `engine/model/src/limits.rs` states them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The file that states the limits.
pub const SOURCE: &str = "engine/model/src/limits.rs";

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The constant's name.
    pub name: String,
    /// Its value; two for a range.
    pub values: Vec<u64>,
    /// What its documentation says.
    pub about: String,
}

/// Reads every public constant of the source's text, in its order.
///
/// # Panics
/// When a value is no sum or product of numbers and earlier constants, or a constant has no
/// documentation.
#[must_use]
pub fn parse(source: &str) -> Vec<Limit> {
    let mut limits = Vec::new();
    let mut known = BTreeMap::new();
    let mut about: Vec<&str> = Vec::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if let Some(comment) = line.strip_prefix("///") {
            about.push(comment.trim());
            continue;
        }
        if let Some(constant) = line.strip_prefix("pub const ") {
            let mut text = constant.to_owned();
            while !text.contains(';') {
                text.push_str(lines.next().expect("a constant ends with a semicolon"));
            }
            let (name, rest) = text.split_once(':').expect("a constant has a type");
            let (_, value) = rest.split_once('=').expect("a constant has a value");
            let values = evaluate(value.split(';').next().unwrap_or(value), &known)
                .unwrap_or_else(|| panic!("{name}: this value is beyond what the table can read"));
            assert!(!about.is_empty(), "{name} has no documentation");
            if let [value] = values[..] {
                known.insert(name.to_owned(), value);
            }
            limits.push(Limit {
                name: name.to_owned(),
                values,
                about: about.join(" "),
            });
        }
        about.clear();
    }
    limits
}

/// The limits as a Markdown table.
#[must_use]
pub fn table(source: &str) -> String {
    let mut table = String::from("| limit | value | meaning |\n|---|---|---|\n");
    for limit in parse(source) {
        let values: Vec<_> = limit
            .values
            .iter()
            .map(|value| shown(&limit.name, *value))
            .collect();
        let (name, value) = (&limit.name, values.join(" to "));
        // The value's column has the unit.
        let about = limit
            .about
            .replace(", in bytes", "")
            .replace(", in milliseconds", "")
            .replace('|', "\\|")
            .replace("[`", "`")
            .replace("`]", "`");
        let _ = writeln!(table, "| `{name}` | {value} | {about} |");
    }
    table
}

/// A value for people: bytes in binary units, times in the unit that fits.
fn shown(name: &str, value: u64) -> String {
    let units: &[(u64, &str)] = if name.contains("BYTES") {
        &[(1 << 20, "MiB"), (1 << 10, "KiB"), (1, "bytes")]
    } else if name.split('_').any(|word| word == "MS") {
        &[(86_400_000, "days"), (1_000, "s"), (1, "ms")]
    } else {
        return value.to_string();
    };
    let (factor, unit) = units
        .iter()
        .find(|(factor, _)| value.is_multiple_of(*factor))
        .unwrap_or(&(1, ""));
    format!("{} {unit}", value / factor)
}

/// The value of a sum of products of numbers, known names and casts, or of a pair of such.
fn evaluate(text: &str, known: &BTreeMap<String, u64>) -> Option<Vec<u64>> {
    let text = text.trim();
    if let Some(pair) = text
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'))
    {
        return pair.split(',').map(|part| sum(part, known)).collect();
    }
    Some(vec![sum(text, known)?])
}

fn sum(text: &str, known: &BTreeMap<String, u64>) -> Option<u64> {
    text.split('+').try_fold(0_u64, |sum, term| {
        let product = term.split('*').try_fold(1_u64, |product, factor| {
            let factor = factor.split(" as ").next()?.trim();
            let value = match known.get(factor) {
                Some(value) => *value,
                None => factor.replace('_', "").parse().ok()?,
            };
            product.checked_mul(value)
        })?;
        sum.checked_add(product)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "/// The first,\n/// in bytes.\npub const A_BYTES: usize = 5 * 1024 * 1_024;\n\n\
                        /// B.\npub const B_BYTES: u64 =\n    A_BYTES as u64 + 2 * 512;\n\
                        /// C.\npub const C_MS: (u32, u32) = (200, 60_000);\n\
                        const _: () = assert!(true);\n/// D.\npub const D: u32 = 7;\n";

    #[test]
    fn constants_are_read_with_their_values_and_meanings() {
        let limits = parse(TEXT);
        let values: Vec<_> = limits.iter().map(|limit| limit.values.clone()).collect();
        assert_eq!(
            values,
            [vec![5_242_880], vec![5_243_904], vec![200, 60_000], vec![7]]
        );
        assert_eq!(limits[0].about, "The first, in bytes.");
    }

    #[test]
    fn the_table_shows_units() {
        let expected = "| limit | value | meaning |\n|---|---|---|\n\
                        | `A_BYTES` | 5 MiB | The first. |\n\
                        | `B_BYTES` | 5121 KiB | B. |\n\
                        | `C_MS` | 200 ms to 60 s | C. |\n\
                        | `D` | 7 | D. |\n";
        assert_eq!(table(TEXT), expected);
    }

    #[test]
    fn the_reading_agrees_with_the_compiler() {
        use hulse_model::limits as compiled;
        let read = parse(&crate::repository::read(SOURCE));
        let value = |name: &str| read.iter().find(|limit| limit.name == name).unwrap().values[0];
        assert_eq!(
            value("MESSAGE_BYTES_MAX"),
            compiled::MESSAGE_BYTES_MAX as u64
        );
        assert_eq!(value("FRAME_BYTES_MAX"), compiled::FRAME_BYTES_MAX as u64);
        assert_eq!(
            value("RETENTION_MS_DEFAULT"),
            compiled::RETENTION_MS_DEFAULT
        );
        assert_eq!(value("SEGMENT_BYTES_MIN"), compiled::SEGMENT_BYTES_MIN);
    }
}
