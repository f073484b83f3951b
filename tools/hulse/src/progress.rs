//! Progress of long work, on stderr and only when that is a terminal.

use std::borrow::Cow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for `total` bytes, or a spinner when nobody knows how many there will be.
pub(crate) fn bytes(total: Option<u64>) -> ProgressBar {
    match total {
        Some(total) => made(
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()),
            "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {msg}",
        ),
        None => made(
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            "{spinner} {bytes} {bytes_per_sec} {msg}",
        ),
    }
}

/// A bar for `total` things.
pub(crate) fn steps(total: u64) -> ProgressBar {
    made(
        ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()),
        "{bar:30} {pos}/{len} {msg}",
    )
}

/// A spinner with a message.
pub(crate) fn spinner(message: impl Into<Cow<'static, str>>) -> ProgressBar {
    made(
        ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_message(message),
        "{spinner} {msg}",
    )
}

fn made(bar: ProgressBar, template: &str) -> ProgressBar {
    let style =
        ProgressStyle::with_template(template).expect("the templates of this file are right");
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_right() {
        for bar in [bytes(None), bytes(Some(7)), steps(3), spinner("x")] {
            bar.inc(1);
            bar.finish_and_clear();
        }
    }
}
