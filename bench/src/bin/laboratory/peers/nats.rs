//! NATS JetStream with file storage, published to by a minimal client of ours.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use hulse_bench::filler;

use crate::failure::Failure;
use crate::lab::Lab;
use crate::limits::p99_us;
use crate::peers::install;
use crate::peers::redis::free_port;
use crate::process::Server;
use crate::processors::Place;

/// Where acknowledgements come to.
const INBOX: &str = "_INBOX.laboratory";
/// What is published to.
const SUBJECT: &str = "laboratory";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server of our own.
pub(crate) struct Nats {
    lab: Lab,
    port: u16,
    /// What it says of its version.
    pub(crate) version: String,
    _server: Server,
    _files: tempfile::TempDir,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Published {
    /// Messages per second.
    pub(crate) per_second: f64,
    /// 99 in 100 acknowledgements took at most this, in microseconds.
    pub(crate) p99_us: f64,
}

impl Nats {
    /// Starts a server, on all processors: it works on several threads. Its sync settings are its
    /// own, so that it does not sync before it answers.
    ///
    /// # Errors
    /// When it is not installed or does not begin.
    pub(crate) fn start(lab: &Lab) -> Result<Self, Failure> {
        let version = install::version("nats-server")?;
        let files = tempfile::Builder::new()
            .prefix("hulse-laboratory-nats-")
            .tempdir_in(&lab.program.files)
            .map_err(Failure::io("a folder for NATS"))?;
        let port = free_port()?;
        let mut command = Command::new("nats-server");
        command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]);
        command.arg(files.path());
        // It writes much to stderr, none of it for us.
        command.args(["-l".as_ref(), files.path().join("log").as_os_str()]);
        let processors = &lab.program.processors;
        let server =
            Server::start_until_port("nats-server", &mut command, processors, Place::All, port)?;
        Ok(Self {
            lab: lab.clone(),
            port,
            version,
            _server: server,
            _files: files,
        })
    }

    /// Publishes messages of 1 KiB from one connection, with so many on the way.
    ///
    /// # Errors
    /// When the server refuses.
    pub(crate) fn publish(&self, messages: u64, window: usize) -> Result<Published, Failure> {
        let (port, on) = (self.port, self.lab.program.processors);
        let publishing = thread::spawn(move || {
            on.stay_on_others()?;
            Connection::open(port)?.publish(messages, window)
        });
        let failed = |_| Failure::new("the NATS client fails");
        publishing.join().map_err(failed)?
    }
}

/// A connection that speaks as much of the protocol as this needs.
struct Connection {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Connection {
    fn open(port: u16) -> Result<Self, Failure> {
        let writer = TcpStream::connect(("127.0.0.1", port))?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(PATIENCE))?;
        let reader = BufReader::with_capacity(64 * 1024, writer.try_clone()?);
        let mut connection = Self { reader, writer };
        connection.line()?;
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true}}\r\n\
             SUB {INBOX} 1\r\n"
        );
        connection.writer.write_all(hello.as_bytes())?;
        Ok(connection)
    }

    /// Asks the server for something by a message; gives its answer.
    fn ask(&mut self, subject: &str, body: &str) -> Result<String, Failure> {
        let asked = format!("PUB {subject} {INBOX} {}\r\n{body}\r\n", body.len());
        self.writer.write_all(asked.as_bytes())?;
        self.answer()
    }

    fn publish(&mut self, messages: u64, window: usize) -> Result<Published, Failure> {
        // A stream of an earlier measurement goes; there may be none.
        self.ask("$JS.API.STREAM.DELETE.laboratory", "")?;
        let stream = format!(
            "{{\"name\":\"laboratory\",\"subjects\":[\"{SUBJECT}\"],\"storage\":\"file\",\
             \"retention\":\"limits\",\"num_replicas\":1}}"
        );
        let created = self.ask("$JS.API.STREAM.CREATE.laboratory", &stream)?;
        if created.contains("\"error\"") {
            return Err(Failure::new(format!("NATS makes no stream: {created}")));
        }
        let payload = filler(1024);
        let mut one = format!("PUB {SUBJECT} {INBOX} {}\r\n", payload.len()).into_bytes();
        one.extend(&payload);
        one.extend(b"\r\n");
        let mut times = Vec::with_capacity(usize::try_from(messages).unwrap_or(0));
        let mut on_the_way = VecDeque::with_capacity(window);
        let mut unsent = messages;
        let mut batch = Vec::new();
        let began = Instant::now();
        while times.len() < times.capacity() {
            // All that there is room for goes out with one write.
            batch.clear();
            while on_the_way.len() < window && unsent > 0 {
                batch.extend(&one);
                on_the_way.push_back(Instant::now());
                unsent -= 1;
            }
            self.writer.write_all(&batch)?;
            // All that has come is taken before the next write.
            loop {
                let answer = self.answer()?;
                if answer.contains("\"error\"") {
                    return Err(Failure::new(format!("NATS refuses a message: {answer}")));
                }
                let sent: Option<Instant> = on_the_way.pop_front();
                times.push(sent.map_or(Duration::ZERO, |sent| sent.elapsed()));
                if self.reader.buffer().is_empty() || on_the_way.is_empty() {
                    break;
                }
            }
        }
        Ok(Published {
            per_second: messages as f64 / began.elapsed().as_secs_f64(),
            p99_us: p99_us(&times),
        })
    }

    /// The body of the next message to the inbox.
    fn answer(&mut self) -> Result<String, Failure> {
        loop {
            let line = self.line()?;
            if line == "PING" {
                self.writer.write_all(b"PONG\r\n")?;
            } else if let Some(length) = body_length(&line)? {
                let mut body = vec![0; length + 2];
                std::io::Read::read_exact(&mut self.reader, &mut body)?;
                body.truncate(length);
                return Ok(String::from_utf8_lossy(&body).into_owned());
            }
        }
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(Failure::new("NATS has closed the connection"));
        }
        Ok(line.trim_end().to_owned())
    }
}

/// The length of the body that follows a line, if one does.
fn body_length(line: &str) -> Result<Option<usize>, Failure> {
    if line.starts_with("-ERR") {
        return Err(Failure::new(format!("NATS says {line}")));
    }
    if !line.starts_with("MSG ") && !line.starts_with("HMSG ") {
        return Ok(None);
    }
    let length = line.rsplit(' ').next().and_then(|word| word.parse().ok());
    length
        .map(Some)
        .ok_or_else(|| Failure::new(format!("NATS says {line}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_have_bodies_and_errors_are_told() {
        assert_eq!(body_length("MSG _INBOX.laboratory 1 35"), Ok(Some(35)));
        assert_eq!(body_length("HMSG a 1 b 12 40"), Ok(Some(40)));
        assert_eq!(body_length("INFO {}"), Ok(None));
        assert_eq!(body_length("+OK"), Ok(None));
        assert!(body_length("-ERR 'Unknown'").is_err());
        assert!(body_length("MSG a b c").is_err());
    }
}
