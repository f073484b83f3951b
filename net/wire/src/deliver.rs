//! DELIVER: one entry on its way to a consumer.

use hulse_schema as schema;

use crate::ack::{ACK_RANGES_MAX, AckRanges, check_ranges};
use crate::encoder::Builder;
use crate::error::FrameError;
use crate::frame::Frame;
use crate::table::root;
use crate::violation::Violation;

/// DELIVER: the entry's bytes as stored, header and checksum included, are the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deliver<'a> {
    /// How often the entry was delivered to this subscription before.
    pub redelivery_count: u32,
    /// Messages of this entry that the consumer skips, because they are acknowledged already: at
    /// most [`ACK_RANGES_MAX`]. An entry with more holes than that is delivered several times, each
    /// time with everything outside one part of it to be skipped.
    pub acked: AckRanges<'a>,
    /// The entry (see `hulse_model::entry`). Its own checksum is the consumer's to check.
    pub entry: &'a [u8],
}

impl<'a> Deliver<'a> {
    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        check_ranges("acked", &self.acked, ACK_RANGES_MAX)?;
        let args = schema::DeliverArgs {
            redelivery_count: self.redelivery_count,
            acked: self.acked.build(builder),
        };
        let table = schema::Deliver::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'a>) -> Result<Self, FrameError> {
        let table = root::<schema::Deliver<'a>>(frame)?;
        let acked = AckRanges::from_vector(table.acked());
        check_ranges("acked", &acked, ACK_RANGES_MAX)
            .map_err(|violation| frame.refused(violation))?;
        Ok(Self {
            redelivery_count: table.redelivery_count(),
            acked,
            entry: frame.payload,
        })
    }
}
