//! Names of topics and groups: what is allowed, and which names are the system's own.
//!
//! Allowed are letters, digits and `% | - _`; a topic has up to 127 bytes, retry and dead-letter topics up to
//! 255, a group up to 120. The texts of the errors are Apache's, because users search for them.
//!
//! Source: `common/.../topic/TopicValidator.java`, `client/.../Validators.java`, `common/.../MixAll.java`.

use thiserror::Error;

/// Longest topic.
pub const TOPIC_BYTES_MAX: usize = 127;
/// Longest retry or dead-letter topic.
pub const GROUP_TOPIC_BYTES_MAX: usize = crate::record::TOPIC_BYTES_MAX;
/// Longest group.
pub const GROUP_BYTES_MAX: usize = 120;

/// A group's retry topic is this and its name.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// A group's dead-letter topic is this and its name.
pub const DEAD_LETTER_PREFIX: &str = "%DLQ%";
/// Topics that begin so are the system's own.
pub const SYSTEM_TOPIC_PREFIX: &str = "rmq_sys_";
/// Groups that begin so are the system's own.
pub const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";

/// The topic whose route stands for topics that do not exist yet.
pub const AUTO_CREATE_TOPIC: &str = "TBW102";
/// Where messages with a delay level wait.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Where timers wait.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// Where half messages wait.
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Marks of finished half messages.
pub const HALF_OP_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Where half messages go that were checked too often.
pub const HALF_GIVEN_UP_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// Traces of clients.
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
/// Self test.
pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
/// Events of offsets out of bounds.
pub const OFFSET_MOVED_TOPIC: &str = "OFFSET_MOVED_EVENT";
/// Benchmark tools.
pub const BENCHMARK_TOPIC: &str = "BenchmarkTest";
/// The group that every Java client's own producer belongs to.
pub const CLIENT_INNER_PRODUCER: &str = "CLIENT_INNER_PRODUCER";
/// The group that admin tools pull with.
pub const TOOLS_CONSUMER: &str = "TOOLS_CONSUMER";

const SYSTEM_TOPICS: [&str; 9] = [
    AUTO_CREATE_TOPIC,
    SCHEDULE_TOPIC,
    BENCHMARK_TOPIC,
    HALF_TOPIC,
    TRACE_TOPIC,
    HALF_OP_TOPIC,
    HALF_GIVEN_UP_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_TOPIC,
];

const SEND_FORBIDDEN_TOPICS: [&str; 6] =
    [SCHEDULE_TOPIC, HALF_TOPIC, HALF_OP_TOPIC, HALF_GIVEN_UP_TOPIC, SELF_TEST_TOPIC, OFFSET_MOVED_TOPIC];

/// Why a name was refused. The texts are the remarks of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing but blanks.
    #[error("The specified topic is blank.")]
    TopicBlank,
    /// A character outside the allowed ones.
    #[error("The specified topic contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$")]
    TopicIllegal,
    /// Beyond [`TOPIC_BYTES_MAX`] (or [`GROUP_TOPIC_BYTES_MAX`]).
    #[error("The specified topic is longer than topic max length.")]
    TopicTooLong,
    /// Nothing but blanks.
    #[error("The specified group is blank.")]
    GroupBlank,
    /// A character outside the allowed ones.
    #[error("The specified group contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$")]
    GroupIllegal,
    /// Beyond [`GROUP_BYTES_MAX`].
    #[error("The specified group is longer than group max length.")]
    GroupTooLong,
}

/// Checks a topic's name.
pub fn check_topic(topic: &str) -> Result<(), NameError> {
    let of_group = topic.starts_with(RETRY_PREFIX) || topic.starts_with(DEAD_LETTER_PREFIX);
    let bytes_max = if of_group { GROUP_TOPIC_BYTES_MAX } else { TOPIC_BYTES_MAX };
    if topic.trim().is_empty() {
        Err(NameError::TopicBlank)
    } else if !is_legal(topic) {
        Err(NameError::TopicIllegal)
    } else if topic.len() > bytes_max {
        Err(NameError::TopicTooLong)
    } else {
        Ok(())
    }
}

/// Checks a group's name.
pub fn check_group(group: &str) -> Result<(), NameError> {
    if group.trim().is_empty() {
        Err(NameError::GroupBlank)
    } else if !is_legal(group) {
        Err(NameError::GroupIllegal)
    } else if group.len() > GROUP_BYTES_MAX {
        Err(NameError::GroupTooLong)
    } else {
        Ok(())
    }
}

fn is_legal(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'|' | b'-' | b'_'))
}

/// Whether a topic is the system's own: it cannot be changed or deleted by users.
pub fn is_system_topic(topic: &str) -> bool {
    SYSTEM_TOPICS.contains(&topic) || topic.starts_with(SYSTEM_TOPIC_PREFIX)
}

/// Whether sends to a topic are refused (16, `Sending message to topic[X] is forbidden.`).
pub fn is_send_forbidden(topic: &str) -> bool {
    SEND_FORBIDDEN_TOPICS.contains(&topic)
}

/// Whether a group is the system's own.
pub fn is_system_group(group: &str) -> bool {
    group.starts_with(SYSTEM_GROUP_PREFIX)
        || matches!(group, CLIENT_INNER_PRODUCER | TOOLS_CONSUMER | "DEFAULT_CONSUMER" | "DEFAULT_PRODUCER")
}

/// A group's retry topic.
pub fn retry_topic(group: &str) -> String {
    [RETRY_PREFIX, group].concat()
}

/// A group's dead-letter topic.
pub fn dead_letter_topic(group: &str) -> String {
    [DEAD_LETTER_PREFIX, group].concat()
}

/// The group whose retry topic this is.
pub fn group_of_retry_topic(topic: &str) -> Option<&str> {
    topic.strip_prefix(RETRY_PREFIX).filter(|group| !group.is_empty())
}

/// The group whose dead-letter topic this is.
pub fn group_of_dead_letter_topic(topic: &str) -> Option<&str> {
    topic.strip_prefix(DEAD_LETTER_PREFIX).filter(|group| !group.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_checked_as_apache_does() {
        let (t127, t128) = ("t".repeat(127), "t".repeat(128));
        let (retry255, retry256) = (retry_topic(&"g".repeat(248)), retry_topic(&"g".repeat(249)));
        let table = [
            ("TopicA", Ok(())),
            ("%RETRY%a|b-c_9", Ok(())),
            (t127.as_str(), Ok(())),
            (retry255.as_str(), Ok(())),
            ("", Err(NameError::TopicBlank)),
            (" \t", Err(NameError::TopicBlank)),
            ("a b", Err(NameError::TopicIllegal)),
            ("中文", Err(NameError::TopicIllegal)),
            ("../a", Err(NameError::TopicIllegal)),
            (t128.as_str(), Err(NameError::TopicTooLong)),
            (retry256.as_str(), Err(NameError::TopicTooLong)),
        ];
        for (topic, expected) in table {
            assert_eq!(check_topic(topic), expected, "{topic:?}");
        }
    }

    #[test]
    fn groups_are_checked_as_apache_does() {
        let (g120, g121) = ("g".repeat(120), "g".repeat(121));
        for (group, expected) in [
            ("CG", Ok(())),
            (g120.as_str(), Ok(())),
            ("", Err(NameError::GroupBlank)),
            ("a/b", Err(NameError::GroupIllegal)),
            (g121.as_str(), Err(NameError::GroupTooLong)),
        ] {
            assert_eq!(check_group(group), expected, "{group:?}");
        }
    }

    #[test]
    fn the_systems_topics_are_known_and_some_refuse_sends() {
        for (topic, system, forbidden) in [
            ("TBW102", true, false),
            ("RMQ_SYS_TRACE_TOPIC", true, false),
            ("SCHEDULE_TOPIC_XXXX", true, true),
            ("rmq_sys_wheel_timer", true, false),
            ("TopicA", false, false),
            ("%RETRY%CG", false, false),
        ] {
            assert_eq!((is_system_topic(topic), is_send_forbidden(topic)), (system, forbidden), "{topic}");
        }
        assert!(is_system_group("CID_RMQ_SYS_TRANS") && !is_system_group("CG"));
    }

    #[test]
    fn a_groups_topics_name_it() {
        assert_eq!(group_of_retry_topic(&retry_topic("CG")), Some("CG"));
        assert_eq!(group_of_dead_letter_topic(&dead_letter_topic("CG")), Some("CG"));
        assert_eq!((group_of_retry_topic("%RETRY%"), group_of_retry_topic("CG")), (None, None));
    }
}
