//! The runtime on real executors, in one process: each executor leaks two descriptors, so there is
//! one for each test and no more. What ends a process is in `process.rs`.

#[path = "runtime/cores.rs"]
mod cores;
#[path = "runtime/files.rs"]
mod files;
#[path = "runtime/listening.rs"]
mod listening;
#[path = "runtime/messages.rs"]
mod messages;
#[path = "runtime/on_core.rs"]
mod on_core;
#[path = "runtime/streams.rs"]
mod streams;
#[path = "runtime/tasks.rs"]
mod tasks;
#[path = "runtime/watchdog.rs"]
mod watchdog;
