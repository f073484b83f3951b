//! `docs/protocol.md` says what the code does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hulse_model::{Fault, Status, limits};
use hulse_wire::{
    ACK_RANGES_MAX, CorrelationUse, Direction, ERROR_MESSAGE_BYTES_MAX, FRAME_HEADER_BYTES,
    HELLO_FRAME_BYTES_MAX, Kind, MAGIC, PROTOCOL_VERSION, RECEIPTS_MAX, REDELIVER_ENTRIES_MAX,
    Reply, StreamUse, TEXT_BYTES_MAX, decode_frame,
};

fn read(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).expect(path)
}

/// The rows of the table whose heading is `heading`, as cells.
fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    let mut lines = document.lines().skip_while(|line| *line != heading);
    assert!(
        lines.next().is_some(),
        "the document has no table {heading}"
    );
    lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(cells)
        .collect()
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

#[test]
fn the_header_is_as_the_document_says() {
    let document = read("docs/protocol.md");
    let payload = b"[]";
    let mut frame = Vec::new();
    Reply::AdminDone(hulse_wire::AdminDone { json: payload })
        .encode(&mut frame, 0, 0x0102_0304_0506_0708)
        .unwrap();
    let values: BTreeMap<&str, u64> = BTreeMap::from([
        ("length", frame.len() as u64),
        ("kind", u64::from(Kind::AdminDone.code())),
        ("flags", 0),
        ("stream", 0),
        ("control_bytes", 0),
        ("correlation", 0x0102_0304_0506_0708),
        ("header_crc", u64::from(crc32fast::hash(&frame[..24]))),
        ("body_crc", u64::from(crc32fast::hash(payload))),
    ]);
    let rows = table(&document, "| bytes | field | type | meaning |");
    assert_eq!(rows.len(), values.len());
    let mut next = 0;
    for row in rows {
        let (from, to) = row[0].split_once("..").expect("a range of bytes");
        let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
        assert_eq!(from, next, "no byte is left out");
        next = to;
        assert_eq!(row[2], format!("u{}", (to - from) * 8));
        let mut bytes = [0; 8];
        bytes[..to - from].copy_from_slice(&frame[from..to]);
        let field = row[1].trim_matches('`');
        assert_eq!(u64::from_le_bytes(bytes), values[field], "{field}");
    }
    assert_eq!(next, FRAME_HEADER_BYTES);
    assert!(decode_frame(&frame).unwrap().is_some());
}

#[test]
fn stream_and_correlation_id_lie_where_the_document_says() {
    // The frame above has 0 in its stream field, as every frame of a connection has.
    let mut frame = Vec::new();
    Reply::Closed.encode(&mut frame, 0x0a0b_0c0d, 0).unwrap();
    assert_eq!(frame[8..12], [0x0d, 0x0c, 0x0b, 0x0a]);
}

#[test]
fn the_opening_and_the_version_are_as_the_document_says() {
    let document = read("docs/protocol.md");
    let opening: Vec<String> = MAGIC.iter().map(|byte| format!("{byte:#04x}")).collect();
    let opening = format!(
        "`{}` ({})",
        String::from_utf8_lossy(&MAGIC),
        opening.join(" ")
    );
    assert!(document.contains(&opening), "{opening}");
    let title = format!("# The Hulse protocol, version {PROTOCOL_VERSION}\n");
    assert!(document.starts_with(&title));
}

#[test]
fn the_kinds_are_as_the_document_says() {
    let document = read("docs/protocol.md");
    let schema = read("net/schema/hulse.fbs");
    let heading =
        "| number | name | direction | stream | correlation | table | payload | meaning |";
    let rows = table(&document, heading);
    assert_eq!(rows.len(), Kind::ALL.len());
    for (row, kind) in rows.iter().zip(Kind::ALL) {
        let direction = match kind.direction() {
            Direction::ClientToBroker => "to broker",
            Direction::BrokerToClient => "to client",
            Direction::Reserved => "reserved",
        };
        let stream = match kind.stream_use() {
            StreamUse::Connection => "0",
            StreamUse::Own => "own",
            StreamUse::Either => "either",
        };
        let correlation = match kind.correlation_use() {
            CorrelationUse::None => "0",
            CorrelationUse::Asks => "asks",
            CorrelationUse::MayAsk => "may ask",
            CorrelationUse::Echoes => "echoes",
        };
        let table = kind.table().map_or("-".to_owned(), code);
        let expected = [
            &kind.code().to_string(),
            &code(kind.name()),
            direction,
            stream,
            correlation,
            &table,
        ];
        assert_eq!(row[..6], expected, "{kind}");
        assert_eq!(row[6] != "-", kind.has_payload(), "{kind}");
        assert!(!row[7].is_empty(), "{kind}");
        if let Some(name) = kind.table() {
            assert!(
                schema.contains(&format!("\ntable {name} {{")),
                "{name} is in the schema"
            );
        }
    }
}

#[test]
fn the_statuses_are_as_the_document_says() {
    let document = read("docs/protocol.md");
    let rows = table(&document, "| number | name | retryable | fault | meaning |");
    assert_eq!(rows.len(), Status::ALL.len());
    for (row, status) in rows.iter().zip(Status::ALL) {
        let retryable = if status.retryable() { "yes" } else { "no" };
        let fault = match status.fault() {
            Fault::Client => "client",
            Fault::Broker => "broker",
            Fault::Situation => "situation",
        };
        let expected = [
            &status.code().to_string(),
            &code(status.name()),
            retryable,
            fault,
        ];
        assert_eq!(row[..4], expected, "{status}");
        assert!(row[4].ends_with('.'), "{status} is explained in a sentence");
    }
}

#[test]
fn the_limits_are_as_the_document_says() {
    let document = read("docs/protocol.md");
    let limits: [(&str, u64); 18] = [
        ("longest frame, bytes", limits::FRAME_BYTES_MAX as u64),
        (
            "longest control part, bytes",
            limits::FRAME_CONTROL_BYTES_MAX as u64,
        ),
        ("longest HELLO frame, bytes", HELLO_FRAME_BYTES_MAX as u64),
        (
            "longest payload of a batch, bytes",
            limits::ENTRY_PAYLOAD_BYTES_MAX as u64,
        ),
        ("largest message, bytes", limits::MESSAGE_BYTES_MAX as u64),
        ("messages of a batch", u64::from(limits::ENTRY_MESSAGES_MAX)),
        ("receipts of one RECEIPTS", RECEIPTS_MAX as u64),
        ("ranges of one ACK or DELIVER", ACK_RANGES_MAX as u64),
        ("entries of one REDELIVER", REDELIVER_ENTRIES_MAX as u64),
        (
            "permits of one consumer",
            u64::from(limits::CONSUMER_PERMITS_MAX),
        ),
        (
            "streams of one connection",
            limits::CONNECTION_STREAMS_MAX as u64,
        ),
        (
            "requests without an answer, per connection",
            limits::CONNECTION_INFLIGHT_MAX as u64,
        ),
        (
            "partitions of one topic",
            u64::from(limits::TOPIC_PARTITIONS_MAX),
        ),
        (
            "subscription or producer name, bytes",
            limits::CLIENT_NAME_BYTES_MAX as u64,
        ),
        (
            "part of a topic's name, bytes",
            limits::NAME_PART_BYTES_MAX as u64,
        ),
        ("other text of a request, bytes", TEXT_BYTES_MAX as u64),
        ("message of an ERROR, bytes", ERROR_MESSAGE_BYTES_MAX as u64),
        ("handshake, milliseconds", limits::HANDSHAKE_TIMEOUT_MS),
    ];
    let rows = table(&document, "| limit | value |");
    let stated: Vec<(&str, u64)> = rows
        .iter()
        .map(|row| (row[0].as_str(), row[1].parse().expect("a number")))
        .collect();
    assert_eq!(stated, limits);
}
