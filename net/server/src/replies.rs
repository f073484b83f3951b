//! The shard's and the control thread's answers, as frames.

use hulse_log::Disk;
use hulse_shard::{Refusal, Reply, StreamKey};
use hulse_wire::{
    Active, AdminDone, Last, LastMessage, LastStored, Located, PartitionPlace, ProducerOpened,
    Reply as Frame, Subscribed,
};

use crate::messages::Told;
use crate::outbox::Outbox;

/// Queues a shard's answer. Returns how many bytes it takes.
pub(crate) fn queue<D: Disk>(
    outbox: &mut Outbox<D>,
    to: StreamKey,
    correlation: u64,
    reply: &Reply,
) -> usize {
    let frame = match reply {
        Reply::Refused(refusal) => return outbox.refuse(to, correlation, refusal),
        Reply::ProducerWaits { name } => Frame::ProducerOpened(ProducerOpened {
            name: name.clone(),
            epoch: 0,
            last: None,
            access_epoch: 0,
            waits: true,
        }),
        Reply::ProducerOpened {
            name,
            epoch,
            last,
            access_epoch,
        } => Frame::ProducerOpened(ProducerOpened {
            name: name.clone(),
            epoch: *epoch,
            access_epoch: *access_epoch,
            waits: false,
            last: last.map(|(sequence, term, offset)| LastStored {
                sequence,
                term,
                offset,
            }),
        }),
        Reply::Subscribed {
            mark,
            log_start,
            high_watermark,
            created,
        } => Frame::Subscribed(Subscribed {
            mark: *mark,
            log_start: *log_start,
            high_watermark: *high_watermark,
            created: *created,
        }),
        Reply::Active(active) => Frame::Active(Active { active: *active }),
        Reply::Last {
            last,
            mark,
            high_watermark,
        } => Frame::Last(Last {
            last: last.map(|last| LastMessage {
                term: last.term,
                offset: last.offset,
                index: last.index,
            }),
            mark: *mark,
            high_watermark: *high_watermark,
        }),
        Reply::Acked => Frame::Acked,
        Reply::Done => Frame::Done,
        Reply::Closed => Frame::Closed,
    };
    outbox.reply(to.stream, correlation, &frame)
}

/// Queues the control thread's answer. Returns how many bytes it takes.
pub(crate) fn queue_told<D: Disk>(outbox: &mut Outbox<D>, correlation: u64, told: &Told) -> usize {
    match told {
        Told::Located { topic, places } => {
            let places = places
                .iter()
                .map(|place| PartitionPlace {
                    partition: place.partition,
                    id: place.id,
                    address: &place.address,
                })
                .collect();
            outbox.reply(
                0,
                correlation,
                &Frame::Located(Located {
                    topic: topic.clone(),
                    places,
                }),
            )
        }
        Told::Json(json) => outbox.reply(0, correlation, &Frame::AdminDone(AdminDone { json })),
        Told::Refused { status, message } => {
            let to = StreamKey {
                connection: 0,
                stream: 0,
            };
            outbox.refuse(to, correlation, &Refusal::new(*status, message.as_str()))
        }
    }
}
