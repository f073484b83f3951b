//! How a command ends: its exit status, and the one sentence on stderr when it failed.

use std::fmt::Display;
use std::process::ExitCode;

/// The exit status of the program. The numbers are a contract; scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done what was asked for.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Asked for something that cannot be meant, or whose time has not come.
    Usage = 2,
    /// No server could be reached.
    Unreachable = 3,
    /// What was looked at is not well: doctor, log verify.
    Unhealthy = 10,
    /// Stopped by a signal.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed: one sentence for people, with the remedy, and the exit status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub(crate) struct Failure {
    /// The exit status.
    pub(crate) exit: Exit,
    /// The sentence, without a full stop.
    pub(crate) sentence: String,
}

impl Failure {
    /// Something went wrong.
    pub(crate) fn failed(sentence: impl Display) -> Self {
        Self {
            exit: Exit::Failed,
            sentence: sentence.to_string(),
        }
    }

    /// The command line, the environment or the configuration file is wrong.
    pub(crate) fn usage(sentence: impl Display) -> Self {
        Self {
            exit: Exit::Usage,
            sentence: sentence.to_string(),
        }
    }

    /// A verb or flag whose time has not come. `what` says what it would be, and what there is
    /// instead.
    pub(crate) fn not_available_yet(what: impl Display) -> Self {
        Self::usage(format_args!("not available yet: {what}"))
    }
}

/// How a verb ends.
pub(crate) type Outcome = Result<Exit, Failure>;

/// Writes the sentence of a failure to stderr and gives its exit status.
pub(crate) fn report(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("hulse: {failure}");
            failure.exit.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_contract() {
        let numbers = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::Unreachable, 3),
            (Exit::Unhealthy, 10),
            (Exit::Interrupted, 130),
        ];
        for (exit, number) in numbers {
            assert_eq!(exit as u8, number);
        }
    }

    #[test]
    fn what_is_not_there_yet_is_a_usage_error_that_says_so() {
        let failure = Failure::not_available_yet("tiers");
        assert_eq!(failure.exit, Exit::Usage);
        assert_eq!(failure.to_string(), "not available yet: tiers");
    }
}
