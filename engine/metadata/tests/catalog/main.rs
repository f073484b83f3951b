//! The catalog: topics, groups and brokers, and what an interruption may leave.

mod books;
mod faulty_store;
mod groups;
mod interleavings;
mod interruptions;
mod registering;
mod scene;
mod tenancy;
mod terms;
mod topics;
