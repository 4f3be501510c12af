//! A name server's text table (100–102, 219), and its topic administration (205, 216, 224, 327).
//!
//! Source: `remoting/.../protocol/header/namesrv/`.

use super::header;

header! {
    /// PUT_KV_CONFIG (100). Reply: code only.
    PutKv<'a> {
        /// The namespace, such as `ORDER_TOPIC_CONFIG`.
        namespace: &'a str = "namespace",
        /// The key in it.
        key: &'a str = "key",
        /// Its new value.
        value: &'a str = "value",
    }
}

header! {
    /// GET_KV_CONFIG (101) and DELETE_KV_CONFIG (102).
    KvKey<'a> {
        /// The namespace.
        namespace: &'a str = "namespace",
        /// The key in it.
        key: &'a str = "key",
    }
}

header! {
    /// The answer to 101; 22 if there is no such key.
    KvValue<'a> {
        /// Its value.
        value: &'a str = "value",
    }
}

header! {
    /// GET_KVLIST_BY_NAMESPACE (219); answered by a [`super::admin::TextTable`].
    KvNamespace<'a> {
        /// The namespace.
        namespace: &'a str = "namespace",
    }
}

header! {
    /// WIPE_WRITE_PERM_OF_BROKER (205) and ADD_WRITE_PERM_OF_BROKER (327).
    WritePerm<'a> {
        /// The broker.
        broker_name: &'a str = "brokerName",
    }
}

header! {
    /// The answer to 205.
    WritePermWiped {
        /// Topics changed.
        topics: i32 = "wipeTopicCount",
    }
}

header! {
    /// The answer to 327.
    WritePermAdded {
        /// Topics changed.
        topics: i32 = "addTopicCount",
    }
}

header! {
    /// DELETE_TOPIC_IN_NAMESRV (216). Reply: code only.
    DeleteTopicRoute<'a> {
        /// The topic.
        topic: &'a str = "topic",
        /// Only in this cluster.
        cluster: Option<&'a str> = "clusterName",
    }
}

header! {
    /// GET_TOPICS_BY_CLUSTER (224); answered by a [`super::admin::TopicList`].
    ClusterTopics<'a> {
        /// The cluster.
        cluster: &'a str = "cluster",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::testing::decoded;

    #[test]
    fn a_value_may_be_empty_but_not_missing() {
        decoded(r#"{"namespace":"n","key":"k","value":""}"#, |fields| {
            assert_eq!(PutKv::decode(&fields), Ok(PutKv { namespace: "n", key: "k", value: "" }));
        });
        decoded(r#"{"namespace":"n","key":"k","value":null}"#, |fields| {
            assert_eq!(PutKv::decode(&fields).unwrap_err().to_string(), "the custom field <value> is null");
        });
    }
}
