//! The conditions of a measurement: without them a number says nothing.

use hulse_client::json::{BrokerStatus, TopicDescription};
use serde::Serialize;

use crate::exit::Failure;

/// Where and on what was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Conditions {
    /// Full name of the topic; of the first one where there are several.
    topic: String,
    topics: usize,
    /// Of all topics together.
    partitions: usize,
    replicas: u32,
    /// What an acknowledgement means: `disk` or `memory`.
    ack: String,
    broker_version: String,
    broker_cores: usize,
    client_version: &'static str,
    /// The kernel of this machine.
    client_kernel: String,
    /// CPUs that this process may use; a broker on this machine uses the same.
    client_cpus: usize,
}

impl Conditions {
    /// The conditions on these topics of this broker.
    ///
    /// # Errors
    /// When they are not of one kind, so that one figure for all would say nothing.
    pub(crate) fn new(topics: &[TopicDescription], broker: &BrokerStatus) -> Result<Self, Failure> {
        let [first, others @ ..] = topics else {
            return Err(Failure::failed("there is no topic to measure"));
        };
        if let Some(other) = others.iter().find(|other| other.ack != first.ack) {
            return Err(Failure::failed(format_args!(
                "the topic {} has ack={} and {} has ack={}; measure one after the other",
                first.name, first.ack, other.name, other.ack
            )));
        }
        let system = rustix::system::uname();
        Ok(Self {
            topic: first.name.clone(),
            topics: topics.len(),
            partitions: topics.iter().map(|topic| topic.partitions.len()).sum(),
            replicas: first.replicas,
            ack: first.ack.clone(),
            broker_version: broker.version.clone(),
            broker_cores: broker.cores.len(),
            client_version: env!("CARGO_PKG_VERSION"),
            client_kernel: system.release().to_string_lossy().into_owned(),
            client_cpus: std::thread::available_parallelism().map_or(1, usize::from),
        })
    }
}

impl std::fmt::Display for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let meaning = match self.ack.as_str() {
            "memory" => "out of the process, not synced",
            _ => "synced",
        };
        let others = match self.topics - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        writeln!(
            f,
            "topic {}{others}, {} partitions, {} replicas, ack={} ({meaning})",
            self.topic, self.partitions, self.replicas, self.ack
        )?;
        write!(
            f,
            "broker {} with {} cores; client {} on Linux {} with {} CPUs",
            self.broker_version,
            self.broker_cores,
            self.client_version,
            self.client_kernel,
            self.client_cpus
        )
    }
}
