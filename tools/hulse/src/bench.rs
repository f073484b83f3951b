//! `hulse bench`: measures a broker from outside.

mod conditions;
mod consume;
mod latency;
mod produce;

use clap::{Args, Subcommand};

use crate::cli::CommonFlags;
use crate::exit::{Failure, Outcome};
pub(crate) use consume::ConsumeArgs;
pub(crate) use produce::ProduceArgs;

const PRODUCE_AFTER_HELP: &str = "\
With --rate the loop is open: every message has its moment on a schedule that is fixed in advance,
and its latency counts from that moment, so that a broker that stalls is charged for the wait.
Without --rate the loop is closed and saturating: a message is sent as soon as there is room for
it, and the latency says little more than how much room there was.

The result names what an acknowledgement means on this topic: at `disk` synced, at `memory` not.
Compare only what was measured under the same conditions, which are printed with it.

Examples:
  hulse bench produce bench-1 --rate 10000 --duration 30
  hulse bench produce bench-1 --size 256 --producers 2 --json";

const CONSUME_AFTER_HELP: &str = "\
Reads a topic as fast as it comes, under a subscription of its own that is deleted afterwards.
It ends at the end that the topic has at the start, or after --messages or --duration.

The age of a message is the time from when the broker stored it to when it was received, by the
clocks of both machines and in steps of a millisecond: with --from latest and a producer that runs
meanwhile it is the time end to end, otherwise mostly how long the messages had been there.

Example:
  hulse bench consume bench-1";

/// `hulse bench`.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchVerb {
    /// Send messages and measure how long they take to be acknowledged
    #[command(after_help = PRODUCE_AFTER_HELP)]
    Produce(ProduceArgs),
    /// Receive messages and measure how many come
    #[command(after_help = CONSUME_AFTER_HELP)]
    Consume(ConsumeArgs),
    /// Measure from sending to receiving (not available yet)
    EndToEnd(PlannedArgs),
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
        BenchVerb::EndToEnd(_) => Err(Failure::not_available_yet(
            "the measurement end to end (hulse bench end-to-end); run `hulse bench consume --from \
             latest` beside `hulse bench produce --rate N`",
        )),
        BenchVerb::Failover(_) => Err(Failure::not_available_yet(
            "the measurement of fail-over (hulse bench failover); one broker stands alone so far",
        )),
    }
}
