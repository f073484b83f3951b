//! The tasks of one connection: one reads and handles, one writes.

use std::io::IoSlice;
use std::net::Shutdown;
use std::rc::Rc;

use futures_lite::future::or;
use hulse_model::Status;
use hulse_model::limits::{CONNECTION_OUTPUT_BYTES_MAX, CORE_CONNECTIONS_MAX, CORE_HANDSHAKES_MAX};
use hulse_runtime::{ReadHalf, Stream, WriteHalf, spawn, yield_if_needed};
use hulse_shard::{Refusal, StreamKey};
use hulse_wire::{MAGIC, Reply, check_opening, decode_frame, decode_hello};

use crate::connection::{Connection, Phase};
use crate::core::{Core, add};
use crate::input::Input;
use crate::session::{Outcome, Session};

/// How long a connection that has ended may take over its last answers, in milliseconds.
const LAST_ANSWERS_MS: u64 = 1_000;
/// Slices that are sent with one system call.
const SLICES_MAX: usize = 64;
/// Bytes that are sent with one system call: as many as a connection's requests are read with one.
/// A consumer that takes more would have the core to itself for milliseconds.
const SEND_BYTES_MAX: usize = 256 * 1024;

/// Takes a connection that was accepted.
pub(crate) fn accept(core: &Rc<Core>, stream: Stream) {
    add(&core.counters.connections_total, 1);
    let open = core.connections.borrow().len();
    let greeting = core.counters.greeting.get();
    if open >= CORE_CONNECTIONS_MAX || greeting >= CORE_HANDSHAKES_MAX as u64 {
        // Closed without a word: a peer that has not said what it speaks cannot be answered.
        add(&core.counters.connections_refused, 1);
        return;
    }
    let id = core.counters.connections_total.get();
    let connection = Rc::new(Connection::new(
        id,
        stream.peer(),
        core.clocks.monotonic_ms(),
    ));
    core.connections.borrow_mut().insert(id, connection.clone());
    add(&core.counters.connections, 1);
    add(&core.counters.greeting, 1);
    let (reader, writer) = stream.split();
    spawn(write(core.clone(), connection.clone(), writer));
    spawn(read(core.clone(), connection, reader));
}

/// Reads and handles until the connection ends, then clears up after it.
async fn read(core: Rc<Core>, connection: Rc<Connection>, mut stream: ReadHalf) {
    let mut input = Input::new();
    let mut session = Session::new(core.clone(), connection.clone());
    while !connection.is_ending() && !core.stopping.is_raised() {
        match stream.read(input.room()).await {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                input.came(count);
                add(&core.counters.bytes_received, count as u64);
            }
        }
        connection.heard_ms.set(core.clocks.monotonic_ms());
        if connection.probed.take() {
            core.heard(connection.id);
        }
        if !handle_all(&core, &connection, &mut session, &mut input).await {
            break;
        }
        yield_if_needed().await;
    }
    // What the client held is free for others at once, before the last answers have left.
    core.disconnected(connection.id);
    connection.end(core.clocks.monotonic_ms());
}

/// Handles every whole frame in the buffer. False when the connection is to end.
async fn handle_all(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    session: &mut Session,
    input: &mut Input,
) -> bool {
    if !input.opened {
        match check_opening(input.unhandled()) {
            Ok(true) => {
                input.opened = true;
                input.take(MAGIC.len());
            }
            Ok(false) => return true,
            Err(error) => {
                let _ = session.break_off(0, 0, &error);
                return false;
            }
        }
    }
    let mut handled = 0;
    loop {
        let bytes = input.unhandled();
        let decoded = match connection.phase.get() {
            Phase::Greeting => decode_hello(bytes),
            Phase::Open { .. } | Phase::Ending => decode_frame(bytes),
        };
        let (frame, length) = match decoded {
            Ok(Some(found)) => found,
            Ok(None) => break,
            Err(error) => {
                core.end_round();
                let _ = session.break_off(0, 0, &error);
                return false;
            }
        };
        match session.take(&frame) {
            Outcome::Taken => {
                add(&core.counters.frames_received, 1);
                input.take(length);
                handled += length;
            }
            Outcome::Held => {
                core.end_round();
                wait(core, connection).await;
            }
            Outcome::Closed => {
                core.end_round();
                return false;
            }
        }
        if connection.is_ending() {
            return false;
        }
        while connection.outbox.borrow().len() >= CONNECTION_OUTPUT_BYTES_MAX {
            core.end_round();
            wait(core, connection).await;
            if connection.is_ending() {
                return false;
            }
        }
    }
    if handled > 0 {
        core.handled(handled);
    }
    input.make_room();
    true
}

/// Waits to be woken. The client is not silent meanwhile: it is the broker that does not read.
async fn wait(core: &Core, connection: &Connection) {
    connection.unread.set(true);
    connection.to_read.notified().await;
    connection.unread.set(false);
    connection.heard_ms.set(core.clocks.monotonic_ms());
}

/// Sends what is queued until the connection ends and nothing is left.
async fn write(core: Rc<Core>, connection: Rc<Connection>, mut stream: WriteHalf) {
    loop {
        let sent = or(
            async { Some(send_some(&connection, &mut stream).await) },
            async {
                connection.abandoned.raised().await;
                None
            },
        );
        match sent.await {
            Some(Ok(0)) if connection.is_ending() => break,
            Some(Ok(0)) => connection.to_send.notified().await,
            Some(Ok(count)) => {
                add(&core.counters.bytes_sent, count as u64);
                connection.spoken_ms.set(core.clocks.monotonic_ms());
                core.with_shard(|shard, fx| shard.sent(connection.id, count, fx));
                connection.to_read.notify();
                yield_if_needed().await;
            }
            Some(Err(_)) | None => break,
        }
    }
    connection.end(core.clocks.monotonic_ms());
    let _ = stream.shutdown(Shutdown::Both);
    core.disconnected(connection.id);
    if core
        .connections
        .borrow_mut()
        .remove(&connection.id)
        .is_some()
    {
        let counters = &core.counters;
        counters.connections.set(counters.connections.get() - 1);
        if !connection.greeted.get() {
            counters.greeting.set(counters.greeting.get() - 1);
        }
    }
}

/// Sends what one call takes. 0 when nothing is queued.
async fn send_some(connection: &Connection, stream: &mut WriteHalf) -> std::io::Result<usize> {
    // The chunks are taken out while they are being sent, so that no borrow lasts over the wait.
    let batch = connection.outbox.borrow_mut().take(SLICES_MAX);
    if batch.is_empty() {
        return Ok(0);
    }
    let slices: Vec<IoSlice<'_>> = batch.slices(SEND_BYTES_MAX).collect();
    let sent = stream.send(&slices).await;
    drop(slices);
    let count = sent.as_ref().copied().unwrap_or(0);
    connection.outbox.borrow_mut().put_back(batch, count);
    sent
}

/// Ends the connections that have been silent, or greeting, for too long, gives up those whose peer
/// does not take its last answers, and says a word to those that have not heard one for a while.
pub(crate) fn look_after_connections(core: &Rc<Core>, handshake_timeout_ms: u64) {
    let now = core.clocks.monotonic_ms();
    let connections: Vec<_> = core.connections.borrow().values().cloned().collect();
    for connection in connections {
        let since = |then: u64| now.saturating_sub(then);
        let (status, text) = match connection.phase.get() {
            Phase::Greeting if since(connection.since_ms) > handshake_timeout_ms => {
                (Status::HandshakeTimeout, "the handshake took too long")
            }
            Phase::Open { timeout_ms, .. }
                if since(connection.heard_ms.get()) > timeout_ms.into() =>
            {
                (
                    Status::PeerSilent,
                    "the client was silent for longer than agreed",
                )
            }
            Phase::Open { interval_ms, .. }
                if since(connection.spoken_ms.get()) >= interval_ms.into()
                    && connection.outbox.borrow().len() == 0 =>
            {
                connection.spoken_ms.set(now);
                let bytes = connection.outbox.borrow_mut().reply(0, 0, &Reply::Pong);
                core.shard.borrow_mut().queued(connection.id, bytes);
                core.flush(Some(&connection));
                continue;
            }
            Phase::Ending if since(connection.ending_ms.get()) > LAST_ANSWERS_MS => {
                connection.abandoned.raise();
                continue;
            }
            _ => continue,
        };
        evict(core, &connection, status, text);
    }
}

/// Asks a client whether it is there. What comes from it says so.
pub(crate) fn probe(core: &Rc<Core>, connection: &Rc<Connection>) {
    if connection.unread.get() {
        return core.heard(connection.id);
    }
    connection.probed.set(true);
    let bytes = connection.outbox.borrow_mut().reply(0, 0, &Reply::Probe);
    core.shard.borrow_mut().queued(connection.id, bytes);
    core.flush(Some(connection));
}

/// Ends a connection, with a last word to its client.
pub(crate) fn evict(core: &Rc<Core>, connection: &Connection, status: Status, text: &str) {
    tracing::debug!(peer = %connection.peer, "{text}");
    add(&core.counters.connections_evicted, 1);
    let to = StreamKey {
        connection: connection.id,
        stream: 0,
    };
    connection
        .outbox
        .borrow_mut()
        .refuse(to, 0, &Refusal::new(status, text));
    core.disconnected(connection.id);
    connection.end(core.clocks.monotonic_ms());
}
