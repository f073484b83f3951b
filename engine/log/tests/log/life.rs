//! The plain way through a partition's life.

use hulse_log::sim::SimDisk;
use hulse_log::{Disk, PartitionStore};
use hulse_model::{EntryDraft, Offset, PartitionId, PayloadFormat, ProducerId, Term, TopicName};

fn draft(payload: &[u8]) -> EntryDraft<'_> {
    EntryDraft {
        format: PayloadFormat::Messages,
        appended_ms: 1,
        producer: ProducerId(0),
        sequence: 0,
        messages: 1,
        payload,
        payload_crc: None,
    }
}

fn through<D: Disk>(disk: &D) {
    let topic: TopicName = "orders".parse().unwrap();
    let mut store = PartitionStore::create(disk, PartitionId(7), &topic).unwrap();
    for round in 0..300_u64 {
        loop {
            match store
                .entries
                .append(Term(1), &draft(format!("message {round}").as_bytes()))
            {
                Ok(appended) => break assert_eq!(appended.offset, Offset(round)),
                Err(hulse_log::AppendError::NoRoom { .. }) => {
                    let prepare = store.entries.segment_wanted().unwrap();
                    store.entries.segment_prepared(prepare.run()).unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
        if let Some(ticket) = store.entries.begin_sync() {
            let result = ticket.run();
            store.entries.finish_sync(ticket, result);
        }
    }
    assert_eq!(store.entries.flushed(), Offset(300));
    store.close_clean().unwrap();
    let (mut store, report) = PartitionStore::open(disk, PartitionId(7)).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(store.topic(), topic);
    let mut cursor = store.entries.cursor(Offset(0));
    for round in 0..300_u64 {
        let entry = store
            .entries
            .read(&mut cursor, Offset(300))
            .unwrap()
            .unwrap();
        assert_eq!(entry.payload(), format!("message {round}").as_bytes());
    }
    assert!(
        store
            .entries
            .read(&mut cursor, Offset(300))
            .unwrap()
            .is_none()
    );
}

#[test]
fn what_was_appended_is_read_after_a_clean_stop() {
    through(&SimDisk::new());
}

#[test]
fn the_same_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    through(&hulse_log::OsDisk::new(dir.path()));
}
