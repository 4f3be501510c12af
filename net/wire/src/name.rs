//! Names of topics and groups: what is allowed, and which names are the system's own.
//!
//! Source: `common/.../topic/TopicValidator.java`, `client/.../Validators.java`.
//! (Limits: topic 127 bytes, 255 for retry and dead-letter topics; group 120 bytes.)
