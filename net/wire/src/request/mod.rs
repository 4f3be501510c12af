//! Typed requests and replies, one file per family.
//!
//! A request decodes from [`crate::Fields`] (`decode`) and lists its fields for the other direction (`fields`).
