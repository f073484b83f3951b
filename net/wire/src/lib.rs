//! The Hulse protocol as pure functions over bytes: frames, and the requests and replies in them.
//!
//! A frame is a fixed header, a FlatBuffers control part and a raw payload. [`decode_frame`] cuts
//! one out of the bytes that a socket gave and believes nothing before it is checked;
//! [`Request::decode`] and [`Reply::decode`] read what it says; [`FrameEncoder`] writes. Payloads
//! are borrowed on both ways, so a message is never copied to be encoded or decoded.
//!
//! The crate knows no socket, no clock and no randomness. `docs/protocol.md` is the protocol's
//! text; a test compares its tables with this code.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod ack;
mod admin;
mod deliver;
mod encoder;
mod error;
mod frame;
mod fuzz;
mod hello;
#[cfg(feature = "json")]
pub mod json;
mod kind;
mod last;
mod list;
mod lookup;
mod produce;
mod redeliver;
mod refusal;
mod reply;
mod request;
mod seek;
mod subscribe;
mod table;
mod tenancy;
mod violation;

pub use ack::{ACK_RANGES_MAX, Ack, AckKind, AckRange, AckRanges};
pub use admin::{AckLevel, Admin, AdminDone, CreateTopic, REGIONS_MAX};
pub use deliver::Deliver;
pub use encoder::FrameEncoder;
pub use error::{EncodeError, FrameError};
pub use frame::{
    FRAME_HEADER_BYTES, Frame, FrameHeader, HELLO_FRAME_BYTES_MAX, MAGIC, check_opening,
    decode_frame, decode_hello, needed,
};
pub use fuzz::fuzz_frames;
pub use hello::{Beacons, Hello, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, Welcome};
pub use kind::{CorrelationUse, Direction, Kind, StreamUse};
pub use last::{Last, LastMessage};
pub use lookup::{ADDRESS_BYTES_MAX, Located, Lookup, PartitionPlace};
pub use produce::{
    Access, LastStored, OpenProducer, Produce, ProducerOpened, RECEIPTS_MAX, Receipt, ReceiptList,
    Receipts,
};
pub use redeliver::{EntryOffsets, REDELIVER_ENTRIES_MAX, Redeliver};
pub use refusal::{ERROR_MESSAGE_BYTES_MAX, ErrorReply, StatusCode};
pub use reply::Reply;
pub use request::Request;
pub use seek::{Seek, SeekTo, SubscriptionRef};
pub use subscribe::{Active, Permits, StartFrom, Subscribe, Subscribed, SubscriptionType};
pub use table::TableFault;
pub use tenancy::{POLICY_CHANGES_MAX, Permissions, Tenancy};
pub use violation::{TEXT_BYTES_MAX, Violation};
