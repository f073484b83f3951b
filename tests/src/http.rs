//! What the admin port answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::patience::LIMIT;

/// Asks the admin port for a path. Gives the status code and the body.
///
/// # Panics
/// When there is no answer of HTTP.
#[must_use]
pub fn get(admin: SocketAddr, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect_timeout(&admin, LIMIT).expect("the admin port");
    socket.set_read_timeout(Some(LIMIT)).expect("a socket");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("a socket");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.expect("a status code"), body.to_owned())
}

/// A figure of `/metrics`, summed over the cores.
///
/// # Panics
/// When there is none of that name.
#[must_use]
pub fn metric(admin: SocketAddr, name: &str) -> u64 {
    let (code, text) = get(admin, "/metrics");
    assert_eq!(code, 200, "{text}");
    let mut lines = text.lines().filter_map(|line| {
        let (labelled, value) = line.rsplit_once(' ')?;
        (labelled.split('{').next()? == name).then(|| value.parse::<u64>().expect("a number"))
    });
    let first = lines
        .next()
        .unwrap_or_else(|| panic!("no {name} in {text}"));
    first + lines.sum::<u64>()
}
