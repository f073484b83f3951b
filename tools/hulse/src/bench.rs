//! `hulse bench`: measures a broker from outside.

mod conditions;
mod consume;
mod end_to_end;
mod latency;
mod load;
mod on_the_way;
mod produce;
mod schedule;
mod sender;
mod stamp;
mod timer;
mod window;
mod workers;

use clap::{Args, Subcommand};

use crate::cli::CommonFlags;
use crate::exit::{Failure, Outcome};
pub(crate) use consume::ConsumeArgs;
pub(crate) use end_to_end::EndToEndArgs;
pub(crate) use produce::ProduceArgs;

const PRODUCE_AFTER_HELP: &str = "\
With --rate the loop is open: every message has its moment on a schedule that is fixed in advance,
and its latency counts from that moment, so that a broker that stalls is charged for the wait.
Without --rate the loop is closed: a message is sent as soon as there is room for it in the
window, and its latency counts from then. With the default window that saturates the broker, and
the latency says little more than how large the window is; --window 1 --batch 1 sends one message
at a time.

Each producer has a connection of its own, and there are as many threads as processors for them.
With --spin these never sleep: at low rates the time that a sleeping processor takes to wake up is
most of what is measured otherwise.

The result names what an acknowledgement means on this topic: at `disk` synced, at `memory` not.
Compare only what was measured under the same conditions, which are printed with it.

Examples:
  hulse bench produce bench-1 --rate 10000 --duration 30
  hulse bench produce bench-2 --ack memory --size 256 --producers 2 --topics 2 --json
  hulse bench produce bench-3 --window 1 --batch 1 --spin";

const CONSUME_AFTER_HELP: &str = "\
Reads a topic as fast as it comes, under a subscription of its own that is deleted afterwards.
It ends at the end that the topic has at the start, or after --messages or --duration.

The age of a message is the time from when the broker stored it to when it was received, by the
clocks of both machines and in steps of a millisecond: mostly how long the messages had been
there. `hulse bench end-to-end` measures from sending to receiving.

Example:
  hulse bench consume bench-1";

const END_TO_END_AFTER_HELP: &str = "\
Produces as `hulse bench produce` does, and receives every topic with one consumer, under a
subscription of its own that is deleted afterwards. Every message carries the moment at which it
was due; its latency end to end counts from there to when the consumer has it, in microseconds, by
the one clock of this process. The topics may hold other messages; only this run's are counted, and
all of them have to come.

Examples:
  hulse bench end-to-end bench-1 --rate 10000 --duration 30
  hulse bench end-to-end bench-2 --topics 2 --producers 2 --ack memory --json";

/// `hulse bench`.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchVerb {
    /// Send messages and measure how long they take to be acknowledged
    #[command(after_help = PRODUCE_AFTER_HELP)]
    Produce(ProduceArgs),
    /// Receive messages and measure how many come
    #[command(after_help = CONSUME_AFTER_HELP)]
    Consume(ConsumeArgs),
    /// Send and receive, and measure how long messages take from one end to the other
    #[command(after_help = END_TO_END_AFTER_HELP)]
    EndToEnd(EndToEndArgs),
    /// Measure how long a fail-over takes (not available yet)
    Failover(PlannedArgs),
}

/// What a planned benchmark is given.
#[derive(Debug, Args)]
pub(crate) struct PlannedArgs {
    /// Names and flags of the verb
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    rest: Vec<String>,
}

/// Carries out the verb.
///
/// # Errors
/// When no server can be reached, or something fails meanwhile.
pub(crate) fn run(verb: &BenchVerb, common: &CommonFlags) -> Outcome {
    match verb {
        BenchVerb::Produce(args) => produce::run(args, common),
        BenchVerb::Consume(args) => consume::run(args, common),
        BenchVerb::EndToEnd(args) => end_to_end::run(args, common),
        BenchVerb::Failover(_) => Err(Failure::not_available_yet(
            "the measurement of fail-over (hulse bench failover); one broker stands alone so far",
        )),
    }
}
