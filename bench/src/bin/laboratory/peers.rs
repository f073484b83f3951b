//! Other brokers, for the same work.

pub(crate) mod iggy;
pub(crate) mod install;
pub(crate) mod nats;
pub(crate) mod redis;
