//! Every limit of the system, in one place, with the relations between them asserted when the
//! crate is compiled.
//!
//! A limit that a user meets is listed in `docs/operations.md`.

/// The largest message payload that a producer may send, in bytes (5 MiB).
pub const MESSAGE_BYTES_MAX: usize = 5 * 1024 * 1024;

/// The largest payload of one entry (one message or one batch), in bytes. It leaves room for the
/// per-message headers, keys and properties around the largest message.
pub const ENTRY_PAYLOAD_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 64 * 1024;

/// The most messages that one entry may hold.
pub const ENTRY_MESSAGES_MAX: u32 = 65_536;

/// The largest FlatBuffers control part of one frame, in bytes.
pub const FRAME_CONTROL_BYTES_MAX: usize = 64 * 1024;

/// The largest frame, header included, in bytes.
pub const FRAME_BYTES_MAX: usize = ENTRY_PAYLOAD_BYTES_MAX + FRAME_CONTROL_BYTES_MAX + 4096;

/// The longest tenant, namespace or topic part of a topic's name, in bytes.
pub const NAME_PART_BYTES_MAX: usize = 255;

/// The longest subscription or producer name, in bytes.
pub const CLIENT_NAME_BYTES_MAX: usize = 255;

/// The longest key of a message, in bytes.
pub const KEY_BYTES_MAX: usize = 4096;

/// The most partitions of one topic.
pub const TOPIC_PARTITIONS_MAX: u32 = 1024;

/// The most producers and consumers together on one connection.
pub const CONNECTION_STREAMS_MAX: usize = 1024;

/// The most subscriptions of one partition.
pub const PARTITION_SUBSCRIPTIONS_MAX: usize = 100_000;

/// The most subscriptions of one partition that are not durable.
pub const PARTITION_READERS_MAX: usize = 10_000;

/// The most producer names that one partition remembers for deduplication. The one that has been
/// silent for longest is forgotten first.
pub const PARTITION_PRODUCERS_MAX: usize = 10_000;

/// How many of a producer's newest (sequence, id) pairs are remembered, so that a retry gets its
/// original id.
pub const PRODUCER_RECENT_IDS: usize = 1_000;

/// The smallest segment, in bytes: what an idle log costs on the disk.
pub const SEGMENT_BYTES_MIN: u64 = 16 * 1024;

/// The largest segment, in bytes. A segment is never larger, so a position in it fits in 32 bits.
pub const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How many times larger the next segment is, until the largest.
pub const SEGMENT_GROWTH: u64 = 4;

/// The most terms whose entries may share one segment: its footer has room for this many.
pub const SEGMENT_TERMS_MAX: usize = 64;

/// Bytes that stay free on the data directory's file system: no segment of entries is made that
/// would leave less, and none of a sibling log that would leave less than half, so that deleting,
/// acknowledging and the next start have room on a disk that is otherwise full.
pub const DISK_RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// On a small file system the reserve is no more than one part in so many of it.
pub const DISK_RESERVE_PARTS: u64 = 16;

/// Bytes that one core may hold which have been appended and not yet been synced, over all of its
/// partitions. Producers are held back beyond it.
pub const CORE_UNSYNCED_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Bytes that one log may hold staged or unsynced before its producers are held back.
pub const LOG_UNSYNCED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The same for a log at `memory`, where nobody waits for a sync: a burst of so much is taken as fast
/// as it comes, and beyond it producers go as fast as the disk does.
pub const MEMORY_LOG_UNSYNCED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes that are worth a write of their own: a round that has staged so many ends without waiting
/// for other connections, and a payload of so many is written from where it lies, without a copy.
pub const LOG_STAGED_BYTES_TARGET: usize = 64 * 1024;

/// The most unsynced bytes of one log that go through the journal; with more the log's own file is
/// synced, since writing so much twice would cost more than a sync.
pub const JOURNAL_CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Length of one journal file, in bytes. A core makes them as it needs them.
pub const JOURNAL_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The most journal files of one core. When all are full, logs are synced one by one until the
/// segments have caught up.
pub const JOURNAL_FILES_MAX: usize = 16;

/// The most bytes of one round of the journal; what does not fit waits for the next.
pub const JOURNAL_ROUND_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Bytes in the journal at which the segments behind it are synced, so that its room can be used
/// again and a start has little to replay.
pub const JOURNAL_CHECKPOINT_BYTES: u64 = 64 * 1024 * 1024;

/// How long a round stays in the journal before the segments behind it are synced, in
/// milliseconds.
pub const JOURNAL_CHECKPOINT_MS: u64 = 5_000;

/// Bytes queued towards one connection beyond which no more of its requests are read.
pub const CONNECTION_OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes queued towards one connection beyond which nothing more is delivered to its consumers.
/// They are read and checked in one go, while all others on the core wait.
pub const CONNECTION_DELIVERY_BYTES_MAX: usize = 1024 * 1024;

/// Bytes queued towards all connections of one core beyond which nothing more is delivered.
pub const CORE_OUTPUT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Requests of one connection that may be unanswered before no more of them are read.
pub const CONNECTION_INFLIGHT_MAX: usize = 10_000;

/// The most connections of one core.
pub const CORE_CONNECTIONS_MAX: usize = 20_000;

/// The most connections of one core that have not finished their handshake.
pub const CORE_HANDSHAKES_MAX: usize = 1_000;

/// How long a connection may take to finish its handshake, in milliseconds.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 5_000;

/// The permits (messages) that one consumer may have outstanding.
pub const CONSUMER_PERMITS_MAX: u32 = 1_000_000;

/// Unacknowledged messages of one consumer of a Shared subscription beyond which it is sent no more,
/// until half of them are acknowledged. An entry is sent whole, so one entry's messages more may be
/// out.
pub const CONSUMER_UNACKNOWLEDGED_MAX: u64 = 50_000;

/// The same of all consumers of such a subscription together.
pub const SUBSCRIPTION_UNACKNOWLEDGED_MAX: u64 = 200_000;

/// Entries of a Key_Shared subscription that were read, and wait for one consumer while others are
/// given what comes behind them; no more are read then.
pub const LOOK_AHEAD_MAX: usize = 20_000;

/// Entries of a shared or key-shared subscription that were read before they were due and are
/// remembered one by one: those that are due first. The others are remembered in
/// [`DELAYED_BLOCKS_MAX`] blocks, and read again when one of a block is due.
pub const DELAYED_ENTRIES_MAX: usize = 50_000;

/// Blocks of neighbouring entries, of which a subscription remembers the earliest time at which one of
/// them is due. With more of them, blocks become twice as long.
pub const DELAYED_BLOCKS_MAX: usize = 1_000;

/// The most consumers of one subscription on one partition.
pub const SUBSCRIPTION_CONSUMERS_MAX: usize = 10_000;

/// How often a client sends something when it has nothing to say, in milliseconds.
pub const BEACON_INTERVAL_MS: u32 = 100;

/// How long a connection may be silent before its peer is held for dead, in milliseconds.
pub const BEACON_TIMEOUT_MS: u32 = 1_000;

/// The range in which a client may negotiate its time-out, in milliseconds.
pub const BEACON_TIMEOUT_RANGE_MS: (u32, u32) = (200, 60_000);

/// A connection that has what another wants is asked whether it is there, and held for dead when it says
/// nothing for one part in so many of its agreed time-out.
pub const PROBE_PARTS: u32 = 5;

/// It is given at least this long, in milliseconds.
pub const PROBE_MS_MIN: u64 = 100;

/// The most requests that wait for the answer of one holder; more are refused as if it had answered.
pub const CLAIMANTS_MAX: usize = 64;

/// The most producers that wait for exclusive access to one partition.
pub const PRODUCERS_WAITING_MAX: usize = 1_000;

/// Retention when no policy says otherwise: what every subscription has acknowledged, or none
/// wants, is kept this long, in milliseconds (7 days).
pub const RETENTION_MS_DEFAULT: u64 = 7 * 24 * 60 * 60 * 1000;

/// The most tenants.
pub const TENANTS_MAX: usize = 10_000;

/// The most namespaces of one tenant.
pub const TENANT_NAMESPACES_MAX: usize = 1_000;

/// The most roles that have permissions in one namespace.
pub const NAMESPACE_ROLES_MAX: usize = 1_000;

/// The largest value of a policy: every number up to it is exact in JSON.
pub const POLICY_VALUE_MAX: i64 = 9_007_199_254_740_991;

/// The shortest time to live that a policy may state, in milliseconds: it is looked at about once a
/// second.
pub const TTL_MS_MIN: i64 = 1_000;

/// How much may be published at once, after a pause, as time at the rate that a policy states, in
/// milliseconds.
pub const RATE_BURST_MS: u64 = 200;

/// The most partitions held back by a quota that the broker names in one answer.
pub const HELD_BACK_TOLD_MAX: usize = 100;

/// How many replica groups a placement starts with, at the least.
pub const PLACEMENT_GROUPS_MIN: u32 = 16;

const _: () = assert!(MESSAGE_BYTES_MAX < ENTRY_PAYLOAD_BYTES_MAX);
const _: () = assert!(ENTRY_PAYLOAD_BYTES_MAX < FRAME_BYTES_MAX);
// The largest entry fits into a segment of the largest size with its footer.
const _: () = assert!((ENTRY_PAYLOAD_BYTES_MAX as u64) < SEGMENT_BYTES_MAX / 4);
const _: () = assert!(SEGMENT_BYTES_MAX <= u32::MAX as u64);
const _: () = assert!(SEGMENT_BYTES_MIN.is_power_of_two() && SEGMENT_BYTES_MAX.is_power_of_two());
const _: () = assert!(LOG_UNSYNCED_BYTES_MAX <= MEMORY_LOG_UNSYNCED_BYTES_MAX);
const _: () = assert!(MEMORY_LOG_UNSYNCED_BYTES_MAX <= CORE_UNSYNCED_BYTES_MAX);
const _: () = assert!(LOG_UNSYNCED_BYTES_MAX > FRAME_BYTES_MAX);
const _: () = assert!(JOURNAL_ROUND_BYTES_MAX * 2 <= JOURNAL_FILE_BYTES);
const _: () = assert!((JOURNAL_CHUNK_BYTES_MAX as u64) * 2 <= JOURNAL_ROUND_BYTES_MAX);
const _: () =
    assert!(JOURNAL_CHECKPOINT_BYTES * 2 <= JOURNAL_FILE_BYTES * JOURNAL_FILES_MAX as u64);
const _: () = assert!(BEACON_INTERVAL_MS * 2 <= BEACON_TIMEOUT_MS);
const _: () = assert!(BEACON_TIMEOUT_RANGE_MS.0 >= BEACON_INTERVAL_MS);
const _: () = assert!(PROBE_MS_MIN < BEACON_TIMEOUT_RANGE_MS.0 as u64);
const _: () = assert!(PROBE_MS_MIN >= BEACON_INTERVAL_MS as u64 && PROBE_PARTS > 1);
// A message with the longest key fits into an entry.
const _: () = assert!(MESSAGE_BYTES_MAX + KEY_BYTES_MAX + 1024 <= ENTRY_PAYLOAD_BYTES_MAX);
