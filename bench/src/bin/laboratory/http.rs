//! The one request that the laboratory makes over HTTP: the broker's status.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// The body of a page.
///
/// # Errors
/// When there is no answer, or not with status 200.
pub(crate) fn get(address: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer
        .strip_prefix("HTTP/1.1 200 ")
        .and_then(|rest| rest.split_once("\r\n\r\n"))
        .map(|(_, body)| body.to_owned());
    body.ok_or_else(|| {
        let line = answer.lines().next().unwrap_or("no answer");
        io::Error::other(format!("{path}: {line}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    fn answered(answer: &'static str) -> io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 16];
            stream.read_exact(&mut asked).unwrap();
            assert_eq!(&asked, b"GET /a HTTP/1.1\r");
            let mut rest = [0; 1024];
            let _ = stream.read(&mut rest).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let body = get(&address, "/a");
        serving.join().unwrap();
        body
    }

    #[test]
    fn only_a_good_answer_has_a_body() {
        assert_eq!(answered("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}").unwrap(), "{}");
        let failed = answered("HTTP/1.1 503 No\r\n\r\n{}").unwrap_err();
        assert_eq!(failed.to_string(), "/a: HTTP/1.1 503 No");
        assert!(answered("").is_err());
    }
}
