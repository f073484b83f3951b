//! The configuration file: TOML with one key per setting.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Value;

use super::settings::SETTINGS;
use crate::exit::Failure;

/// The settings that a file gives, by name.
pub(crate) type FileSettings = BTreeMap<&'static str, String>;

/// Reads the file.
///
/// # Errors
/// When it cannot be read, is no TOML, or holds a key that is no setting.
pub(crate) fn read(path: &Path) -> Result<FileSettings, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format_args!(
            "the configuration file {} cannot be read: {error}",
            path.display()
        ))
    })?;
    parse(&text).map_err(|reason| Failure::usage(format_args!("{}: {reason}", path.display())))
}

fn parse(text: &str) -> Result<FileSettings, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error
            .span()
            .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        format!(
            "line {line} is not TOML: {}",
            error.message().replace('\n', " ")
        )
    })?;
    let mut settings = FileSettings::new();
    for (key, value) in table {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == key) else {
            return Err(format!("there is no setting `{key}`{}", suggestion(&key)));
        };
        let text = match value {
            Value::String(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(on) => on.to_string(),
            Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
                return Err(format!("`{key}` is one text, number, true or false"));
            }
        };
        settings.insert(setting.name, text);
    }
    Ok(settings)
}

/// What was probably meant by a name that is none.
fn suggestion(key: &str) -> String {
    let like = key.replace('-', "_").to_lowercase();
    let near = SETTINGS
        .iter()
        .map(|setting| (distance(&like, setting.name), setting.name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min();
    match near {
        Some((_, name)) => format!("; did you mean `{name}`?"),
        None => {
            let names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
            format!("; there are {}", names.join(", "))
        }
    }
}

/// How many letters have to be put in, left out or changed to make one text of the other
/// (Levenshtein's distance).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for column in 0..other.len() {
            let changed = diagonal + usize::from(letter != other[column]);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_numbers_and_switches_are_read() {
        let settings = parse(
            "data = \"/d\"\ncores = 4\nallow_unauthenticated = true # a comment\ntimeout = 1.5\n",
        )
        .unwrap();
        let expected = [
            ("allow_unauthenticated", "true"),
            ("cores", "4"),
            ("data", "/d"),
            ("timeout", "1.5"),
        ];
        assert_eq!(
            settings,
            expected.map(|(name, text)| (name, text.to_owned())).into()
        );
    }

    #[test]
    fn unknown_keys_are_refused_with_a_suggestion() {
        let cases = [
            (
                "listn = 1",
                "there is no setting `listn`; did you mean `listen`?",
            ),
            (
                "allow-unauthenticated = true",
                "did you mean `allow_unauthenticated`?",
            ),
            ("Region = 'a'", "did you mean `region`?"),
            ("retention_bytes = 1", "; there are data, listen,"),
            ("[serve]\ndata = 'x'", "there is no setting `serve`"),
            ("cores = [1]", "`cores` is one text, number, true or false"),
            ("data = 'x'\ncores =\n", "line 2 is not TOML: "),
            ("data = 'x'\ndata = 'y'\n", "line 2 is not TOML: "),
        ];
        for (text, reason) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn the_distance_counts_changed_letters() {
        for (one, other, count) in [
            ("", "", 0),
            ("a", "", 1),
            ("abc", "abc", 0),
            ("abc", "axc", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), count);
            assert_eq!(distance(other, one), count);
        }
    }
}
