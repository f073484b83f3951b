//! Everything that a broker sends.

use alloc::vec::Vec;

use crate::admin::AdminDone;
use crate::deliver::Deliver;
use crate::encoder::{Builder, FrameEncoder};
use crate::error::{EncodeError, FrameError};
use crate::frame::Frame;
use crate::hello::Welcome;
use crate::kind::{Direction, Kind};
use crate::last::Last;
use crate::lookup::Located;
use crate::produce::{ProducerOpened, Receipts};
use crate::refusal::ErrorReply;
use crate::subscribe::{Active, Subscribed};
use crate::violation::Violation;

/// A frame from a broker, read. It borrows the frame's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<'a> {
    /// WELCOME.
    Welcome(Welcome<'a>),
    /// ERROR.
    Error(ErrorReply<'a>),
    /// PONG.
    Pong,
    /// PROBE.
    Probe,
    /// DONE.
    Done,
    /// LOCATED.
    Located(Located<'a>),
    /// PRODUCER_OPENED.
    ProducerOpened(ProducerOpened),
    /// RECEIPTS.
    Receipts(Receipts<'a>),
    /// CLOSED.
    Closed,
    /// SUBSCRIBED.
    Subscribed(Subscribed),
    /// ACTIVE.
    Active(Active),
    /// DELIVER.
    Deliver(Deliver<'a>),
    /// ACKED.
    Acked,
    /// LAST.
    Last(Last),
    /// ADMIN_DONE.
    AdminDone(AdminDone<'a>),
}

impl<'a> Reply<'a> {
    /// Reads what a broker's frame says.
    ///
    /// # Errors
    /// When the frame may not come from a broker, its control part is no table of its kind, or a
    /// field is out of its bounds.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, FrameError> {
        frame.check(Direction::BrokerToClient)?;
        Ok(match frame.kind {
            Kind::Welcome => Self::Welcome(Welcome::decode(frame)?),
            Kind::Error => Self::Error(ErrorReply::decode(frame)?),
            Kind::Pong => Self::Pong,
            Kind::Probe => Self::Probe,
            Kind::Done => Self::Done,
            Kind::Located => Self::Located(Located::decode(frame)?),
            Kind::ProducerOpened => Self::ProducerOpened(ProducerOpened::decode(frame)?),
            Kind::Receipts => Self::Receipts(Receipts::decode(frame)?),
            Kind::Closed => Self::Closed,
            Kind::Subscribed => Self::Subscribed(Subscribed::decode(frame)?),
            Kind::Active => Self::Active(Active::decode(frame)?),
            Kind::Deliver => Self::Deliver(Deliver::decode(frame)?),
            Kind::Acked => Self::Acked,
            Kind::Last => Self::Last(Last::decode(frame)?),
            Kind::AdminDone => Self::AdminDone(AdminDone {
                json: frame.payload,
            }),
            kind => return Err(FrameError::Unexpected { kind }),
        })
    }

    /// Writes the reply as one frame to the end of `out`, with an encoder of its own. A connection
    /// keeps a [`FrameEncoder`], which does not allocate.
    ///
    /// # Errors
    /// When a field is out of its bounds; `out` is then as before.
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        stream: u32,
        correlation: u64,
    ) -> Result<(), EncodeError> {
        FrameEncoder::new().reply(out, stream, correlation, self)
    }

    /// The kind of its frame.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Welcome(_) => Kind::Welcome,
            Self::Error(_) => Kind::Error,
            Self::Pong => Kind::Pong,
            Self::Probe => Kind::Probe,
            Self::Done => Kind::Done,
            Self::Located(_) => Kind::Located,
            Self::ProducerOpened(_) => Kind::ProducerOpened,
            Self::Receipts(_) => Kind::Receipts,
            Self::Closed => Kind::Closed,
            Self::Subscribed(_) => Kind::Subscribed,
            Self::Active(_) => Kind::Active,
            Self::Deliver(_) => Kind::Deliver,
            Self::Acked => Kind::Acked,
            Self::Last(_) => Kind::Last,
            Self::AdminDone(_) => Kind::AdminDone,
        }
    }

    /// The payload of its frame; empty for most kinds.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        match self {
            Self::Deliver(deliver) => deliver.entry,
            Self::AdminDone(done) => done.json,
            _ => &[],
        }
    }

    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        match self {
            Self::Welcome(welcome) => welcome.build(builder),
            Self::Error(error) => error.build(builder),
            Self::Located(located) => located.build(builder),
            Self::ProducerOpened(opened) => opened.build(builder),
            Self::Receipts(receipts) => receipts.build(builder),
            Self::Subscribed(subscribed) => subscribed.build(builder),
            Self::Active(active) => active.build(builder),
            Self::Deliver(deliver) => deliver.build(builder),
            Self::Last(last) => last.build(builder),
            Self::Pong
            | Self::Probe
            | Self::Done
            | Self::Closed
            | Self::Acked
            | Self::AdminDone(_) => Ok(()),
        }
    }
}
