//! The conditions of a measurement: without them a number says nothing.

use hulse_client::json::{BrokerStatus, TopicDescription};
use serde::Serialize;

/// Where and on what was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Conditions {
    /// Full name of the topic.
    topic: String,
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
    /// The conditions on this topic of this broker.
    pub(crate) fn new(topic: &TopicDescription, broker: &BrokerStatus) -> Self {
        let system = rustix::system::uname();
        Self {
            topic: topic.name.clone(),
            partitions: topic.partitions.len(),
            replicas: topic.replicas,
            ack: topic.ack.clone(),
            broker_version: broker.version.clone(),
            broker_cores: broker.cores.len(),
            client_version: env!("CARGO_PKG_VERSION"),
            client_kernel: system.release().to_string_lossy().into_owned(),
            client_cpus: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

impl std::fmt::Display for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let meaning = match self.ack.as_str() {
            "memory" => "out of the process, not synced",
            _ => "synced",
        };
        writeln!(
            f,
            "topic {}, {} partitions, {} replicas, ack={} ({meaning})",
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
