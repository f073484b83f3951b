//! Sending and receiving on one connection.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use hulse_runtime::{Stream, spawn_handle, timeout};

use crate::on_core::on_core;

/// A listening socket of a plain thread, and its address.
fn plain() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// The byte at `position` of the test's stream.
fn byte(position: usize) -> u8 {
    u8::try_from((position / 3 + position / 257 * 7) % 251).expect("below 251")
}

#[test]
fn every_byte_of_vectored_sends_reaches_a_slow_reader_in_order() {
    const TOTAL: usize = 24 << 20;
    const HEADER: usize = 32;
    const PAYLOAD: usize = 100_003;
    let (listener, address) = plain();
    // The reader begins when the writer has found no room.
    let (stalled, stalling) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("connects");
        stalling.recv().expect("the writer finds no room");
        let mut position = 0;
        let mut buffer = vec![0; 61_441];
        loop {
            let read = peer.read(&mut buffer).expect("read");
            if read == 0 {
                return position;
            }
            for (index, found) in buffer[..read].iter().enumerate() {
                assert_eq!(*found, byte(position + index), "at {}", position + index);
            }
            position += read;
        }
    });

    let stalls = on_core(move |_context| async move {
        let bytes: Vec<u8> = (0..TOTAL).map(byte).collect();
        let mut stream = Stream::connect(address).await.expect("connects");
        let mut sent = 0;
        let mut stalls = 0;
        while sent < TOTAL {
            // An empty slice, a header, nothing again, a payload.
            let header = HEADER.min(TOTAL - sent);
            let (head, rest) = bytes[sent..].split_at(header);
            let body = &rest[..PAYLOAD.min(rest.len())];
            let slices = [&[][..], head, &[][..], body].map(IoSlice::new);
            // A wait that is dropped has sent nothing.
            let wait = Duration::from_millis(50);
            match timeout(wait, stream.send(&slices)).await {
                Some(result) => sent += result.expect("sent"),
                None => {
                    stalls += 1;
                    let _ = stalled.send(());
                }
            }
        }
        stream.shutdown(Shutdown::Write).expect("ended");
        // The reader sees the end, and so does this side when the reader is gone.
        assert_eq!(stream.read(&mut [0; 1]).await.expect("read"), 0);
        stalls
    });
    assert!(stalls >= 1, "the kernel had room for {TOTAL} bytes");
    assert_eq!(reader.join().expect("every byte was right"), TOTAL);
}

#[test]
fn more_slices_than_the_kernel_takes_at_once_are_all_sent() {
    let (listener, address) = plain();
    let reader = thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("connects");
        let mut all = Vec::new();
        peer.read_to_end(&mut all).expect("read");
        all
    });
    let expected: Vec<u8> = (0..5_000).map(byte).collect();
    let bytes = expected.clone();
    on_core(move |_context| async move {
        let mut stream = Stream::connect(address).await.expect("connects");
        let mut slices: Vec<_> = bytes
            .iter()
            .map(std::slice::from_ref)
            .map(IoSlice::new)
            .collect();
        stream.send_all(&mut slices).await.expect("sent");
        assert_eq!(stream.send(&[]).await.expect("nothing"), 0);
        assert_eq!(stream.send(&[IoSlice::new(&[])]).await.expect("nothing"), 0);
        stream.send_all(&mut []).await.expect("nothing");
    });
    assert_eq!(reader.join().expect("read"), expected);
}

#[test]
fn two_tasks_use_the_halves_at_once_and_dropping_both_closes() {
    const TOTAL: usize = 8 << 20;
    let (listener, address) = plain();
    // A peer that only begins to read when it has written all: both directions must move.
    let peer = thread::spawn(move || {
        let (peer, _) = listener.accept().expect("connects");
        let mut writing = peer.try_clone().expect("a descriptor");
        let writer = thread::spawn(move || {
            let bytes: Vec<u8> = (0..TOTAL).map(byte).collect();
            writing.write_all(&bytes).expect("sent");
        });
        let mut reading = peer;
        let mut all = Vec::new();
        reading
            .read_to_end(&mut all)
            .expect("read until the other side closes");
        writer.join().expect("sent");
        all
    });
    on_core(move |_context| async move {
        let stream = Stream::connect(address).await.expect("connects");
        let (mut read, mut write) = stream.split();
        assert_eq!((read.peer(), write.peer()), (address, address));
        let reading = spawn_handle(async move {
            let mut buffer = vec![0; 64 << 10];
            let mut position = 0;
            while position < TOTAL {
                let read = read.read(&mut buffer).await.expect("read");
                assert_ne!(read, 0, "the peer is not at its end");
                let expected = (position..position + read).map(byte);
                assert!(
                    buffer[..read].iter().copied().eq(expected),
                    "near {position}"
                );
                position += read;
            }
        });
        let writing = spawn_handle(async move {
            let bytes: Vec<u8> = (0..TOTAL).map(byte).collect();
            let (front, back) = bytes.split_at(TOTAL / 3);
            write
                .send_all(&mut [IoSlice::new(front), IoSlice::new(back)])
                .await
                .expect("sent");
        });
        reading.await;
        writing.await;
    });
    let all = peer.join().expect("closed");
    assert_eq!(all.len(), TOTAL);
    assert!(all.iter().copied().eq((0..TOTAL).map(byte)));
}

#[test]
fn one_half_ends_the_wait_of_the_other_and_a_lost_peer_is_an_error() {
    let (listener, address) = plain();
    let peer = thread::spawn(move || {
        let (first, _) = listener.accept().expect("connects");
        let (second, _) = listener.accept().expect("connects");
        let (mut second, first) = (second, first);
        // Closed with unread bytes, which resets the connection.
        let mut one = [0; 1];
        second.read_exact(&mut one).expect("read");
        drop(second);
        first
    });
    on_core(move |_context| async move {
        let (mut read, write) = Stream::connect(address).await.expect("connects").split();
        let waiting = spawn_handle(async move { read.read(&mut [0; 16]).await });
        hulse_runtime::yield_now().await;
        write.shutdown(Shutdown::Both).expect("open");
        assert_eq!(waiting.await.expect("the end of the stream"), 0);

        let mut stream = Stream::connect(address).await.expect("connects");
        let error = loop {
            if let Err(error) = stream.send(&[IoSlice::new(&[1; 4096])]).await {
                break error;
            }
        };
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(kinds.contains(&error.kind()), "{error}");

        let nobody = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = nobody.local_addr().expect("bound");
        drop(nobody);
        let refused = Stream::connect(address).await.expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
    drop(peer.join().expect("no panic"));
}

#[test]
fn a_read_that_is_dropped_loses_no_byte() {
    const TOTAL: usize = 1 << 20;
    let (listener, address) = plain();
    let writer = thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("connects");
        let bytes: Vec<u8> = (0..TOTAL).map(byte).collect();
        for chunk in bytes.chunks(4096) {
            peer.write_all(chunk).expect("sent");
            thread::yield_now();
        }
    });
    on_core(move |_context| async move {
        let mut stream = Stream::connect(address).await.expect("connects");
        let mut buffer = vec![0; 10_000];
        let mut position = 0;
        loop {
            let wait = Duration::from_micros(50);
            let Some(read) = timeout(wait, stream.read(&mut buffer)).await else {
                continue;
            };
            let read = read.expect("read");
            if read == 0 {
                break;
            }
            let expected = (position..position + read).map(byte);
            assert!(
                buffer[..read].iter().copied().eq(expected),
                "near {position}"
            );
            position += read;
        }
        assert_eq!(position, TOTAL);
    });
    writer.join().expect("sent");
}
