//! Frames of the hot path: written and read, against one CRC-32 over the same bytes.
//!
//! A frame's checksum is the work that no codec can leave out, so it is the limit; what is missing
//! to 1 is the control part, the checks of its fields and the copies.

use std::hint::black_box;
use std::path::Path;

use criterion::Throughput;
use hulse_bench::{Limit, Suite, Work, filler, timed};
use hulse_model::entry::encode_entry;
use hulse_model::{EntryDraft, Offset, PayloadFormat, ProducerId, Term};
use hulse_wire::{
    AckRanges, Deliver, FrameEncoder, Produce, Receipt, ReceiptList, Receipts, Reply, Request,
    decode_frame,
};

const STREAM: u32 = 3;
const CORRELATION: u64 = 1_000;

fn main() {
    let mut suite = Suite::from_args(Path::new(env!("CARGO_TARGET_TMPDIR")));
    for (name, messages, bytes) in [("1 KiB", 1, 1024), ("128 KiB", 128, 128 * 1024)] {
        let payload = filler(bytes);
        produce(&mut suite, name, messages, &payload);
        deliver(&mut suite, name, messages, &payload);
    }
    for receipts in [1, 64] {
        receipts_frame(&mut suite, receipts);
    }
    suite.finish();
}

/// Measures `piece`, which writes or reads the frame in `frame`.
fn against_checksum(
    suite: &mut Suite,
    group: &'static str,
    name: &str,
    frame: &[u8],
    mut piece: impl FnMut(),
) {
    let work = Work {
        group,
        name: name.to_owned(),
        throughput: Throughput::Bytes(frame.len() as u64),
        samples: 50,
    };
    suite.compare(
        &work,
        |pieces| timed(pieces, &mut piece),
        Limit {
            name: "CRC-32 of the frame's bytes",
            run: |pieces| {
                timed(pieces, || {
                    black_box(crc32fast::hash(black_box(frame)));
                })
            },
        },
    );
}

fn produce(suite: &mut Suite, name: &str, messages: u32, payload: &[u8]) {
    let request = Request::Produce(Produce {
        sequence: 1_000_000,
        messages,
        skipped: false,
        delayed: false,
        payload,
    });
    let mut encoder = FrameEncoder::new();
    let mut frame = Vec::new();
    encoder
        .request(&mut frame, STREAM, CORRELATION, &request)
        .expect("the request is within bounds");
    // Up to the payload, which is sent from where it lies.
    let mut out = Vec::with_capacity(256);
    against_checksum(suite, "PRODUCE, write the head", name, &frame, || {
        out.clear();
        encoder
            .request_head(&mut out, STREAM, CORRELATION, black_box(&request))
            .expect("the request is within bounds");
        black_box(&out);
    });
    against_checksum(suite, "PRODUCE, read", name, &frame, || {
        let (found, _) = decode_frame(black_box(&frame))
            .expect("the frame is sound")
            .expect("the frame is whole");
        let read = Request::decode(&found).expect("the request is within bounds");
        assert!(matches!(black_box(read), Request::Produce(_)));
    });
}

fn deliver(suite: &mut Suite, name: &str, messages: u32, payload: &[u8]) {
    let draft = EntryDraft {
        format: PayloadFormat::Messages,
        appended_ms: 1_700_000_000_000,
        producer: ProducerId(1),
        sequence: 1_000_000,
        messages,
        payload,
        payload_crc: None,
    };
    let mut entry = Vec::new();
    encode_entry(&draft, Term(1), Offset(1_000_000), &mut entry);
    let deliver = Deliver {
        redelivery_count: 0,
        acked: AckRanges::EMPTY,
        entry: &entry,
    };
    let mut encoder = FrameEncoder::new();
    let mut frame = Vec::new();
    encoder
        .deliver_head(&mut frame, STREAM, &deliver, None)
        .expect("the delivery is within bounds");
    frame.extend_from_slice(&entry);
    let mut out = Vec::with_capacity(256);
    against_checksum(suite, "DELIVER, write the head", name, &frame, || {
        out.clear();
        encoder
            .deliver_head(&mut out, STREAM, black_box(&deliver), None)
            .expect("the delivery is within bounds");
        black_box(&out);
    });
    against_checksum(suite, "DELIVER, read", name, &frame, || {
        let (found, _) = decode_frame(black_box(&frame))
            .expect("the frame is sound")
            .expect("the frame is whole");
        let read = Reply::decode(&found).expect("the delivery is within bounds");
        assert!(matches!(black_box(read), Reply::Deliver(_)));
    });
}

fn receipts_frame(suite: &mut Suite, count: u32) {
    let receipts: Vec<Receipt> = (0..u64::from(count))
        .map(|number| Receipt {
            sequence: number,
            messages: 1,
            id: Some((Term(1), Offset(number))),
            duplicate: false,
        })
        .collect();
    let reply = Reply::Receipts(Receipts {
        receipts: ReceiptList::from(receipts.as_slice()),
    });
    let mut encoder = FrameEncoder::new();
    let mut frame = Vec::new();
    encoder
        .reply(&mut frame, STREAM, 0, &reply)
        .expect("the reply is within bounds");
    let name = format!("{count}");
    let mut out = Vec::with_capacity(frame.len());
    against_checksum(suite, "RECEIPTS, write", &name, &frame, || {
        out.clear();
        encoder
            .reply(&mut out, STREAM, 0, black_box(&reply))
            .expect("the reply is within bounds");
        black_box(&out);
    });
    against_checksum(suite, "RECEIPTS, read", &name, &frame, || {
        let (found, _) = decode_frame(black_box(&frame))
            .expect("the frame is sound")
            .expect("the frame is whole");
        let Reply::Receipts(read) = Reply::decode(&found).expect("the reply is within bounds")
        else {
            panic!("another kind of reply");
        };
        for receipt in read.receipts.iter() {
            black_box(receipt);
        }
    });
}
