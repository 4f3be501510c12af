//! Looking at single messages: VIEW_MESSAGE_BY_ID (33) and QUERY_MESSAGE (12). The answer's body is records.
//!
//! Source: `ViewMessageRequestHeader.java`, `QueryMessageRequestHeader.java`, `QueryMessageResponseHeader.java`.

use super::header;

header! {
    /// VIEW_MESSAGE_BY_ID (33). The client has taken the offset from the message id and asks the host in it.
    ViewRequest<'a> {
        /// Physical offset.
        physical_offset: i64 = "offset",
        /// The topic, from 5.x clients.
        topic: Option<&'a str> = "topic",
    }
}

header! {
    /// QUERY_MESSAGE (12): by a key, or by UNIQ_KEY.
    QueryRequest<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// One key.
        key: &'a str = "key",
        /// Most records wanted.
        records_max: i32 = "maxNum",
        /// Store time from, milliseconds since 1970.
        begin_timestamp_ms: i64 = "beginTimestamp",
        /// Store time to.
        end_timestamp_ms: i64 = "endTimestamp",
        /// The key is a UNIQ_KEY.
        by_unique_key: bool = "_UNIQUE_KEY_QUERY",
    }
}

header! {
    /// The header of the answer to 12.
    QueryReply {
        /// When the index last changed.
        index_last_update_timestamp: i64 = "indexLastUpdateTimestamp",
        /// The physical offset it covers.
        index_last_physical_offset: i64 = "indexLastUpdatePhyoffset",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::testing::decoded;

    #[test]
    fn queries_are_read() {
        let ext = r#"{"topic":"T","key":"k","maxNum":"32","beginTimestamp":"0","endTimestamp":"9223372036854775807","_UNIQUE_KEY_QUERY":"true"}"#;
        decoded(ext, |fields| {
            let request = QueryRequest::decode(&fields).unwrap();
            assert_eq!((request.key, request.end_timestamp_ms, request.by_unique_key), ("k", i64::MAX, true));
        });
        decoded(r#"{"offset":"1000"}"#, |fields| {
            assert_eq!(ViewRequest::decode(&fields), Ok(ViewRequest { physical_offset: 1000, topic: None }));
        });
    }
}
