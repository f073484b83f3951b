//! Listening sockets: bound anywhere, served by one core.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::{io_error, stream::Stream};
use crate::adopt;
use crate::task::{JoinHandle, sleep, spawn_handle};

/// How many connections may wait to be accepted. The kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// How long accepting pauses when descriptors or memory are short.
const PAUSE: Duration = Duration::from_millis(50);

/// An address that could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", reason(source))]
pub struct BindError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process holds the port".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege".to_owned(),
        _ => error.to_string(),
    }
}

/// A port that is taken and listens already, for a core to serve later.
///
/// It is made on the main thread before anything else, so that a taken port is reported at once
/// and not after a long recovery; it then moves to its core. Connections that arrive meanwhile
/// wait in the kernel.
#[derive(Debug)]
pub struct BoundListener {
    // It blocks, on purpose: the ring's accept on a non-blocking socket does not wait.
    socket: TcpListener,
    /// The same socket once more, to end the serving by.
    handle: TcpListener,
    address: SocketAddr,
}

impl BoundListener {
    /// Takes the port. Port 0 takes a free one; [`address`](Self::address) tells which.
    ///
    /// A port in use fails: `SO_REUSEPORT` is not set, which would let a second broker of the same
    /// user share it unseen. Connections of an earlier broker in TIME_WAIT do not hinder:
    /// `SO_REUSEADDR` is set.
    ///
    /// # Errors
    ///
    /// [`BindError`], which names the address.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        Self::try_bind(address).map_err(|source| BindError { address, source })
    }

    fn try_bind(address: SocketAddr) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from(socket);
        let handle = socket.try_clone()?;
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            handle,
            address,
        })
    }

    /// The address that is listened on, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hands the port to the core of this thread.
    ///
    /// # Panics
    ///
    /// When this thread is not a core.
    pub fn into_local(self) -> Listener {
        Listener {
            socket: adopt::listener(self.socket),
            handle: self.handle,
            address: self.address,
        }
    }
}

/// A listening socket of one core.
pub struct Listener {
    socket: glommio::net::TcpListener,
    handle: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Takes a port on the core of this thread; see [`BoundListener::bind`].
    ///
    /// # Errors
    ///
    /// [`BindError`], which names the address.
    ///
    /// # Panics
    ///
    /// When this thread is not a core.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        BoundListener::bind(address).map(BoundListener::into_local)
    }

    /// The address that is listened on, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts the task that accepts connections and gives each to `on_stream`, which must not
    /// block: it spawns a task for it, or drops it.
    ///
    /// There is no `accept` to await, because one that is cancelled loses the connection that
    /// arrives meanwhile together with its descriptor. The task goes on until [`Serving::stop`],
    /// whether the returned handle is kept or not. When descriptors or memory run short it logs
    /// that and pauses; connections wait in the kernel.
    pub fn serve(self, on_stream: impl FnMut(Stream) + 'static) -> Serving {
        let address = self.address;
        let handle = Rc::new(RefCell::new(Some(self.handle)));
        let ending = handle.clone();
        let socket = self.socket;
        let end = spawn_handle(async move {
            let end = accept_all(&socket, address, &ending, on_stream).await;
            // Both copies go, so the port is free when the end is known.
            drop(ending.borrow_mut().take());
            drop(socket);
            end
        });
        Serving {
            handle,
            end,
            address,
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A listening socket whose connections are being accepted. Await it to learn of its end; drop it
/// to let it go on unwatched.
#[derive(Debug)]
pub struct Serving {
    /// Empty once the port was given back or is about to be.
    handle: Rc<RefCell<Option<TcpListener>>>,
    end: JoinHandle<ServeEnd>,
    address: SocketAddr,
}

/// How serving a port ended.
#[derive(Debug)]
pub enum ServeEnd {
    /// By [`Serving::stop`].
    Stopped,
    /// The socket failed.
    Failed(io::Error),
}

impl Serving {
    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting. Connections that wait in the kernel are refused; those accepted go on.
    /// Await the handle to know that the port is free.
    pub fn stop(&self) {
        if let Some(handle) = self.handle.borrow_mut().take() {
            // The kernel then ends the pending accept with EINVAL, instead of us cancelling it.
            let _ = rustix::net::shutdown(&handle, rustix::net::Shutdown::Both);
        }
    }
}

impl Future for Serving {
    type Output = ServeEnd;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<ServeEnd> {
        Pin::new(&mut self.end).poll(context)
    }
}

async fn accept_all(
    socket: &glommio::net::TcpListener,
    address: SocketAddr,
    handle: &RefCell<Option<TcpListener>>,
    mut on_stream: impl FnMut(Stream),
) -> ServeEnd {
    let mut short = false;
    loop {
        let error = match socket.accept().await {
            Ok(accepted) => {
                short = false;
                match Stream::adopt(accepted) {
                    Ok(stream) => on_stream(stream),
                    // Gone between its arrival and now.
                    Err(error) => tracing::debug!(%address, %error, "a connection is gone"),
                }
                continue;
            }
            Err(error) => io_error(error),
        };
        if handle.borrow().is_none() {
            return ServeEnd::Stopped;
        }
        match after(&error) {
            After::GoOn => tracing::debug!(%address, %error, "a connection was not accepted"),
            After::Pause => {
                // Said once per shortage, not twenty times a second.
                if !short {
                    tracing::warn!(%address, %error, "connections wait: raise the limit of open files");
                }
                short = true;
                sleep(PAUSE).await;
            }
            After::End => {
                tracing::error!(%address, %error, "the port is no longer served");
                return ServeEnd::Failed(error);
            }
        }
    }
}

/// What follows a failed accept.
#[derive(Debug, PartialEq, Eq)]
enum After {
    /// It was the connection's own failure.
    GoOn,
    /// The process or the machine is short of something.
    Pause,
    /// It will never work again.
    End,
}

/// By accept(2): Linux also returns a new connection's pending network errors.
fn after(error: &io::Error) -> After {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => After::Pause,
        Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP | Errno::FAULT)
        | None => After::End,
        Some(_) => After::GoOn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_connection_or_a_shortage_never_ends_the_serving() {
        let after = |errno: Errno| after(&errno.into());
        assert_eq!(after(Errno::CONNABORTED), After::GoOn);
        assert_eq!(after(Errno::PROTO), After::GoOn);
        assert_eq!(after(Errno::INTR), After::GoOn);
        assert_eq!(after(Errno::MFILE), After::Pause);
        assert_eq!(after(Errno::NFILE), After::Pause);
        assert_eq!(after(Errno::NOBUFS), After::Pause);
        assert_eq!(after(Errno::INVAL), After::End);
        assert_eq!(after(Errno::BADF), After::End);
    }
}
