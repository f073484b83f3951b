//! Sockets of one core.

mod listener;
mod stream;

use std::io;

pub use listener::{BindError, BoundListener, Listener, ServeEnd, Serving};
pub use stream::{ReadHalf, Stream, WriteHalf};

/// The system's own error out of the executor's, with its number.
pub(crate) fn io_error(error: glommio::GlommioError<()>) -> io::Error {
    match error {
        glommio::GlommioError::IoError(error) => error,
        glommio::GlommioError::EnhancedIoError { source, .. } => source,
        other => io::Error::other(other.to_string()),
    }
}
