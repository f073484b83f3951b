//! Reads the values of settings. Each refusal says what the value may be.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// The longest name of a region or a broker, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// `H:P`: an IP address or a name that resolves to one, and a port.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let resolved = text
        .to_socket_addrs()
        .map_err(|_| "it is an IP address and a port, such as 127.0.0.1:6650".to_owned())?;
    // Of a name that has addresses of both families, the one that the defaults use.
    let all: Vec<SocketAddr> = resolved.collect();
    let best = all.iter().find(|address| address.is_ipv4()).or(all.first());
    best.copied()
        .ok_or_else(|| "the name has no address".to_owned())
}

/// `H:P` or `off`.
pub(crate) fn address_or_off(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        Ok(None)
    } else {
        address(text).map(Some)
    }
}

/// `HOST[:PORT]`; an IPv6 address stands in brackets when a port follows.
pub(crate) fn advertised(text: &str) -> Result<(String, Option<u16>), String> {
    let refusal =
        || "it is a host name or an IP address, and a port from 1 if it differs".to_owned();
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text.to_owned(), None));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or_else(refusal)?;
            host.parse::<Ipv6Addr>().map_err(|_| refusal())?;
            match rest {
                "" => (host, None),
                rest => (host, Some(rest.strip_prefix(':').ok_or_else(refusal)?)),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let letters = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if host.is_empty() || (!text.starts_with('[') && !host.chars().all(letters)) {
        return Err(refusal());
    }
    let port = match port {
        None => None,
        Some(digits) => Some(whole(digits, 1, u64::from(u16::MAX)).map_err(|_| refusal())?),
    };
    Ok((
        host.to_owned(),
        port.map(|port| u16::try_from(port).expect("it is in range")),
    ))
}

/// The name of a region or a broker.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.chars().all(letters) {
        return Err("a name is 1 to 255 letters, digits and -_.".to_owned());
    }
    Ok(text.to_owned())
}

/// A whole number from `least` to `most`.
pub(crate) fn whole(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text
        .parse()
        .ok()
        .filter(|number| digits && (least..=most).contains(number));
    number.ok_or_else(|| format!("it is a whole number from {least} to {most}"))
}

/// Seconds, fractions allowed.
pub(crate) fn seconds(text: &str, least: f64, most: f64) -> Result<Duration, String> {
    let number = text
        .parse::<f64>()
        .ok()
        .filter(|number| (least..=most).contains(number));
    let number = number.ok_or_else(|| format!("it is seconds, from {least} to {most}"))?;
    Ok(Duration::from_secs_f64(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_ip_and_port_or_a_name_that_is_known() {
        assert_eq!(address("[::1]:0").unwrap(), "[::1]:0".parse().unwrap());
        assert_eq!(address("localhost:70").unwrap().port(), 70);
        for bad in ["", "127.0.0.1", "127.0.0.1:70000", "6650", ":"] {
            assert!(address(bad).is_err(), "{bad}");
        }
        assert_eq!(address_or_off("off").unwrap(), None);
    }

    #[test]
    fn what_is_advertised_is_a_host_and_perhaps_a_port() {
        let cases = [
            ("a.example", "a.example", None),
            ("a.example:7000", "a.example", Some(7000)),
            ("10.0.0.1", "10.0.0.1", None),
            ("::1", "::1", None),
            ("[::1]", "::1", None),
            ("[::1]:9", "::1", Some(9)),
        ];
        for (text, host, port) in cases {
            assert_eq!(advertised(text).unwrap(), (host.to_owned(), port), "{text}");
        }
        for bad in [
            "", ":1", "a:", "a:0", "a:65536", "a b", "[::1", "[a]:1", "[::1]x", "a:1:2",
        ] {
            assert!(advertised(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_and_numbers_have_ranges() {
        assert!(name("eu-west_1.a").is_ok());
        for bad in ["", "a b", "a,b", "a/b", &"x".repeat(256)] {
            assert!(name(bad).is_err(), "{bad}");
        }
        assert_eq!(whole("7", 1, 9), Ok(7));
        for bad in ["0", "10", "+7", "-7", "7.0", "", "x"] {
            assert!(whole(bad, 1, 9).is_err(), "{bad}");
        }
        assert_eq!(seconds("1.5", 0.1, 9.0), Ok(Duration::from_millis(1500)));
        for bad in ["0", "nan", "inf", "-1", "10", "s"] {
            assert!(seconds(bad, 0.1, 9.0).is_err(), "{bad}");
        }
    }
}
