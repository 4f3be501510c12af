//! Notifications: every member of a group hears everything, and what failed is not repeated.
//!
//! cargo run -p ringmq-client --example notifications -- rocketmq://127.0.0.1:9876

use ringmq_client::{Client, Filter, Message};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "rocketmq://127.0.0.1:9876".into());
    let client = Client::connect(&url).await?;
    let producer = client.producer().group("announcers").build()?;
    // The topic comes into being with its first message, which nobody hears yet.
    producer.send(Message::new("prices", "the market opens")).await?;

    let mut listeners = Vec::new();
    for name in ["a", "b"] {
        // Members of one group are different clients.
        let client = Client::connect(&url).await?;
        let prices =
            client.consumer("tickers").subscribe("prices", Filter::all()).broadcast().stream().await?;
        listeners.push((name, client, prices));
    }
    let all_listen = |listeners: &[(&str, Client, ringmq_client::Deliveries)]| {
        listeners.iter().all(|(_, _, prices)| !prices.queues().is_empty())
    };
    while !all_listen(&listeners) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    producer.send(Message::builder("prices").tag("ACME").body("42")).await?;
    for (name, client, mut prices) in listeners {
        let price = prices.next().await.ok_or("the stream ended")?;
        println!("{name}: {} {}", price.tag().unwrap_or("-"), price.text());
        price.ack();
        drop(prices);
        client.shutdown(Duration::from_secs(5)).await;
    }
    client.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
