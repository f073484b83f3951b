//! The rules about how the repository is laid out. Each looks at data that a test can also make up,
//! so that the rule itself is tested.

pub mod edges;
pub mod layout;
pub mod licences;
pub mod pure;
pub mod rooms;
