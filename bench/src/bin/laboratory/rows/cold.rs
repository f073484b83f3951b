//! A consumer that lags far behind, beside live traffic.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hulse_bench::drop_pages;
use serde_json::Value;

use crate::broker::{Broker, Waiting};
use crate::failure::Failure;
use crate::lab::{Lab, Produced, Read};
use crate::result::{Row, Side};
use crate::target::median;

/// Where what the lagging consumer reads is when it begins.
#[derive(Clone, Copy)]
enum Backlog {
    /// On the disk alone.
    Cold,
    /// In the page cache.
    Warm,
}

/// The publish p99 of live traffic with a consumer beside it that reads a backlog, against the same
/// without one. What the reading of warm pages costs is shown too: it takes processor time from live
/// traffic, wherever the pages are.
///
/// # Errors
/// When the load fails.
pub(crate) fn reader(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let mut broker = lab.program.broker(Waiting::Sleeping)?;
    let rate = (lab.peak(&broker, "memory")? / 10.0).max(1.0).round();
    let messages = lab.messages(1024);
    let _: Value = broker.run(&format!(
        "bench produce backlog --ack memory --size 1024 --messages {messages} --warmup 0"
    ))?;
    // What was not on the disk yet is there now, and no segment is mapped.
    broker.restart()?;
    let paths = broker.paths()?;
    let mut rows = Vec::new();
    for (backlog, name, whence) in [
        (Backlog::Cold, "lagging-reader-cold", "from the disk"),
        (Backlog::Warm, "lagging-reader-warm", "from the page cache"),
    ] {
        let mut read = Vec::new();
        let (beside, alone) = lab.in_turn(
            |round| {
                let topic = format!("{name}-{round}");
                let cold = matches!(backlog, Backlog::Cold).then_some(&*paths);
                let (p99, rates) = beside_reader(lab, &broker, &topic, rate, cold)?;
                read.extend(rates);
                Ok(p99)
            },
            |round| live(lab, &broker, &format!("{name}-alone-{round}"), rate),
        )?;
        let row = Row::of(
            name,
            &format!(
                "publish p99 of 1 KiB at a tenth of the peak, memory, beside a consumer that \
                      reads a backlog {whence}"
            ),
            None,
            Side::new(
                format!("with the consumer, {rate} messages/s"),
                "us",
                beside,
            ),
            Side::new("without it", "us", alone),
        );
        rows.push(row.note(format!(
            "The consumer read {:.0} MB/s meanwhile, over and over.",
            median(&read)
        )));
    }
    Ok(rows)
}

/// Live traffic on a topic of its own: its publish p99 in microseconds.
fn live(lab: &Lab, broker: &Broker, topic: &str, rate: f64) -> Result<f64, Failure> {
    let (seconds, warmup) = (lab.seconds(), lab.warmup());
    let produced: Produced = broker.run(&format!(
        "bench produce {topic} --ack memory --rate {rate} --duration {seconds} --warmup {warmup}"
    ))?;
    broker.delete(topic)?;
    Ok(produced.latency.p99_us as f64)
}

/// The same while a consumer reads the backlog from the start, again and again; before each time the
/// pages of the files in `cold` are dropped. Gives its rates too, in MB/s.
fn beside_reader(
    lab: &Lab,
    broker: &Broker,
    topic: &str,
    rate: f64,
    cold: Option<&[PathBuf]>,
) -> Result<(f64, Vec<f64>), Failure> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut rates = Vec::new();
            while !over.load(Ordering::Relaxed) {
                for path in cold.unwrap_or_default() {
                    match drop_pages(path) {
                        // A snapshot has made an old file of the sibling log needless.
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        dropped => dropped.map_err(Failure::io(path.display()))?,
                    }
                }
                let read: Read = broker.run("bench consume backlog")?;
                rates.push(read.megabytes_per_second);
            }
            Ok(rates)
        });
        let p99 = live(lab, broker, topic, rate);
        over.store(true, Ordering::Relaxed);
        let rates = reader
            .join()
            .unwrap_or_else(|_| Err(Failure::new("the reading thread fails")))?;
        Ok((p99?, rates))
    })
}
