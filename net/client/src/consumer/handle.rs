//! What a caller holds until its acknowledgement is durable.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::completion::WakerSlot;
use crate::consumer::acks::AckReceipt;
use crate::error::ClientError;

/// An acknowledgement on its way. It is a future: ready once the acknowledgement is durable, so
/// that the message is never delivered to the subscription again, in any region.
///
/// To drop the handle is allowed; the acknowledgement is sent all the same.
///
/// # Errors
/// What the broker refuses for good; the last cause when the client's operation time-out is over.
/// The acknowledgement is still sent once there is a connection again, unless the consumer is
/// closed before.
#[derive(Debug)]
#[must_use = "the acknowledgement may still fail; await the handle or drop it on purpose"]
pub struct AckHandle {
    receipt: Result<AckReceipt, ClientError>,
    slot: WakerSlot,
}

impl AckHandle {
    pub(super) fn new(receipt: Result<AckReceipt, ClientError>) -> Self {
        Self {
            receipt,
            slot: WakerSlot::default(),
        }
    }
}

impl Future for AckHandle {
    type Output = Result<(), ClientError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { receipt, slot } = self.get_mut();
        match receipt {
            Ok(receipt) => receipt.poll(cx, slot).map(Clone::clone),
            Err(error) => Poll::Ready(Err(error.clone())),
        }
    }
}
