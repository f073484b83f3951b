//! Everything that a client sends.

use alloc::vec::Vec;

use crate::ack::Ack;
use crate::admin::Admin;
use crate::encoder::{Builder, FrameEncoder};
use crate::error::{EncodeError, FrameError};
use crate::frame::Frame;
use crate::hello::Hello;
use crate::kind::{Direction, Kind};
use crate::lookup::Lookup;
use crate::produce::{OpenProducer, Produce};
use crate::redeliver::Redeliver;
use crate::seek::Seek;
use crate::subscribe::{Permits, Subscribe};
use crate::violation::Violation;

/// A frame from a client, read. It borrows the frame's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// HELLO.
    Hello(Hello<'a>),
    /// PING.
    Ping,
    /// LOOKUP.
    Lookup(Lookup),
    /// OPEN_PRODUCER.
    OpenProducer(OpenProducer),
    /// PRODUCE.
    Produce(Produce<'a>),
    /// CLOSE.
    Close,
    /// SUBSCRIBE.
    Subscribe(Subscribe<'a>),
    /// PERMITS.
    Permits(Permits),
    /// ACK.
    Ack(Ack<'a>),
    /// REDELIVER.
    Redeliver(Redeliver<'a>),
    /// SEEK.
    Seek(Seek),
    /// GET_LAST.
    GetLast,
    /// ADMIN.
    Admin(Admin<'a>),
}

impl<'a> Request<'a> {
    /// Reads what a client's frame says.
    ///
    /// # Errors
    /// When the frame may not come from a client, its control part is no table of its kind, or a
    /// field is out of its bounds. Only the last leaves the connection usable: see
    /// [`FrameError::is_fatal`].
    pub fn decode(frame: &Frame<'a>) -> Result<Self, FrameError> {
        frame.check(Direction::ClientToBroker)?;
        Ok(match frame.kind {
            Kind::Hello => Self::Hello(Hello::decode(frame)?),
            Kind::Ping => Self::Ping,
            Kind::Lookup => Self::Lookup(Lookup::decode(frame)?),
            Kind::OpenProducer => Self::OpenProducer(OpenProducer::decode(frame)?),
            Kind::Produce => Self::Produce(Produce::decode(frame)?),
            Kind::Close => Self::Close,
            Kind::Subscribe => Self::Subscribe(Subscribe::decode(frame)?),
            Kind::Permits => Self::Permits(Permits::decode(frame)?),
            Kind::Ack => Self::Ack(Ack::decode(frame)?),
            Kind::Redeliver => Self::Redeliver(Redeliver::decode(frame)?),
            Kind::Seek => Self::Seek(Seek::decode(frame)?),
            Kind::GetLast => Self::GetLast,
            Kind::Admin => Self::Admin(Admin::decode(frame)?),
            kind => return Err(FrameError::Unexpected { kind }),
        })
    }

    /// Writes the request as one frame to the end of `out`, with an encoder of its own. A
    /// connection keeps a [`FrameEncoder`], which does not allocate.
    ///
    /// # Errors
    /// When a field is out of its bounds; `out` is then as before.
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        stream: u32,
        correlation: u64,
    ) -> Result<(), EncodeError> {
        FrameEncoder::new().request(out, stream, correlation, self)
    }

    /// The kind of its frame.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Ping => Kind::Ping,
            Self::Lookup(_) => Kind::Lookup,
            Self::OpenProducer(_) => Kind::OpenProducer,
            Self::Produce(_) => Kind::Produce,
            Self::Close => Kind::Close,
            Self::Subscribe(_) => Kind::Subscribe,
            Self::Permits(_) => Kind::Permits,
            Self::Ack(_) => Kind::Ack,
            Self::Redeliver(_) => Kind::Redeliver,
            Self::Seek(_) => Kind::Seek,
            Self::GetLast => Kind::GetLast,
            Self::Admin(_) => Kind::Admin,
        }
    }

    /// The payload of its frame; empty for most kinds.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        match self {
            Self::Produce(produce) => produce.payload,
            _ => &[],
        }
    }

    pub(crate) fn build(&self, builder: &mut Builder, stream: u32) -> Result<(), Violation> {
        match self {
            Self::Hello(hello) => hello.build(builder),
            Self::Lookup(lookup) => lookup.build(builder),
            Self::OpenProducer(open) => open.build(builder),
            Self::Produce(produce) => produce.build(builder),
            Self::Subscribe(subscribe) => subscribe.build(builder),
            Self::Permits(permits) => permits.build(builder),
            Self::Ack(ack) => ack.build(builder),
            Self::Redeliver(redeliver) => redeliver.build(builder),
            Self::Seek(seek) => seek.build(builder, stream),
            Self::Admin(admin) => admin.build(builder),
            Self::Ping | Self::Close | Self::GetLast => Ok(()),
        }
    }
}
