//! MOVING: a partition is about to be served at another address.

use hulse_schema as schema;

use crate::encoder::Builder;
use crate::error::FrameError;
use crate::frame::Frame;
use crate::table::root;
use crate::violation::{TEXT_BYTES_MAX, Violation, check_text};

/// MOVING: the partition of the frame's stream is about to move. The stream goes on until an ERROR
/// ends it; a client that has dialled the address by then loses no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moving<'a> {
    /// Where the partition will be served, as `host:port`.
    pub address: &'a str,
}

impl<'a> Moving<'a> {
    pub(crate) fn build(&self, builder: &mut Builder) -> Result<(), Violation> {
        check(self.address)?;
        let args = schema::MovingArgs {
            address: Some(builder.create_string(self.address)),
        };
        let table = schema::Moving::create(builder, &args);
        builder.finish_minimal(table);
        Ok(())
    }

    pub(crate) fn decode(frame: &Frame<'a>) -> Result<Self, FrameError> {
        let table = root::<schema::Moving<'a>>(frame)?;
        let address = table.address().unwrap_or_default();
        check(address).map_err(|violation| frame.refused(violation))?;
        Ok(Self { address })
    }
}

fn check(address: &str) -> Result<(), Violation> {
    if address.is_empty() {
        return Err(Violation::Missing { field: "address" });
    }
    check_text("address", address, TEXT_BYTES_MAX)
}
