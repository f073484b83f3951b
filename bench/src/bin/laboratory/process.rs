//! A server that the laboratory starts, watches and stops.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::Failure;
use crate::processors::{Place, Processors};

/// How long a server may take to begin or to end.
const PATIENCE: Duration = Duration::from_secs(300);
/// The unit in which Linux tells programs of processor time, on every processor that we run on.
const TICK: Duration = Duration::from_millis(10);
/// How often its end is looked for.
const LOOK: Duration = Duration::from_millis(2);

/// A process of ours. It is stopped, by its id, when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    child: Child,
}

impl Server {
    /// Starts it and waits for the first line that it writes to stdout, which it gives too.
    ///
    /// # Errors
    /// When it cannot be started, or ends or takes long before that.
    pub(crate) fn start_until_line(
        name: &str,
        command: &mut Command,
        processors: &Processors,
        place: Place,
    ) -> Result<(Self, String), Failure> {
        command.stdout(Stdio::piped());
        let mut server = Self::spawn(name, command, processors, place)?;
        let stdout = server.child.stdout.take();
        let stdout = stdout.ok_or_else(|| Failure::new(format!("{name} has no stdout")))?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Only the first line is waited for; the rest is read so that it never blocks.
                let _ = sender.send(line);
            }
        });
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => Ok((server, line)),
            Err(_) => Err(Failure::new(format!(
                "{name} did not begin, not within {} s",
                PATIENCE.as_secs()
            ))),
        }
    }

    /// Starts it and waits until something listens at this port of the loopback address.
    ///
    /// # Errors
    /// When it cannot be started, or ends or takes long before that.
    pub(crate) fn start_until_port(
        name: &str,
        command: &mut Command,
        processors: &Processors,
        place: Place,
        port: u16,
    ) -> Result<Self, Failure> {
        command.stdout(Stdio::null());
        let mut server = Self::spawn(name, command, processors, place)?;
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait().map_err(Failure::io(name))?;
            if ended.is_some() || began.elapsed() > PATIENCE {
                return Err(Failure::new(format!("{name} does not listen on {port}")));
            }
            thread::sleep(LOOK);
        }
        Ok(server)
    }

    fn spawn(
        name: &str,
        command: &mut Command,
        processors: &Processors,
        place: Place,
    ) -> Result<Self, Failure> {
        command.stdin(Stdio::null());
        let child = processors
            .spawn(command, place)
            .map_err(|error| Failure::new(format!("{name} cannot be started: {error}")))?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    /// Processor time that it has used, user and system, all threads.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        let path = format!("/proc/{}/stat", self.child.id());
        let text = fs::read_to_string(&path).map_err(Failure::io(&path))?;
        let ticks = cpu_ticks(&text)
            .ok_or_else(|| Failure::new(format!("{path} is not as it should be")))?;
        Ok(TICK * u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    /// Memory of its own, in bytes: files that it has mapped do not count, since the system takes
    /// them back at will.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn memory(&self) -> Result<u64, Failure> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(&path).map_err(Failure::io(&path))?;
        own_memory(&text).ok_or_else(|| Failure::new(format!("{path} is not as it should be")))
    }

    /// How many files, sockets included, it has open.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn open_files(&self) -> Result<usize, Failure> {
        let path = format!("/proc/{}/fd", self.child.id());
        Ok(fs::read_dir(&path).map_err(Failure::io(&path))?.count())
    }

    /// Asks it to stop and waits until it is gone.
    ///
    /// # Errors
    /// When it takes long.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        let name = self.name.clone();
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .map_err(|error| Failure::new(format!("{name} cannot be stopped: {error}")))?;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.child.try_wait().map_err(Failure::io(&name))?.is_some() {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
        Err(Failure::new(format!("{name} does not stop at SIGTERM")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended when it was stopped; otherwise something has failed, and that is told.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// User and system time in the text of `/proc/PID/stat`, in ticks of the clock.
fn cpu_ticks(stat: &str) -> Option<u64> {
    // The name stands in brackets and may hold anything; the fields behind it are plain.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// What is not of files, in the text of `/proc/PID/status`.
fn own_memory(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_are_read_from_what_the_kernel_writes() {
        let stat = "12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 111 22 0 0 20 0 3";
        assert_eq!(cpu_ticks(stat), Some(133));
        assert_eq!(cpu_ticks("12 (a) S 1"), None);
        let status = "VmRSS:\t  9 kB\nRssAnon:\t     40 kB\nRssFile:\t 1 kB\n";
        assert_eq!(own_memory(status), Some(40 * 1024));
        assert_eq!(own_memory("VmRSS:\t9 kB\n"), None);
    }

    #[test]
    fn a_server_that_ends_before_it_begins_is_told() {
        let processors = Processors::of_process().unwrap();
        let failed =
            Server::start_until_line("true", &mut Command::new("true"), &processors, Place::All);
        assert!(failed.unwrap_err().to_string().contains("did not begin"));
    }

    #[test]
    fn a_server_says_its_line_is_measured_and_stops() {
        let processors = Processors::of_process().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; exec sleep 1000"]);
        let (server, line) =
            Server::start_until_line("sh", &mut command, &processors, Place::First).unwrap();
        assert_eq!(line, "ready");
        assert!(server.cpu().unwrap() < Duration::from_secs(1));
        assert!(server.memory().unwrap() > 0);
        assert!(server.open_files().unwrap() >= 3);
        server.stop().unwrap();
    }
}
