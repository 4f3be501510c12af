//! Every way to send.

use std::collections::BTreeSet;

use ringmq_client::admin::{Boundary, NewTopic};
use ringmq_client::{Client, Error, Message, Queue, Receipt};

/// Each way of sending stores what it says it stores.
pub async fn every_way(client: Client) {
    let topic = "RustSends";
    client.admin().create_topic(&NewTopic::new(topic).queues(4)).await.expect("the topic can be made");
    let producer = client.producer().group("rust-sends").build().expect("the group's name is legal");

    let mut receipts: Vec<Receipt> = Vec::new();
    for number in 0..8 {
        let message =
            Message::builder(topic).tag("A").key(format!("k{number}")).body(format!("single {number}"));
        receipts.push(producer.send(message).await.expect("sent"));
    }
    let queues: BTreeSet<&Queue> = receipts.iter().map(|receipt| &receipt.queue).collect();
    assert_eq!(queues.len(), 4, "single sends take turns");

    let queue = receipts[0].queue.clone();
    let sent = producer.send_to(&queue, Message::new(topic, "to a queue")).await.expect("sent");
    assert_eq!(sent.queue, queue);
    receipts.push(sent);

    let ordered: Vec<Receipt> = {
        let mut sent = Vec::new();
        for number in 0..5 {
            let message = Message::builder(topic).ordered_by("customer-4").body(format!("ordered {number}"));
            sent.push(producer.send(message).await.expect("sent"));
        }
        sent
    };
    assert!(ordered.windows(2).all(|pair| pair[0].queue == pair[1].queue && pair[0].offset < pair[1].offset));
    receipts.extend(ordered);

    let batch: Vec<_> = (0..10).map(|number| Message::new(topic, format!("batch {number}"))).collect();
    let batch = producer.send_batch(batch).await.expect("sent");
    assert!(
        batch.windows(2).all(|pair| pair[0].queue == pair[1].queue && pair[0].offset + 1 == pair[1].offset)
    );
    assert_eq!(batch.iter().map(|receipt| &receipt.place).collect::<BTreeSet<_>>().len(), 10);
    receipts.extend(batch);

    let large = Message::new(topic, "four boxes, ".repeat(10_000));
    receipts.push(producer.send(large).await.expect("sent"));

    let ids: BTreeSet<_> = receipts.iter().map(|receipt| receipt.id.clone()).collect();
    assert_eq!(ids.len(), receipts.len(), "every message has an id of its own");
    assert_eq!(stored(&client, topic).await, receipts.len() as i64);

    producer.send_oneway(Message::new(topic, "one way")).await.expect("queued");
    while stored(&client, topic).await < receipts.len() as i64 + 1 {
        tokio::task::yield_now().await;
    }
    refusals(&client).await;
}

/// What is refused, and by whom.
async fn refusals(client: &Client) {
    let producer = client.producer().compression(None).build().expect("the group's name is legal");
    let too_large = Message::new("RustSends", vec![7; 4 * 1024 * 1024 + 1]);
    for message in [too_large, Message::new("a topic", "blanks")] {
        let error = producer.send(message).await.expect_err("refused");
        assert!(matches!(error, Error::Invalid(_)) && !error.outcome_unknown(), "{error}");
    }
    let mixed = [Message::new("RustSends", "a"), Message::new("Another", "b")];
    assert!(matches!(producer.send_batch(mixed).await, Err(Error::Invalid(_))));
    assert_eq!(producer.send_batch([]).await.expect("nothing to do"), []);
    let elsewhere = Queue::new("RustSends", "broker-that-is-not", 0);
    let patient = client.producer().timeout(std::time::Duration::from_millis(300)).build().expect("legal");
    let error =
        patient.send_to(&elsewhere, Message::new("RustSends", "x")).await.expect_err("no such broker");
    assert!(matches!(error, Error::NoRoute { .. }), "{error}");
    assert!(client.producer().group("a b").build().is_err());
}

/// A topic comes into being by its first message.
pub async fn to_a_new_topic(client: Client) {
    let producer = client.producer().build().expect("the group's name is legal");
    let receipts = [
        producer.send(Message::new("RustNewTopic", "first")).await.expect("sent"),
        producer.send(Message::new("RustNewTopic", "second")).await.expect("sent"),
    ];
    assert!(receipts.iter().all(|receipt| receipt.offset == 0 || receipt.queue == receipts[0].queue));
}

/// Many sends at once, from many tasks.
pub async fn many_at_once(client: Client) {
    let topic = "RustMany";
    client.admin().create_topic(&NewTopic::new(topic).queues(8)).await.expect("the topic can be made");
    let producer = client.producer().build().expect("the group's name is legal");
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let producer = producer.clone();
            tokio::spawn(async move {
                for number in 0..100 {
                    producer.send(Message::new(topic, format!("{task}-{number}"))).await.expect("sent");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no task panics");
    }
    assert_eq!(stored(&client, topic).await, 6400);
}

/// Messages in all queues of a topic.
pub async fn stored(client: &Client, topic: &str) -> i64 {
    let admin = client.admin();
    let queues = admin.topic(topic).await.expect("the topic is there").queues;
    let mut count = 0;
    for queue in queues {
        let end = admin.offset(&queue.queue, Boundary::End).await.expect("the queue is there");
        count += end - admin.offset(&queue.queue, Boundary::First).await.expect("the queue is there");
    }
    count
}
