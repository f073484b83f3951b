//! The list of servers as people write it.

use crate::error::ClientError;

/// The port when none is written.
const DEFAULT_PORT: u16 = 6650;
/// The scheme of a Hulse server; it may be left out.
const SCHEME: &str = "hulse://";

/// Reads `hulse://host:port,host:port`: comma-separated, the scheme before the first or before
/// each or left out, the port 6650 when it is left out. IPv6 addresses stand in brackets.
pub(crate) fn parse_servers(text: &str) -> Result<Vec<String>, ClientError> {
    text.split(',')
        .map(|part| parse_server(part.trim()))
        .collect()
}

fn parse_server(text: &str) -> Result<String, ClientError> {
    let invalid = || ClientError::InvalidAddress {
        text: text.to_owned(),
    };
    let rest = text.strip_prefix(SCHEME).unwrap_or(text);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (inner, tail) = bracketed.split_once(']').ok_or_else(invalid)?;
            if inner.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(invalid());
            }
            let port = match tail {
                "" => None,
                tail => Some(tail.strip_prefix(':').ok_or_else(invalid)?),
            };
            (&rest[..inner.len() + 2], port)
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let plain = |c: char| c.is_alphanumeric() || "-._".contains(c);
    if host.is_empty() || (!host.starts_with('[') && !host.chars().all(plain)) {
        return Err(invalid());
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits
            .parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(invalid)?,
        Some(_) => return Err(invalid()),
    };
    Ok(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_people_write_are_read() {
        let cases: &[(&str, &[&str])] = &[
            ("hulse://127.0.0.1:6650", &["127.0.0.1:6650"]),
            ("hulse://localhost", &["localhost:6650"]),
            ("localhost:7000/", &["localhost:7000"]),
            ("hulse://a:1,b:2, hulse://c", &["a:1", "b:2", "c:6650"]),
            (
                "hulse://[::1]:6651,[fe80::1]",
                &["[::1]:6651", "[fe80::1]:6650"],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_servers(text).unwrap(), *expected, "{text}");
        }
    }

    #[test]
    fn anything_else_is_named_in_the_error() {
        for bad in [
            "",
            "hulse://",
            "pulsar://a:1",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a b",
            "a:1,,b:2",
            "[::1",
            "[::1]x",
            "[zz]",
            "a:1:2",
            "::1",
        ] {
            let error = parse_servers(bad).unwrap_err();
            assert!(
                matches!(error, ClientError::InvalidAddress { .. }),
                "{bad}: {error}"
            );
        }
    }
}
