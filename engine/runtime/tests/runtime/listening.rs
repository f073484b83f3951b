//! Taking, serving and giving back ports.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::thread;

use hulse_runtime::{BoundListener, Listener, ServeEnd, Stream, spawn};

use crate::on_core::on_core;

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// Sends back what arrives until the peer has ended.
fn echo(mut stream: Stream) {
    spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            let mut slices = [std::io::IoSlice::new(&buffer[..read])];
            if stream.send_all(&mut slices).await.is_err() {
                return;
            }
        }
    });
}

fn ask(client: &mut TcpStream, question: &[u8]) {
    client.write_all(question).expect("sent");
    let mut answer = vec![0; question.len()];
    client.read_exact(&mut answer).expect("answered");
    assert_eq!(answer, question);
}

#[test]
fn a_taken_port_is_named() {
    // By another process's usual ways, by our own, and on the wildcard.
    let theirs = TcpListener::bind(local(0)).expect("a free port");
    let ours = BoundListener::bind(local(0)).expect("a free port");
    let everywhere = SocketAddr::from(([0, 0, 0, 0], ours.address().port()));
    let taken = theirs.local_addr().expect("bound");
    for address in [taken, ours.address(), everywhere] {
        let error = BoundListener::bind(address).expect_err("the port is taken");
        assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
        let expected = format!("cannot listen on {address}: another process holds the port");
        assert_eq!(error.to_string(), expected);
    }
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
    let error = BoundListener::bind(elsewhere).expect_err("an address for documents");
    let expected = "cannot listen on 192.0.2.1:0: this machine does not have the address";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_stopped_port_is_free_at_once_although_connections_linger() {
    on_core(|_context| async {
        let listener = Listener::bind(local(0)).expect("a free port");
        let address = listener.address();
        assert_ne!(address.port(), 0, "the port that was taken is told");
        let (accepted, accepting) = flume::unbounded();
        let serving = listener.serve(move |stream| accepted.send(stream).expect("awaited"));
        assert_eq!(serving.address(), address);

        // This side closes first, so its end of the connection lingers in TIME_WAIT.
        let client = thread::spawn(move || {
            let mut client = TcpStream::connect(address).expect("connects");
            let mut rest = Vec::new();
            client
                .read_to_end(&mut rest)
                .expect("the end of the stream");
            assert_eq!(rest, []);
        });
        drop(accepting.recv_async().await.expect("accepted"));
        while !client.is_finished() {
            hulse_runtime::sleep(std::time::Duration::from_millis(1)).await;
        }
        serving.stop();
        let end = serving.await;
        assert!(matches!(end, ServeEnd::Stopped), "{end:?}");

        let refused = TcpStream::connect(address).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        // The lingering connection would hinder a socket that does not ask for reuse.
        let plain = socket2::Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )
        .expect("a socket");
        let hindered = plain.bind(&address.into()).expect_err("the port lingers");
        assert_eq!(hindered.kind(), ErrorKind::AddrInUse);

        let again = Listener::bind(address).expect("the same port at once");
        let _serving = again.serve(echo);
        let client = thread::spawn(move || {
            let mut client = TcpStream::connect(address).expect("connects");
            ask(&mut client, b"are you there");
        });
        while !client.is_finished() {
            hulse_runtime::sleep(std::time::Duration::from_millis(1)).await;
        }
        client.join().expect("answered");
    });
}

#[test]
fn connections_that_came_before_the_core_are_served() {
    let port = BoundListener::bind(local(0)).expect("a free port");
    let mut early = TcpStream::connect(port.address()).expect("the kernel takes it");
    early.write_all(b"early").expect("sent");
    let peer = early.local_addr().expect("connected");
    on_core(move |_context| async move {
        let (accepted, accepting) = flume::unbounded();
        let address = port.address();
        let listener = port.into_local();
        let serving = listener.serve(move |stream| accepted.send(stream).expect("awaited"));
        let mut stream = accepting.recv_async().await.expect("accepted");
        assert_eq!((stream.peer(), stream.local()), (peer, address));
        let mut buffer = [0; 16];
        let read = stream.read(&mut buffer).await.expect("read");
        assert_eq!(&buffer[..read], b"early");
        serving.stop();
    });
}

#[test]
fn two_thousand_connections_are_all_served() {
    const THREADS: u32 = 4;
    const EACH: u32 = 500;
    const TOGETHER: u32 = 50;
    let port = BoundListener::bind(local(0)).expect("a free port");
    let address = port.address();
    let clients: Vec<_> = (0..THREADS)
        .map(|number| {
            thread::spawn(move || {
                let mut open = Vec::new();
                for count in 0..EACH {
                    let mut client = TcpStream::connect(address).expect("connects");
                    ask(&mut client, &(number * EACH + count).to_le_bytes());
                    open.push(client);
                    if count % TOGETHER == TOGETHER - 1 {
                        // All of them are still served before they go.
                        for client in &mut open {
                            ask(client, b"still there");
                        }
                        open.clear();
                    }
                }
            })
        })
        .collect();
    let accepted = on_core(move |_context| async move {
        let accepted = Rc::new(Cell::new(0));
        let counted = accepted.clone();
        let serving = port.into_local().serve(move |stream| {
            counted.set(counted.get() + 1);
            echo(stream);
        });
        let serving = RefCell::new(Some(serving));
        while !clients.iter().all(thread::JoinHandle::is_finished) {
            hulse_runtime::sleep(std::time::Duration::from_millis(5)).await;
        }
        for client in clients {
            client.join().expect("each connection was served");
        }
        serving.borrow().as_ref().expect("serving").stop();
        let serving = serving.borrow_mut().take().expect("serving");
        let end = serving.await;
        assert!(matches!(end, ServeEnd::Stopped), "{end:?}");
        accepted.get()
    });
    assert_eq!(accepted, THREADS * EACH);
}
