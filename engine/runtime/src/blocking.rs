//! Short jobs that block, off the core.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A job on a helper thread panicked; what it would have returned is lost.
///
/// With [`install_panic_hook`](crate::install_panic_hook), or where panics abort, the process has
/// ended before anyone can see this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a job on a helper thread panicked: {message}")]
pub struct BlockingPanicked {
    /// What the panic said.
    pub message: String,
}

/// Runs `job` on one of this core's two blocking threads and returns what it returned.
///
/// For short jobs that are waited for (opening a file, reading a manifest). Jobs that take longer
/// than some milliseconds, such as writing a segment's zeros, belong on a [`JobPool`], so that
/// they do not hold up the short ones. The job runs to its end even when the future is dropped.
///
/// # Errors
///
/// [`BlockingPanicked`] when the job panicked; without it the caller would wait for ever.
///
/// # Panics
///
/// When this thread is not a core.
///
/// [`JobPool`]: crate::JobPool
pub async fn blocking<R, F>(job: F) -> Result<R, BlockingPanicked>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    glommio::executor()
        .spawn_blocking(move || caught(job))
        .await
}

/// Runs `job` and turns its panic into an error. What the job shared with others is in whatever
/// state it left it, as with a thread that panicked.
pub(crate) fn caught<R>(job: impl FnOnce() -> R) -> Result<R, BlockingPanicked> {
    catch_unwind(AssertUnwindSafe(job)).map_err(|payload| BlockingPanicked {
        message: panic_message(payload.as_ref()),
    })
}

/// What a panic said, or that it said nothing readable.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}
