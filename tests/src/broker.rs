//! A broker of a test's own.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hulse_wire::Admin;
use hulse_wire::json::{BrokerStatus, PartitionDescription, TopicDescription};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tempfile::TempDir;

use crate::binary;
use crate::patience::{LIMIT, wait_until};
use crate::ready::Ready;
use crate::wire::Wire;

/// The ports that brokers have at their own addresses.
const PORT: u16 = 6650;
const ADMIN_PORT: u16 = 8080;

/// A loopback address that nothing else on the machine uses, so that a broker that is killed finds
/// its ports free when it comes back, whatever other tests do meanwhile.
#[must_use]
pub fn own_host() -> Ipv4Addr {
    let [b, c, d] = std::array::from_fn(|_| rand::random_range(1..=254));
    Ipv4Addr::new(127, b, c, d)
}

/// So many cores, or as many as this machine has. A broker refuses to start with more.
#[must_use]
pub fn cores(wanted: usize) -> usize {
    let available = thread::available_parallelism().map_or(1, usize::from);
    wanted.min(available)
}

/// How `hulse serve` is started.
#[derive(Debug, Clone)]
pub struct Serve {
    /// The data directory.
    pub data: PathBuf,
    /// Where core 0 listens.
    pub listen: SocketAddr,
    /// Where the admin port listens.
    pub admin: SocketAddr,
    /// Number of cores.
    pub cores: usize,
    /// More flags.
    pub flags: Vec<String>,
}

impl Serve {
    /// On a data directory and at a loopback address, with the usual ports.
    #[must_use]
    pub fn new(data: &Path, host: Ipv4Addr, cores: usize) -> Self {
        Self {
            data: data.to_owned(),
            listen: (host, PORT).into(),
            admin: (host, ADMIN_PORT).into(),
            cores,
            flags: Vec::new(),
        }
    }

    /// The words after `hulse`.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = vec!["serve".to_owned(), "--data".to_owned()];
        words.push(self.data.display().to_string());
        words.extend(["--listen".to_owned(), self.listen.to_string()]);
        words.extend(["--admin".to_owned(), self.admin.to_string()]);
        words.extend(["--cores".to_owned(), self.cores.to_string()]);
        words.extend(self.flags.iter().cloned());
        words
    }
}

/// A broker: its settings, its files, and its process while it has one. When a test fails, what the
/// broker has said is printed.
#[derive(Debug)]
pub struct Broker {
    serve: Serve,
    process: Option<Child>,
    ready: Option<Ready>,
    /// What all its lives have written to stderr.
    said: PathBuf,
    /// How much of that the lives before this one have written.
    said_before: u64,
    /// Its data and the above, unless the data is elsewhere.
    _dir: TempDir,
}

impl Broker {
    /// Starts a broker on a new data directory, and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(cores: usize) -> Self {
        let mut broker = Self::idle(None);
        broker.restart(cores);
        broker
    }

    /// Starts a broker on a new data directory with more flags, which its restarts have as well, and
    /// waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start_with(cores: usize, flags: &[&str]) -> Self {
        let mut broker = Self::idle(None);
        broker.serve.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        broker.restart(cores);
        broker
    }

    /// Starts a broker on this data directory, and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start_on(data: &Path, cores: usize) -> Self {
        let mut broker = Self::idle(Some(data));
        broker.restart(cores);
        broker
    }

    /// A broker on this data directory that is not started yet: see
    /// [`try_restart`](Self::try_restart).
    ///
    /// # Panics
    /// When there is no room for a directory.
    #[must_use]
    pub fn stopped_on(data: &Path) -> Self {
        Self::idle(Some(data))
    }

    fn idle(data: Option<&Path>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let data = data.map_or_else(|| dir.path().join("data"), Path::to_owned);
        Self {
            serve: Serve::new(&data, own_host(), 1),
            process: None,
            ready: None,
            said: dir.path().join("stderr"),
            said_before: 0,
            _dir: dir,
        }
    }

    /// Starts it again, on the same data and at the same address, and waits until it serves.
    ///
    /// # Panics
    /// When it runs, or does not serve in time.
    pub fn restart(&mut self, cores: usize) {
        let lines = self.launch(cores);
        let line = lines.recv_timeout(LIMIT);
        let line = line.unwrap_or_else(|_| panic!("no broker is ready:\n{}", self.said()));
        self.ready = Some(Ready::read(&line));
    }

    /// Starts it and kills it after this time, wherever it has come to by then: recovery, perhaps.
    ///
    /// # Panics
    /// When it runs already.
    pub fn start_and_kill9(&mut self, cores: usize, after: Duration) {
        self.start_and_kill9_behind(cores, after, || {});
    }

    /// The same, and something else happens just before it is killed.
    ///
    /// # Panics
    /// When it runs already.
    pub fn start_and_kill9_behind(&mut self, cores: usize, after: Duration, before: impl FnOnce()) {
        let lines = self.launch(cores);
        // This is the time that the test chooses, not one that it hopes to be long enough.
        thread::sleep(after);
        before();
        drop(lines);
        self.kill9();
    }

    /// Starts it as [`restart`](Self::restart) does, where that may be refused: gives how the
    /// process has ended when it did not get ready. What it said is in [`said`](Self::said).
    ///
    /// # Panics
    /// When it runs, or neither serves nor ends in time.
    ///
    /// # Errors
    /// The exit status of a broker that does not get ready.
    pub fn try_restart(&mut self, cores: usize) -> Result<(), ExitStatus> {
        let lines = self.launch(cores);
        match lines.recv_timeout(LIMIT) {
            Ok(line) => {
                self.ready = Some(Ready::read(&line));
                Ok(())
            }
            // Its stdout has ended, and so has it.
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.wait()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("no broker is ready:\n{}", self.said())
            }
        }
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not run, or does not end in time.
    pub fn wait(&mut self) -> ExitStatus {
        let process = self.process.as_mut().expect("the broker runs");
        let ended = wait_until("the broker ends", LIMIT, || {
            process.try_wait().expect("our own child")
        });
        self.process = None;
        self.ready = None;
        ended
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("the broker runs");
        kill_process(Pid::from_child(process), signal).expect("our own child");
    }

    /// Starts the process. The lines that it writes to stdout come over the channel.
    fn launch(&mut self, cores: usize) -> mpsc::Receiver<String> {
        assert!(self.process.is_none(), "the broker runs already");
        self.serve.cores = cores;
        let stderr = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.said);
        let stderr = stderr.expect("a file for stderr");
        self.said_before = stderr.metadata().expect("a file").len();
        let mut process = binary::command()
            .args(self.serve.words())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("hulse can be started");
        let stdout = process.stdout.take().expect("it is piped");
        self.process = Some(process);
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // A test that does not listen any more is no reason to stop the broker's stdout.
                let _ = sender.send(line);
            }
        });
        lines
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill9(&mut self) {
        let mut process = self.process.take().expect("the broker runs");
        self.ready = None;
        process.kill().expect("our own child");
        process.wait().expect("our own child");
    }

    /// Stops it with SIGTERM and waits until it is gone.
    ///
    /// # Panics
    /// When it does not run, or does not stop.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Asserts that it still runs and still answers.
    ///
    /// # Panics
    /// When it does not.
    pub fn assert_alive(&mut self) {
        let process = self.process.as_mut().expect("the broker was started");
        let ended = process.try_wait().expect("our own child");
        assert!(ended.is_none(), "the broker has ended: {ended:?}");
        assert!(self.status().ready);
    }

    /// What its present life has written to stderr.
    ///
    /// # Panics
    /// When the file cannot be read.
    #[must_use]
    pub fn said(&self) -> String {
        let mut text = Vec::new();
        let mut file = File::open(&self.said).expect("what was said");
        file.seek(SeekFrom::Start(self.said_before))
            .expect("a file");
        file.read_to_end(&mut text).expect("a file");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Its ready line.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn ready(&self) -> &Ready {
        self.ready.as_ref().expect("the broker is ready")
    }

    /// Its settings.
    #[must_use]
    pub const fn serve(&self) -> &Serve {
        &self.serve
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.serve.data
    }

    /// Where its core 0 listens, whether it runs or not.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.serve.listen
    }

    /// What `--server` is told.
    #[must_use]
    pub fn server(&self) -> String {
        format!("hulse://{}", self.address())
    }

    /// Where its admin port listens.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.serve.admin
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().expect("the broker runs").id()
    }

    /// What its descriptors are of.
    fn descriptor_links(&self) -> impl Iterator<Item = PathBuf> + use<> {
        let listed = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
        let links = listed.expect("a process of ours").flatten();
        // One that has been closed since it was listed does not count.
        links.filter_map(|entry| std::fs::read_link(entry.path()).ok())
    }

    /// Number of segments that it has open.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn open_segments(&self) -> usize {
        let is_segment = |link: &PathBuf| link.extension().is_some_and(|end| end == "seg");
        self.descriptor_links().filter(is_segment).count()
    }

    /// Sets how many descriptors it may have open from now on. Those that it has stay.
    ///
    /// # Panics
    /// When it does not run, or may not have so many.
    pub fn set_descriptors_max(&self, most: usize) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a process id"));
        let limit = Rlimit {
            current: Some(most as u64),
            maximum: getrlimit(Resource::Nofile).maximum,
        };
        prlimit(pid, Resource::Nofile, limit).expect("the limit is set");
    }

    /// Number of sockets that it has open, and of files and other descriptors.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn descriptors(&self) -> (usize, usize) {
        let links = self.descriptor_links();
        let is_socket = |link: &PathBuf| link.to_string_lossy().starts_with("socket:");
        let (sockets, files): (Vec<_>, Vec<_>) = links.partition(is_socket);
        (sockets.len(), files.len())
    }

    /// Memory of its own, in bytes: files that it has mapped do not count, since the system takes
    /// them back at will.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let text = std::fs::read_to_string(path).expect("a process of ours");
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse::<u64>().ok())
            .expect("a number of KiB")
            * 1024
    }

    /// Everything about it.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn status(&self) -> BrokerStatus {
        Wire::open(self.address())
            .admin(Admin::Status)
            .expect("a status")
    }

    /// Messages that it has acknowledged in its present life.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn produced_messages(&self) -> u64 {
        self.status()
            .cores
            .iter()
            .map(|core| core.produced.messages)
            .sum()
    }

    /// Everything about a topic; `None` when there is none.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn describe(&self, topic: &str) -> Option<TopicDescription> {
        let topic = topic.parse().expect("a legal name");
        Wire::open(self.address())
            .admin(Admin::DescribeTopic { topic })
            .ok()
    }

    /// Everything about the only partition of a topic.
    ///
    /// # Panics
    /// When there is none, or more than one.
    #[must_use]
    pub fn partition(&self, topic: &str) -> PartitionDescription {
        let described = self.describe(topic).expect("the topic exists");
        let [partition] = <[_; 1]>::try_from(described.partitions).expect("one partition");
        partition
    }

    /// The directory of a partition's files.
    #[must_use]
    pub fn partition_dir(&self, id: &str) -> PathBuf {
        self.data().join("partitions").join(id)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It may have ended by itself, which the test that cares has noticed.
            let _ = process.kill();
            let _ = process.wait();
        }
        if thread::panicking() {
            let said = std::fs::read(&self.said).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            println!(
                "--- what the broker at {} said ---\n{said}---",
                self.address()
            );
        }
    }
}
