//! The log: a partition's entries and records on disk.
//!
//! A partition has two logs, one of what producers sent and one, the sibling, of everything else
//! that must survive. A log is a row of segments: files that are written with zeros before use,
//! appended to with positioned writes and read through a memory map. `docs/log-format.md` has the
//! bytes and the argument why a crash loses nothing that was durable.
//!
//! [`PartitionStore`] opens and recovers a partition, [`Log`] appends, syncs and reads. What may
//! block for long comes out as a value that a helper thread runs: [`Prepare`], [`Removal`],
//! [`MarkFlushed`]; a sync comes out as a [`SyncTicket`], for the caller's ring. All of it works over the [`Disk`]
//! trait: [`OsDisk`] is the real one, and the simulated one keeps any part of what was not synced.
#![deny(unsafe_code)]

mod damage;
pub mod disk;
pub mod field;
mod footer;
mod home;
mod journal;
mod leftovers;
mod log;
mod manifest;
mod map;
mod mark;
mod os;
mod prepare;
mod record;
mod recovery;
mod report;
mod scan;
mod segment;
mod segments;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod store;
mod survey;
mod verify;

#[cfg(any(test, feature = "sim"))]
mod fuzz;

pub use disk::{Disk, DiskFile, Fill, Reserve, is_out_of_files};
#[cfg(any(test, feature = "sim"))]
pub use fuzz::fuzz_recovery;
pub use home::ChangeHome;
pub use journal::{
    JOURNAL_VERSION, JOURNALS_DIR, Journal, JournalMark, JournalSizes, JournalTicket,
    PrepareJournal, PreparedJournal, ReplayError, ReplayReport, ReplayedDisk, ReplayedFile,
    ReplayedSlice, Round, replay,
};
pub use leftovers::remove_leftovers;
pub use log::{
    AppendError, Appended, Checkpoint, CheckpointTicket, Log, ReadCursor, ReadError, Removal,
    Retention, RoundShare, StoredEntry, SyncError, SyncTicket, TruncateError, WarmUp, WriteError,
};
pub use manifest::{LogMark, MANIFEST_VERSION, Manifest, ManifestError, TruncateIntent};
#[cfg(feature = "ways")]
pub use map::WritableMap;
pub use map::{MapSlice, announce_faults};
pub use mark::MarkFlushed;
pub use os::{OsDisk, OsFile};
pub use prepare::{Prepare, PrepareError, Prepared};
pub use recovery::OpenError;
pub use report::{DamageReason, DamagedRange, LogRecovery, RecoveryReport, TornTail};
pub use segment::{HeaderFault, LogKind, SEGMENT_VERSION};
pub use store::{
    CloseError, CreateError, PARTITIONS_DIR, PartitionStore, list_partitions, partition_dir,
};
pub use survey::FooterKind;
pub use verify::{LogVerification, SegmentVerification, VerifyReport, verify};
