//! The one room of this crate with unsafe code: descriptors cross the border to glommio and to
//! the ring's system calls here, each with the reason why that is sound.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};

use glommio::io::BufferedFile;
use rustix::io::Errno;
use rustix::io_uring::{IoringEnterFlags, IoringRegisterOp, io_uring_params};

/// Hands a listening socket over to the executor of this thread.
///
/// # Panics
///
/// When this thread runs no executor.
pub(crate) fn listener(socket: std::net::TcpListener) -> glommio::net::TcpListener {
    let raw = socket.into_raw_fd();
    // SAFETY: `into_raw_fd` gave up the ownership of an open, listening socket, and the adopter
    // is the only one to have it from here on.
    unsafe { glommio::net::TcpListener::from_raw_fd(raw) }
}

/// The descriptor of a stream, for as long as the stream is borrowed.
pub(crate) fn stream_fd(stream: &glommio::net::TcpStream) -> BorrowedFd<'_> {
    // SAFETY: the stream owns its descriptor and closes it when it is dropped, which the borrow
    // in the returned lifetime forbids.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}

/// A file seen by the executor which stays the property of somebody else: it is never closed
/// through this value.
///
/// The executor closes its files by a queued request, later than the drop, and wants an awaited
/// close instead. A file which is only borrowed needs neither.
pub(crate) struct LentFile<'fd> {
    file: ManuallyDrop<BufferedFile>,
    lender: PhantomData<BorrowedFd<'fd>>,
}

impl<'fd> LentFile<'fd> {
    /// Shows `fd` to the executor of this thread.
    ///
    /// # Panics
    ///
    /// When this thread runs no executor.
    pub(crate) fn new(fd: BorrowedFd<'fd>) -> Self {
        // SAFETY: the descriptor is open for 'fd. `from_raw_fd` asks for ownership so that the
        // descriptor is closed once; `ManuallyDrop` keeps the adopter from closing it at all, so
        // the lender still does so once. What is not dropped with it is a count of weak
        // references to the reactor; no memory is.
        let file = unsafe { BufferedFile::from_raw_fd(fd.as_raw_fd()) };
        Self {
            file: ManuallyDrop::new(file),
            lender: PhantomData,
        }
    }

    /// The executor's view of the file.
    pub(crate) fn file(&self) -> &BufferedFile {
        &self.file
    }
}

/// Which system call of the ring was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingRefused {
    /// The name of the system call.
    pub(crate) call: &'static str,
    /// The reason of the kernel, or of a filter before it.
    pub(crate) errno: Errno,
}

/// Makes a ring, enters it, asks it a question, and closes it again.
///
/// A container's filter may allow one of the three system calls and refuse another, so all are
/// tried.
pub(crate) fn probe_ring() -> Result<(), RingRefused> {
    let mut params = io_uring_params::default();
    // SAFETY: no flags are set, so the kernel reads nothing that the parameters refer to; they
    // are a plain structure of the size that it expects.
    let made = unsafe { rustix::io_uring::io_uring_setup(4, &mut params) };
    let ring = made.map_err(|errno| RingRefused {
        call: "io_uring_setup",
        errno,
    })?;

    // SAFETY: nothing is submitted and nothing is waited for, and no flag gives an argument a
    // meaning.
    let entered =
        unsafe { rustix::io_uring::io_uring_enter(&ring, 0, 0, IoringEnterFlags::empty()) };
    entered.map_err(|errno| RingRefused {
        call: "io_uring_enter",
        errno,
    })?;

    // SAFETY: the argument is null, which the kernel answers with EINVAL before it reads it.
    let registered = unsafe {
        rustix::io_uring::io_uring_register(
            &ring,
            IoringRegisterOp::RegisterProbe,
            std::ptr::null(),
            0,
        )
    };
    match registered {
        Ok(_) | Err(Errno::INVAL | Errno::FAULT) => Ok(()),
        Err(errno) => Err(RingRefused {
            call: "io_uring_register",
            errno,
        }),
    }
}
