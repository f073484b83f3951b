//! A panic anywhere ends the process.

use std::panic;
use std::process;
use std::thread;

/// Makes every panic of every thread log its message, place and thread, and abort the process.
///
/// A panic on a core would otherwise end that core alone while the others serve on, with its
/// partitions silent. Builds of Hulse abort on panic anyway; the hook makes it true of a build
/// that unwinds, and puts the message into the log. Call it once, after logging has been set up.
pub fn install_panic_hook() {
    let earlier = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let place = info
            .location()
            .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let message = info.payload_as_str().unwrap_or("a panic without a message");
        tracing::error!(
            thread = name,
            place,
            message,
            "a thread panicked; the process aborts"
        );
        // The earlier hook writes to stderr, also when nothing collects the log.
        earlier(info);
        process::abort();
    }));
}
