//! What an operator does.

use std::time::{Duration, SystemTime};

use ringmq_client::admin::{Boundary, NewGroup, NewTopic, Permission, ResetTo, TopicChange};
use ringmq_client::{Client, Error, Message};

/// A topic from its making to its end.
pub async fn topics(client: Client) {
    let (admin, topic) = (client.admin(), "RustTopic");
    admin.create_topic(&NewTopic::new(topic).queues(5)).await.expect("made");
    assert!(admin.topics().await.expect("listed").iter().any(|name| name == topic));
    let described = admin.topic(topic).await.expect("described");
    assert_eq!(described.queues.len(), 5);
    assert_eq!(described.brokers.iter().map(|broker| broker.write_queues).sum::<u32>(), 5);
    assert!(described.brokers.iter().all(|broker| broker.permission == 6));
    assert!(
        described.queues.iter().all(|queue| (queue.first, queue.end, queue.last_stored_at) == (0, 0, None))
    );

    let change = TopicChange::new().queues_per_broker(6).permission(Permission::Read);
    admin.alter_topic(topic, &change).await.expect("altered");
    let described = admin.topic(topic).await.expect("described");
    assert!(described.brokers.iter().all(|broker| (broker.write_queues, broker.permission) == (6, 4)));

    admin.delete_topic(topic).await.expect("deleted");
    assert!(matches!(admin.topic(topic).await, Err(Error::NoRoute { .. })));
    for wrong in [NewTopic::new("T").queues(0), NewTopic::new("a b"), NewTopic::new("T").cluster("none")] {
        assert!(matches!(admin.create_topic(&wrong).await, Err(Error::Invalid(_))));
    }
}

/// A group without members, and its offsets.
pub async fn groups(client: Client) {
    let (admin, topic, group) = (client.admin(), "RustGroupTopic", "rust-group");
    admin.create_topic(&NewTopic::new(topic).queues(1)).await.expect("made");
    let producer = client.producer().build().expect("legal");
    let before = SystemTime::now() - Duration::from_secs(60);
    let mut queue = None;
    for number in 0..10 {
        queue = Some(producer.send(Message::new(topic, format!("{number}"))).await.expect("sent").queue);
    }
    let queue = queue.expect("ten were sent");

    admin.create_group(&NewGroup::new(group).retries(3)).await.expect("made");
    assert!(admin.groups().await.expect("listed").iter().any(|name| name == group));
    assert_eq!(admin.group_offset(group, &queue).await.expect("asked"), None);
    for (to, expected) in [
        (ResetTo::End, 10),
        (ResetTo::First, 0),
        (ResetTo::Offset(7), 7),
        (ResetTo::Offset(70), 10),
        (ResetTo::Time(before), 0),
        (ResetTo::Time(SystemTime::now() + Duration::from_secs(60)), 10),
        (ResetTo::Offset(4), 4),
    ] {
        let resets = admin.reset_offset(group, topic, to).await.expect("reset");
        assert_eq!(resets.iter().map(|reset| reset.to).collect::<Vec<_>>(), [expected], "{to:?}");
        assert_eq!(admin.group_offset(group, &queue).await.expect("asked"), Some(expected), "{to:?}");
    }
    let described = admin.group(group).await.expect("described");
    assert_eq!((described.retries, described.members.len(), described.broadcast), (Some(3), 0, false));
    let of_topic =
        described.queues.iter().find(|progress| progress.queue == queue).expect("it has an offset");
    assert_eq!((of_topic.offset, of_topic.end, of_topic.lag()), (4, 10, 6));

    assert_eq!(admin.offset(&queue, Boundary::First).await.expect("asked"), 0);
    assert_eq!(admin.offset(&queue, Boundary::End).await.expect("asked"), 10);
    assert_eq!(admin.offset(&queue, Boundary::At(before)).await.expect("asked"), 0);

    admin.delete_group(group).await.expect("deleted");
    assert!(!admin.groups().await.expect("listed").iter().any(|name| name == group));
    let unknown = admin.group("rust-nobody").await.expect_err("there is no such group");
    assert_eq!(unknown.code(), Some(26), "{unknown}");
}

/// Who is there, and single messages.
pub async fn cluster_and_messages(client: Client) {
    let (admin, topic) = (client.admin(), "RustLookUp");
    let cluster = admin.cluster().await.expect("described");
    assert!(!cluster.brokers.is_empty() && cluster.name_servers.len() == 1);
    for broker in &cluster.brokers {
        assert!(broker.error.is_none() && broker.runtime.contains_key("brokerVersionDesc"), "{broker:?}");
        assert!(!admin.broker_settings(&broker.address).await.expect("told").is_empty());
    }
    admin.create_topic(&NewTopic::new(topic).queues(2)).await.expect("made");
    let producer = client.producer().build().expect("legal");
    let sent = producer
        .send(Message::builder(topic).tag("A").key("order-17").body("four boxes"))
        .await
        .expect("sent");
    let found = admin.message_by_place(&sent.place).await.expect("looked up").expect("it is there");
    assert_eq!((found.text().as_ref(), found.id(), found.tag()), ("four boxes", sent.id, Some("A")));
    assert_eq!((found.queue(), found.offset()), (&sent.queue, sent.offset));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["order-17"]);
    assert!(matches!(admin.message_by_place("nonsense").await, Err(Error::Invalid(_))));
}
