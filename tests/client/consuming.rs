//! Every way to consume.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ringmq_client::admin::NewTopic;
use ringmq_client::{Client, Deliveries, Filter, Message, Start};
use tokio::sync::mpsc;

use super::another;

/// Nothing more comes within this time, if nothing should.
const QUIET: Duration = Duration::from_millis(300);

async fn topic(client: &Client, name: &'static str, queues: u32) -> &'static str {
    client.admin().create_topic(&NewTopic::new(name).queues(queues)).await.expect("the topic can be made");
    name
}

/// Sends `count` messages, whose bodies are their numbers, with tags A and B in turn.
async fn send(client: &Client, topic: &str, numbers: std::ops::Range<usize>) {
    let producer = client.producer().build().expect("the name is legal");
    for number in numbers {
        let tag = if number % 2 == 0 { "A" } else { "B" };
        let message = Message::builder(topic).tag(tag).body(number.to_string());
        producer.send(message).await.expect("sent");
    }
}

/// Takes and acknowledges so many messages, and says which.
async fn take(deliveries: &mut Deliveries, count: usize) -> BTreeSet<usize> {
    let mut numbers = BTreeSet::new();
    while numbers.len() < count {
        let delivery = deliveries.next().await.expect("the consumer goes on");
        numbers.insert(delivery.text().parse().expect("a number"));
        delivery.ack();
    }
    numbers
}

async fn nothing_more(deliveries: &mut Deliveries) {
    let more = tokio::time::timeout(QUIET, deliveries.next()).await;
    assert!(more.is_err(), "{more:?}");
}

/// Handlers get every message once, and the group goes on where it was.
pub async fn handlers(client: Client) {
    let topic = topic(&client, "RustHandled", 4).await;
    send(&client, topic, 0..200).await;
    let other = another(&client).await;
    let (seen, mut handled) = mpsc::unbounded_channel();
    let consumer = other.consumer("rust-handlers").subscribe(topic, Filter::all()).from(Start::First);
    let running = tokio::spawn(consumer.run(8, move |message| {
        let seen = seen.clone();
        async move {
            seen.send(message.text().parse::<usize>()?)?;
            Ok(())
        }
    }));
    let mut numbers = BTreeSet::new();
    while numbers.len() < 200 {
        assert!(numbers.insert(handled.recv().await.expect("the consumer goes on")), "delivered once");
    }
    other.shutdown(Duration::from_secs(3)).await;
    running.await.expect("no panic").expect("it ended in order");

    send(&client, topic, 200..210).await;
    let consumer = client.consumer("rust-handlers").subscribe(topic, Filter::all()).from(Start::First);
    let mut deliveries = consumer.stream().await.expect("started");
    assert_eq!(take(&mut deliveries, 10).await, (200..210).collect());
    nothing_more(&mut deliveries).await;
    deliveries.close(Duration::from_secs(3)).await;
}

/// A filter by tags, and each place to begin.
pub async fn filters_and_starts(client: Client) {
    let topic = topic(&client, "RustFiltered", 2).await;
    send(&client, topic, 0..20).await;
    let past = SystemTime::now() - Duration::from_secs(3600);
    for (group, filter, from, expected) in [
        ("rust-first", Filter::all(), Start::First, (0..20).collect::<BTreeSet<usize>>()),
        ("rust-even", Filter::tags("A"), Start::First, (0..20).step_by(2).collect()),
        ("rust-both", Filter::tags("A || B"), Start::Timestamp(past), (0..20).collect()),
    ] {
        let mut deliveries =
            client.consumer(group).subscribe(topic, filter).from(from).stream().await.expect("started");
        assert_eq!(take(&mut deliveries, expected.len()).await, expected, "{group}");
        nothing_more(&mut deliveries).await;
        deliveries.close(Duration::from_secs(3)).await;
    }
    let consumer = client.consumer("rust-last").subscribe(topic, Filter::all());
    let mut deliveries = consumer.stream().await.expect("started");
    while deliveries.queues().len() < 2 {
        tokio::task::yield_now().await;
    }
    send(&client, topic, 20..30).await;
    assert_eq!(take(&mut deliveries, 10).await, (20..30).collect());
    deliveries.close(Duration::from_secs(3)).await;
}

/// A message that was not acknowledged comes again; one that was is gone.
pub async fn not_acknowledged(client: Client) {
    let topic = topic(&client, "RustRetried", 1).await;
    let consumer = client.consumer("rust-retries").subscribe(topic, Filter::all()).from(Start::First);
    let mut deliveries = consumer.stream().await.expect("started");
    send(&client, topic, 0..3).await;
    let mut tries = BTreeMap::<usize, u32>::new();
    while tries.values().sum::<u32>() < 5 {
        let delivery = deliveries.next().await.expect("the consumer goes on");
        let number: usize = delivery.text().parse().expect("a number");
        assert_eq!(delivery.topic(), topic);
        let tried = tries.entry(number).or_default();
        assert_eq!(delivery.attempts_before(), *tried, "{delivery:?}");
        *tried += 1;
        match (number, *tried) {
            (0, 1) => delivery.retry(),
            (1, 1) => drop(delivery),
            _ => delivery.ack(),
        }
    }
    assert_eq!(tries.into_iter().collect::<Vec<_>>(), [(0, 2), (1, 2), (2, 1)]);
    deliveries.close(Duration::from_secs(3)).await;
}

/// One message at a time per queue, in its order, the same again after a failure.
pub async fn orderly(client: Client) {
    let topic = topic(&client, "RustOrdered", 4).await;
    let producer = client.producer().build().expect("the name is legal");
    for number in 0..40 {
        let customer = format!("customer-{}", number % 5);
        let message = Message::builder(topic).ordered_by(&customer).property("customer", &customer);
        producer.send(message.body(number.to_string())).await.expect("sent");
    }
    let other = another(&client).await;
    let log = Arc::new(Mutex::new(Vec::<(String, usize, u32)>::new()));
    let (finished, mut done) = mpsc::unbounded_channel();
    let consumer = other.consumer("rust-orderly").subscribe(topic, Filter::all()).from(Start::First);
    let handler_log = log.clone();
    let running = tokio::spawn(consumer.run_orderly(move |message| {
        let (log, finished) = (handler_log.clone(), finished.clone());
        async move {
            let number: usize = message.text().parse()?;
            let customer = message.property("customer").expect("it was set").to_owned();
            log.lock().expect("no panic").push((customer, number, message.attempts_before()));
            if number == 7 && message.attempts_before() == 0 {
                return Err("the first try fails".into());
            }
            finished.send(number)?;
            Ok(())
        }
    }));
    for _ in 0..40 {
        done.recv().await.expect("the consumer goes on");
    }
    other.shutdown(Duration::from_secs(3)).await;
    running.await.expect("no panic").expect("it ended in order");
    let log = log.lock().expect("no panic").clone();
    assert_eq!(log.len(), 41, "one was tried twice");
    for customer in 0..5 {
        let of_customer = log.iter().filter(|(name, ..)| *name == format!("customer-{customer}"));
        let tried: Vec<_> = of_customer.map(|(_, number, _)| *number).collect();
        let mut expected: Vec<_> = (0..40).filter(|number| number % 5 == customer).collect();
        if customer == 2 {
            expected.insert(1, 7);
        }
        assert_eq!(tried, expected, "customer {customer}");
    }
}

/// Members divide the queues; who leaves hands over at once.
pub async fn members(client: Client) {
    let topic = topic(&client, "RustShared", 8).await;
    let start = |client: &Client| {
        client.consumer("rust-members").subscribe(topic, Filter::all()).from(Start::First).stream()
    };
    let (other, third) = (another(&client).await, another(&client).await);
    let mut one = start(&client).await.expect("started");
    owns(&one, topic, 8).await;
    let two = start(&other).await.expect("started");
    let three = start(&third).await.expect("started");
    until(|| {
        let mut queues = [&one, &two, &three].map(|deliveries| owned(deliveries, topic));
        queues.sort_unstable();
        queues == [2, 3, 3]
    })
    .await;
    two.close(Duration::from_secs(3)).await;
    for deliveries in [&one, &three] {
        owns(deliveries, topic, 4).await;
    }
    third.shutdown(Duration::from_secs(3)).await;
    owns(&one, topic, 8).await;
    send(&client, topic, 0..20).await;
    assert_eq!(take(&mut one, 20).await, (0..20).collect());
    drop(three);
    one.close(Duration::from_secs(3)).await;
}

fn owned(deliveries: &Deliveries, topic: &str) -> usize {
    deliveries.queues().iter().filter(|queue| queue.topic() == topic).count()
}

async fn owns(deliveries: &Deliveries, topic: &str, queues: usize) {
    until(|| owned(deliveries, topic) == queues).await;
}

/// Waits until it is so; the scenario's own patience ends it.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Every member gets every message.
pub async fn broadcast(client: Client) {
    let topic = topic(&client, "RustBroadcast", 3).await;
    let other = another(&client).await;
    let mut members = Vec::new();
    for client in [&client, &other] {
        let consumer = client.consumer("rust-broadcast").subscribe(topic, Filter::all()).broadcast();
        members.push(consumer.stream().await.expect("started"));
    }
    for member in &members {
        owns(member, topic, 3).await;
    }
    send(&client, topic, 0..12).await;
    for member in &mut members {
        assert_eq!(take(member, 12).await, (0..12).collect());
        nothing_more(member).await;
    }
    drop(members);
    other.shutdown(Duration::from_secs(3)).await;
}

/// Queues pulled, and queues assigned, by hand.
pub async fn by_hand(client: Client) {
    let topic = topic(&client, "RustPulled", 2).await;
    send(&client, topic, 0..40).await;
    let puller = client.puller("rust-puller").expect("the name is legal");
    let queues = puller.queues(topic).await.expect("it has queues");
    assert_eq!(queues.len(), 2);
    let mut numbers = BTreeSet::new();
    for queue in &queues {
        assert_eq!(puller.committed(queue).await.expect("asked"), None);
        let mut offset = 0;
        loop {
            let pulled = puller.pull(queue, offset, &Filter::all(), 7, Duration::ZERO).await.expect("pulled");
            let found =
                pulled.messages.iter().map(|message| message.text().parse::<usize>().expect("a number"));
            numbers.extend(found);
            offset = pulled.next;
            if offset >= pulled.end {
                break;
            }
        }
        puller.commit(queue, offset).await.expect("committed");
        assert_eq!(puller.committed(queue).await.expect("asked"), Some(20));
    }
    assert_eq!(numbers, (0..40).collect());
    let beyond = puller.pull(&queues[0], 1000, &Filter::all(), 7, Duration::ZERO).await.expect("pulled");
    assert_eq!((beyond.messages.len(), beyond.next), (0, 20), "an offset that is not there is set right");

    let assigned = client.consumer("rust-assigned").subscribe(topic, Filter::all()).from(Start::First);
    let mut deliveries = assigned.assign([queues[1].clone()]).stream().await.expect("started");
    take(&mut deliveries, 20).await;
    nothing_more(&mut deliveries).await;
    assert_eq!(deliveries.queues(), [queues[1].clone()]);
    deliveries.close(Duration::from_secs(3)).await;
}
