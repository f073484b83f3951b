//! What a broker is started with, what it says when it is ready, and why it may refuse.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How the cores of a broker are balanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalanceConfig {
    /// How often the cores' loads are measured.
    pub every: Duration,
    /// How much of its time a core must be busy to give anything away, in percent.
    pub percent: u32,
}

/// The settings of one broker.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The data directory; made if it does not exist.
    pub data: PathBuf,
    /// Where core 0 listens. Core i listens on port + i; port 0 gives every core a free port.
    pub listen: SocketAddr,
    /// The host, and the port of core 0 if it differs, that clients are told to dial.
    pub advertise: Option<(String, Option<u16>)>,
    /// Where the admin port listens; absent for none.
    pub admin: Option<SocketAddr>,
    /// How many cores; absent for every CPU that this process may use.
    pub cores: Option<usize>,
    /// The broker's region.
    pub region: String,
    /// The broker's name.
    pub broker: String,
    /// Listening on an address that other machines reach is allowed without authentication.
    pub allow_unauthenticated: bool,
    /// How long a core looks for more work before it sleeps.
    pub spin: Duration,
    /// How groups move from hot cores to cool ones; absent when nothing is to be moved.
    pub balance: Option<BalanceConfig>,
}

/// A broker that is ready to serve.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Where each core listens.
    pub listen: Vec<SocketAddr>,
    /// Where the admin port listens.
    pub admin: Option<SocketAddr>,
    /// The broker's name.
    pub broker: String,
    /// Its region.
    pub region: String,
    /// How many cores.
    pub cores: usize,
    /// What recovery found, in sentences; empty when every partition was closed cleanly.
    pub recovery: Vec<String>,
}

/// Why a broker did not start, or stopped. Each is one sentence with its remedy.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The machine lacks something that the executor needs.
    #[error("{sentence}")]
    Preflight {
        /// What is missing and how to mend it.
        sentence: String,
    },
    /// The address would be reachable from other machines by anybody.
    #[error(
        "{listen} can be reached from other machines and no authentication is configured; listen \
         on 127.0.0.1, or say --allow-unauthenticated"
    )]
    Unauthenticated {
        /// The address.
        listen: SocketAddr,
    },
    /// A wildcard address cannot be dialled.
    #[error(
        "{listen} is a wildcard address; say --advertise HOST, the name that clients are to dial"
    )]
    AdvertiseNeeded {
        /// The address.
        listen: SocketAddr,
    },
    /// There are not enough ports above the first.
    #[error("core {core} would need a port above 65535; choose a lower --listen port")]
    PortRange {
        /// The core.
        core: usize,
    },
    /// A port is taken, or the address is not this machine's.
    #[error("cannot listen on {address}: {source}; stop what uses it, or choose another address")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process uses the data directory.
    #[error("the data directory {} is in use by another process{holder}; stop it, or choose another --data", path.display())]
    DataInUse {
        /// The directory.
        path: PathBuf,
        /// The process, if it said who it is.
        holder: String,
    },
    /// The data directory was written by another version.
    #[error("the data directory {} has format {found}, this program reads format {known}; use the version that wrote it", path.display())]
    DataVersion {
        /// The directory.
        path: PathBuf,
        /// The format found.
        found: String,
        /// The format known.
        known: u32,
    },
    /// What an earlier life has left in a journal cannot be brought into the segments.
    #[error("a journal of the data directory {} cannot be replayed: {source}", path.display())]
    Journal {
        /// The data directory.
        path: PathBuf,
        /// Why.
        source: hulse_log::ReplayError,
    },
    /// The data directory cannot be used.
    #[error("the data directory {} cannot be used: {source}; check that it exists, is writable and has space", path.display())]
    Data {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The metadata store cannot be used.
    #[error("the metadata store cannot be used: {reason}")]
    Metadata {
        /// What is wrong.
        reason: String,
    },
    /// A core stopped by itself.
    #[error("core {core} failed: {reason}")]
    Core {
        /// The core.
        core: usize,
        /// What is wrong.
        reason: String,
    },
    /// The control thread could not be set up.
    #[error("the control thread could not be started: {source}")]
    Control {
        /// What the system said.
        source: std::io::Error,
    },
}
