//! A broker of the laboratory's own, and the load that `hulse bench` puts on it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::Failure;
use crate::http;
use crate::process::Server;
use crate::processors::{Place, Processors};

/// The program that is measured, and where it keeps its files.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// The path of `hulse`.
    pub(crate) path: PathBuf,
    /// The directory in which brokers get theirs.
    pub(crate) files: PathBuf,
    /// Which processor does what.
    pub(crate) processors: Processors,
}

/// How an idle processor waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// It sleeps.
    Sleeping,
    /// It looks for work, both of the broker's core and of the load.
    Spinning,
}

impl Waiting {
    /// What to call it in a row.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Sleeping => "sleeping when idle",
            Self::Spinning => "spinning",
        }
    }
}

/// A broker with one core, and its files, which go with it.
#[derive(Debug)]
pub(crate) struct Broker {
    program: Program,
    server: Option<Server>,
    address: String,
    admin: String,
    waiting: Waiting,
    files: tempfile::TempDir,
}

impl Program {
    /// Starts a broker with one core, on free ports.
    ///
    /// # Errors
    /// When it does not begin.
    pub(crate) fn broker(&self, waiting: Waiting) -> Result<Broker, Failure> {
        let files = tempfile::Builder::new()
            .prefix("hulse-laboratory-")
            .tempdir_in(&self.files)
            .map_err(Failure::io(self.files.display()))?;
        let mut broker = Broker {
            program: self.clone(),
            server: None,
            address: String::new(),
            admin: String::new(),
            waiting,
            files,
        };
        broker.start()?;
        Ok(broker)
    }

    /// A command of the program in which none of the caller's settings are left.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HULSE_") {
                command.env_remove(name);
            }
        }
        command
    }
}

impl Broker {
    fn start(&mut self) -> Result<(), Failure> {
        let mut command = self.program.command();
        command.args(["serve", "--cores", "1", "--admin", "127.0.0.1:0"]);
        command.args(["--listen", "127.0.0.1:0", "--data"]);
        command.arg(self.data());
        if self.waiting == Waiting::Spinning {
            command.args(["--spin-us", "100"]);
        }
        // What it says is looked at only when it does not begin.
        let said = self.files.path().join("stderr");
        let file = fs::File::create(&said).map_err(Failure::io(said.display()))?;
        command.stderr(file);
        let processors = &self.program.processors;
        let (server, line) =
            Server::start_until_line("the broker", &mut command, processors, Place::All).map_err(
                |failure| {
                    let said = fs::read_to_string(&said).unwrap_or_default();
                    Failure::new(format!("{failure}; it said: {}", said.trim()))
                },
            )?;
        let word = |name| word_in(&line, name);
        let (Some(address), Some(admin)) = (word("listen="), word("admin=")) else {
            return Err(Failure::new(format!("not a ready line: {line:?}")));
        };
        (self.address, self.admin) = (address, admin);
        self.server = Some(server);
        Ok(())
    }

    /// Stops it and starts it again. Gives how long the start took.
    ///
    /// # Errors
    /// When it does not end or begin.
    pub(crate) fn restart(&mut self) -> Result<Duration, Failure> {
        self.server()?;
        if let Some(server) = self.server.take() {
            server.stop()?;
        }
        let began = Instant::now();
        self.start()?;
        Ok(began.elapsed())
    }

    fn server(&self) -> Result<&Server, Failure> {
        let server = self.server.as_ref();
        server.ok_or_else(|| Failure::new("the broker does not run"))
    }

    fn data(&self) -> PathBuf {
        self.files.path().join("data")
    }

    /// How an idle processor waits.
    pub(crate) const fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Memory of its own, in bytes.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn memory(&self) -> Result<u64, Failure> {
        self.server()?.memory()
    }

    /// What its files take on the disk, in bytes.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn disk(&self) -> Result<u64, Failure> {
        disk_bytes(&self.data()).map_err(Failure::io("the broker's files"))
    }

    /// The paths of its files.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub(crate) fn paths(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut paths = Vec::new();
        add_paths(&self.data(), &mut paths).map_err(Failure::io("the broker's files"))?;
        Ok(paths)
    }

    /// How many files and connections it has open.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn open_files(&self) -> Result<usize, Failure> {
        self.server()?.open_files()
    }

    /// Runs the command of one line, whose words are separated by spaces, against it, on the load's
    /// processors, and reads its JSON.
    ///
    /// # Errors
    /// When it fails.
    pub(crate) fn run<T: DeserializeOwned>(&self, line: &str) -> Result<T, Failure> {
        let mut command = self.program.command();
        command
            .args(line.split_whitespace())
            .args(["--json", "--timeout", "600", "--server"]);
        command.arg(format!("hulse://{}", self.address));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = self
            .program
            .processors
            .spawn(&mut command, Place::Others)
            .and_then(std::process::Child::wait_with_output)
            .map_err(Failure::io(line))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new(format!("`{line}` fails: {}", said.trim())));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| Failure::new(format!("`{line}`: {error}")))
    }

    /// Deletes a topic with everything in it.
    ///
    /// # Errors
    /// When the broker refuses.
    pub(crate) fn delete(&self, topic: &str) -> Result<(), Failure> {
        self.run::<Value>(&format!("topic delete {topic}"))
            .map(|_| ())
    }

    /// What it has done in its present life.
    ///
    /// # Errors
    /// When the broker does not say.
    pub(crate) fn work(&self) -> Result<Work, Failure> {
        let body = http::get(&self.admin, "/status").map_err(Failure::io("the broker's status"))?;
        let status: Value = serde_json::from_str(&body)
            .map_err(|error| Failure::new(format!("the broker's status: {error}")))?;
        let sum = |path: &str| -> u64 {
            let cores = status["cores"].as_array().into_iter().flatten();
            cores.filter_map(|core| core.pointer(path)?.as_u64()).sum()
        };
        Ok(Work {
            syncs: sum("/syncs/count"),
            messages: sum("/produced/messages"),
            bytes: sum("/produced/bytes"),
            delivered: sum("/delivered/messages"),
            cpu: self.server()?.cpu()?,
        })
    }
}

/// What a broker has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    /// How often it has synced.
    syncs: u64,
    /// How many messages it has acknowledged.
    messages: u64,
    /// How many bytes of messages.
    bytes: u64,
    /// How many messages it has sent to consumers.
    delivered: u64,
    /// Processor time that it has used, user and system, all threads.
    cpu: Duration,
}

impl Work {
    /// Bytes of messages that one sync made durable, on average, since an earlier look.
    pub(crate) fn round_bytes_since(&self, earlier: &Self) -> u64 {
        let syncs = self.syncs.saturating_sub(earlier.syncs).max(1);
        self.bytes.saturating_sub(earlier.bytes) / syncs
    }

    /// Processor time that it has used.
    pub(crate) const fn cpu(&self) -> Duration {
        self.cpu
    }

    /// Processor time for a message that was acknowledged since an earlier look, in microseconds.
    pub(crate) fn cpu_us_since(&self, earlier: &Self) -> f64 {
        let messages = self.messages.saturating_sub(earlier.messages).max(1);
        self.cpu_us_of(messages, earlier)
    }

    /// Processor time for a message that was sent to a consumer since an earlier look, in
    /// microseconds.
    pub(crate) fn cpu_us_delivered_since(&self, earlier: &Self) -> f64 {
        let messages = self.delivered.saturating_sub(earlier.delivered).max(1);
        self.cpu_us_of(messages, earlier)
    }

    /// Processor time since an earlier look for each of so many messages, in microseconds.
    pub(crate) fn cpu_us_of(&self, messages: u64, earlier: &Self) -> f64 {
        self.cpu.saturating_sub(earlier.cpu).as_secs_f64() * 1e6 / messages as f64
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(server) = self.server.take()
            && let Err(failure) = server.stop()
        {
            eprintln!("laboratory: {failure}");
        }
    }
}

/// The first address behind a name, in the line that says that a broker serves.
fn word_in(ready: &str, name: &str) -> Option<String> {
    let mut words = ready.split(' ');
    (words.next()? == "ready").then_some(())?;
    let value = words.find_map(|word| word.strip_prefix(name))?;
    value.split(',').next().map(str::to_owned)
}

/// What is taken on the disk by a folder and everything in it.
fn disk_bytes(path: &Path) -> std::io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    // The system counts in blocks of 512 bytes, whatever the file system's are.
    let mut bytes = metadata.blocks() * 512;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            bytes += disk_bytes(&entry?.path())?;
        }
    }
    Ok(bytes)
}

fn add_paths(path: &Path, paths: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            add_paths(&entry?.path(), paths)?;
        }
    } else {
        paths.push(path.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_ready_line() {
        let line = "ready listen=127.0.0.1:1,127.0.0.1:2 admin=127.0.0.1:3 broker=b cores=2";
        assert_eq!(word_in(line, "listen=").as_deref(), Some("127.0.0.1:1"));
        assert_eq!(word_in(line, "admin=").as_deref(), Some("127.0.0.1:3"));
        assert_eq!(word_in(line, "region="), None);
        assert_eq!(word_in("listen=127.0.0.1:1", "listen="), None);
    }

    #[test]
    fn work_is_told_for_one_sync_and_for_one_message() {
        let work = |syncs, messages, bytes, cpu_ms| Work {
            syncs,
            messages,
            bytes,
            delivered: messages / 5,
            cpu: Duration::from_millis(cpu_ms),
        };
        let (before, after) = (work(2, 10, 1_000, 50), work(12, 510, 5_000, 60));
        assert_eq!(after.round_bytes_since(&before), 400);
        assert!((after.cpu_us_since(&before) - 20.0).abs() < 1e-9);
        assert!((after.cpu_us_delivered_since(&before) - 100.0).abs() < 1e-9);
        assert_eq!(before.round_bytes_since(&before), 0);
        assert_eq!(before.cpu_us_since(&before), 0.0);
    }

    #[test]
    fn holes_take_nothing_and_folders_are_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        let empty = disk_bytes(dir.path()).unwrap();
        let below = dir.path().join("below");
        fs::create_dir(&below).unwrap();
        let file = fs::File::create(below.join("sparse")).unwrap();
        file.set_len(1 << 30).unwrap();
        let full = below.join("full");
        fs::write(&full, vec![1; 1 << 20]).unwrap();
        fs::File::open(&full).unwrap().sync_all().unwrap();
        let bytes = disk_bytes(dir.path()).unwrap() - empty;
        assert!((1 << 20..2 << 20).contains(&bytes), "{bytes}");
    }
}
