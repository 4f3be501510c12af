//! Order processing: a type of your own with serde, one customer's orders in order, failures tried again, an end in order.
//!
//! cargo run -p ringmq-client --example orders -- rocketmq://127.0.0.1:9876

use ringmq_client::{Client, Filter, Message, Start};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::mpsc;

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    number: u64,
    customer: String,
    boxes: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "rocketmq://127.0.0.1:9876".into());
    let client = Client::connect(url).await?;

    let producer = client.producer().group("shop").build()?;
    for number in 0..12 {
        let order = Order { number, customer: format!("customer-{}", number % 3), boxes: 4 };
        // All orders of a customer lie in one queue, in the order in which they were stored.
        let message = Message::builder("orders")
            .tag("created")
            .key(format!("order-{number}"))
            .ordered_by(&order.customer)
            .json(&order)?;
        producer.send(message).await?;
    }

    let (finished, mut orders) = mpsc::unbounded_channel();
    let consumer = client.consumer("billing").subscribe("orders", Filter::tags("created")).from(Start::First);
    let billing = tokio::spawn(consumer.run_orderly(move |message| {
        let finished = finished.clone();
        async move {
            let order: Order = message.json()?;
            if order.number == 5 && message.attempts_before() == 0 {
                // The same order comes again in a second; those of other queues go on meanwhile.
                return Err("the printer is out of paper".into());
            }
            finished.send(order)?;
            Ok(())
        }
    }));
    for _ in 0..12 {
        let order = orders.recv().await.ok_or("billing ended")?;
        println!("{}: {} boxes for {}", order.number, order.boxes, order.customer);
    }
    // Handlers finish, offsets are committed, other members take over.
    client.shutdown(Duration::from_secs(5)).await;
    billing.await??;
    Ok(())
}
