//! Properties of the partition's state and of the dispatchers, against models that are too simple
//! to be wrong. A failing case is printed with its seed and kept beside this file.

#[cfg(test)]
mod access_model;
#[cfg(test)]
mod cursor_model;
#[cfg(test)]
mod delayed_worlds;
#[cfg(test)]
mod exclusive_worlds;
#[cfg(test)]
mod explorer;
#[cfg(test)]
mod failover_worlds;
#[cfg(test)]
mod fold;
#[cfg(test)]
mod hostile_bytes;
#[cfg(test)]
mod key_shared_worlds;
#[cfg(test)]
mod producer_model;
#[cfg(test)]
mod shared_worlds;
