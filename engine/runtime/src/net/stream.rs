//! A TCP connection of one core.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use rustix::io::{Errno, FdFlags};
use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::io_error;
use crate::adopt;
use crate::task::yield_if_needed;

/// The most slices that the kernel takes in one call (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// A TCP connection. It belongs to the core that made it, has `TCP_NODELAY` set, and is closed
/// when it, or both of its halves, are dropped: what was sent is still delivered.
#[derive(Debug)]
pub struct Stream {
    connection: Rc<Connection>,
}

/// The reading half of a [`Stream`], for a task of the same core.
#[derive(Debug)]
pub struct ReadHalf {
    connection: Rc<Connection>,
}

/// The writing half of a [`Stream`], for a task of the same core.
#[derive(Debug)]
pub struct WriteHalf {
    connection: Rc<Connection>,
}

impl Stream {
    /// Connects to `address`.
    ///
    /// # Errors
    ///
    /// What the system says.
    ///
    /// # Panics
    ///
    /// When this thread is not a core.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await.map_err(io_error)?;
        Self::adopt(socket)
    }

    /// Sets the options that every connection has.
    pub(super) fn adopt(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true).map_err(io_error)?;
        // A child process must not keep a connection open. The executor's accept leaves this out.
        rustix::io::fcntl_setfd(adopt::stream_fd(&socket), FdFlags::CLOEXEC)?;
        let peer = socket.peer_addr().map_err(io_error)?;
        let local = socket.local_addr().map_err(io_error)?;
        let connection = Connection {
            socket: RefCell::new(socket),
            peer,
            local,
        };
        Ok(Self {
            connection: Rc::new(connection),
        })
    }

    /// The address of the other side.
    pub fn peer(&self) -> SocketAddr {
        self.connection.peer
    }

    /// The address of this side.
    pub fn local(&self) -> SocketAddr {
        self.connection.local
    }

    /// Reads what has arrived, up to `buffer`'s length, waiting for the first byte; 0 at the end
    /// of the stream or for an empty buffer. Dropping the wait loses no byte.
    ///
    /// # Errors
    ///
    /// What the system says; the connection is of no more use then.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.connection.read(buffer).await
    }

    /// Sends as much of `slices`, in their order, as the connection takes without waiting, and
    /// waits for room only when it takes nothing. Returns how many bytes went; 0 only when there
    /// are none. Dropping the wait sends nothing.
    ///
    /// # Errors
    ///
    /// What the system says; the connection is of no more use then. A closed peer is an error,
    /// never a signal.
    pub async fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.connection.send(slices).await
    }

    /// Sends all of `slices`; see [`WriteHalf::send_all`].
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); how much went is then unknown.
    pub async fn send_all(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.connection.send_all(slices).await
    }

    /// Ends one or both directions at once, for both halves and the peer.
    ///
    /// # Errors
    ///
    /// What the system says, such as that the connection is gone already.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.connection.shutdown(how)
    }

    /// One half to read with and one to write with, for two tasks of this core.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let read = ReadHalf {
            connection: self.connection.clone(),
        };
        (
            read,
            WriteHalf {
                connection: self.connection,
            },
        )
    }
}

impl ReadHalf {
    /// The address of the other side.
    pub fn peer(&self) -> SocketAddr {
        self.connection.peer
    }

    /// As [`Stream::read`].
    ///
    /// # Errors
    ///
    /// What the system says; the connection is of no more use then.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.connection.read(buffer).await
    }

    /// As [`Stream::shutdown`].
    ///
    /// # Errors
    ///
    /// What the system says, such as that the connection is gone already.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.connection.shutdown(how)
    }
}

impl WriteHalf {
    /// The address of the other side.
    pub fn peer(&self) -> SocketAddr {
        self.connection.peer
    }

    /// As [`Stream::send`].
    ///
    /// # Errors
    ///
    /// What the system says; the connection is of no more use then.
    pub async fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.connection.send(slices).await
    }

    /// Sends all of `slices`, yielding to the core's other tasks as it goes. Dropping the wait
    /// leaves an unknown part sent.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); how much went is then unknown.
    pub async fn send_all(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.connection.send_all(slices).await
    }

    /// As [`Stream::shutdown`]. With [`Shutdown::Both`] the reading half sees the end of the
    /// stream, so that one half can end the other's task.
    ///
    /// # Errors
    ///
    /// What the system says, such as that the connection is gone already.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.connection.shutdown(how)
    }
}

/// What both halves share. The cell is borrowed within a poll and never over an await.
struct Connection {
    socket: RefCell<TcpStream>,
    peer: SocketAddr,
    local: SocketAddr,
}

impl Connection {
    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        poll_fn(|context| Pin::new(&mut *self.socket.borrow_mut()).poll_read(context, buffer)).await
    }

    async fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let first = slices.iter().position(|slice| !slice.is_empty());
        let Some(first) = first else {
            return Ok(0);
        };
        let slices = &slices[first..slices.len().min(first + SLICES_MAX)];
        poll_fn(|context| self.poll_send(context, slices)).await
    }

    /// `slices` is not empty and neither is its first.
    fn poll_send(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut socket = self.socket.borrow_mut();
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            let mut control = SendAncillaryBuffer::default();
            match rustix::net::sendmsg(adopt::stream_fd(&socket), slices, &mut control, flags) {
                Ok(sent) => return Poll::Ready(Ok(sent)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Poll::Ready(Err(errno.into())),
            }
        }
        // The executor only waits for room on behalf of a plain write, so it is asked for one of
        // the first slice. It tries again by itself, finds no room, and has this task woken when
        // there is; the next poll then comes here anew and sends all slices.
        Pin::new(&mut *socket).poll_write(context, &slices[0])
    }

    async fn send_all(&self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        loop {
            let sent = self.send(slices).await?;
            if sent == 0 {
                return Ok(());
            }
            IoSlice::advance_slices(&mut slices, sent);
            yield_if_needed().await;
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => rustix::net::Shutdown::Read,
            Shutdown::Write => rustix::net::Shutdown::Write,
            Shutdown::Both => rustix::net::Shutdown::Both,
        };
        rustix::net::shutdown(adopt::stream_fd(&self.socket.borrow()), how)?;
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The ring may still hold the socket for a poll, and the close would wait for it. The
        // peer is told at once; it may be gone already.
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("local", &self.local)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
