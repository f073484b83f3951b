//! Redis Streams, with the append-only file on, and the benchmark that comes with it.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use hulse_bench::filler;

use crate::failure::Failure;
use crate::lab::Lab;
use crate::peers::install;
use crate::process::Server;
use crate::processors::Place;

/// When Redis syncs its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Before it answers.
    Always,
    /// Once a second.
    EverySecond,
}

/// A server of our own.
pub(crate) struct Redis {
    lab: Lab,
    port: u16,
    /// What it says of its version.
    pub(crate) version: String,
    _server: Server,
    _files: tempfile::TempDir,
}

/// What `redis-benchmark` says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Added {
    /// Messages per second.
    pub(crate) per_second: f64,
    /// Half of the answers took at most this, in milliseconds.
    pub(crate) p50_ms: f64,
    /// 99 in 100 did.
    pub(crate) p99_ms: f64,
}

impl Redis {
    /// Starts a server on the broker's processor: it works on one thread.
    ///
    /// # Errors
    /// When it is not installed or does not begin.
    pub(crate) fn start(lab: &Lab, sync: Sync) -> Result<Self, Failure> {
        let version = install::version("redis-server")?;
        install::version("redis-benchmark")?;
        let files = tempfile::Builder::new()
            .prefix("hulse-laboratory-redis-")
            .tempdir_in(&lab.program.files)
            .map_err(Failure::io("a folder for Redis"))?;
        let port = free_port()?;
        let mut command = Command::new("redis-server");
        command.current_dir(files.path());
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--save", "", "--appendonly", "yes", "--appendfsync"]);
        command.arg(match sync {
            Sync::Always => "always",
            Sync::EverySecond => "everysec",
        });
        let processors = &lab.program.processors;
        let server =
            Server::start_until_port("redis-server", &mut command, processors, Place::First, port)?;
        Ok(Self {
            lab: lab.clone(),
            port,
            version,
            _server: server,
            _files: files,
        })
    }

    /// Adds messages of 1 KiB to a stream, from so many connections, each with so many on the way.
    ///
    /// # Errors
    /// When the benchmark fails.
    pub(crate) fn add(
        &self,
        messages: u64,
        connections: u32,
        pipeline: u32,
    ) -> Result<Added, Failure> {
        // Arguments are text: half a byte for each digit.
        let payload: String = filler(512)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let port = self.port.to_string();
        self.cli(&["FLUSHALL"])?;
        let mut command = Command::new("redis-benchmark");
        command.args(["-h", "127.0.0.1", "-p", &port, "--csv"]);
        command.args(["-n", &messages.to_string(), "-c", &connections.to_string()]);
        command.args(["-P", &pipeline.to_string()]);
        command.args(["XADD", "s", "*", "f", &payload]);
        let said = self.output(&mut command)?;
        added(&said).ok_or_else(|| Failure::new(format!("redis-benchmark says {said:?}")))
    }

    fn cli(&self, words: &[&str]) -> Result<(), Failure> {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        self.output(command.args(words)).map(|_| ())
    }

    fn output(&self, command: &mut Command) -> Result<String, Failure> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let name = command.get_program().to_string_lossy().into_owned();
        let processors = &self.lab.program.processors;
        let output = processors
            .spawn(command, Place::Others)
            .and_then(Child::wait_with_output)
            .map_err(Failure::io(&name))?;
        if !output.status.success() {
            return Err(Failure::new(format!(
                "{name} failed with {}",
                output.status
            )));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Reads the last line of the benchmark's table: the command, and seven figures.
fn added(said: &str) -> Option<Added> {
    let line = said.lines().rfind(|line| line.starts_with('"'))?;
    let figures: Vec<f64> = line
        .rsplit(',')
        .take(7)
        .map_while(|field| field.trim().trim_matches('"').parse().ok())
        .collect();
    // From the right: max, p99, p95, p50, min, mean, rate.
    let [_, p99_ms, _, p50_ms, _, _, per_second] = figures[..] else {
        return None;
    };
    Some(Added {
        per_second,
        p50_ms,
        p99_ms,
    })
}

/// A port that nothing listens on at this moment.
pub(crate) fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benchmarks_table_is_read_from_its_end() {
        let said = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\
                    \"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
                    \"XADD s * f a,b\",\"3600.58\",\"0.275\",\"0.136\",\"0.263\",\"0.343\",\
                    \"0.439\",\"2.143\"\n";
        let expected = Added {
            per_second: 3600.58,
            p50_ms: 0.263,
            p99_ms: 0.439,
        };
        assert_eq!(added(said), Some(expected));
        assert_eq!(added("\"test\",\"rps\"\n"), None);
        assert_eq!(added(""), None);
    }
}
