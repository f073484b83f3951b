//! The rules of [`crate::store`], checked.
