//! The client of Hulse, for programs on tokio.
//!
//! A [`Client`] opens a connection to each core of a broker that it needs, and shares it among
//! everything that talks to that core. [`Producer`]s and [`Consumer`]s are made from it; they
//! outlive lost connections, restarts of the broker and moves of partitions without a word, until
//! an operation has taken too long. [`Admin`] creates, lists and describes.
//!
//! Every failure is a [`ClientError`]. Nothing that a server sends makes the client panic: bytes
//! that are not what they should be close the connection with a typed error.
//!
//! ```no_run
//! # async fn example() -> Result<(), hulse_client::ClientError> {
//! let client = hulse_client::Client::builder("hulse://localhost:6650").connect().await?;
//! let producer = client.producer("greetings").build().await?;
//! println!("{}", producer.send_and_wait("hello").await?);
//! producer.close().await
//! # }
//! ```
#![forbid(unsafe_code)]

mod address;
mod admin;
mod attempts;
mod backoff;
mod client;
mod completion;
mod connection;
mod consumer;
mod error;
mod growth;
mod lookup;
mod message;
mod partitions;
mod pool;
mod producer;
mod reader;
mod retrying;

pub use admin::{Admin, TopicSpec};
pub use client::{Client, ClientBuilder};
pub use consumer::{
    AckHandle, Consumer, ConsumerBuilder, DeadLetterPolicy, PartitionMarks, Received, SeekTo,
};
pub use error::ClientError;
pub use hulse_model::policies::UNLIMITED;
pub use hulse_model::{
    MessageId, Offset, Permission, Policy, PolicyChange, Position, Status, Term,
};
pub use hulse_wire::{Access, AckLevel, StartFrom, SubscriptionType, json};
pub use message::Message;
pub use producer::{Producer, ProducerBuilder, SendHandle};
pub use reader::{Reader, ReaderBuilder};
pub use retrying::{Attempt, Reconsumed, RetryPolicy, RetryingConsumer};
